//! What ends tuning.

use ggemm_table::TableError;

use crate::compare::Discrepancy;
use crate::device::NoDevice;
use crate::error::Error;
use crate::verify::Failure;

/// Why nothing more is tuned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// There is nothing to tune on.
    #[error("tuning needs the GPU that it is for: {0}")]
    NoGpu(#[from] NoDevice),
    /// The planner's device is none to tune on.
    #[error("tuning needs a GPU, and the planner's device is {device}: plan on Device::probe() or Device::cuda()")]
    NotAGpu {
        /// The device.
        device: String,
    },
    /// The table cannot be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The runtime or the device refused.
    #[error("{label}: {source}")]
    Runtime {
        /// The task.
        label: String,
        /// Why.
        source: Box<Error>,
    },
}

/// What is wrong with a variant's result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// On the task's own tensors.
    #[error("{0}")]
    Element(Discrepancy),
    /// On a random problem.
    #[error("{0}")]
    Case(Box<Failure>),
    /// It did not run.
    #[error(transparent)]
    Runtime(#[from] Error),
}
