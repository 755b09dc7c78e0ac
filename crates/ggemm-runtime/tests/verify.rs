//! Verification passes what is right, and names what is not.
#![cfg(feature = "interpret")]

use ggemm_codegen::{RealignSpec, catalogue};
use ggemm_runtime::verify::{Case, Extent, Fault, Ground};
use ggemm_runtime::{Arch, Device, Error, KernelSpec};

/// The smallest variants: interpreting takes time.
fn small() -> impl Iterator<Item = KernelSpec> {
    catalogue::shipped().into_iter().filter(|s| s.tile.m * s.tile.n <= 64 * 64)
}

#[test]
fn shipped_variants_pass_in_the_interpreter() {
    let mut worst = 0.0_f64;
    for (seed, spec) in (0..).zip(small().step_by(3)) {
        let case = Case::random(&spec, seed, Extent::Tiles);
        match case.check(&Ground::Interpreter(Arch::Sm90a)) {
            Ok(passed) => worst = worst.max(passed.worst_of_bound),
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(0.0 < worst && worst <= 1.0, "{worst}");
}

/// Kernels that copy operands to aligned rows are verified by products of their copies.
#[test]
fn copies_to_aligned_rows_pass_in_the_interpreter() {
    for spec in RealignSpec::all() {
        let mut copied = 0;
        for seed in 0..6 {
            let case = Case::realigned(&spec, seed, Extent::Tiles).expect("products of copies ship");
            copied += usize::from(ggemm_runtime::Realigned::needed(&case.problem().contraction()).is_some());
            case.check(&Ground::Interpreter(Arch::Sm90a)).unwrap_or_else(|failure| panic!("{failure}"));
        }
        assert!(copied > 3, "{copied} of 6");
    }
}

/// Sums of integers that the output's type cannot hold are rounded, and right to the bit; no share of a bound tells it.
#[test]
fn integers_that_are_rounded_do_not_count_as_errors() {
    let plain = "ggemm_reduction_am_bn_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain".parse().unwrap();
    let case = (0..).map(|seed| Case::random(&plain, seed, Extent::Hundreds)).find(|case| {
        let problem = case.problem();
        (150..300).contains(&problem.m) && problem.n * problem.k < 40_000 && problem.groups == 1
    });
    let passed = case.unwrap().check(&Ground::Interpreter(Arch::Sm80)).unwrap();
    assert!(passed.worst_of_bound <= 1.0, "{}", passed.worst_of_bound);
}

#[test]
fn a_refusal_is_a_failure_that_replays() {
    let spec = small().next().unwrap();
    let case = Case::random(&spec, 7, Extent::Tiles);
    let failure = case.check(&Ground::Device(Device::cpu())).unwrap_err();
    assert!(matches!(failure.fault, Fault::Runtime(Error::PinnedOnCpu { .. })), "{failure}");
    let text = failure.to_string();
    assert!(
        text.starts_with(&format!("{spec}\n  seed     7\n  problem  {case}\n  data     small integers\n")),
        "{text}"
    );
}
