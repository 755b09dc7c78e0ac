//! `ggemm tune`: which variants are fastest on this GPU, kept for later plans.

mod args;
mod dry_run;
mod error;
mod report;
mod tasks;

use std::io::Write;

use ggemm_runtime::tune::{self, Event, Settings, Store, Summary, TableLocation, Task, Tuner, Turns};
use ggemm_runtime::{Device, NoDevice, Planner};

pub(crate) use args::TuneArgs;
pub(crate) use error::TuneCommandError;

use crate::Outcome;
use crate::error::CliError;
use crate::progress::Progress;
use report::{Line, Report};

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
        let progress = Progress::new("tuning".to_owned());
        let (mut entries, mut wrongs, mut done) = (Vec::new(), Vec::new(), 0);
        let mut written = Ok(());
        let mut observe = |event: &Event<'_>| {
            let (line, part) = match event {
                Event::Known { task, entry } => {
                    entries.push((*entry).clone());
                    (Some(Line { task, entry, predicted: None }.to_string()), 1.0)
                }
                Event::Finished { task, entry, predicted } => {
                    entries.push((*entry).clone());
                    (Some(Line { task, entry, predicted: Some(*predicted) }.to_string()), 1.0)
                }
                Event::Wrong { .. } => {
                    wrongs.push(event.to_string());
                    (Some(event.to_string()), 0.0)
                }
                Event::Unsolved { .. } => (Some(event.to_string()), 1.0),
                Event::Timed { part, .. } => (None, *part),
                _ => (None, 0.0),
            };
            let ends = part == 1.0 && line.is_some();
            progress.show((f64::from(done) + part) / tasks.len() as f64);
            done += u32::from(ends);
            if let (Some(line), false) = (line, self.how.json) {
                let print = || writeln!(stdout, "{line}").and_then(|()| stdout.flush());
                let printed = progress.aside(print);
                // The table matters more than who reads along: tuning goes on.
                written = std::mem::replace(&mut written, Ok(())).and(printed);
            }
        };
        let summary = Tuner::new(planner, store, settings).run(&mut *bench, tasks, &mut observe);
        drop(progress);
        let summary: Summary = summary.map_err(TuneCommandError::from)?;
        written?;
        if self.how.json {
            let report = Report::new(store.path(), &machine, &summary, entries, wrongs);
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
