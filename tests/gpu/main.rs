//! What only a GPU can show. The program runs under cargo and alone, says which tests it ran, and where there is no GPU
//! ignores all of them and says why. `cargo xtask bundle` packs it for a machine without Rust.

// A test that cannot go on has failed; the harness is not the compiler's, so clippy does not see that these are tests.
#![allow(clippy::unwrap_used)]

mod capture;
mod code;
mod faults;
mod memory;
mod quantize;
mod raw;
mod results;
mod streams;
mod support;

use std::process::ExitCode;

use ggemm::Device;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(part) = support::part_of_a_child() {
        return part;
    }
    let mut arguments = Arguments::from_args();
    // One device: tests that measure or fill its memory must not disturb each other.
    arguments.test_threads.get_or_insert(1);
    let device = match Device::probe() {
        Ok(device) => {
            eprintln!("on {device}, driver {}", device.driver().unwrap_or("unknown"));
            Some(device)
        }
        Err(why) => {
            eprintln!("every test is ignored: {why}");
            None
        }
    };
    let all = [
        results::TESTS,
        memory::TESTS,
        capture::TESTS,
        streams::TESTS,
        raw::TESTS,
        code::TESTS,
        quantize::TESTS,
        faults::TESTS,
    ];
    let trials = all.concat().into_iter().map(|(name, test)| {
        let there = device.clone();
        let ignored = there.is_none();
        Trial::test(name, move || {
            if let Some(device) = &there {
                test(device);
            }
            Ok(())
        })
        .with_ignored_flag(ignored)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
