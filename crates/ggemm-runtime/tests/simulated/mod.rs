//! A GPU that is none: a bench on which every variant has a known speed.

#![allow(dead_code)]

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use ggemm_runtime::random::Rng;
use ggemm_runtime::tune::{Bench, Clock, Machine, Task, Wrong};
use ggemm_runtime::{Discrepancy, Error, KernelSpec};

/// A made-up machine. `generation` slows it down by as many nanoseconds, so that entries of different runs differ.
pub(crate) struct Simulation {
    machine: Machine,
    pub(crate) generation: u64,
    /// Variants that compute wrong results.
    pub(crate) wrong: HashSet<KernelSpec>,
    /// Rows past which a task does not fit the memory.
    pub(crate) most_rows: usize,
    /// How long the host takes for a launch.
    pub(crate) pause: Duration,
    /// Launches of each variant.
    pub(crate) launches: usize,
}

pub(crate) fn machine() -> Machine {
    Machine {
        gpu: "made up".into(),
        compute_capability: "9.0".into(),
        driver: "1.0".into(),
        ggemm: "0.0.0".into(),
        kernels: "0123456789abcdef".into(),
    }
}

impl Simulation {
    pub(crate) fn new() -> Self {
        Simulation {
            machine: machine(),
            generation: 0,
            wrong: HashSet::new(),
            most_rows: usize::MAX,
            pause: Duration::ZERO,
            launches: 0,
        }
    }

    /// The time of a variant on one draw of a task's rows: 100 to 355 microseconds, as unlike what is predicted as a hash
    /// can be.
    fn speed_on(&self, task: &Task, spec: &KernelSpec, draw: usize) -> Duration {
        let mut hasher = DefaultHasher::new();
        (task.label(), spec, draw).hash(&mut hasher);
        Duration::from_micros(100 + hasher.finish() % 256) + Duration::from_nanos(self.generation)
    }

    /// The mean time of a variant on a task.
    pub(crate) fn speed(&self, task: &Task, spec: &KernelSpec) -> Duration {
        let draws = task.draws().len();
        (0..draws).map(|draw| self.speed_on(task, spec, draw)).sum::<Duration>() / draws as u32
    }
}

impl Bench for Simulation {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn clock(&mut self, task: &Task, candidates: &[KernelSpec]) -> Result<Box<dyn Clock + '_>, Error> {
        if task.problem().m > self.most_rows {
            return Err(Error::OutOfMemory { device: "made up".into(), bytes: task.problem().m });
        }
        let on = |draw| candidates.iter().map(|spec| self.speed_on(task, spec, draw)).collect();
        let speeds = (0..task.draws().len()).map(on).collect();
        Ok(Box::new(Simulated { simulation: self, speeds, draw: 0, candidates: candidates.to_vec(), rng: Rng::new(7) }))
    }
}

struct Simulated<'a> {
    simulation: &'a mut Simulation,
    /// Of each draw.
    speeds: Vec<Vec<Duration>>,
    draw: usize,
    candidates: Vec<KernelSpec>,
    rng: Rng,
}

impl Clock for Simulated<'_> {
    fn set_draw(&mut self, draw: usize) {
        self.draw = draw;
    }

    /// Now and then a launch takes far longer, as where something else wants the GPU.
    fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error> {
        self.simulation.launches += launches;
        std::thread::sleep(self.simulation.pause);
        let speed = self.speeds[self.draw][candidate];
        Ok((0..launches).map(|_| if self.rng.below(5) == 0 { 3 * speed } else { speed }).collect())
    }

    fn verify(&mut self, candidate: usize) -> Result<(), Wrong> {
        if !self.simulation.wrong.contains(&self.candidates[candidate]) {
            return Ok(());
        }
        let found = Discrepancy { group: None, row: 0, col: 0, found: 1.0, exact: 0.0, bound: 0.0 };
        Err(Wrong::Element(found))
    }
}
