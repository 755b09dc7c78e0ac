//! Why nothing could be tuned.

use ggemm_runtime::NoDevice;
use ggemm_runtime::tune::{ModelError, SuiteError, TableError, TaskError, TuneError};

/// Why `ggemm tune` could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TuneCommandError {
    /// No GPU.
    #[error("tuning needs the GPU that it is for: {0} (or add --dry-run, which prints what would be timed)")]
    NoGpu(NoDevice),
    /// A file that is no suite.
    #[error("--suite: {0}")]
    Suite(#[from] SuiteError),
    /// A file that is no model's.
    #[error("--model: {0}")]
    Model(#[from] ModelError),
    /// A layer that means nothing.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A table that cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Tuning ended.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A file without layers, or without the operations that were asked for.
    #[error("nothing is left to tune: the suite has no case with one of these --ops")]
    Nothing,
}
