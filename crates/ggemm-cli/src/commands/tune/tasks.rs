//! What the flags ask to be tuned.

use ggemm_runtime::tune::Task;

use super::args::TuneArgs;
use crate::workload::{Workload, WorkloadError};

impl TuneArgs {
    /// A task for each problem, none twice.
    pub(super) fn tasks(&self) -> Result<Vec<Task>, WorkloadError> {
        let workload = Workload::new(&self.what, &self.form)?;
        let mut tasks: Vec<Task> = Vec::new();
        for layer in &workload.layers {
            for task in workload.tasks(layer)? {
                if !tasks.iter().any(|known| known.key() == task.key()) {
                    tasks.push(task);
                }
            }
        }
        Ok(tasks)
    }
}
