//! Why nothing could be tuned.

use ggemm_runtime::NoDevice;
use ggemm_runtime::tune::{TableError, TuneError};

/// Why `ggemm tune` could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TuneCommandError {
    /// No GPU.
    #[error("tuning needs the GPU that it is for: {0} (or add --dry-run, which prints what would be timed)")]
    NoGpu(NoDevice),
    /// A table that cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Tuning ended.
    #[error(transparent)]
    Tune(#[from] TuneError),
}
