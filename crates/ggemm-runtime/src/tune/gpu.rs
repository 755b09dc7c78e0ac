//! A GPU to tune on: events around launches, the L2 cache overwritten before each, inputs that rotate.

use std::time::Duration;

use ggemm_codegen::KernelSpec;
use ggemm_table::Machine;

use super::bench::{Bench, Clock};
use super::error::{TuneError, Wrong};
use super::inputs::Inputs;
use super::task::Task;
use crate::buffer::Buffer;
use crate::cuda::{Event, Stream};
use crate::element::ElementType;
use crate::error::Error;
use crate::plan::Plan;
use crate::planner::Planner;
use crate::verify::{Case, Extent, Ground};

/// A planner's GPU.
#[derive(Debug)]
pub(super) struct GpuBench {
    planner: Planner,
    machine: Machine,
    stream: Stream,
    /// As large as any L2 cache several times over.
    flush: Buffer,
}

/// The candidates of one task on a GPU, loaded, with their tensors.
#[derive(Debug)]
struct GpuClock<'a> {
    bench: &'a mut GpuBench,
    plans: Vec<Plan>,
    candidates: Vec<KernelSpec>,
    inputs: Inputs,
    out: Buffer,
    runs: usize,
    draw: usize,
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
    pub(super) fn new(planner: &Planner) -> Result<Self, TuneError> {
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
}

impl Bench for GpuBench {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn clock(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<Box<dyn Clock + '_>, Error> {
        let device = self.planner.device();
        let plan = |spec: &KernelSpec| self.planner.clone().pin(*spec).plan(task.problem());
        let plans = candidates.iter().map(plan).collect::<Result<_, _>>()?;
        let inputs = Inputs::new(device, task)?;
        let out = inputs.output(device)?;
        Ok(Box::new(GpuClock { bench: self, plans, candidates: candidates.to_vec(), inputs, out, runs: 0, draw: 0 }))
    }
}

impl Clock for GpuClock<'_> {
    fn set_draw(&mut self, draw: usize) {
        self.draw = draw;
    }

    fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error> {
        let Some(plan) = self.plans.get(candidate) else { return Ok(Vec::new()) };
        let GpuBench { planner, stream, flush, .. } = &mut *self.bench;
        let mut events = Vec::with_capacity(launches);
        for _ in 0..launches {
            let (start, end) = (Event::new(planner.device())?, Event::new(planner.device())?);
            flush.set_zero()?;
            start.record(stream)?;
            plan.run(self.inputs.args(self.runs, self.draw, &mut self.out))?;
            end.record(stream)?;
            self.runs += 1;
            events.push((start, end));
        }
        events.iter().map(|(start, end)| end.elapsed_since(start)).collect()
    }

    fn overhead(&self) -> Duration {
        FLUSH
    }

    fn check(&mut self, candidate: usize) -> Result<(), Wrong> {
        self.out = self.inputs.output(self.bench.planner.device())?;
        if let Some(plan) = self.plans.get(candidate) {
            plan.run(self.inputs.args(0, 0, &mut self.out))?;
        }
        self.inputs.check(&self.out)
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
