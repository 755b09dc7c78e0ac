//! What needs a GPU. Where there is none every test is skipped, and the reason printed.
//!
//! This program runs outside cargo too: `cargo xtask bundle` packs it. It says which tests it ran, and takes the flags of
//! Rust's own test programs.

use std::process::ExitCode;

use ggemm::verify::{Case, Extent, Ground};
use ggemm::{Device, catalogue};
use libtest_mimic::{Arguments, Failed, Trial};

/// A test on a GPU.
type Test = fn(&Device) -> Result<(), Failed>;

const TESTS: [(&str, Test); 1] = [("every_shipped_variant_passes_random_problems", variants_pass)];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let gpu = Device::probe();
    match &gpu {
        Ok(device) => eprintln!("on {device}"),
        Err(why) => eprintln!("every test is skipped: {why}"),
    }
    let trials = TESTS.into_iter().map(|(name, test)| match gpu.clone() {
        Ok(device) => Trial::test(name, move || test(&device)),
        Err(_) => Trial::test(name, || Ok(())).with_ignored_flag(true),
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A few problems for each; `ggemm verify` runs many.
fn variants_pass(device: &Device) -> Result<(), Failed> {
    let arch = device.arch().ok_or("the GPU has no architecture")?;
    let ground = Ground::Device(device.clone());
    for kernel in catalogue::KERNELS {
        let spec = kernel.spec()?;
        if ggemm_codegen::ValidSpec::new(spec, arch).is_ok() {
            for seed in 0..3 {
                Case::random(&spec, seed, Extent::Hundreds).check(&ground)?;
            }
        }
    }
    Ok(())
}
