//! Every operation of the CPU backend against the f64 reference, on random ragged problems.
//!
//! Each problem runs twice: on random reals within the numeric bound, and on small integers bit for bit, which no lost
//! or doubled product survives. Everything outside the problem is NaN: stride padding, gaps between groups' weights, the
//! operands' tail rows, margins; and the output's own padding has to keep what it held.

use ggemm::random::{Rng, Spread, Tensors, Values};
use ggemm::{
    Args, Comparison, Device, Dtype, Error, GroupForm, IndexType, Mode, Operand, Operation, Planner, Problem,
    Reference, Scaling, Tail, WeightLayout, WeightSharing, e4m3,
};
use proptest::prelude::*;

/// Runs `problem` where the groups own `sizes` rows, and compares.
fn run(problem: &Problem, sizes: &[usize], values: Values, seed: u64) -> Result<Comparison, Error> {
    let tensors = Tensors::random(problem, sizes, values, seed)?;
    let mut out = tensors.out.try_clone()?;
    Planner::new(Device::cpu()).plan(problem)?.run(tensors.args(&mut out))?;
    let Tensors { groups, out: before, .. } = &tensors;
    let [lhs, rhs] = tensors.operands();
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
        [first, second] in prop::sample::select(OPERANDS.to_vec()),
        scaling in prop::sample::select(vec![Scaling::Row, Scaling::Block]),
        reduction_blocks in any::<bool>(),
        output in prop::sample::select(Dtype::OUTPUTS.to_vec()),
        layout in prop::sample::select(vec![WeightLayout::Nk, WeightLayout::Kn]),
        sharing in prop::sample::select(vec![WeightSharing::PerExpert, WeightSharing::PerExpert, WeightSharing::Shared]),
        form in prop::sample::select(vec![GroupForm::Sizes, GroupForm::Ends]),
        index in prop::sample::select(vec![IndexType::I32, IndexType::I64]),
        tail in prop::sample::select(vec![Tail::Undeclared, Tail::Zero, Tail::Untouched]),
        accumulate in any::<bool>(),
        pads in prop::array::uniform4(prop_oneof![2 => Just(0_usize), 1 => 1_usize..10]),
    ) -> Problem {
        let mut problem = Problem::new(operation, groups, m, n, k)
            .operand(first)
            .second_operand(second)
            .scaling(if first.is_fp8() { scaling } else { Scaling::None })
            .reduction_blocks(reduction_blocks && first.is_fp8() && operation == Operation::GradW)
            .output(output)
            .weight_layout(layout)
            .weight_sharing(sharing)
            .group_array(form, index)
            .tail(tail)
            .accumulate(accumulate && operation == Operation::GradW && output == Dtype::F32);
        let (rows, cols) = problem.weight_shape();
        let [a, b, d] = problem.tensors();
        let [x, y] = match operation {
            Operation::Forward => [a, d],
            Operation::GradX => [d, a],
            Operation::GradW => [b, a],
        };
        if pads[0] > 0 { problem = problem.x_row_stride(x.cols + pads[0]); }
        if pads[1] > 0 { problem = problem.y_row_stride(y.cols + pads[1]); }
        if pads[2] > 0 { problem = problem.w_row_stride(cols + pads[2]); }
        if pads[3] > 0 { problem = problem.w_group_stride(rows * (cols + pads[2]) + pads[3]); }
        problem
    }
}

/// The types that operands may have together.
const OPERANDS: [[Dtype; 2]; 7] = {
    use Dtype::{Bf16, E4m3, E5m2, F16, F32};
    [[Bf16, Bf16], [F16, F16], [F32, F32], [E4m3, E4m3], [E5m2, E4m3], [E4m3, E5m2], [E5m2, E5m2]]
};

/// Rows that the groups of `problem` may own, spread as asked: all of them unless a tail is declared.
fn sizes_of(problem: &Problem, spread: Spread, seed: u64) -> Vec<usize> {
    let mut rng = Rng::new(seed);
    let owned = if problem.tail == Tail::Undeclared { problem.m } else { rng.below(problem.m + 1) };
    spread.sizes(problem.groups, owned, &mut rng)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 900, failure_persistence: None, ..ProptestConfig::default() })]

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
                            for output in Dtype::OUTPUTS {
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

/// Every operation of fp8 with either kind of scales, in every weight form and both layouts of grad_w's operands.
#[test]
fn every_form_of_scales() {
    let mut seed = 0;
    for (operation, reduction_blocks) in
        Operation::ALL.map(|o| (o, false)).into_iter().chain([(Operation::GradW, true)])
    {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                for scaling in [Scaling::Row, Scaling::Block] {
                    for [first, second] in OPERANDS.into_iter().filter(|[first, _]| first.is_fp8()) {
                        let problem = Problem::new(operation, 6, 290, 131, 133)
                            .operand(first)
                            .second_operand(second)
                            .scaling(scaling)
                            .reduction_blocks(reduction_blocks)
                            .weight_layout(layout)
                            .weight_sharing(sharing);
                        seed += 1;
                        check(&problem.clone().tail(Tail::Zero), &[129, 0, 1, 128, 30, 0], seed);
                        if operation == Operation::GradW {
                            let sums = problem.output(Dtype::F32).accumulate(true);
                            check(&sums, &[0, 127, 0, 131, 0, 32], seed);
                        }
                    }
                }
            }
        }
    }
}

