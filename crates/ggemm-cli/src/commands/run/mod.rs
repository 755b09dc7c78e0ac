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

use ggemm_codegen::Operation;
use ggemm_runtime::{Device, Planner};

pub(crate) use args::RunArgs;
pub(crate) use usage::UsageError;

use crate::Outcome;
use crate::error::CliError;
use crate::files::{OutputError, OutputFile, same_file};
use args::BackendArg;
use measure::{Repeat, measure};
use report::{OperationReport, Report};

impl RunArgs {
    /// Runs the problem that the flags describe and prints the report.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let device = self.device()?;
        let output = self.output_file()?;
        let case = match &self.data.input {
            Some(path) => from_file::load(&self, path)?,
            None => synthetic::build(&self)?,
        };
        let planner = Planner::new(device);
        let mut stdout = std::io::stdout().lock();
        let mut report = Report::new(&case, planner.device(), output.as_ref().map(OutputFile::path));
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
                Some(check::check(&case, operation, &measured.before, &measured.after)?)
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

    /// Each operation once, in the order of a training step.
    fn operations(&self) -> Vec<Operation> {
        Operation::ALL.into_iter().filter(|operation| self.problem.ops.contains(operation)).collect()
    }

    fn repeat(&self) -> Repeat {
        match self.running.repeat {
            Some(runs) => Repeat::Exactly(runs as usize),
            None => Repeat::AsTimeAllows,
        }
    }

    fn device(&self) -> Result<Device, CliError> {
        Ok(match self.running.backend {
            BackendArg::Auto => Device::best(),
            BackendArg::Cpu => Device::cpu(),
            BackendArg::Cuda => Device::probe()?,
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
