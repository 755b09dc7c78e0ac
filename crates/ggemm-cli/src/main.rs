//! The `ggemm` command: computes a grouped GEMM and checks it, prints kernels, lists the catalogue, looks after a machine
//! and its compile cache.

mod cli;
mod commands;
mod error;
mod files;
mod fp8;
mod logging;
mod memory;
mod names;
mod numbers;
mod parsers;
mod progress;
mod table;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything is as it should be: exit code 0.
    Success,
    /// A result is wrong: exit code 1.
    ComparisonFailed,
    /// Something stands in ggemm's way on this machine: exit code 1.
    ProblemFound,
    /// Something takes more time than before: exit code 1.
    Slower,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => ExitCode::SUCCESS,
            Outcome::ComparisonFailed | Outcome::ProblemFound | Outcome::Slower => ExitCode::from(1),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::with_command(std::env::args_os()));
    match logging::start().and_then(|()| cli.run()) {
        Ok(outcome) => outcome.into(),
        // Whoever read the output wants no more of it: `ggemm list | head`.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_has_an_exit_code_of_its_own() {
        assert_eq!(format!("{:?}", ExitCode::from(Outcome::Success)), format!("{:?}", ExitCode::from(0)));
        for wrong in [Outcome::ComparisonFailed, Outcome::ProblemFound, Outcome::Slower] {
            assert_eq!(format!("{:?}", ExitCode::from(wrong)), format!("{:?}", ExitCode::from(1)));
        }
    }
}
