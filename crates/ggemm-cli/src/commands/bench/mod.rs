//! `ggemm bench`: how fast layers are, beside the hardware, peers and earlier times.

mod args;
mod cases;
mod choose;
mod error;
mod ground;
mod launch;
mod machine;
mod measure;
mod screen;
mod tabled;
mod text;

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use ggemm_report::picture::picture;
use ggemm_report::{Comparison, Race, Rates, Record, SCHEMA};
use ggemm_runtime::tune::{Table, shipped_table};
use ggemm_runtime::{Device, DeviceKind};

pub(crate) use args::BenchArgs;
pub(crate) use error::BenchError;

use crate::Outcome;
use crate::error::CliError;
use crate::files::{StagedFile, same_file};
use screen::Screen;

/// The races that are built in.
const RACES: [&str; 1] = [include_str!("../../../races/nvidia-h100.json")];

impl BenchArgs {
    /// Measures, or reads what was measured, and reports.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        // What could be wrong with files is told of before minutes are spent.
        self.refuse_overwriting()?;
        let old = self.report.compare.as_deref().map(Record::read).transpose().map_err(BenchError::from)?;
        let races = self.races()?;
        self.report.json.as_deref().map(StagedFile::create).transpose()?;
        let svg = self.report.svg.as_deref().map(StagedFile::create).transpose()?;
        let mut stdout = std::io::stdout().lock();
        let (record, wrong) = match self.report.from.as_slice() {
            [] => self.measure(&mut stdout)?,
            files => (self.reread(files, &mut stdout)?, 0),
        };
        for part in [text::foot(&record, &races), text::regrets(&record)].iter().filter(|part| !part.is_empty()) {
            write!(stdout, "\n{part}")?;
        }
        let mut slower = false;
        if let (Some(old), Some(path)) = (&old, &self.report.compare) {
            let comparison = Comparison::new(old, &record, self.report.tolerance.map(|percent| percent / 100.0));
            let name = path.display().to_string();
            write!(stdout, "\n{}", text::comparison(&comparison, old, &record, &name))?;
            slower = comparison.is_slower();
        }
        if let Some(file) = svg {
            let drawn = picture(&record, &races).map_err(BenchError::from)?;
            file.commit(|file| file.write_all(drawn.as_bytes()))?;
        }
        stdout.flush()?;
        Ok(match () {
            () if wrong > 0 => Outcome::ComparisonFailed,
            () if slower => Outcome::Slower,
            () => Outcome::Success,
        })
    }

    /// Measures all cases. How many variants are wrong is told too.
    fn measure(&self, stdout: &mut impl Write) -> Result<(Record, usize), CliError> {
        let mut cases = self.cases()?;
        let first = cases.first().cloned();
        let (device, mut ground) = self.ground()?;
        let record = self.begun(&device)?;
        cases.retain(|case| record.rows.iter().all(|row| row.subject != case.subject));
        let (rates, rounds, which) = (record.rates, self.how.rounds as usize, self.which());
        if let Some(why) = device.why_not_gpu() {
            writeln!(stdout, "no GPU: {why}; these are times of the CPU\n")?;
        }
        let mut screen = Screen::new(stdout, record, cases.len(), self.report.json.clone())?;
        for case in &cases {
            screen.start(case);
            let mut progress = |part| screen.show(part);
            let measured = measure::measure(&mut ground, case, &which, rounds, rates.as_ref(), &mut progress)?;
            screen.end(measured)?;
        }
        if let Some(case) = first.filter(|_| self.how.launch_cost) {
            screen.record.launch = Some(launch::measure(&device, &case.task)?);
            screen.keep()?;
        }
        Ok((screen.record, screen.wrong))
    }

    /// A record of this device, with the rows that a stopped run left.
    fn begun(&self, device: &Device) -> Result<Record, BenchError> {
        let mut record = self.empty(device);
        if let Some(path) = self.report.json.as_ref().filter(|path| self.report.resume && path.exists()) {
            record.join(Record::read(path)?)?;
            // What was left out is tried again.
            record.left_out.clear();
        }
        Ok(record)
    }

    /// A record of this device, without rows.
    fn empty(&self, device: &Device) -> Record {
        let backend = if device.kind() == DeviceKind::Cpu { "cpu" } else { "cuda" };
        let name = machine::name(device);
        Record {
            schema: SCHEMA,
            backend: backend.to_owned(),
            rates: self.how.sustained.or_else(|| Rates::of(&name)),
            device: name,
            driver: device.driver().map(str::to_owned),
            ggemm: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("GGEMM_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
            card: machine::card(device),
            rounds: self.how.rounds,
            rows: Vec::new(),
            left_out: Vec::new(),
            launch: None,
        }
    }

    /// Reads and prints records of one machine as one.
    fn reread(&self, files: &[PathBuf], stdout: &mut impl Write) -> Result<Record, CliError> {
        let mut records = files.iter().map(|path| match tabled::is_table(path) {
            true => tabled::read(path),
            false => Record::read(path).map_err(BenchError::from),
        });
        // The flag takes at least one.
        let mut record = records.next().unwrap_or_else(|| Ok(self.empty(&Device::cpu())))?;
        for other in records {
            record.join(other?).map_err(BenchError::from)?;
        }
        if self.report.choose {
            let table = self.table()?;
            let chosen = choose::anew(&mut record, &table)?;
            write!(stdout, "{}{chosen}", text::head_of_machine(&record))?;
        } else {
            write!(stdout, "{}", text::rows(&record))?;
        }
        for why in &record.left_out {
            writeln!(stdout, "left out: {why}")?;
        }
        if let Some(path) = &self.report.json {
            let json = record.to_json()?;
            StagedFile::create(path)?.commit(|file| file.write_all(json.as_bytes()))?;
        }
        Ok(record)
    }

    /// The table to choose by.
    fn table(&self) -> Result<Cow<'static, Table>, BenchError> {
        let Some(path) = &self.report.table else { return Ok(Cow::Borrowed(shipped_table())) };
        Ok(Cow::Owned(tabled::table(path)?))
    }

    /// The races to draw beside.
    fn races(&self) -> Result<Vec<Race>, BenchError> {
        match self.report.peers.as_slice() {
            [] => RACES.iter().map(|text| Race::parse(text).map_err(|reason| BenchError::Race { reason })).collect(),
            files => files.iter().map(|path| Ok(Race::read(path)?)).collect(),
        }
    }

    /// Results that are read stay as they are.
    fn refuse_overwriting(&self) -> Result<(), BenchError> {
        let read: Vec<&Path> = self.report.compare.iter().chain(&self.report.peers).map(AsRef::as_ref).collect();
        for (flag, path) in [("json", &self.report.json), ("svg", &self.report.svg)] {
            let Some(path) = path else { continue };
            if read.iter().any(|read| same_file(read, path)) {
                return Err(BenchError::Overwrite { flag, path: path.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record that the tests of the command report too.
    pub(super) fn record() -> Record {
        Record::parse(include_str!("../../../tests/bench/record.json")).expect("it is a record")
    }

    #[test]
    fn races_that_are_built_in_read() {
        for text in RACES {
            let race = Race::parse(text).unwrap();
            assert!(!race.rows.is_empty() && race.versions.contains_key(Race::OWN));
        }
    }

    #[test]
    fn a_line_stands_below_its_heads() {
        let record = record();
        let head = text::head(&record);
        let head = head.lines().last().unwrap();
        // In letters, not in bytes.
        let at = |line: &str, text: &str| line.find(text).map(|at| line[..at].chars().count());
        let end = at(head, "time").unwrap() + "time".len();
        for row in &record.rows {
            let line = text::line(row);
            assert_eq!(at(&line, &row.variant), at(head, "variant"), "{line}");
            assert!(line[..end].ends_with(" us") || line[..end].ends_with(" ms"), "{line}");
        }
    }
}
