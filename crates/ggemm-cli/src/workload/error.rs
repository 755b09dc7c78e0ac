//! Why there are no layers.

use ggemm_runtime::tune::{ModelError, SuiteError};

/// Why flags name no layers.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// A file that is no suite, or a layer that means nothing.
    #[error("--suite: {0} (built in: public, held-out and calibration)")]
    Suite(SuiteError),
    /// A layer that means nothing.
    #[error(transparent)]
    Layer(SuiteError),
    /// A file that is no model's.
    #[error("--model: {0}")]
    Model(#[from] ModelError),
    /// A case that the suite does not have.
    #[error("--only: the suite has no case {name}; it has {known}")]
    NoCase {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No operation of any layer is wanted.
    #[error("nothing is left to do: the suite has no case with one of these --ops")]
    Nothing,
}

impl From<SuiteError> for WorkloadError {
    fn from(error: SuiteError) -> Self {
        match error {
            SuiteError::Read { .. } | SuiteError::Json { .. } => WorkloadError::Suite(error),
            error => WorkloadError::Layer(error),
        }
    }
}
