//! The reference itself: against sums done by hand, and that its comparison notices what is wrong.

use ggemm_runtime::random::{Tensors, Values};
use ggemm_runtime::{
    Buffer, Comparison, Device, Dtype, Error, GroupForm, IndexType, Mode, Operation, Planner, Problem, Reference, Tail,
    WeightLayout, bf16,
};

fn b<const N: usize>(values: [f32; N]) -> [bf16; N] {
    values.map(bf16::from_f32)
}

/// Compares `after` with the exact output of small hand-made operands.
fn held<const N: usize>(problem: &Problem, lhs: &[bf16], rhs: &[bf16], sizes: &[i32], after: [f32; N]) -> Comparison {
    let before = [9.0_f32; N];
    let exact = Reference::compute(problem, lhs, rhs, sizes, &before, &|_| ());
    match exact.and_then(|exact| exact.compare(&before, &after, Mode::Exact)) {
        Ok(comparison) => comparison,
        Err(error) => panic!("`{problem}`: {error}"),
    }
}

#[test]
fn sums_done_by_hand() {
    let (x, dy) = (b([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), b([1.0, -1.0, 2.0]));
    let w = b([1.0, 10.0, 100.0, 1000.0]);
    let problem = |operation| Problem::new(operation, 2, 3, 1, 2).output(Dtype::F32);
    assert!(held(&problem(Operation::Forward), &x, &w, &[2, 1], [21.0, 43.0, 6500.0]).pass());
    let dx = [1.0, 10.0, -1.0, -10.0, 200.0, 2000.0];
    assert!(held(&problem(Operation::GradX), &dy, &w, &[2, 1], dx).pass());
    let grad_w = problem(Operation::GradW);
    assert!(held(&grad_w, &dy, &x, &[2, 1], [-2.0, -2.0, 10.0, 12.0]).pass());
    assert!(held(&grad_w.clone().accumulate(true), &dy, &x, &[3, 0], [17.0, 19.0, 9.0, 9.0]).pass());
    // With N = 1 both layouts of w are one in memory.
    let kn = grad_w.weight_layout(WeightLayout::Kn);
    assert!(held(&kn, &dy, &x, &[0, 3], [0.0, 0.0, 8.0, 10.0]).pass());
}

#[test]
fn groups_are_read_as_kernels_read_them() {
    let (x, w) = (b([1.0, 2.0, 3.0, 4.0]), b([1.0, 10.0, 100.0]));
    let problem = Problem::forward(3, 4, 1, 1).output(Dtype::F32);
    assert!(held(&problem, &x, &w, &[1, -7, 2], [1.0, 200.0, 300.0, 0.0]).pass());
    let ends = problem.group_array(GroupForm::Ends, IndexType::I32).tail(Tail::Untouched);
    assert!(held(&ends, &x, &w, &[2, 1, 3], [1.0, 2.0, 300.0, 9.0]).pass());
}

#[test]
fn every_kind_of_wrong_is_noticed() -> Result<(), Error> {
    let problem = Problem::forward(2, 5, 3, 40).y_row_stride(4).tail(Tail::Untouched).output(Dtype::F32);
    let tensors = Tensors::random(&problem, &[2, 1], Values::SmallIntegers, 1)?;
    let Tensors { lhs, rhs, groups, out: before, .. } = &tensors;
    let exact = Reference::compute(&problem, lhs, rhs, groups, before, &|_| ())?;
    let mut right = before.try_clone()?;
    Planner::new(Device::cpu()).plan(&problem)?.run(tensors.args(&mut right))?;
    let with = |index: usize, value: f32| -> Result<(Comparison, Comparison), Error> {
        let mut wrong: Buffer = right.try_clone()?;
        if let Some(elements) = wrong.as_mut_slice::<f32>() {
            elements[index] = value;
        }
        Ok((exact.compare(before, &wrong, Mode::Bound)?, exact.compare(before, &wrong, Mode::Exact)?))
    };
    let all = exact.compare(before, &right, Mode::Exact)?;
    assert!(all.pass() && all.compared == 9 && all.zeros == 0 && all.max_abs == 0.0, "{all}");

    let value = right.as_slice::<f32>().map(|v| v[4]).unwrap_or_default();
    // Row 1, column 0 off by one.
    let (bound, bits) = with(4, value + 1.0)?;
    for comparison in [bound, bits] {
        let first = comparison.first_outside.map(|d| (d.group, d.row, d.col));
        assert_eq!((comparison.outside_bound, first), (1, Some((Some(0), 1, 0))), "{comparison}");
        assert_eq!((comparison.max_abs, comparison.worst), (1.0, comparison.first_outside));
    }
    // A last bit that the bound forgives and the exact mode does not.
    let (bound, bits) = with(4, f32::from_bits(value.to_bits() + 1))?;
    assert!(bound.pass() && !bits.pass());
    // Nothing written there: the poison shows.
    let (bound, bits) = with(8, f32::NAN)?;
    assert!(bound.outside_bound == 1 && bits.outside_bound == 1);
    assert_eq!(bound.first_outside.and_then(|d| d.group), Some(1));
    // Stride padding, a tail row and the margin overwritten.
    for index in [3, 12, 19, 20] {
        let (bound, _) = with(index, 0.0)?;
        assert_eq!((bound.overwritten, bound.first_overwritten, bound.pass()), (1, Some(index), false), "{bound}");
    }
    Ok(())
}

#[test]
fn zeroed_tails_must_be_zero() -> Result<(), Error> {
    let problem = Problem::grad_x(2, 5, 4, 3).tail(Tail::Zero);
    let tensors = Tensors::random(&problem, &[2, 1], Values::Normal, 1)?;
    let Tensors { lhs, rhs, groups, out: before, .. } = &tensors;
    let exact = Reference::compute(&problem, lhs, rhs, groups, before, &|_| ())?;
    let mut after = before.try_clone()?;
    Planner::new(Device::cpu()).plan(&problem)?.run(tensors.args(&mut after))?;
    assert!(exact.compare(before, &after, Mode::Bound)?.pass());
    if let Some(elements) = after.as_mut_slice::<bf16>() {
        elements[14] = bf16::MIN_POSITIVE;
    }
    let wrong = exact.compare(before, &after, Mode::Bound)?;
    let first = wrong.first_outside.map(|d| (d.group, d.row, d.col));
    assert_eq!((wrong.outside_bound, first), (1, Some((None, 4, 2))), "{wrong}");
    Ok(())
}

#[test]
fn progress_ends_at_one() -> Result<(), Error> {
    let problem = Problem::grad_w(2, 600, 4, 3);
    let tensors = Tensors::random(&problem, &[300, 300], Values::Normal, 1)?;
    let Tensors { lhs, rhs, groups, out, .. } = &tensors;
    let seen = std::cell::RefCell::new(Vec::new());
    Reference::compute(&problem, lhs, rhs, groups, out, &|part| seen.borrow_mut().push(part))?;
    let seen = seen.into_inner();
    assert!(seen.len() > 3 && seen.is_sorted() && seen.last() == Some(&1.0), "{seen:?}");
    Ok(())
}
