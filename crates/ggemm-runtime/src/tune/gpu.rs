//! A GPU to tune on: events around launches, the L2 cache overwritten before each, inputs that rotate.

use std::time::Duration;

use ggemm_codegen::{GroupForm, IndexType, KernelSpec, Problem, ScaleShape, TensorShape};
use ggemm_table::Machine;

use super::bench::{Bench, Clock};
use super::error::{TuneError, Wrong};
use super::samples::Operands;
use super::task::Task;
use crate::args::Args;
use crate::buffer::Buffer;
use crate::cuda::{Event, Stream};
use crate::device::Device;
use crate::element::ElementType;
use crate::error::Error;
use crate::operand::Operand;
use crate::plan::Plan;
use crate::planner::Planner;
use crate::random::Rng;
use crate::real::{Real, with_real};
use crate::verify::{Case, Extent, Ground};

/// A planner's GPU.
#[derive(Debug)]
pub struct GpuBench {
    planner: Planner,
    machine: Machine,
    stream: Stream,
    /// As large as any L2 cache several times over.
    flush: Buffer,
}

/// The candidates of one task on a GPU, loaded, with their tensors.
#[derive(Debug)]
pub struct GpuClock<'a> {
    bench: &'a mut GpuBench,
    plans: Vec<Plan>,
    candidates: Vec<KernelSpec>,
    inputs: Inputs,
    out: Buffer,
    runs: usize,
}

/// Elements of f32 that are overwritten before a launch: 256 MiB, which also takes longer than the host takes to ask for
/// what follows, so that the GPU never waits for it.
const FLUSHED: usize = 64 << 20;

/// What overwriting them takes, about.
const FLUSH: Duration = Duration::from_micros(150);

/// Random problems that a winner must compute right beside the task's own.
const CASES: u64 = 16;

impl GpuBench {
    /// Times on the planner's device what the planner has kernels for.
    ///
    /// # Errors
    /// [`TuneError::NotAGpu`] where the planner's device is the CPU, [`TuneError::Runtime`] where the driver refuses.
    pub fn new(planner: &Planner) -> Result<Self, TuneError> {
        let device = planner.device();
        let Some(machine) = super::machine(device) else {
            return Err(match device.why_not_gpu() {
                Some(why) => TuneError::NoGpu(why.clone()),
                None => TuneError::NotAGpu { device: device.to_string() },
            });
        };
        let failed = |error| TuneError::Runtime { label: device.to_string(), source: Box::new(error) };
        let stream = device.stream().map_err(failed)?;
        let flush = Buffer::zeros(device, ElementType::F32, FLUSHED).map_err(failed)?;
        Ok(GpuBench { planner: planner.clone(), machine, stream, flush })
    }

    /// As [`Bench::clock`], with all that a clock of a GPU can do.
    ///
    /// # Errors
    /// What the device refuses.
    pub fn prepare(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<GpuClock<'_>, Error> {
        let device = self.planner.device();
        let plan = |spec: &KernelSpec| self.planner.clone().pin(*spec).plan(task.problem());
        let plans = candidates.iter().map(plan).collect::<Result<_, _>>()?;
        let inputs = Inputs::new(device, task)?;
        let out = inputs.output(device)?;
        Ok(GpuClock { bench: self, plans, candidates: candidates.to_vec(), inputs, out, runs: 0 })
    }
}

impl Bench for GpuBench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn clock(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<Box<dyn Clock + '_>, Error> {
        Ok(Box::new(self.prepare(task, candidates)?))
    }
}

impl GpuClock<'_> {
    /// Runs a candidate once and holds samples of the task's own output against sums in f64.
    ///
    /// # Errors
    /// [`Wrong::Element`], and [`Wrong::Runtime`] where the device fails.
    pub fn check(&mut self, candidate: usize) -> Result<(), Wrong> {
        let device = self.bench.planner.device();
        self.out = self.inputs.output(device)?;
        if let Some(plan) = self.plans.get(candidate) {
            plan.run(self.inputs.args(0, &mut self.out))?;
        }
        self.inputs.check(&self.out)
    }
}

