//! Results of the three operations. `ggemm verify` looks at every variant; this is what no single variant shows.

use ggemm::quantize::Quantizer;
use ggemm::random::{Rng, Spread, Values};
use ggemm::{
    Arch, Args, Buffer, Device, Dtype, GroupForm, IndexType, Mode, Operand, Operation, Planner, Problem, Reference,
    Scaling, Tail, WeightLayout, WeightSharing, bf16,
};

use crate::support::{OnGpu, Test, bytes};

pub(crate) const TESTS: &[Test] = &[
    ("every_operation_and_weight_form_is_right", every_operation_and_weight_form_is_right),
    ("fp8_is_right_by_either_scaling_and_accumulation", fp8_is_right),
    ("quantized_operands_of_a_layer_are_multiplied", quantized_operands),
    ("problems_without_rows_columns_or_a_reduction_are_right", empty_problems),
    ("an_output_of_more_than_two_to_the_31_elements_is_right", large_output),
    ("one_problem_gives_one_bit_pattern", one_bit_pattern),
    ("thousands_of_groups_are_right", thousands_of_groups),
];

fn every_operation_and_weight_form_is_right(device: &Device) {
    let planner = Planner::new(device.clone());
    let mut rng = Rng::new(1);
    let mut seed = 0;
    for operation in Operation::ALL {
        for operand in [Dtype::Bf16, Dtype::F16] {
            for layout in [WeightLayout::Nk, WeightLayout::Kn] {
                for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                    for (m, n, k) in [(517, 264, 200), (300, 65, 33)] {
                        let problem = Problem::new(operation, 7, m, n, k)
                            .operand(operand)
                            .output(if operation == Operation::GradW { Dtype::F32 } else { operand })
                            .weight_layout(layout)
                            .weight_sharing(sharing)
                            .accumulate(operation == Operation::GradW && rng.below(2) == 0)
                            .group_array(
                                if rng.below(2) == 0 { GroupForm::Sizes } else { GroupForm::Ends },
                                if rng.below(2) == 0 { IndexType::I32 } else { IndexType::I64 },
                            )
                            .tail(Tail::Zero);
                        let sizes = Spread::Zipf.sizes(7, m - 20, &mut rng);
                        for (values, mode) in [(Values::SmallIntegers, Mode::Exact), (Values::Normal, Mode::Bound)] {
                            seed += 1;
                            let mut case = OnGpu::new(device, &problem, &sizes, values, seed);
                            case.run(&planner.plan(&problem).unwrap());
                            let comparison = case.compare(mode);
                            assert!(comparison.pass(), "`{problem}`, sizes {sizes:?}: {comparison}");
                        }
                    }
                }
            }
        }
    }
}

/// Where some kernel multiplies fp8: GPUs of another architecture say that theirs does not.
fn multiplies_fp8(device: &Device) -> bool {
    let problem = Problem::forward(1, 1, 16, 16).operand(Dtype::E4m3).scaling(Scaling::Row);
    let refused = Planner::new(device.clone()).plan(&problem).err();
    assert_eq!(device.arch() == Some(Arch::Sm90a), refused.is_none(), "{refused:?}");
    refused.is_none()
}

/// Every operation, both formats and their mixture, each way to scale and to accumulate, groups of any size.
fn fp8_is_right(device: &Device) {
    if !multiplies_fp8(device) {
        return;
    }
    let planner = Planner::new(device.clone());
    let mut rng = Rng::new(2);
    let mut seed = 0;
    for operation in Operation::ALL {
        for [first, second] in [[Dtype::E4m3, Dtype::E4m3], [Dtype::E5m2, Dtype::E4m3]] {
            for (scaling, fast) in [(Scaling::Block, false), (Scaling::Row, false), (Scaling::Row, true)] {
                for sharing in [WeightSharing::PerExpert, WeightSharing::Shared] {
                    for (m, n, k) in [(517, 272, 400), (1500, 128, 1040)] {
                        let grad_w = operation == Operation::GradW;
                        // Each reads the weights along its reduction.
                        let layout = if operation == Operation::GradX { WeightLayout::Kn } else { WeightLayout::Nk };
                        let problem = Problem::new(operation, 7, m, n, k)
                            .operand(first)
                            .second_operand(second)
                            .scaling(scaling)
                            .fast_accumulation(fast)
                            .reduction_blocks(grad_w)
                            .output(if grad_w { Dtype::F32 } else { Dtype::Bf16 })
                            .weight_layout(layout)
                            .weight_sharing(sharing)
                            .accumulate(grad_w && rng.below(2) == 0)
                            .tail(Tail::Zero);
                        let sizes = Spread::Zipf.sizes(7, m - 20, &mut rng);
                        for (values, mode) in [(Values::SmallIntegers, Mode::Exact), (Values::Normal, Mode::Bound)] {
                            seed += 1;
                            let mut case = OnGpu::new(device, &problem, &sizes, values, seed);
                            case.run(&planner.plan(&problem).unwrap());
                            let comparison = case.compare(mode);
                            assert!(comparison.pass(), "`{problem}`, sizes {sizes:?}: {comparison}");
                        }
                    }
                }
            }
        }
    }
}

