//! Plans that are interpreted: the same bits as the CPU backend, and groups read as a GPU reads them.
#![cfg(feature = "interpret")]

use ggemm_runtime::interpret::{Interpretation, Policy, Settings};
use ggemm_runtime::random::{Tensors, Values};
use ggemm_runtime::{Args, Device, Dtype, Error, Operation, Planner, Problem, Tail, bf16};

fn interpreter(policy: Policy) -> Planner {
    let settings = Settings { policy, seed: 3, ..Settings::default() };
    Planner::new(Device::cpu()).interpret(Interpretation { settings, ..Interpretation::default() })
}

#[test]
fn every_operation_has_the_bits_of_the_cpu_backend() -> Result<(), Error> {
    let sizes = [5, 0, 17, 1];
    for (operation, policy) in Operation::ALL.into_iter().zip(Policy::ALL) {
        // Untouched rows and the margin keep what they hold, so whole buffers are compared.
        let problem = Problem::new(operation, 4, 26, 24, 40).output(Dtype::F32).tail(Tail::Untouched);
        let tensors = Tensors::random(&problem, &sizes, Values::SmallIntegers, 7)?;
        let (mut computed, mut interpreted) = (tensors.out.try_clone().unwrap(), tensors.out.try_clone().unwrap());
        Planner::new(Device::cpu()).plan(&problem)?.run(tensors.args(&mut computed))?;
        let plan = interpreter(policy).plan(&problem)?;
        assert!(plan.variant().name().starts_with("ggemm_"), "{}", plan.variant());
        assert!(plan.variant().reason().starts_with("interpreted for sm_90a: "), "{}", plan.variant());
        assert!(plan.interpret(tensors.args(&mut interpreted))?.statements > 0);
        let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(interpreted.to_vec()?), bits(computed.to_vec()?), "{operation}");
    }
    Ok(())
}

/// The kernels that copy operands to aligned rows run as well, and threads write a D whose rows start anywhere.
#[test]
fn operands_whose_rows_start_anywhere_are_copied_first() -> Result<(), Error> {
    let sizes = [5, 0, 17, 1];
    for (operation, policy) in Operation::ALL.into_iter().zip(Policy::ALL) {
        let problem = Problem::new(operation, 4, 26, 25, 39).output(Dtype::F32).tail(Tail::Zero).x_row_stride(41);
        let family = match operation {
            Operation::Forward => "rows_ak_bk",
            Operation::GradX => "rows_ak_bn",
            Operation::GradW => "reduction_am_bn",
        };
        let variant = format!("ggemm_{family}_bf16_f32_f32_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads");
        let pinned = interpreter(policy).pin(variant.parse().unwrap());
        let tensors = Tensors::random(&problem, &sizes, Values::SmallIntegers, 7)?;
        let (mut computed, mut interpreted) = (tensors.out.try_clone().unwrap(), tensors.out.try_clone().unwrap());
        Planner::new(Device::cpu()).plan(&problem)?.run(tensors.args(&mut computed))?;
        let plan = pinned.plan(&problem)?;
        assert!(plan.variant().reason().contains("on copies of A and B"), "{}", plan.variant());
        plan.interpret(tensors.args(&mut interpreted))?;
        let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(interpreted.to_vec()?), bits(computed.to_vec()?), "{operation}");
        assert!(matches!(pinned.copy_limit(0).plan(&problem), Err(Error::Pin(_))));
    }
    Ok(())
}

#[test]
fn groups_are_clamped_unless_they_are_to_be_checked() -> Result<(), Error> {
    let problem = Problem::forward(2, 3, 8, 8);
    let (x, w, sizes) = ([bf16::ONE; 24], [bf16::ONE; 128], [-4_i32, 900]);
    let mut y = [bf16::NAN; 24];
    let planner = interpreter(Policy::Random);
    assert!(matches!(
        planner.clone().checked(true).plan(&problem)?.run(Args::forward(&x, &w, &sizes, &mut y)),
        Err(Error::Groups(_))
    ));
    assert!(y.iter().all(|v| v.is_nan()));
    planner.plan(&problem)?.run(Args::forward(&x, &w, &sizes, &mut y))?;
    assert_eq!(y.map(bf16::to_f32), [8.0; 24]);
    Ok(())
}

/// A limit that no kernel meets stands for any breach.
#[test]
fn a_finding_leaves_the_output_as_it_was() -> Result<(), Error> {
    let settings = Settings { limit: 10, ..Settings::default() };
    let planner = Planner::new(Device::cpu()).interpret(Interpretation { settings, ..Interpretation::default() });
    let mut y = [bf16::NAN; 24];
    let ended = planner.plan(&Problem::forward(2, 3, 8, 8))?.run(Args::forward(
        &[bf16::ONE; 24],
        &[bf16::ONE; 128],
        &[2_i32, 1],
        &mut y,
    ));
    let Err(error @ Error::Finding(_)) = ended else { panic!("{ended:?}") };
    assert!(error.to_string().contains("replay with policy random, seed 0, 2 CTAs"), "{error}");
    assert!(y.iter().all(|v| v.is_nan()));
    Ok(())
}

#[test]
fn other_plans_say_that_they_are_not_interpreted() -> Result<(), Error> {
    let plan = Planner::new(Device::cpu()).plan(&Problem::forward(1, 1, 1, 1))?;
    let mut y = [bf16::ZERO];
    let ended = plan.interpret(Args::forward(&[bf16::ONE], &[bf16::ONE], &[1_i32], &mut y));
    assert_eq!(ended, Err(Error::NotInterpreted { variant: "cpu".into() }));
    Ok(())
}
