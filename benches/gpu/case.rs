//! What a layer's time is held against.

use ggemm::tune::{Layer, Suite, Task};
use ggemm::{Dtype, Operation, Problem, Scaling, WeightLayout};

use crate::Result;

/// fp8 operands.
#[derive(Clone, Copy)]
pub(crate) struct Fp8 {
    /// Type of the first operand: the second is e4m3.
    pub(crate) format: Dtype,
    pub(crate) scaling: Scaling,
    /// Sums may stay in the tensor cores' accumulator.
    pub(crate) fast: bool,
}

/// The suite that ships with the benchmark.
pub(crate) fn suite() -> Result<Vec<Layer>> {
    Ok(Suite::parse(include_str!("suite.json"))?.layers)
}

/// One operation of a layer, of bf16, or of fp8 operands that lie along their reduction.
pub(crate) fn task(layer: &Layer, operation: Operation, fp8: Option<Fp8>) -> Result<Task> {
    let mut problem = Problem::new(operation, layer.groups, layer.m, layer.n, layer.k);
    if let Some(Fp8 { format, scaling, fast }) = fp8 {
        problem = problem.operand(format).second_operand(Dtype::E4m3).scaling(scaling).fast_accumulation(fast);
        problem = match operation {
            Operation::Forward => problem,
            Operation::GradX => problem.weight_layout(WeightLayout::Kn),
            Operation::GradW => problem.reduction_blocks(true),
        };
    }
    Ok(Task::new(layer.name.clone(), problem, layer.rows()?)?)
}

/// Bytes that a task must at least move: groups without rows have no weights to read, but grad_w writes their zeros.
pub(crate) fn bytes_moved(task: &Task) -> f64 {
    let Problem { operation, groups, m, n, k, operand, output, .. } = *task.problem();
    let live = match operation {
        Operation::GradW => groups,
        _ => task.sizes().iter().filter(|size| **size > 0).count(),
    };
    let (of_operands, of_output) = (f64::from(operand.size_bytes()), f64::from(output.size_bytes()));
    let tokens = |columns: usize| m as f64 * columns as f64;
    let weights = live as f64 * (n * k) as f64;
    match operation {
        Operation::Forward => (tokens(k) + weights) * of_operands + tokens(n) * of_output,
        Operation::GradX => (tokens(n) + weights) * of_operands + tokens(k) * of_output,
        Operation::GradW => tokens(n + k) * of_operands + weights * of_output,
    }
}
