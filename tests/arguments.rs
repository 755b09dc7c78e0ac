//! What a wrong argument is told: the argument, its value, the rule and the remedy. And that nothing was written.

use ggemm::{
    Arch, Args, Buffer, Device, Dtype, ElementType, Error, GroupForm, KernelSpec, Operand, Operation, Plan, Planner,
    Problem, Scaling, Tail, View, WeightLayout, bf16, e4m3, f16,
};
use insta::assert_snapshot;

fn plan(problem: &Problem) -> Plan {
    match Planner::new(Device::cpu()).plan(problem) {
        Ok(plan) => plan,
        Err(error) => panic!("`{problem}`: {error}"),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => panic!("was not refused: {value:?}"),
        Err(error) => error.to_string(),
    }
}

/// y[4, 3] = x[4, 5] · w[2, 3, 5] with these sizes, and the error; y must be as it was.
fn forward_with_sizes(problem: Problem, groups: &[i32]) -> String {
    let (x, w) = ([bf16::ONE; 20], [bf16::ONE; 30]);
    let mut y = [bf16::NAN; 12];
    let text = refused(plan(&problem).run(Args::forward(&x, &w, groups, &mut y)));
    assert!(y.iter().all(|v| v.to_bits() == bf16::NAN.to_bits()), "a failed call has written");
    text
}

fn forward() -> Problem {
    Problem::forward(2, 4, 3, 5)
}

#[test]
fn sizes_that_contradict_the_problem() {
    assert_snapshot!(forward_with_sizes(forward(), &[5, -1]),
        @"group 0 ends at row 5, past M = 4: the groups own at most M rows");
    assert_snapshot!(forward_with_sizes(forward(), &[4, -1]),
        @"the size of group 1 is -1: sizes are at least 0");
    assert_snapshot!(forward_with_sizes(forward(), &[i32::MAX, i32::MAX]),
        @"group 0 ends at row 2147483647, past M = 4: the groups own at most M rows");
    assert_snapshot!(forward_with_sizes(forward(), &[1, 2]),
        @"the last group, 1, ends at row 3 of M = 4, and no tail was declared: declare Tail::Zero or Tail::Untouched, or pass GroupForm::Ends if these are ends");
    // Ends given as sizes.
    assert_snapshot!(forward_with_sizes(forward(), &[1, 4]),
        @"group 1 ends at row 5, past M = 4: the groups own at most M rows");
}

#[test]
fn ends_that_contradict_the_problem() {
    let ends = forward().group_array(GroupForm::Ends, ggemm::IndexType::I32);
    assert_snapshot!(forward_with_sizes(ends.clone(), &[3, 1]),
        @"the end of group 1 is 1, before 3 where it starts: ends never decrease (pass GroupForm::Sizes if these are sizes)");
    assert_snapshot!(forward_with_sizes(ends.clone(), &[-2, 4]),
        @"the end of group 0 is -2, before 0 where it starts: ends never decrease (pass GroupForm::Sizes if these are sizes)");
    assert_snapshot!(forward_with_sizes(ends.clone(), &[1, 5]),
        @"group 1 ends at row 5, past M = 4: the groups own at most M rows");
    assert_snapshot!(forward_with_sizes(ends.clone(), &[1, 3]),
        @"the last group, 1, ends at row 3 of M = 4, and no tail was declared: declare Tail::Zero or Tail::Untouched, or pass GroupForm::Ends if these are ends");
    assert_snapshot!(forward_with_sizes(ends.tail(Tail::Zero), &[1, 5]),
        @"group 1 ends at row 5, past M = 4: the groups own at most M rows");
}

#[test]
fn huge_values_do_not_overflow() {
    let problem = Problem::forward(3, 4, 3, 5).group_array(GroupForm::Sizes, ggemm::IndexType::I64);
    let (x, w) = ([bf16::ONE; 20], [bf16::ONE; 45]);
    let mut y = [bf16::NAN; 12];
    let sizes = [1, i64::MAX, i64::MAX];
    assert_snapshot!(refused(plan(&problem).run(Args::forward(&x, &w, &sizes, &mut y))),
        @"group 1 ends at row 9223372036854775807, past M = 4: the groups own at most M rows");
}

