//! Every operation of the CPU backend against the f64 reference, on random ragged problems.
//!
//! Each problem runs twice: on random reals within the numeric bound, and on small integers bit for bit, which no lost
//! or doubled product survives. Everything outside the problem is NaN: stride padding, gaps between groups' weights, the
//! operands' tail rows, margins; and the output's own padding has to keep what it held.

use ggemm::random::{Rng, Spread, Tensors, Values};
use ggemm::{
    Comparison, Device, Dtype, Error, GroupForm, IndexType, Mode, Operation, Planner, Problem, Reference, Tail,
    WeightLayout, WeightSharing,
};
use proptest::prelude::*;

/// Runs `problem` where the groups own `sizes` rows, and compares.
fn run(problem: &Problem, sizes: &[usize], values: Values, seed: u64) -> Result<Comparison, Error> {
    let tensors = Tensors::random(problem, sizes, values, seed)?;
    let mut out = tensors.out.try_clone()?;
    Planner::new(Device::cpu()).plan(problem)?.run(tensors.args(&mut out))?;
    let Tensors { lhs, rhs, groups, out: before, .. } = &tensors;
    let reference = Reference::compute(problem, lhs, rhs, groups, before, &|_| ())?;
    let mode = if values == Values::Normal { Mode::Bound } else { Mode::Exact };
    reference.compare(before, &out, mode)
}

/// Both on reals and on integers.
#[track_caller]
fn check(problem: &Problem, sizes: &[usize], seed: u64) {
    for values in [Values::Normal, Values::SmallIntegers] {
        let case = format!("`{problem}` on {values:?}, seed {seed}, sizes {sizes:?}");
        match run(problem, sizes, values, seed) {
            Ok(comparison) => assert!(comparison.pass(), "{case}: {comparison}"),
            Err(error) => panic!("{case}: {error}"),
        }
    }
}

/// Sides that sit on, before and after every boundary of blocks, vectors and alignment.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1_usize..40,
        4 => prop::sample::select(vec![1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 192, 193]),
        1 => prop::sample::select(vec![255, 256, 257, 258, 259, 320]),
        1 => Just(0_usize),
    ]
}

prop_compose! {
    /// A problem of any operation, types, weight form, strides and tail.
    fn any_problem()(
        operation in prop::sample::select(Operation::ALL.to_vec()),
        groups in prop_oneof![Just(1_usize), 2_usize..12],
        (m, n, k) in (side(), side(), side()),
        operand in prop::sample::select(vec![Dtype::Bf16, Dtype::F16]),
        output in prop::sample::select(Dtype::ALL.to_vec()),
        layout in prop::sample::select(vec![WeightLayout::Nk, WeightLayout::Kn]),
        sharing in prop::sample::select(vec![WeightSharing::PerExpert, WeightSharing::PerExpert, WeightSharing::Shared]),
        form in prop::sample::select(vec![GroupForm::Sizes, GroupForm::Ends]),
        index in prop::sample::select(vec![IndexType::I32, IndexType::I64]),
        tail in prop::sample::select(vec![Tail::Undeclared, Tail::Zero, Tail::Untouched]),
        accumulate in any::<bool>(),
        pads in prop::array::uniform4(prop_oneof![2 => Just(0_usize), 1 => 1_usize..10]),
    ) -> Problem {
        let mut problem = Problem::new(operation, groups, m, n, k)
            .operand(operand)
            .output(output)
            .weight_layout(layout)
            .weight_sharing(sharing)
            .group_array(form, index)
            .tail(tail)
            .accumulate(accumulate && operation == Operation::GradW && output == Dtype::F32);
        let (rows, cols) = problem.weight_shape();
        if pads[0] > 0 { problem = problem.x_row_stride(k + pads[0]); }
        if pads[1] > 0 { problem = problem.y_row_stride(n + pads[1]); }
        if pads[2] > 0 { problem = problem.w_row_stride(cols + pads[2]); }
        if pads[3] > 0 { problem = problem.w_group_stride(rows * (cols + pads[2]) + pads[3]); }
        problem
    }
}

