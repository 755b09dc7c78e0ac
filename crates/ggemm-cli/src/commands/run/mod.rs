//! `ggemm run`: one grouped problem, forward and backward, held against the f64 reference.

mod args;
mod case;
mod check;
mod from_file;
mod grouping;
mod measure;
mod outputs;
mod report;
mod router;
mod synthetic;
mod tokens;
mod transfer;
mod usage;
mod weight_form;

use std::io::Write;

use ggemm_codegen::{Arch, KernelSpec, Operation, Problem, WeightLayout};
use ggemm_runtime::interpret::{Interpretation, Settings};
use ggemm_runtime::{Device, Planner};

pub(crate) use args::{BackendArg, MemoryArgs, ProblemArgs, RunArgs};
pub(crate) use router::Router;
pub(crate) use synthetic::problems;
pub(crate) use usage::UsageError;

use crate::Outcome;
use crate::commands::emit;
use crate::error::CliError;
use crate::files::{OutputError, OutputFile, same_file};
use crate::fp8::Fp8;
use crate::parsers::Layout;
use args::defaults;
use measure::{Repeat, measure};
use report::{OperationReport, Report};

/// Statements of an interpreted run past which it counts as endless: hours.
const STATEMENTS: u64 = 1 << 38;

impl RunArgs {
    /// Runs the problem that the flags describe and prints the report.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let planner = self.planner()?;
        let output = self.output_file()?;
        let case = match &self.data.input {
            Some(path) => from_file::load(&self, path)?,
            None => synthetic::build(&self)?,
        };
        if self.running.variant.is_some() {
            // A pin that cannot be honoured is refused before anything is printed.
            for &operation in &case.operations {
                planner.plan(&case.problem(operation))?;
            }
        }
        let mut stdout = std::io::stdout().lock();
        let mut report = Report::new(&case, planner.device(), output.as_ref().map(OutputFile::path));
        if let Some(arch) = self.interpreted_arch() {
            report.interpreted(arch);
        }
        if !self.running.json {
            write!(stdout, "{}", report.head())?;
            stdout.flush()?;
        }
        let mut kept = Vec::new();
        for &operation in &case.operations {
            let measured = measure(&planner, &case, operation, self.repeat())?;
            let check = if self.running.no_check {
                None
            } else {
                Some(check::check(&case, operation, planner.device(), &measured.before, &measured.after)?)
            };
            let part = OperationReport::new(&case, operation, &measured, check.as_ref());
            if !self.running.json {
                write!(stdout, "{part}")?;
                stdout.flush()?;
            }
            report.add(part);
            if output.is_some() {
                kept.push((operation, measured.after));
            }
        }
        if let Some(file) = output {
            outputs::write(file, &case, &kept)?;
        }
        if self.running.json {
            serde_json::to_writer_pretty(&mut stdout, &report)?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", report.summary())?;
        }
        stdout.flush()?;
        Ok(report.outcome())
    }

    /// Runs the problem that the flags describe without a report. Whether every result is right.
    pub(crate) fn holds(&self) -> Result<bool, CliError> {
        let planner = self.planner()?;
        let case = synthetic::build(self)?;
        for &operation in &case.operations {
            let measured = measure(&planner, &case, operation, Repeat::Exactly(1))?;
            let check = check::check(&case, operation, planner.device(), &measured.before, &measured.after)?;
            if !(check.comparison.pass() && measured.repeatable) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Each operation once, in the order of a training step.
    fn operations(&self) -> Result<Vec<Operation>, CliError> {
        let asked = &self.problem.ops;
        let mut operations = Operation::ALL.to_vec();
        operations.retain(|operation| asked.is_empty() || asked.contains(operation));
        if let Some(spec) = self.spec()? {
            let layout = self.problem.weight_layout.map_or(WeightLayout::Nk, Layout::into);
            let computes = |operation: &Operation| {
                let contraction = Problem::new(*operation, 1, 1, 1, 1).weight_layout(layout).contraction();
                // fp8 operands are laid out as the variant reads them.
                let lies = spec.operand.is_fp8() || contraction.b_major == spec.b_major;
                contraction.ragged == spec.ragged && lies
            };
            operations.retain(computes);
            if operations.is_empty() {
                let computes = Operation::ALL.into_iter().filter(computes).collect();
                return Err(UsageError::VariantOperation { name: spec.to_string(), computes }.into());
            }
        }
        Ok(operations)
    }

    /// The pinned variant.
    fn spec(&self) -> Result<Option<KernelSpec>, CliError> {
        let arch = self.interpreted_arch();
        let valid = |name: &String| emit::valid(name, arch).map(|valid| *valid.spec());
        Ok(self.running.variant.as_ref().map(valid).transpose()?)
    }

    /// The architecture whose kernels are interpreted.
    fn interpreted_arch(&self) -> Option<Arch> {
        let interpreted = self.running.backend == BackendArg::Interpret;
        interpreted.then(|| self.running.arch.unwrap_or(defaults::interpreted::ARCH))
    }

    fn repeat(&self) -> Repeat {
        match self.running.repeat {
            Some(runs) => Repeat::Exactly(runs as usize),
            None if self.interpreted_arch().is_some() => Repeat::Never,
            None => Repeat::AsTimeAllows,
        }
    }

    /// The first GPU, else the CPU; fp8 is multiplied by GPUs of one architecture.
    fn best_device(&self) -> Device {
        let best = Device::best();
        let multiplies = self.problem.quantize.is_none() || best.arch().is_none_or(|arch| arch == Arch::Sm90a);
        if multiplies { best } else { Device::cpu() }
    }

    /// The fp8 format that the operands are quantized to, where the flags ask for one.
    fn fp8(&self) -> Option<Fp8> {
        self.problem.quantize.map(|format| Fp8 {
            format,
            scaling: self.problem.scaling.unwrap_or(Fp8::SCALING),
            fast: self.problem.fast_accumulation,
            along_reduction: self.runs_kernels(),
        })
    }

    /// Whether a GPU's kernels compute, there or in the interpreter.
    pub(crate) fn runs_kernels(&self) -> bool {
        match self.running.backend {
            BackendArg::Auto => self.best_device().arch().is_some(),
            BackendArg::Cpu => false,
            BackendArg::Cuda | BackendArg::Interpret => true,
        }
    }

    fn planner(&self) -> Result<Planner, CliError> {
        let mut planner = Planner::new(match self.running.backend {
            BackendArg::Auto => self.best_device(),
            BackendArg::Cpu | BackendArg::Interpret => Device::cpu(),
            BackendArg::Cuda => Device::probe()?,
        });
        match self.interpreted_arch() {
            Some(arch) => {
                let settings = Settings { limit: STATEMENTS, ..Settings::default() };
                planner = planner.interpret(Interpretation { arch, settings });
            }
            None if self.running.arch.is_some() => return Err(UsageError::ArchWithoutInterpreter.into()),
            None => {}
        }
        Ok(match self.spec()? {
            Some(spec) => planner.pin(spec),
            None => planner,
        })
    }

    /// The file to write, opened before there is anything to lose.
    fn output_file(&self) -> Result<Option<OutputFile>, CliError> {
        let Some(path) = &self.data.output else { return Ok(None) };
        if self.data.input.as_ref().is_some_and(|input| same_file(input, path)) {
            return Err(OutputError::OverInput { path: path.clone() }.into());
        }
        Ok(Some(OutputFile::create(path)?))
    }
}