/// What a scale applies to, by numbers that can be followed: all elements are 1.
#[test]
fn scales_apply_to_their_block_alone() {
    let (m, n, k) = (131, 130, 129);
    let ones = |shape: &ggemm::TensorShape| vec![e4m3::from_f32(1.0); shape.elements()];
    for operation in Operation::ALL {
        let problem =
            Problem::new(operation, 2, m, n, k).operand(Dtype::E4m3).scaling(Scaling::Block).output(Dtype::F32);
        let [a, b, d] = problem.tensors();
        let Some([of_a, of_b]) = problem.scales() else { panic!("{problem} has no scales") };
        let (mut a_scale, mut b_scale) = (vec![1.0_f32; of_a.elements()], vec![1.0_f32; of_b.elements()]);
        // Of the first operand the second block of row (or, in grad_w, column) 0, of the second one the block that holds
        // everything past the first 128.
        a_scale[of_a.index(0, 0, 1)] = 3.0;
        b_scale[of_b.index(1, 128, 1)] = 5.0;
        let mut out = vec![0.0_f32; d.elements()];
        let (a, b) = (ones(&a), ones(&b));
        let args =
            Args::new(operation, Operand::scaled(&a, &a_scale), Operand::scaled(&b, &b_scale), &[129_i32, 2], &mut out);
        Planner::new(Device::cpu())
            .plan(&problem)
            .and_then(|plan| plan.run(args))
            .expect("the arguments are the problem's");
        // A row of the output by its group and row.
        let row = |group: usize, row: usize| match operation {
            Operation::GradW => &out[(group * n + row) * d.cols..][..d.cols],
            _ => &out[(group * 129 + row) * d.cols..][..d.cols],
        };
        match operation {
            // The reduction has one element past the first block: K = 129 of forward, the 129 rows of grad_w's group 0.
            Operation::Forward => {
                assert!(row(0, 0).iter().all(|y| *y == 131.0) && row(0, 1).iter().all(|y| *y == 129.0));
                assert!(row(1, 0)[..128].iter().all(|y| *y == 129.0) && row(1, 0)[128..].iter().all(|y| *y == 133.0));
            }
            // Two of N = 130.
            Operation::GradX => {
                assert!(row(0, 0).iter().all(|dx| *dx == 134.0) && row(0, 1).iter().all(|dx| *dx == 130.0));
                assert!(row(1, 0)[..128].iter().all(|dx| *dx == 130.0) && row(1, 0)[128] == 138.0);
            }
            // Block 1 of group 0 is its last row; the index of group 1's only block is 1 + 129 / 128 = 2.
            Operation::GradW => {
                assert!(row(0, 0)[..128].iter().all(|dw| *dw == 131.0) && row(0, 0)[128] == 128.0 + 3.0 * 5.0);
                assert!(row(0, 1)[..128].iter().all(|dw| *dw == 129.0) && row(0, 1)[128] == 133.0);
                assert!(row(1, 0).iter().all(|dw| *dw == 2.0));
            }
        }
    }
}

/// Scales that f32 does not hold the product of a block's sum with, beside scales that lead back.
#[test]
fn scales_of_any_magnitude() {
    let x = [e4m3::from_f32(3.0); 6];
    let w = [e4m3::from_f32(0.5); 3];
    let problem = Problem::forward(1, 2, 1, 3).operand(Dtype::E4m3).scaling(Scaling::Row).output(Dtype::F32);
    let before = [f32::NAN; 2];
    for (x_scale, w_scale) in [([1e-44_f32, 7e-39], [3e38_f32]), ([3e38, 1e37], [5e-42]), ([1e-30, -2.0], [1e-30])] {
        let operands = || (Operand::scaled(&x, &x_scale), Operand::scaled(&w, &w_scale));
        let mut y = before;
        let result = Planner::new(Device::cpu()).plan(&problem).and_then(|plan| {
            plan.run(Args::forward(operands().0, operands().1, &[2_i32], &mut y))?;
            Reference::compute(&problem, operands().0, operands().1, &[2_i32], &before, &|_| ())?.compare(
                &before,
                &y,
                Mode::Bound,
            )
        });
        match result {
            Ok(comparison) => assert!(comparison.pass(), "{x_scale:?} {w_scale:?}: {comparison}"),
            Err(error) => panic!("{error}"),
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
