//! `cargo xtask test`: all that must pass before a change is merged.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::cargo::cargo;
use crate::{Result, check_cubins, cuda, python, report};

/// Runs every step in order, and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    step("formatting", || cargo(&["fmt", "--all", "--check"], &[]))?;
    step("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]))?;
    step("tests and doctests", || cargo(&["test", "--workspace"], &[]))?;
    let deny = ("RUSTDOCFLAGS", OsString::from("-D warnings"));
    step("rustdoc", || cargo(&["doc", "--workspace", "--no-deps"], &[deny]))?;
    step("real compilers", || {
        let home = ("CUDA_HOME", cuda::toolkit()?.home.into_os_string());
        cargo(&["test", "--package", "ggemm-compile", "--package", "xtask", "--", "--ignored"], &[home])
    })?;
    step("the Python package", python::run_if_possible)?;
    step("reports", || report::run(&report::Options { check: true }))?;
    step("check-cubins", || check_cubins::run(check_cubins::Extent::Unknown, 2))?;
    println!("all passed in {}", seconds(start.elapsed()));
    Ok(())
}

/// Announces a step, and says how long it took.
fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("==> {name}");
    let start = Instant::now();
    work().map_err(|error| format!("{name} failed after {}: {error}", seconds(start.elapsed())))?;
    println!("==> {name}: passed in {}", seconds(start.elapsed()));
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_is_named() {
        let error = step("a step", || Err("its reason".into())).expect_err("it failed");
        let text = error.to_string();
        assert!(text.starts_with("a step failed after ") && text.ends_with(": its reason"), "{text}");
    }
}
