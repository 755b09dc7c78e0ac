//! Why a command could not do its work.

use clap::error::ErrorKind;
use ggemm_codegen::ProblemError;
use ggemm_codegen::trace::{ExampleError, TraceError};
use ggemm_runtime::NoDevice;

use crate::commands::bench::BenchError;
use crate::commands::cache::CacheError;
use crate::commands::emit::EmitError;
use crate::commands::run::UsageError;
use crate::commands::tune::TuneCommandError;
use crate::commands::verify::VerifyError;
use crate::files::{InputError, OutputError};
use crate::workload::WorkloadError;

/// Anything that ends a command with exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Flags that contradict each other or mean nothing.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// A problem that means nothing.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A spec that is none.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A problem that the variant to be traced does not compute.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// No timeline.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// No layers.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Nothing that could be timed, or reported.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Nothing that could be tuned.
    #[error(transparent)]
    Tune(#[from] TuneCommandError),
    /// Nothing that could be verified, or attested.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Nothing that could be done with the compile cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A file that cannot be read, or is not what the command needs.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file that cannot be written.
    #[error(transparent)]
    OutputFile(#[from] OutputError),
    /// A GPU was asked for and there is none.
    #[error("--backend cuda: {0} (or take --backend cpu)")]
    NoDevice(#[from] NoDevice),
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] ggemm_runtime::Error),
    /// What the command line parser refuses.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// `GGEMM_LOG` is no filter.
    #[error("GGEMM_LOG is `{value}`: {reason} (expected a level such as debug, or target=level pairs)")]
    LogFilter {
        /// The variable's value.
        value: String,
        /// What the filter's parser says.
        reason: String,
    },
    /// Standard output cannot be written.
    #[error("standard output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// A report that cannot be written as JSON.
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl CliError {
    /// Whether whoever read the output stopped.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let kind = match self {
            CliError::Output(error) => Some(error.kind()),
            CliError::Json(error) => error.io_error_kind(),
            _ => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }

    /// Prints the error as clap prints its own.
    pub(crate) fn print(&self) {
        let hint = match self {
            CliError::Usage(_) => "\n\nFor more information, try 'ggemm run --help'.",
            _ => "",
        };
        let text = clap::Error::raw(ErrorKind::Io, format!("{self}{hint}\n"));
        let error = if let CliError::Flags(error) = self { error } else { &text };
        // Where standard error cannot be written, the exit code has to say it alone.
        _ = error.print();
    }
}
