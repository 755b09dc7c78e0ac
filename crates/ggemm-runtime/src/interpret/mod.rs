//! Plans that run a GPU's kernel in the interpreter of its IR (the feature `interpret`): see
//! [`Planner::interpret`](crate::Planner::interpret).
//!
//! The kernel works on copies of the tensors that hold exactly what the problem spans. So an access outside is a finding
//! even where the caller's memory goes on, and the caller's output changes only once the kernel has come to a good end.
//! Where the plan copies operands to aligned rows first, the kernels that do so are interpreted as well.
//! Copies lie at addresses as aligned as a GPU's allocations are, whatever the alignment of the caller's slices.

mod memory;

use std::sync::Arc;

use ggemm_codegen::interp;
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::kernels::realign::{self, RealignTask, Which};
use ggemm_codegen::{Arch, Contraction, Problem, ValidSpec, kernels};

pub use ggemm_codegen::interp::{Finding, FindingKind, Policy, Settings, Statistics};

use crate::args::Args;
use crate::error::Error;
use crate::groups::{self, Runs};
use crate::select::Candidate;

/// Which GPU's kernels are interpreted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpretation {
    /// The architecture that variants are selected for.
    pub arch: Arch,
    /// The schedule of every run, the number of CTAs, and when a run counts as endless. The default limit is meant for
    /// problems of a few tiles.
    pub settings: Settings,
}

/// sm_90a, and the interpreter's own settings.
impl Default for Interpretation {
    fn default() -> Self {
        Interpretation { arch: Arch::Sm90a, settings: Settings::default() }
    }
}

/// A problem and the kernel that computes it, ready to be interpreted.
#[derive(Clone, Debug)]
pub(crate) struct InterpretedPlan {
    problem: Problem,
    contraction: Contraction,
    /// Copies that are made before, and what is multiplied then.
    copies: Vec<(RealignTask, Arc<Kernel>)>,
    product: Contraction,
    kernel: Arc<Kernel>,
    settings: Settings,
    checked: bool,
}

impl InterpretedPlan {
    /// Builds the kernels of `candidate`, which was selected for the interpretation's architecture.
    pub(crate) fn new(
        problem: &Problem,
        Candidate { variant, realigned, .. }: Candidate,
        interpretation: Interpretation,
        checked: bool,
    ) -> Result<Self, Error> {
        let Interpretation { arch, settings } = interpretation;
        let spec = ValidSpec::new(*variant.spec(), arch).map_err(|violations| {
            let rules: Vec<String> = violations.iter().map(ToString::to_string).collect();
            Error::UnreadableKernel { set: variant.set(), kernel: variant.name(), reason: rules.join("; ") }
        })?;
        let contraction = problem.contraction();
        let with_kernel = |task: RealignTask| {
            let kernel = Arc::new(realign::build(task.spec()));
            (task, kernel)
        };
        Ok(InterpretedPlan {
            problem: problem.clone(),
            copies: realigned.tasks(&contraction).map(with_kernel).collect(),
            product: realigned.product(&contraction),
            contraction,
            kernel: Arc::new(kernels::build(&spec)),
            settings,
            checked,
        })
    }

    /// Computes the product. The arguments have passed [`check::args`](crate::check::args).
    /// `progress` is called now and then with the part of the output that has been written, from 0 to 1.
    pub(crate) fn run(&self, args: Args<'_>, progress: &dyn Fn(f64)) -> Result<Statistics, Error> {
        if self.checked {
            Runs::checked(&self.problem, groups::values(&args.groups))?;
        }
        let mut memory = memory::load(&self.contraction, &args)?;
        let mut before = Statistics::default();
        for (task, kernel) in &self.copies {
            before = sum(before, self.copy(task, kernel, &mut memory)?);
        }
        let d = &self.contraction.d;
        let elements = (d.groups * d.rows * d.cols).max(1) as f64;
        let mut watch = Progress { report: progress, elements };
        let statistics = interp::run_observed(&self.kernel, &self.product, &mut memory, self.settings, &mut watch)
            .map_err(Error::Finding)?;
        memory::store(&memory.d, args.out);
        Ok(sum(before, statistics))
    }

    /// Copies an operand to aligned rows, which take its place.
    fn copy(&self, task: &RealignTask, kernel: &Kernel, memory: &mut interp::Memory) -> Result<Statistics, Error> {
        let arguments = kernel.contract.params.iter().map(|p| task.argument(p.role)).collect();
        let mut pass = memory::of_copy(task, memory);
        let statistics = interp::run_with(kernel, arguments, &mut pass, self.settings).map_err(Error::Finding)?;
        let copy = memory::copied(pass);
        match task.which() {
            Which::A => memory.a = copy,
            Which::B => memory.b = copy,
        }
        Ok(statistics)
    }
}

/// What two launches did.
fn sum(a: Statistics, b: Statistics) -> Statistics {
    Statistics {
        statements: a.statements + b.statements,
        landed: a.landed + b.landed,
        barriers: a.barriers + b.barriers,
    }
}

/// Reports the part of the output that has been written.
struct Progress<'a> {
    report: &'a dyn Fn(f64),
    /// Elements of the output.
    elements: f64,
}

impl interp::Observer for Progress<'_> {
    fn written(&mut self, elements: usize) {
        (self.report)(elements as f64 / self.elements);
    }
}