#[test]
fn tensors_of_the_wrong_type_or_length() {
    let plan = plan(&forward().weight_layout(WeightLayout::Kn));
    let (x, w, sizes) = ([bf16::ONE; 20], [bf16::ONE; 30], [2_i32, 2]);
    let mut y = [bf16::ZERO; 12];
    assert_snapshot!(refused(plan.run(Args::forward(&[f16::ONE; 20], &w, &sizes, &mut y))),
        @"x holds f16, bf16 is needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32`: pass bf16 or plan for f16");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &[1_i32; 30], &sizes, &mut y))),
        @"w holds i32, bf16 is needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32`: pass bf16 or plan for i32");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &w, &[2_i64, 2], &mut y))),
        @"groups holds i64, i32 is needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32`: pass i32 or plan for i64");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &w, &sizes, &mut [0.0_f32; 12]))),
        @"y holds f32, bf16 is needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32`: pass bf16 or plan for f32");
    assert_snapshot!(refused(plan.run(Args::forward(&x[1..], &w, &sizes, &mut y))),
        @"x has 19 elements, 20 are needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32` ([4, 5]): pass at least 20");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &w[..29], &sizes, &mut y))),
        @"w has 29 elements, 30 are needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32` ([2, 5, 3]): pass at least 30");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &w, &[4_i32], &mut y))),
        @"groups has 1 elements, 2 are needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32` ([G]): pass exactly 2");
    assert_snapshot!(refused(plan.run(Args::forward(&x, &w, &sizes, &mut y[..11]))),
        @"y has 11 elements, 12 are needed by `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,K,N] sizes:i32` ([4, 3]): pass at least 12");
    assert_snapshot!(refused(plan.run(Args::grad_x(&x, &w, &sizes, &mut y))),
        @"the arguments are those of grad_x, the plan computes forward: use Args::forward");
}

#[test]
fn strides_are_part_of_the_shape() {
    let problem = Problem::grad_w(2, 4, 3, 5).y_row_stride(7).w_row_stride(6).w_group_stride(20).output(Dtype::F32);
    let (dy, x, sizes) = ([bf16::ONE; 24], [bf16::ONE; 20], [2_i32, 2]);
    let mut dw = [0.0_f32; 36];
    assert_snapshot!(refused(plan(&problem).run(Args::grad_w(&dy[..23], &x, &sizes, &mut dw))),
        @"dy has 23 elements, 24 are needed by `grad_w bf16->f32 G=2 M=4 N=3 K=5 w=[G,N,K] y_row_stride=7 w_row_stride=6 w_group_stride=20 sizes:i32` ([4, 3] with rows 7 apart): pass at least 24");
    assert_snapshot!(refused(plan(&problem).run(Args::grad_w(&dy, &x, &sizes, &mut dw))),
        @"dw has 36 elements, 37 are needed by `grad_w bf16->f32 G=2 M=4 N=3 K=5 w=[G,N,K] y_row_stride=7 w_row_stride=6 w_group_stride=20 sizes:i32` ([2, 3, 5] with rows 6 apart with groups 20 apart): pass at least 37");
}

#[test]
fn plans_that_mean_nothing() {
    let planner = Planner::new(Device::cpu());
    let plan = |problem: Problem| refused(planner.plan(&problem));
    assert_snapshot!(plan(Problem::forward(0, 4, 3, 5)),
        @"G = 0: a grouped product has at least one group, though any group may be empty");
    assert_snapshot!(plan(forward().allow_tf32(true)),
        @"allow_tf32 is set for operands of bf16, which are multiplied as they are: leave it unset, or use f32");
    assert_snapshot!(plan(forward().x_row_stride(4)),
        @"the row stride of x is 4, shorter than its rows of 5: give at least 5");
    assert_snapshot!(plan(forward().accumulate(true)),
        @"accumulate is set for forward with a bf16 output: only grad_w into f32 accumulates");
    assert_snapshot!(plan(Problem::forward(usize::MAX, usize::MAX, 3, 5)),
        @"G = 18446744073709551615 is past 2147482624, the largest dimension: split the problem");
    assert_snapshot!(plan(Problem::forward(1 << 30, 1 << 30, 1 << 30, 1 << 30)),
        @"w spans more than 2^60 elements: its strides are out of range");
    let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk";
    let Ok(spec) = name.parse::<KernelSpec>() else { panic!("{name} is no spec") };
    assert_snapshot!(refused(Planner::new(Device::cpu()).pin(spec).plan(&forward())),
        @"ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk is pinned, which is a GPU's kernel, and the device is the CPU: remove the pin or plan on a GPU");
}

#[test]
fn types_and_scales_that_do_not_go_together() {
    let planner = Planner::new(Device::cpu());
    let plan = |problem: Problem| refused(planner.plan(&problem));
    let fp8 = || forward().operand(Dtype::E4m3).scaling(Scaling::Block);
    assert_snapshot!(plan(forward().operand(Dtype::E4m3)),
        @"operands of type e4m3 have scales, and Problem::scaling is none: set Scaling::Row or Scaling::Block");
    assert_snapshot!(plan(forward().scaling(Scaling::Row)),
        @"Problem::scaling is row, and operands of type bf16 have no scales: set Scaling::None, or use e4m3 or e5m2");
    assert_snapshot!(plan(forward().second_operand(Dtype::E5m2)),
        @"operands of types bf16 and e5m2 do not mix: use one type for both (e4m3 and e5m2 do mix)");
    assert_snapshot!(plan(fp8().output(Dtype::E5m2)),
        @"outputs of type e5m2 are not supported: use bf16, f16 or f32, and quantize the result");
    assert_snapshot!(plan(fp8().reduction_blocks(true)),
        @"reduction_blocks is set for forward of e4m3: only grad_w of e4m3 and e5m2 has such operands: leave it unset");
    assert_snapshot!(plan(Problem::grad_w(2, 4, 3, 5).reduction_blocks(true)),
        @"reduction_blocks is set for grad_w of bf16: only grad_w of e4m3 and e5m2 has such operands: leave it unset");
    assert_snapshot!(refused(planner.select(&fp8(), Arch::Sm90a)),
        @"no kernel computes `forward e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=block sizes:i32` on sm_90a: it needs every row at a multiple of 16 bytes, and the row stride of x is 5 elements, 5 bytes: give strides that are multiples of 16 bytes, or use bf16 or f16 operands");
    assert_snapshot!(refused(planner.explain(&fp8(), Arch::Sm80)),
        @"no kernel computes `forward e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=block sizes:i32` on sm_80: fp8 needs sm_89 or newer: use bf16 or f16 operands, or Device::cpu()");
}

