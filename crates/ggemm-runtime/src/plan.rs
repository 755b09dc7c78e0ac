//! A problem bound to a device and a variant, ready to run as often as wanted.

use std::fmt;

use ggemm_codegen::Problem;

use crate::args::Args;
use crate::check;
use crate::cpu::CpuPlan;
use crate::device::Device;
use crate::error::Error;
#[cfg(feature = "interpret")]
use crate::interpret::{InterpretedPlan, Statistics};

/// What computes a plan, and why that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    name: String,
    reason: String,
}

impl Choice {
    pub(crate) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Choice { name: name.into(), reason: reason.into() }
    }

    /// The variant's name: `cpu`, or the name of a kernel's spec.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it was chosen, in a phrase.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.reason)
    }
}

/// One way to compute.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Cpu(CpuPlan),
    #[cfg(feature = "interpret")]
    Interpreter(InterpretedPlan),
}

/// A problem bound to a device and a variant. Make it once for a problem's shape with
/// [`Planner::plan`](crate::Planner::plan) and run it as often as wanted, from any thread.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) problem: Problem,
    pub(crate) device: Device,
    pub(crate) choice: Choice,
    pub(crate) backend: Backend,
}

impl Plan {
    /// Computes the product. The CPU returns when it is done and uses the threads of the rayon pool that it is called in.
    ///
    /// # Errors
    /// Arguments that are not what the problem says: the operation, element types, lengths, devices; and groups that
    /// contradict it ([`GroupError`](crate::GroupError)), unless the plan reads them unchecked. A call that fails has
    /// written nothing.
    pub fn run(&self, args: Args<'_>) -> Result<(), Error> {
        check::args(&self.problem, &self.device, &args)?;
        match &self.backend {
            Backend::Cpu(plan) => plan.run(args),
            #[cfg(feature = "interpret")]
            Backend::Interpreter(plan) => plan.run(args, &|_| ()).map(drop),
        }
    }

    /// Computes the product as [`Plan::run`] does, and says what the interpreter did.
    ///
    /// # Errors
    /// Those of [`Plan::run`], [`Error::Finding`] where the kernel breaks its protocol, and [`Error::NotInterpreted`] for
    /// a plan that was not made by [`Planner::interpret`](crate::Planner::interpret).
    #[cfg(feature = "interpret")]
    pub fn interpret(&self, args: Args<'_>) -> Result<Statistics, Error> {
        self.interpret_observed(args, &|_| ())
    }

    /// Computes the product as [`Plan::interpret`] does, and calls `progress` now and then with the part of the output
    /// that has been written, from 0 to 1.
    ///
    /// # Errors
    /// Those of [`Plan::interpret`].
    #[cfg(feature = "interpret")]
    pub fn interpret_observed(&self, args: Args<'_>, progress: &dyn Fn(f64)) -> Result<Statistics, Error> {
        check::args(&self.problem, &self.device, &args)?;
        match &self.backend {
            Backend::Interpreter(plan) => plan.run(args, progress),
            Backend::Cpu(_) => Err(Error::NotInterpreted { variant: self.choice.name().to_owned() }),
        }
    }

    /// What is computed.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Where it is computed.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What computes it, and why that was chosen.
    pub fn variant(&self) -> &Choice {
        &self.choice
    }
}