/// Rows that the groups of `problem` may own, spread as asked: all of them unless a tail is declared.
fn sizes_of(problem: &Problem, spread: Spread, seed: u64) -> Vec<usize> {
    let mut rng = Rng::new(seed);
    let owned = if problem.tail == Tail::Undeclared { problem.m } else { rng.below(problem.m + 1) };
    spread.sizes(problem.groups, owned, &mut rng)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_problem_is_computed(
        problem in any_problem(),
        spread in prop::sample::select(Spread::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        check(&problem, &sizes_of(&problem, spread, seed), seed);
    }
}

/// Every operation in every weight form, type of group array and output type, once.
#[test]
fn every_form_of_every_operation() {
    let mut seed = 0;
    for operation in Operation::ALL {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                for form in [GroupForm::Sizes, GroupForm::Ends] {
                    for index in [IndexType::I32, IndexType::I64] {
                        for operand in [Dtype::Bf16, Dtype::F16] {
                            for output in Dtype::ALL {
                                let problem = Problem::new(operation, 5, 37, 19, 67)
                                    .operand(operand)
                                    .output(output)
                                    .weight_layout(layout)
                                    .weight_sharing(sharing)
                                    .group_array(form, index);
                                seed += 1;
                                check(&problem, &[9, 0, 1, 27, 0], seed);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn thousands_of_groups() {
    let mut rng = Rng::new(7);
    for operation in Operation::ALL {
        let one_row_each = vec![1; 4096];
        check(&Problem::new(operation, 4096, 4096, 9, 17), &one_row_each, 1);
        let ragged = Spread::Ragged.sizes(4096, 5000, &mut rng);
        check(&Problem::new(operation, 4096, 5000, 16, 8), &ragged, 2);
        let one_hot = Spread::OneHot.sizes(4096, 700, &mut rng);
        check(&Problem::new(operation, 4096, 700, 8, 24).tail(Tail::Zero), &one_hot, 3);
        check(&Problem::new(operation, 4096, 3, 8, 24), &Spread::Zipf.sizes(4096, 3, &mut rng), 4);
    }
}

#[test]
fn reductions_around_a_multiple_of_the_block() {
    for length in [62, 63, 64, 65, 255, 256, 257, 258, 511, 512, 513, 1025] {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            check(&Problem::forward(2, 10, 20, length).weight_layout(layout), &[3, 7], length as u64);
            check(&Problem::grad_x(2, 10, length, 20).weight_layout(layout), &[3, 7], length as u64);
            let grad_w = Problem::grad_w(3, length + 5, 10, 20).weight_layout(layout);
            check(&grad_w, &[length, 0, 5], length as u64);
        }
    }
}

#[test]
fn tiles_larger_than_one() {
    for operation in Operation::ALL {
        check(&Problem::new(operation, 3, 900, 530, 270), &[600, 0, 300], 5);
        check(&Problem::new(operation, 3, 900, 270, 530).weight_layout(WeightLayout::Kn), &[1, 298, 601], 6);
    }
}

#[test]
fn no_rows_no_columns_no_reduction() {
    for operation in Operation::ALL {
        for (m, n, k) in [(0, 5, 7), (6, 0, 7), (6, 5, 0), (0, 0, 0), (1, 1, 1)] {
            for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                let problem = Problem::new(operation, 3, m, n, k).weight_sharing(sharing);
                check(&problem, &[m / 2, 0, m - m / 2], 8);
                check(&problem.output(Dtype::F32), &[m / 2, 0, m - m / 2], 8);
            }
        }
        // Nobody owns a row: forward and grad_x write their tails, grad_w zeros.
        for tail in [Tail::Zero, Tail::Untouched] {
            check(&Problem::new(operation, 3, 11, 5, 7).tail(tail), &[0, 0, 0], 9);
        }
    }
    let kept = Problem::grad_w(3, 11, 5, 7).output(Dtype::F32).accumulate(true).tail(Tail::Zero);
    check(&kept, &[0, 11, 0], 10);
    check(&kept, &[0, 0, 0], 11);
}