#[test]
fn scales_that_are_missing_or_wrong() {
    let (x, w, sizes) = ([e4m3::default(); 20], [e4m3::default(); 30], [2_i32, 2]);
    let (x_scale, w_scale) = ([1.0_f32; 4], [1.0_f32; 6]);
    let problem = forward().operand(Dtype::E4m3).scaling(Scaling::Row);
    let mut y = [bf16::ZERO; 12];
    let fp8 = plan(&problem);
    let w_scaled = || Operand::scaled(&w, &w_scale);
    assert_snapshot!(refused(fp8.run(Args::forward(&x, w_scaled(), &sizes, &mut y))),
        @"x has no scales, f32 [4] are needed by `forward e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=row sizes:i32`: pass Operand::scaled(elements, scales)");
    assert_snapshot!(refused(fp8.run(Args::forward(Operand::scaled(&x, &x_scale[1..]), w_scaled(), &sizes, &mut y))),
        @"x_scale has 3 elements, 4 are needed by `forward e4m3->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=row sizes:i32` ([4]): pass at least 4");
    assert_snapshot!(refused(fp8.run(Args::forward(Operand::scaled(&x, &[bf16::ONE; 4]), w_scaled(), &sizes, &mut y))),
        @"x_scale holds bf16: scales are f32; convert them");
    let x_bf16 = [bf16::ONE; 20];
    let plain =
        plan(&forward()).run(Args::forward(Operand::scaled(&x_bf16, &x_scale), &[bf16::ONE; 30], &sizes, &mut y));
    assert_snapshot!(refused(plain),
        @"x has scales, and `forward bf16->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] sizes:i32` has none: pass the elements alone, or plan for fp8 with a scaling");
    let mixed = plan(&problem.second_operand(Dtype::E5m2));
    assert_snapshot!(refused(mixed.run(Args::forward(Operand::scaled(&x, &x_scale), w_scaled(), &sizes, &mut y))),
        @"w holds e4m3, e5m2 is needed by `forward e4m3*e5m2->bf16 G=2 M=4 N=3 K=5 w=[G,N,K] scales=row sizes:i32`: pass e5m2 or plan for e4m3");
}

#[test]
fn buffers_of_another_type_or_length() {
    let device = Device::cpu();
    let Ok(mut buffer) = Buffer::from_slice(&device, &[1.0_f32, 2.0]) else { panic!("two floats do not fit") };
    assert_snapshot!(refused(buffer.to_vec::<bf16>()), @"the buffer holds f32, not bf16: use its own type");
    assert_snapshot!(refused(buffer.copy_from_slice(&[1_i32, 2])), @"the buffer holds f32, not i32: use its own type");
    assert_snapshot!(refused(buffer.copy_from_slice(&[1.0_f32])),
        @"1 elements cannot be copied into a buffer of 2: give exactly 2");
    assert_eq!(buffer.to_vec::<f32>(), Ok(vec![1.0, 2.0]));
    assert_snapshot!(refused(Buffer::zeros(&device, ElementType::I64, usize::MAX / 2)),
        @"cpu has no 18446744073709551615 bytes of memory left for a buffer: free some or ask for less");
    let bytes = 7_u64.to_ne_bytes();
    assert_snapshot!(refused(View::from_bytes(ElementType::F32, &bytes[..7])).replace(char::is_numeric, "#"),
        @"# bytes at an address that is # past a multiple of # are no f## elements: give a multiple of # bytes that starts at a multiple of #");
}

/// The texts use the names of the operation.
#[test]
fn tensors_are_named_for_the_operation() {
    let (a, b, sizes) = ([bf16::ONE; 64], [bf16::ONE; 64], [2_i32, 2]);
    for operation in Operation::ALL {
        let plan = plan(&Problem::new(operation, 2, 4, 3, 5));
        let [first, second, out] = operation.tensor_names();
        let mut d = [bf16::ZERO; 64];
        let text = refused(plan.run(Args::new(operation, &a[..1], &b, &sizes, &mut d)));
        assert!(text.starts_with(&format!("{first} has 1 elements")), "{text}");
        let text = refused(plan.run(Args::new(operation, &a, &b[..1], &sizes, &mut d)));
        assert!(text.starts_with(&format!("{second} has 1 elements")), "{text}");
        let text = refused(plan.run(Args::new(operation, &a, &b, &sizes, &mut d[..1])));
        assert!(text.starts_with(&format!("{out} has 1 elements")), "{text}");
    }
}