/// What `Quantizer` makes of a layer is what kernels read, without another copy.
fn quantized_operands(device: &Device) {
    if !multiplies_fp8(device) {
        return;
    }
    let (groups, m, n, k) = (5, 700, 256, 384);
    let sizes = [130_i32, 0, 257, 300, 13];
    let mut rng = Rng::new(9);
    let mut normal = |len: usize| (0..len).map(|_| bf16::from_f32(rng.normal())).collect::<Vec<_>>();
    let (x, dy, w) = (normal(m * k), normal(m * n), normal(groups * n * k));
    for scaling in [Scaling::Row, Scaling::Block] {
        let forward = Problem::forward(groups, m, n, k).operand(Dtype::E4m3).scaling(scaling);
        let grad_x = forward.clone().with_operation(Operation::GradX).weight_layout(WeightLayout::Kn);
        let grad_w = forward.clone().with_operation(Operation::GradW).reduction_blocks(true);
        for (problem, sources) in [(forward, [&x, &w]), (grad_x, [&dy, &w]), (grad_w, [&dy, &x])] {
            let quantizer = Quantizer::new(&problem).unwrap().weights_from(WeightLayout::Nk).groups(&sizes).unwrap();
            let (lhs, rhs) = (quantizer.first(sources[0]).unwrap(), quantizer.second(sources[1]).unwrap());
            let [_, _, shape] = problem.tensors();
            let before = vec![bf16::NAN; shape.elements()];
            let to = |buffer: &Buffer| buffer.to_device(device).unwrap();
            let held = [&lhs.elements, &lhs.scales, &rhs.elements, &rhs.scales].map(to);
            let (on_device, mut out) =
                (Buffer::from_slice(device, &sizes).unwrap(), Buffer::from_slice(device, &before).unwrap());
            let [a, of_a, b, of_b] = &held;
            let args =
                Args::new(problem.operation, Operand::scaled(a, of_a), Operand::scaled(b, of_b), &on_device, &mut out);
            Planner::new(device.clone()).plan(&problem).unwrap().run(args).unwrap();
            let reference =
                Reference::compute(&problem, lhs.operand(), rhs.operand(), &sizes, &before, &|_| ()).unwrap();
            let after = out.to_device(&Device::cpu()).unwrap();
            let arch = device.arch().expect("a GPU");
            let reference = reference.of_tensor_cores(arch, lhs.operand(), rhs.operand()).unwrap();
            let comparison = reference.compare(&before, &after, Mode::Bound).unwrap();
            assert!(comparison.pass(), "`{problem}`: {comparison}");
        }
    }
}

fn empty_problems(device: &Device) {
    let planner = Planner::new(device.clone());
    for operation in Operation::ALL {
        for (g, m, n, k) in [(3, 0, 64, 64), (3, 64, 0, 64), (3, 64, 64, 0), (1, 1, 1, 1)] {
            let problem = Problem::new(operation, g, m, n, k).tail(Tail::Zero);
            let mut sizes = vec![0; g];
            sizes[0] = m;
            let mut case = OnGpu::new(device, &problem, &sizes, Values::SmallIntegers, 3);
            case.run(&planner.plan(&problem).unwrap());
            case.check();
        }
    }
}

/// 70,000 x 40,000 elements: every product is of ones, so each row of group g holds 64 (g + 1).
fn large_output(device: &Device) {
    let (m, n, k) = (70_000, 40_000, 64);
    let problem = Problem::forward(2, m, n, k);
    let x = Buffer::from_slice(device, &vec![bf16::ONE; m * k]).unwrap();
    let mut weights = vec![bf16::ONE; 2 * n * k];
    weights[n * k..].fill(bf16::from_f32(2.0));
    let w = Buffer::from_slice(device, &weights).unwrap();
    let first = 30_001;
    let sizes = Buffer::from_slice(device, &[first as i32, (m - first) as i32]).unwrap();
    let mut y = Buffer::zeros(device, ggemm::ElementType::Bf16, m * n).unwrap();
    Planner::new(device.clone()).plan(&problem).unwrap().run(Args::forward(&x, &w, &sizes, &mut y)).unwrap();
    for row in [0, 1, first - 1, first, 53_687, 53_688, m - 1] {
        let held = y.view().range(row * n..(row + 1) * n).unwrap().to_vec::<bf16>().unwrap();
        let expected = if row < first { 64.0 } else { 128.0 };
        assert!(held.iter().all(|value| value.to_f32() == expected), "row {row}");
    }
}

fn one_bit_pattern(device: &Device) {
    let planner = Planner::new(device.clone());
    for problem in
        [Problem::forward(16, 2000, 384, 512), Problem::grad_x(16, 2000, 384, 512), Problem::grad_w(16, 2000, 384, 512)]
    {
        let sizes = Spread::Zipf.sizes(16, 2000, &mut Rng::new(5));
        let mut case = OnGpu::new(device, &problem, &sizes, Values::Normal, 6);
        let plan = planner.plan(&problem).unwrap();
        case.run(&plan);
        assert!(case.compare(Mode::Bound).pass());
        let first = bytes(&case.out);
        for repeat in 0..200 {
            case.run(&plan);
            if repeat % 20 == 19 {
                assert!(bytes(&case.out) == first, "`{problem}` moved by repeat {repeat}");
            }
        }
    }
}

fn thousands_of_groups(device: &Device) {
    let planner = Planner::new(device.clone());
    for operation in Operation::ALL {
        let problem = Problem::new(operation, 4096, 5000, 24, 40);
        let sizes = Spread::Zipf.sizes(4096, 5000, &mut Rng::new(7));
        let mut case = OnGpu::new(device, &problem, &sizes, Values::SmallIntegers, 8);
        case.run(&planner.plan(&problem).unwrap());
        case.check();
    }
}
