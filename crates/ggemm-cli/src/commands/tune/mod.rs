//! `ggemm tune`: which variants are fastest on this GPU, kept for later plans.

mod args;
mod dry_run;
mod error;
mod report;
mod screen;
mod tasks;

use std::io::Write;

use ggemm_runtime::tune::{self, Settings, Store, TableLocation, Task, Tuner, Turns};
use ggemm_runtime::{Device, NoDevice, Planner};

pub(crate) use args::TuneArgs;
pub(crate) use error::TuneCommandError;

use crate::Outcome;
use crate::error::CliError;
use report::{Line, Report};
use screen::Screen;

impl TuneArgs {
    /// Tunes what the flags ask for and prints what was found.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let tasks = self.tasks()?;
        let device = self.device();
        if self.how.dry_run {
            return dry_run::print(
                &tasks,
                self.how.within,
                self.how.arch.or_else(|| device.ok()?.arch()),
                self.how.json,
            );
        }
        let planner = Planner::new(device.map_err(TuneCommandError::NoGpu)?);
        let store = Store::at(match &self.how.table {
            Some(path) => TableLocation::At(path.clone()),
            None => TableLocation::from_env(),
        })
        .map_err(TuneCommandError::from)?;
        self.tune(&planner, &store, &tasks)
    }

    fn tune(&self, planner: &Planner, store: &Store, tasks: &[Task]) -> Result<Outcome, CliError> {
        let mut bench = tune::on_gpu(planner).map_err(TuneCommandError::from)?;
        let machine = bench.machine().clone();
        let turns = Turns { rounds: self.how.rounds as usize, ..Turns::default() };
        let settings = Settings { within: self.how.within, turns, again: self.how.again };
        let mut stdout = std::io::stdout().lock();
        if !self.how.json {
            writeln!(stdout, "{} problems on {machine}\n\n{}", tasks.len(), Line::header())?;
            stdout.flush()?;
        }
        let mut screen = Screen::new(&mut stdout, !self.how.json, tasks.len());
        let tuner = Tuner::new(planner, store, settings);
        let summary =
            tuner.run(&mut *bench, tasks, &mut |event| screen.observe(event)).map_err(TuneCommandError::from)?;
        let (entries, wrong) = screen.into_results()?;
        if self.how.json {
            let report = Report::new(store.path(), &machine, &summary, entries, wrong);
            serde_json::to_writer_pretty(&mut stdout, &report)?;
            writeln!(stdout)?;
        } else {
            writeln!(stdout, "\n{}", report::foot(&summary, store.path()))?;
        }
        stdout.flush()?;
        Ok(report::outcome(&summary))
    }

    fn device(&self) -> Result<Device, NoDevice> {
        self.how.gpu.map_or_else(Device::probe, Device::cuda)
    }
}
