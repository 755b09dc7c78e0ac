//! The CPU backend, timed by the host's clock. Caches are as the last run left them.

use std::time::{Duration, Instant};

use super::bench::Clock;
use super::error::Wrong;
use super::inputs::Inputs;
use super::task::Task;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::error::Error;
use crate::plan::Plan;
use crate::planner::Planner;

/// One task on the CPU, which has one way to compute: the only candidate.
#[derive(Debug)]
pub struct CpuClock {
    plan: Plan,
    inputs: Inputs,
    out: Buffer,
    draw: usize,
}

impl CpuClock {
    /// The task with its tensors.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what [`Planner::plan`] refuses.
    pub fn new(task: &Task) -> Result<Self, Error> {
        let cpu = Device::cpu();
        let plan = Planner::new(cpu.clone()).plan(task.problem())?;
        let inputs = Inputs::new(&cpu, task)?;
        let out = inputs.output(&cpu)?;
        Ok(CpuClock { plan, inputs, out, draw: 0 })
    }
}

impl Clock for CpuClock {
    fn set_draw(&mut self, draw: usize) {
        self.draw = draw;
    }

    fn block(&mut self, _: usize, launches: usize) -> Result<Vec<Duration>, Error> {
        let mut times = Vec::with_capacity(launches);
        for run in 0..launches {
            let args = self.inputs.args(run, self.draw, &mut self.out);
            let start = Instant::now();
            self.plan.run(args)?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    fn verify(&mut self, _: usize) -> Result<(), Wrong> {
        self.out = self.inputs.output(&Device::cpu())?;
        self.plan.run(self.inputs.args(0, 0, &mut self.out))?;
        self.inputs.check(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Dtype, Problem};

    use super::*;
    use crate::tune::{Turns, take_turns};

    #[test]
    fn every_operation_is_timed_and_right() {
        for problem in [
            Problem::forward(3, 40, 24, 16),
            Problem::grad_x(3, 40, 24, 16),
            Problem::grad_w(3, 40, 24, 16).output(Dtype::F32).accumulate(true),
        ] {
            let task = Task::new("t", problem, vec![30, 0, 10]).unwrap();
            let mut clock = CpuClock::new(&task).unwrap();
            clock.check(0).unwrap();
            let turns =
                Turns { rounds: 3, warm_up: Duration::ZERO, counted: Duration::from_micros(10), ..Turns::default() };
            let times = take_turns(&mut clock, 1, &turns, &mut |_| ()).unwrap();
            assert!(times[0].len() == 3 && times[0].iter().all(|time| !time.is_zero()), "{times:?}");
        }
    }

    /// Each draw has groups of its own, on the operands of all.
    #[test]
    fn a_draw_runs_on_its_own_rows() {
        let task = |sizes: &[usize]| Task::new("t", Problem::forward(3, 40, 24, 16), sizes.to_vec()).unwrap();
        let draws = [[30, 0, 10], [0, 10, 30]];
        let alone = |sizes: &[usize]| {
            let mut clock = CpuClock::new(&task(sizes)).unwrap();
            clock.block(0, 1).unwrap();
            clock.out
        };
        let mut drawn = CpuClock::new(&task(&draws[0]).and_draws([draws[1].to_vec()]).unwrap()).unwrap();
        for (draw, sizes) in draws.iter().enumerate() {
            drawn.set_draw(draw);
            drawn.block(0, 1).unwrap();
            assert_eq!(drawn.out.as_slice::<half::bf16>(), alone(sizes).as_slice::<half::bf16>(), "draw {draw}");
        }
        assert_ne!(alone(&draws[0]).as_slice::<half::bf16>(), alone(&draws[1]).as_slice::<half::bf16>());
        drawn.check(0).unwrap();
    }
}
