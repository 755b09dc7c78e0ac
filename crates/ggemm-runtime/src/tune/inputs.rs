//! What a task is timed on.

use ggemm_codegen::{GroupForm, IndexType, Problem, ScaleShape, TensorShape};

use super::error::Wrong;
use super::samples::Operands;
use super::task::Task;
use crate::args::Args;
use crate::buffer::Buffer;
use crate::device::{Device, DeviceKind};
use crate::error::Error;
use crate::operand::Operand;
use crate::random::Rng;
use crate::real::{Real, with_real};

/// A task's operands in the host's memory, and on a GPU several sets of them, so that no run finds the last one's in a
/// cache.
#[derive(Debug)]
pub struct Inputs {
    problem: Problem,
    /// Operands, which are those of the first draw.
    host: [Buffer; 2],
    /// The groups of each draw.
    host_groups: Vec<Buffer>,
    /// Those of fp8 operands.
    host_scales: Option<[Buffer; 2]>,
    on_gpu: Option<OnGpu>,
}

#[derive(Debug)]
struct OnGpu {
    /// At least one.
    sets: Vec<[Buffer; 2]>,
    /// Small enough to be the same for every set.
    scales: Option<[Buffer; 2]>,
    /// Of each draw.
    groups: Vec<Buffer>,
}

/// Sets beyond the first are made while they stay below this many bytes, several times any L2 cache: making more takes
/// longer than timing them.
const MOST_BYTES: usize = 512 << 20;
const MOST_SETS: usize = 4;

impl Inputs {
    /// Random operands of the task.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and where the driver fails [`Error::Cuda`].
    pub fn new(device: &Device, task: &Task) -> Result<Self, Error> {
        let problem = task.problem();
        let cpu = Device::cpu();
        let [lhs, rhs, _] = problem.tensors();
        let mut rng = Rng::new(problem.m as u64);
        let mut operand = |shape: &TensorShape| {
            with_real!(shape.dtype, T => {
                let block = block::<T>(&mut rng);
                let mut buffer = repeated(&cpu, &block, shape.elements())?;
                if problem.reduction_blocks {
                    clear_between_groups(buffer.as_mut_slice::<T>().unwrap_or_default(), shape, task);
                }
                Ok::<_, Error>(buffer)
            })
        };
        let [lhs, rhs] = [operand(&lhs)?, operand(&rhs)?];
        let scales = |shape: &ScaleShape| {
            let values: Vec<f32> = (0..shape.elements()).map(|i| 0.5 + (i % 61) as f32 / 61.0).collect();
            Buffer::from_slice(&cpu, &values)
        };
        let host_scales = match problem.scales() {
            None => None,
            Some([a, b]) => Some([scales(&a)?, scales(&b)?]),
        };
        let host_groups: Vec<Buffer> =
            task.draws().iter().map(|sizes| group_array(problem, sizes)).collect::<Result<_, Error>>()?;
        let on_gpu = match device.kind() {
            DeviceKind::Cpu => None,
            DeviceKind::Cuda(_) => {
                let bytes = (lhs.len() + rhs.len()) * problem.operand.size_bytes() as usize;
                let sets = (MOST_BYTES / bytes.max(1)).clamp(1, MOST_SETS);
                let sets = (0..sets).map(|_| Ok([lhs.to_device(device)?, rhs.to_device(device)?]));
                let scales = match &host_scales {
                    None => None,
                    Some([a, b]) => Some([a.to_device(device)?, b.to_device(device)?]),
                };
                let groups = host_groups.iter().map(|groups| groups.to_device(device));
                let groups = groups.collect::<Result<_, Error>>()?;
                Some(OnGpu { sets: sets.collect::<Result<_, Error>>()?, scales, groups })
            }
        };
        Ok(Inputs { problem: problem.clone(), host: [lhs, rhs], host_groups, host_scales, on_gpu })
    }

