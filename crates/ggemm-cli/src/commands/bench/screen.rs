//! What is shown and kept while measuring.

use std::io::{self, Write};
use std::path::PathBuf;

use ggemm_report::Record;

use super::cases::{Case, label};
use super::measure::Measured;
use super::text;
use crate::error::CliError;
use crate::files::StagedFile;
use crate::progress::Progress;

/// Lines on standard output, a bar with the time left, and the record's file.
pub(super) struct Screen<'a, W> {
    out: &'a mut W,
    progress: Progress,
    cases: usize,
    done: usize,
    file: Option<PathBuf>,
    /// What was measured so far.
    pub(super) record: Record,
    /// Variants that are wrong.
    pub(super) wrong: usize,
}

impl<'a, W: Write> Screen<'a, W> {
    /// A screen for so many cases more than the record has.
    pub(super) fn new(out: &'a mut W, record: Record, cases: usize, file: Option<PathBuf>) -> Result<Self, CliError> {
        write!(out, "{}", text::rows(&record))?;
        out.flush()?;
        let progress = Progress::new("measuring".to_owned());
        let screen = Screen { out, progress, cases, done: 0, file, record, wrong: 0 };
        screen.keep()?;
        Ok(screen)
    }

    /// A case begins.
    pub(super) fn start(&self, case: &Case) {
        self.progress.about(&format!("{} {}", label(&case.subject), case.subject.operation()));
    }

    /// So much of it is done.
    pub(super) fn show(&self, part: f64) {
        self.progress.show((self.done as f64 + part) / self.cases as f64);
    }

    /// It is done.
    pub(super) fn end(&mut self, measured: Measured) -> Result<(), CliError> {
        let Measured { rows, wrong, left_out } = measured;
        let lines = rows.iter().map(text::line).chain(wrong.iter().cloned());
        let lines: Vec<String> = lines.chain(left_out.iter().map(|why| format!("left out: {why}"))).collect();
        let out = &mut *self.out;
        self.progress.aside(|| -> io::Result<()> {
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            out.flush()
        })?;
        self.wrong += wrong.len();
        self.record.rows.extend(rows);
        self.record.left_out.extend(wrong.into_iter().chain(left_out));
        self.done += 1;
        self.show(0.0);
        self.keep()
    }

    /// Writes the record's file anew.
    pub(super) fn keep(&self) -> Result<(), CliError> {
        let Some(path) = &self.file else { return Ok(()) };
        let json = self.record.to_json()?;
        Ok(StagedFile::create(path)?.commit(|file| file.write_all(json.as_bytes()))?)
    }
}
