//! The project's own chores. `cargo xtask --help` lists them.

mod attestations;
mod bundle;
mod cargo;
mod check_cubins;
mod compiled;
mod cuda;
mod mutants;
mod python;
mod report;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a chore returns: its failure is a text for the person who started it.
type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own chores", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Fetch the pinned CUDA compiler, if it is not there yet, and print its root (a CUDA_HOME)
    Cuda,
    /// Compile every kernel that ships, for every architecture it ships for; fail on a spill or a warning, list what no
    /// attestation covers, and write down in xtask/compiled.json what is clean, which the tests need not compile again
    CheckCubins {
        /// How many compilers run at once
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Plant faults into every family's kernels; fail on one that nothing notices
    Mutants(mutants::Options),
    /// Fail unless every kernel that ships has run on a GPU as it is, on every target that was ever attested, and the tables
    /// that ship are of these kernels
    ReleaseCheck {
        /// How many compilers run at once
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Pack what a machine with a GPU and without Rust needs: the command, the tests, the sanitizer's script
    Bundle(bundle::Options),
    /// Build the Python package's wheel and run its tests, in an environment under target/
    Python(python::Options),
    /// Write the README's table of the race and its chart from benches/results
    Report(report::Options),
    /// Run all that must pass before a change is merged, stopping at the first failure
    Test,
}

/// The workspace's root.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Cuda => cuda::run(),
        Chore::CheckCubins { threads } => check_cubins::run(check_cubins::Extent::All, threads),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::ReleaseCheck { threads } => attestations::release_check(threads),
        Chore::Bundle(options) => bundle::run(&options),
        Chore::Python(options) => python::run(&options),
        Chore::Report(options) => report::run(&options),
        Chore::Test => test::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
