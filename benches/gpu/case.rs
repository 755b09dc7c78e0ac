//! What a layer's time is held against.

use ggemm::tune::{Layer, Suite, Task};
use ggemm::{Operation, Problem};

use crate::Result;

/// The suite that ships with the benchmark.
pub(crate) fn suite() -> Result<Vec<Layer>> {
    Ok(Suite::parse(include_str!("suite.json"))?.layers)
}

/// One operation of a layer.
pub(crate) fn task(layer: &Layer, operation: Operation) -> Result<Task> {
    let problem = Problem::new(operation, layer.groups, layer.m, layer.n, layer.k);
    Ok(Task::new(layer.name.clone(), problem, layer.rows()?)?)
}

/// Bytes that a task must at least move: groups without rows have no weights to read, but grad_w writes their zeros.
pub(crate) fn bytes_moved(task: &Task) -> f64 {
    let Problem { operation, groups, m, n, k, .. } = *task.problem();
    let live = match operation {
        Operation::GradW => groups,
        _ => task.sizes().iter().filter(|size| **size > 0).count(),
    };
    let elements = m as f64 * (n + k) as f64 + live as f64 * (n * k) as f64;
    2.0 * elements
}
