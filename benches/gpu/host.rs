//! What a launch costs the host, and what a small problem costs in a graph.

use std::time::{Duration, Instant};

use ggemm::cuda::{Event, Stream};
use ggemm::tune::{Inputs, median};
use ggemm::{Device, Operation, Planner};
use serde::Serialize;

use crate::{Result, case};

/// Times of the suite's first case, forward, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct HostTimes {
    /// The host's time for a launch that does not wait.
    pub(crate) launch_us: f64,
    /// The GPU's time for a launch in a graph of many.
    pub(crate) in_graph_us: f64,
    /// The host's time to plan with the kernel loaded.
    pub(crate) plan_us: f64,
}

/// Launches that are asked for without a wait: far fewer than the driver queues.
const LAUNCHES: u32 = 100;
const ROUNDS: usize = 21;

pub(crate) fn measure(device: &Device) -> Result<HostTimes> {
    let layer = case::suite()?.into_iter().next().ok_or("the suite is empty")?;
    let task = case::task(&layer, Operation::Forward, None)?;
    let inputs = Inputs::new(device, &task)?;
    let planner = Planner::new(device.clone());
    let plan = planner.plan(task.problem())?;
    let mut out = inputs.output(device)?;
    let stream = Stream::new(device)?;

    let mut launches = Vec::new();
    for _ in 0..ROUNDS {
        stream.synchronize()?;
        let start = Instant::now();
        for _ in 0..LAUNCHES {
            plan.run_on(&stream, inputs.args(0, &mut out))?;
        }
        launches.push(start.elapsed() / LAUNCHES);
    }
    let mut graph = stream.capture(|stream| {
        for _ in 0..LAUNCHES {
            plan.run_on(stream, inputs.args(0, &mut out))?;
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
    Ok(HostTimes { launch_us: us(launches), in_graph_us: us(replays), plan_us: us(plans) })
}
