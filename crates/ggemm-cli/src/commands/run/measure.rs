//! Runs an operation: once to be checked, then some more to be timed.

use std::time::{Duration, Instant};

use ggemm_codegen::Operation;
use ggemm_runtime::cuda::Event;
use ggemm_runtime::{Args, Buffer, Choice, Device, DeviceKind, Error, Planner};

use crate::commands::run::args::defaults;
use crate::commands::run::case::Case;
use crate::commands::run::transfer;
use crate::progress::Progress;

/// How often to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The first run alone, which is timed.
    Never,
    /// This many timed runs.
    Exactly(usize),
    /// A few, but no more once they have taken long.
    AsTimeAllows,
}

/// Timed runs stop after this, where nobody said how many there should be.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

impl Repeat {
    fn goes_on(self, times: &[Duration]) -> bool {
        match self {
            Repeat::Never => false,
            Repeat::Exactly(runs) => times.len() < runs,
            Repeat::AsTimeAllows => {
                times.is_empty() || times.len() < defaults::RUNS && times.iter().sum::<Duration>() < LONG_ENOUGH
            }
        }
    }
}

/// What came of running an operation.
pub(crate) struct Measured {
    /// What computed it, and why that.
    pub(crate) variant: Choice,
    /// The output before the first run, in the host's memory.
    pub(crate) before: Buffer,
    /// The output after it.
    pub(crate) after: Buffer,
    /// The time of each further run, or of the first where it is the only one.
    pub(crate) times: Vec<Duration>,
    /// Whether it was interpreted, so that times are no kernel's.
    pub(crate) interpreted: bool,
    /// Whether every run left the same bits.
    pub(crate) repeatable: bool,
}

/// Plans an operation and runs it.
pub(crate) fn measure(planner: &Planner, case: &Case, operation: Operation, repeat: Repeat) -> Result<Measured, Error> {
    let plan = planner.plan(&case.problem(operation))?;
    tracing::info!(%operation, variant = plan.variant().name(), why = plan.variant().reason(), "planned");
    let device = planner.device();
    let operands = case.operands(operation, device)?;
    let groups = transfer::to_device(device, &case.groups)?;
    let before = case.before(operation)?;
    let mut out = before.to_device(device)?;
    let interpreted = planner.is_interpreted();
    let run = |out: &mut Buffer| {
        let [lhs, rhs] = operands.get();
        let args = Args::new(operation, lhs, rhs, &*groups, out);
        if !interpreted {
            return plan.run(args);
        }
        let progress = Progress::new(format!("{operation}: interpreted"));
        plan.interpret_observed(args, &|part| progress.show(part)).map(drop)
    };

    let first = timed(device, || run(&mut out))?;
    let after = out.to_device(&Device::cpu())?;
    let accumulates = plan.problem().accumulate;
    let mut times = Vec::new();
    while repeat.goes_on(&times) {
        if accumulates {
            out = before.to_device(device)?;
        }
        times.push(timed(device, || run(&mut out))?);
    }
    if times.is_empty() {
        times.push(first);
    }
    let last = transfer::to_host(&out)?;
    let repeatable = transfer::bytes(&last) == transfer::bytes(&after);
    drop(last);
    Ok(Measured { variant: plan.variant().clone(), before, after, times, interpreted, repeatable })
}

/// The time of a run: the host's clock on the CPU, the GPU's own on a GPU.
fn timed(device: &Device, run: impl FnOnce() -> Result<(), Error>) -> Result<Duration, Error> {
    if device.kind() == DeviceKind::Cpu {
        let start = Instant::now();
        run()?;
        return Ok(start.elapsed());
    }
    let stream = device.stream()?;
    let (start, end) = (Event::new(device)?, Event::new(device)?);
    start.record(&stream)?;
    run()?;
    end.record(&stream)?;
    end.elapsed_since(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(3));
        assert!(Repeat::AsTimeAllows.goes_on(&[]));
        assert!(Repeat::AsTimeAllows.goes_on(&[short; 4]));
        assert!(!Repeat::AsTimeAllows.goes_on(&[short; 5]));
        assert!(!Repeat::AsTimeAllows.goes_on(&[long]));
        assert!(!Repeat::Never.goes_on(&[]));
        assert!(Repeat::Exactly(2).goes_on(&[long]));
        assert!(!Repeat::Exactly(2).goes_on(&[long; 2]));
    }
}
