//! Where cases run.

use std::fmt;

#[cfg(feature = "interpret")]
use ggemm_codegen::interp::{Policy, Settings};

use crate::device::Device;
use crate::error::Error;
#[cfg(feature = "interpret")]
use crate::interpret::Interpretation;
use crate::plan::Plan;
use crate::planner::Planner;
#[cfg(feature = "interpret")]
use crate::random::Rng;
use crate::verify::case::Case;

/// Where cases run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ground {
    /// A GPU.
    Device(Device),
    /// Where this planner's plans run, with the kernels that it knows.
    Planner(Box<Planner>),
    /// The interpreter of the kernels' IR, as a GPU of this architecture would run them.
    #[cfg(feature = "interpret")]
    Interpreter(ggemm_codegen::Arch),
}

/// Runs of each data that are compared with each other.
const RUNS: usize = 2;

/// Statements of the longest interpreted run: far more than any case has.
#[cfg(feature = "interpret")]
const STATEMENTS: u64 = 1 << 36;

impl Ground {
    /// Where the buffers lie.
    pub fn device(&self) -> Device {
        match self {
            Ground::Device(device) => device.clone(),
            Ground::Planner(planner) => planner.device().clone(),
            #[cfg(feature = "interpret")]
            Ground::Interpreter(_) => Device::cpu(),
        }
    }

    /// A plan for each run of a case. In the interpreter every run has a schedule of its own.
    pub(super) fn plans(&self, case: &Case) -> Result<Vec<Plan>, Error> {
        match self {
            Ground::Device(device) => {
                let plan = Planner::new(device.clone()).pin(*case.spec()).plan(case.problem())?;
                Ok(vec![plan; RUNS])
            }
            Ground::Planner(planner) => {
                let plan = Planner::clone(planner).pin(*case.spec()).plan(case.problem())?;
                Ok(vec![plan; RUNS])
            }
            #[cfg(feature = "interpret")]
            Ground::Interpreter(arch) => {
                let mut rng = Rng::new(case.seed() ^ 0x5c4e);
                // As on a device, no case runs on now more and now fewer CTAs: how many share the last wave of a stream-K
                // decides which parts of its tiles are summed apart.
                let ctas = 1 + rng.below(4);
                let mut plan = |_| {
                    let policy = Policy::ALL[rng.below(Policy::ALL.len())];
                    let seed = rng.bits();
                    let settings = Settings { policy, seed, ctas, limit: STATEMENTS, ..Settings::default() };
                    let interpretation = Interpretation { arch: *arch, settings };
                    Planner::new(Device::cpu()).interpret(interpretation).pin(*case.spec()).plan(case.problem())
                };
                (0..RUNS).map(&mut plan).collect()
            }
        }
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ground::Device(device) => write!(f, "{device}"),
            Ground::Planner(planner) => write!(f, "{}", planner.device()),
            #[cfg(feature = "interpret")]
            Ground::Interpreter(arch) => write!(f, "the interpreter, as for {arch}"),
        }
    }
}