    /// An output that holds NaN, or zeros where the product is added to it.
    ///
    /// # Errors
    /// As [`Inputs::new`].
    pub fn output(&self, device: &Device) -> Result<Buffer, Error> {
        let [_, _, out] = self.problem.tensors();
        with_real!(self.problem.output, T => {
            let before = T::from_f32(if self.problem.accumulate { 0.0 } else { f32::NAN });
            Buffer::from_slice(device, &vec![before; out.elements()])
        })
    }

    /// The arguments of the run of this number on a draw of the task's rows; past the last the first follows.
    pub fn args<'a>(&'a self, run: usize, draw: usize, out: &'a mut Buffer) -> Args<'a> {
        let ([lhs, rhs], scales, groups) = match &self.on_gpu {
            None => (&self.host, &self.host_scales, &self.host_groups),
            Some(OnGpu { sets, scales, groups }) => (&sets[run % sets.len()], scales, groups),
        };
        let groups = &groups[draw % groups.len()];
        let operation = self.problem.operation;
        match scales {
            None => Args::new(operation, lhs, rhs, groups, out),
            Some([of_lhs, of_rhs]) => {
                Args::new(operation, Operand::scaled(lhs, of_lhs), Operand::scaled(rhs, of_rhs), groups, out)
            }
        }
    }

    /// Holds samples of what a run on the first draw left in an output of [`Inputs::output`] against sums in f64.
    pub(super) fn check(&self, out: &Buffer) -> Result<(), Wrong> {
        let ([lhs, rhs], groups) = (&self.host, &self.host_groups[0]);
        let gpu = out.device().arch();
        let out = out.to_device(&Device::cpu())?;
        let operands = Operands { problem: &self.problem, lhs, rhs, scales: self.host_scales.as_ref(), groups, gpu };
        operands.check(&out, out.len() as u64)?.map_or(Ok(()), |found| Err(Wrong::Element(found)))
    }
}

/// Zeros in the columns of an operand that lies along the reduction that are no group's rows.
fn clear_between_groups<T: Real>(elements: &mut [T], shape: &TensorShape, task: &Task) {
    let c = task.problem().contraction();
    let mut sizes: Vec<usize> = task.sizes().to_vec();
    if c.weight_shared {
        sizes = vec![sizes.iter().sum()];
    }
    let (mut start, mut free) = (0, vec![true; shape.cols]);
    for (group, size) in sizes.into_iter().enumerate() {
        let first = c.reduction_start(start, group);
        free[first..first + size].fill(false);
        start += size;
    }
    for row in elements.chunks_mut(shape.row_stride.max(1)) {
        row.iter_mut().zip(&free).filter(|(_, free)| **free).for_each(|(element, _)| *element = T::from_f32(0.0));
    }
}

/// Long enough that no row repeats within a tile, and of a length that no row's divides.
fn block<T: Real>(rng: &mut Rng) -> Vec<T> {
    (0..(1 << 20) + 7).map(|_| T::from_f32(rng.normal())).collect()
}

fn repeated<T: Real>(device: &Device, block: &[T], len: usize) -> Result<Buffer, Error> {
    let mut buffer = Buffer::zeros(device, T::TYPE, len)?;
    for part in buffer.as_mut_slice::<T>().unwrap_or_default().chunks_mut(block.len()) {
        part.copy_from_slice(&block[..part.len()]);
    }
    Ok(buffer)
}

/// Sizes or ends, as the problem says.
fn group_array(problem: &Problem, sizes: &[usize]) -> Result<Buffer, Error> {
    let mut end = 0;
    let values = sizes.iter().map(|size| {
        end += *size;
        let value = if problem.group_form == GroupForm::Ends { end } else { *size };
        // A task's sizes are within M.
        i64::try_from(value).unwrap_or(i64::MAX)
    });
    let values: Vec<i64> = values.collect();
    match problem.group_index {
        IndexType::I64 => Buffer::from_slice(&Device::cpu(), &values),
        IndexType::I32 => {
            let narrow: Vec<i32> = values.iter().map(|value| i32::try_from(*value).unwrap_or(i32::MAX)).collect();
            Buffer::from_slice(&Device::cpu(), &narrow)
        }
    }
}
