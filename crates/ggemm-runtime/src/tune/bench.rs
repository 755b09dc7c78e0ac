//! What can time variants.

use std::time::Duration;

use ggemm_codegen::KernelSpec;
use ggemm_table::Machine;

use super::error::{TuneError, Wrong};
use super::task::Task;
use crate::error::Error;
use crate::planner::Planner;

/// A machine to tune on.
pub trait Bench {
    /// What entries are for.
    fn machine(&self) -> &Machine;

    /// Loads the candidates, and makes the task's tensors.
    ///
    /// # Errors
    /// What keeps a candidate from running.
    fn clock(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<Box<dyn Clock + '_>, Error>;
}

/// The candidates of one task, ready to run.
pub trait Clock {
    /// Which of the task's draws of rows launches are on from now on; the first until then.
    fn set_draw(&mut self, draw: usize);

    /// The time of each of so many launches of a candidate in a row, each with cold caches.
    ///
    /// # Errors
    /// What went wrong on the device.
    fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error>;

    /// What a launch takes beside its own time: for cooling caches.
    fn overhead(&self) -> Duration {
        Duration::ZERO
    }

    /// Runs a candidate once on the first draw and holds samples of the task's own output against the reference.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&mut self, candidate: usize) -> Result<(), Wrong> {
        self.verify(candidate)
    }

    /// Holds a candidate's results against the reference, on the task and on other problems.
    ///
    /// # Errors
    /// What is wrong with them.
    fn verify(&mut self, candidate: usize) -> Result<(), Wrong>;
}

/// The planner's GPU, to time what the planner has kernels for.
///
/// # Errors
/// [`TuneError::NoGpu`] and [`TuneError::NotAGpu`] where the planner's device is the CPU, [`TuneError::Runtime`] where
/// the driver refuses.
pub fn on_gpu(planner: &Planner) -> Result<Box<dyn Bench>, TuneError> {
    #[cfg(feature = "cuda")]
    return Ok(Box::new(super::gpu::GpuBench::new(planner)?));
    #[cfg(not(feature = "cuda"))]
    Err(TuneError::NotAGpu { device: planner.device().to_string() })
}
