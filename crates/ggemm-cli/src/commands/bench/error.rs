//! Why nothing could be timed, or reported.

use std::path::PathBuf;

use ggemm_report::ReportError;
use ggemm_runtime::tune::{TableError, TuneError};

/// Why `ggemm bench` could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The interpreter has no clock.
    #[error(
        "--backend interpret: the interpreter counts statements and knows no time: take --backend cpu or cuda; `ggemm list --op …` prints predicted times, `ggemm trace` the order of things"
    )]
    Interpreter,
    /// A flag about GPUs.
    #[error(
        "{flag} is about a GPU's kernels, and this would run on the CPU, which has one way to compute{why}: drop {flag}"
    )]
    OnCpu {
        /// The flag.
        flag: &'static str,
        /// Why there is no GPU, where none was asked for.
        why: String,
    },
    /// A GPU that is none for kernels.
    #[error(transparent)]
    Gpu(#[from] TuneError),
    /// A device that no kernels are made for.
    #[error("no kernels are made for {device}: take --backend cpu")]
    NoArch {
        /// The device.
        device: String,
    },
    /// A point of a sweep that is none.
    #[error("--points: {value} is no number of rows: give whole numbers, at least 1")]
    Rows {
        /// What was given.
        value: f64,
    },
    /// A skew that is none.
    #[error("--points: {value} is no skew: give numbers, at least 0")]
    Skew {
        /// What was given.
        value: f64,
    },
    /// Points for a model, whose rows follow from tokens.
    #[error("--points: the rows of a model follow from --tokens: list more tokens, or sweep skew")]
    RowsOfModel,
    /// A file of measurements that cannot be used.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A table that cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No table.
    #[error("{} does not exist: name a table that `ggemm tune` wrote", path.display())]
    NoTable {
        /// Where it was to be.
        path: PathBuf,
    },
    /// A table without entries, or of several machines.
    #[error("{} has measurements of {machines} machines, and those of one are reported: keep one machine's lines", path.display())]
    Machines {
        /// The table.
        path: PathBuf,
        /// How many it has.
        machines: usize,
    },
    /// A race that is built in and does not read.
    #[error("a race of peers that is built in does not read: {reason}")]
    Race {
        /// Why.
        reason: String,
    },
    /// Files that are one.
    #[error("--{flag} would overwrite {}, which is read: give another file", path.display())]
    Overwrite {
        /// What would be written.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
}