impl Clock for GpuClock<'_> {
    fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error> {
        let Some(plan) = self.plans.get(candidate) else { return Ok(Vec::new()) };
        let GpuBench { planner, stream, flush, .. } = &mut *self.bench;
        let mut events = Vec::with_capacity(launches);
        for _ in 0..launches {
            let (start, end) = (Event::new(planner.device())?, Event::new(planner.device())?);
            flush.set_zero()?;
            start.record(stream)?;
            plan.run(self.inputs.args(self.runs, &mut self.out))?;
            end.record(stream)?;
            self.runs += 1;
            events.push((start, end));
        }
        events.iter().map(|(start, end)| end.elapsed_since(start)).collect()
    }

    fn overhead(&self) -> Duration {
        FLUSH
    }

    fn verify(&mut self, candidate: usize) -> Result<(), Wrong> {
        self.check(candidate)?;
        let Some(spec) = self.candidates.get(candidate) else { return Ok(()) };
        let ground = Ground::Planner(Box::new(self.bench.planner.clone()));
        for seed in 1..=CASES {
            Case::random(spec, seed, Extent::Hundreds).check(&ground).map_err(Wrong::Case)?;
        }
        Ok(())
    }
}

/// Several sets of a task's operands on a GPU, so that no run finds the last one's in a cache, and the first in the
/// host's memory.
#[derive(Debug)]
pub struct Inputs {
    problem: Problem,
    sets: Vec<[Buffer; 2]>,
    /// Those of fp8 operands, small enough to be the same for every set.
    scales: Option<[Buffer; 2]>,
    groups: Buffer,
    host: [Buffer; 3],
    host_scales: Option<[Buffer; 2]>,
}

/// Sets beyond the first are made while they stay below this many bytes.
const MOST_BYTES: usize = 3 << 30;
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
        let scales = match &host_scales {
            None => None,
            Some([a, b]) => Some([a.to_device(device)?, b.to_device(device)?]),
        };
        let bytes = (lhs.len() + rhs.len()) * problem.operand.size_bytes() as usize;
        let sets = (MOST_BYTES / bytes.max(1)).clamp(1, MOST_SETS);
        let sets = (0..sets).map(|_| Ok([lhs.to_device(device)?, rhs.to_device(device)?]));
        let sets = sets.collect::<Result<_, Error>>()?;
        let groups = group_array(task)?;
        let (problem, host) = (problem.clone(), [lhs, rhs, groups]);
        Ok(Inputs { problem, sets, scales, groups: host[2].to_device(device)?, host, host_scales })
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

    /// The arguments of the run of this number.
    pub fn args<'a>(&'a self, run: usize, out: &'a mut Buffer) -> Args<'a> {
        // There is always a first set.
        let [lhs, rhs] = &self.sets[run % self.sets.len()];
        let operation = self.problem.operation;
        match &self.scales {
            None => Args::new(operation, lhs, rhs, &self.groups, out),
            Some([of_lhs, of_rhs]) => {
                let (lhs, rhs) = (Operand::scaled(lhs, of_lhs), Operand::scaled(rhs, of_rhs));
                Args::new(operation, lhs, rhs, &self.groups, out)
            }
        }
    }

    /// Holds samples of what a run left in an output of [`Inputs::output`] against sums in f64.
    fn check(&self, out: &Buffer) -> Result<(), Wrong> {
        let [lhs, rhs, groups] = &self.host;
        let out = out.to_device(&Device::cpu())?;
        let operands = Operands { problem: &self.problem, lhs, rhs, scales: self.host_scales.as_ref(), groups };
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
fn group_array(task: &Task) -> Result<Buffer, Error> {
    let problem = task.problem();
    let mut end = 0;
    let values = task.sizes().iter().map(|size| {
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
