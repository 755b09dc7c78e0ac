//! A problem bound to a device and a variant, ready to run as often as wanted.

use std::fmt;

use ggemm_codegen::Problem;

use crate::args::Args;
use crate::check;
use crate::cpu::CpuPlan;
#[cfg(feature = "cuda")]
use crate::cuda::{CodeOrigin, CudaPlan, RawArgs, Stream};
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
    Cpu(Box<CpuPlan>),
    #[cfg(feature = "cuda")]
    Cuda(Box<CudaPlan>),
    #[cfg(feature = "interpret")]
    Interpreter(Box<InterpretedPlan>),
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
    /// Computes the product. The CPU returns when it is done and uses the threads of the rayon pool that it is called
    /// in. A GPU is asked for it on the device's own stream, and this returns at once: with no allocation, no
    /// synchronization, and without a look at the groups.
    ///
    /// # Errors
    /// Arguments that are not what the problem says: the operation, element types, lengths, devices; and groups that
    /// contradict it ([`GroupError`](crate::GroupError)), unless the plan reads them unchecked. A call that fails has
    /// written nothing.
    pub fn run(&self, args: Args<'_>) -> Result<(), Error> {
        check::args(&self.problem, &self.device, &args)?;
        match &self.backend {
            Backend::Cpu(plan) => plan.run(args),
            #[cfg(feature = "cuda")]
            Backend::Cuda(plan) => plan.run(None, &args),
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
            _ => Err(Error::NotInterpreted { variant: self.choice.name().to_owned() }),
        }
    }

    /// As [`Plan::run`], on a stream of one's own or of another framework.
    ///
    /// # Errors
    /// Those of [`Plan::run`], [`Error::NotAGpu`] for a plan of the CPU, and [`Error::StreamDevice`] for a stream of
    /// another GPU.
    #[cfg(feature = "cuda")]
    pub fn run_on(&self, stream: &Stream, args: Args<'_>) -> Result<(), Error> {
        check::args(&self.problem, &self.device, &args)?;
        self.cuda(stream)?.run(Some(stream), &args)
    }

    /// As [`Plan::run_on`], for tensors that are known by their addresses alone. Nothing is checked but the groups of a
    /// checked plan, and the alignment that a pinned variant needs; without a pin any aligned element will do.
    ///
    /// # Errors
    /// Those of [`Plan::run_on`].
    ///
    /// # Safety
    /// Each address is that of a tensor as the problem describes it (types, strides, at least as many elements as it
    /// spans, exactly G groups), a multiple of the element's size, in memory that the plan's GPU can read and, for the
    /// output, write, and that stays valid until the work is done. The output overlaps no operand. Whatever else uses
    /// the tensors is ordered by the caller.
    #[cfg(feature = "cuda")]
    pub unsafe fn run_raw(&self, stream: &Stream, args: RawArgs) -> Result<(), Error> {
        // SAFETY: the caller's promise is what is asked for.
        unsafe { self.cuda(stream)?.run_raw(stream, args) }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, stream: &Stream) -> Result<&CudaPlan, Error> {
        let Backend::Cuda(plan) = &self.backend else {
            return Err(Error::NotAGpu { device: self.device.to_string() });
        };
        if !plan.is_on_gpu_of(stream) {
            return Err(Error::StreamDevice {
                found: stream.device_label().to_owned(),
                expected: self.device.to_string(),
            });
        }
        Ok(plan)
    }

    /// Where the machine code that a GPU runs came from; `None` for a plan of the CPU.
    #[cfg(feature = "cuda")]
    pub fn code_origin(&self) -> Option<CodeOrigin> {
        match &self.backend {
            Backend::Cuda(plan) => Some(plan.code_origin()),
            _ => None,
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
