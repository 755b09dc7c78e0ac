//! What a launch costs the host, and what a small problem costs in a graph.

use std::time::{Duration, Instant};

use ggemm_report::LaunchCost;
use ggemm_runtime::cuda::{Event, Stream};
use ggemm_runtime::tune::{Inputs, Task, median};
use ggemm_runtime::{Device, Error, Planner};

/// Launches that are asked for without a wait: far fewer than the driver queues.
const LAUNCHES: u32 = 100;
const ROUNDS: usize = 21;

/// Measures it on a task.
pub(super) fn measure(device: &Device, task: &Task) -> Result<LaunchCost, Error> {
    let inputs = Inputs::new(device, task)?;
    let planner = Planner::new(device.clone());
    let plan = planner.plan(task.problem())?;
    let mut out = inputs.output(device)?;
    let stream = Stream::new(device)?;

    let mut launches = Vec::new();
    for _ in 0..ROUNDS {
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..LAUNCHES {
            plan.run_on(&stream, inputs.args(0, 0, &mut out))?;
        }
        launches.push(start.elapsed() / LAUNCHES);
    }
    let mut graph = stream.capture(|stream| {
        for _ in 0..LAUNCHES {
            plan.run_on(stream, inputs.args(0, 0, &mut out))?;
        }
        Ok(())
    })?;
    let mut replays = Vec::new();
    for _ in 0..ROUNDS {
        let (start, end) = (Event::new(device)?, Event::new(device)?);
        start.record(&stream)?;
        graph.launch(&stream)?;
        end.record(&stream)?;
        replays.push(end.elapsed_since(&start)? / LAUNCHES);
    }
    let mut plans = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        planner.plan(task.problem())?;
        plans.push(start.elapsed());
    }
    let us = |mut times: Vec<Duration>| {
        times.sort();
        median(&times).as_secs_f64() * 1e6
    };
    Ok(LaunchCost { launch_us: us(launches), in_graph_us: us(replays), plan_us: us(plans) })
}
