//! Times of variants that take turns.

use std::time::Duration;

use ggemm::cuda::Event;
use ggemm::{Device, Operation, Plan};

use crate::Result;
use crate::case::{Flush, Tensors};

/// The times of each plan, one a round, in ascending order.
pub(crate) fn take_turns(
    device: &Device,
    tensors: &Tensors,
    operation: Operation,
    plans: &[Plan],
    rounds: usize,
) -> Result<Vec<Vec<Duration>>> {
    let mut out = tensors.output(device, operation)?;
    for plan in plans {
        out = tensors.output(device, operation)?;
        plan.run(tensors.args(operation, 0, &mut out))?;
        tensors.check(operation, &out).map_err(|error| format!("{}: {error}", plan.variant().name()))?;
    }
    let stream = device.stream()?;
    let mut flush = Flush::new(device)?;
    let mut events = Vec::new();
    for round in 0..rounds.max(1) {
        for plan in plans {
            let (start, end) = (Event::new(device)?, Event::new(device)?);
            // The flush takes longer than the host takes to ask for what follows, so that the GPU never waits for it.
            flush.flush()?;
            start.record(&stream)?;
            plan.run(tensors.args(operation, round, &mut out))?;
            end.record(&stream)?;
            events.push((start, end));
        }
    }
    let mut times = vec![Vec::new(); plans.len()];
    for (index, (start, end)) in events.iter().enumerate() {
        times[index % plans.len()].push(end.elapsed_since(start)?);
    }
    times.iter_mut().for_each(|times| times.sort());
    Ok(times)
}

/// Of sorted times.
pub(crate) fn median(times: &[Duration]) -> Duration {
    times.get(times.len() / 2).copied().unwrap_or_default()
}
