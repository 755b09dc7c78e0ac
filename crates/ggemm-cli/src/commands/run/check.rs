//! Holds an output against the f64 reference.

use ggemm_codegen::Operation;
use ggemm_runtime::{Buffer, Comparison, Device, Element, Error, Mode, Reference, bf16, f16};

use crate::commands::run::case::Case;
use crate::progress::Progress;

/// What a comparison found.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    /// Element by element.
    pub(crate) comparison: Comparison,
    /// What counted as right.
    pub(crate) mode: Mode,
    /// A GPU computed it, whose tensor cores keep fewer bits of fp8 sums.
    pub(crate) by_tensor_cores: bool,
    /// Elements of the output that are 0.
    pub(crate) zeros: usize,
    /// Elements of the reference that are 0.
    pub(crate) reference_zeros: usize,
}

/// Computes the reference of an operation and compares `after`, which `device` computed, with it.
pub(crate) fn check(
    case: &Case,
    operation: Operation,
    device: &Device,
    before: &Buffer,
    after: &Buffer,
) -> Result<Check, Error> {
    let problem = case.problem(operation);
    let operands = case.operands(operation, &Device::cpu())?;
    let [lhs, rhs] = operands.get();
    let progress = Progress::new(format!("{operation}: reference in f64"));
    let mut reference =
        Reference::compute(&problem, lhs.clone(), rhs.clone(), &case.groups, before, &|part| progress.show(part))?;
    if let Some(arch) = device.arch() {
        reference = reference.of_tensor_cores(arch, lhs, rhs)?;
    }
    drop(progress);
    let mode = case.mode();
    let comparison = reference.compare(before, after, mode)?;
    let reference_zeros = zeros_of_reference(&reference, after)?;
    Ok(Check {
        comparison,
        mode,
        by_tensor_cores: device.arch().is_some(),
        zeros: zeros(case, operation, after),
        reference_zeros,
    })
}

/// An output of zeros differs from the reference in being 0 wherever the reference is not 0; the rest is 0 there too.
fn zeros_of_reference(reference: &Reference, like: &Buffer) -> Result<usize, Error> {
    let nothing = Buffer::zeros(&Device::cpu(), like.element_type(), like.len())?;
    let comparison = reference.compare(&nothing, &nothing, Mode::Bound)?;
    Ok(comparison.compared.saturating_sub(comparison.zeros))
}

/// Zeros among the elements that the problem defines.
fn zeros(case: &Case, operation: Operation, out: &Buffer) -> usize {
    fn count<T: Element>(case: &Case, operation: Operation, out: &Buffer, is_zero: fn(&T) -> bool) -> Option<usize> {
        let elements = out.as_slice::<T>()?;
        let rows = case.defined_rows(operation);
        Some(rows.map(|row| elements[row].iter().filter(|&e| is_zero(e)).count()).sum())
    }
    count::<f32>(case, operation, out, |v| *v == 0.0)
        .or_else(|| count::<bf16>(case, operation, out, |v| v.to_f32() == 0.0))
        .or_else(|| count::<f16>(case, operation, out, |v| v.to_f32() == 0.0))
        .unwrap_or_default()
}
