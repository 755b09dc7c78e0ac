//! What is shown while tuning, and kept for the report.

use std::io::{self, Write};

use ggemm_runtime::tune::{Entry, Event};

use super::report::Line;
use crate::progress::Progress;

/// Lines on standard output, and a bar with the time left.
pub(super) struct Screen<'a, W> {
    out: &'a mut W,
    /// Whether lines are printed: a report for programs comes at the end.
    lines: bool,
    progress: Progress,
    tasks: usize,
    done: usize,
    written: io::Result<()>,
    entries: Vec<Entry>,
    wrong: Vec<String>,
}

impl<'a, W: Write> Screen<'a, W> {
    /// A screen for so many tasks.
    pub(super) fn new(out: &'a mut W, lines: bool, tasks: usize) -> Self {
        let progress = Progress::new("tuning".to_owned());
        Screen { out, lines, progress, tasks, done: 0, written: Ok(()), entries: Vec::new(), wrong: Vec::new() }
    }

    /// Shows what happened.
    pub(super) fn observe(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { task, .. } => self.progress.about(task.label()),
            Event::Timed { part, .. } => self.show(*part),
            Event::Known { task, entry } => self.end(&Line { task, entry, predicted: None }),
            Event::Finished { task, entry, predicted } => {
                self.end(&Line { task, entry, predicted: Some(*predicted) });
            }
            Event::Wrong { .. } => {
                self.wrong.push(event.to_string());
                self.print(&event.to_string());
            }
            Event::Unsolved { .. } => {
                self.print(&event.to_string());
                self.done += 1;
                self.show(0.0);
            }
            _ => {}
        }
    }

    /// All entries, and what was said of wrong results.
    ///
    /// # Errors
    /// The first line that could not be printed.
    pub(super) fn into_results(self) -> io::Result<(Vec<Entry>, Vec<String>)> {
        self.written.map(|()| (self.entries, self.wrong))
    }

    fn end(&mut self, line: &Line<'_>) {
        self.entries.push(line.entry.clone());
        self.print(&line.to_string());
        self.done += 1;
        self.show(0.0);
    }

    /// With so much of the task that is under way.
    fn show(&self, part: f64) {
        self.progress.show((self.done as f64 + part) / self.tasks as f64);
    }

    /// The table matters more than who reads along: where nothing can be printed, tuning goes on.
    fn print(&mut self, line: &str) {
        if self.lines && self.written.is_ok() {
            let out = &mut *self.out;
            self.written = self.progress.aside(|| writeln!(out, "{line}").and_then(|()| out.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::Problem;
    use ggemm_runtime::tune::{Machine, Routing, Task, Timing, Wrong};
    use ggemm_runtime::{Discrepancy, Error};

    use super::*;

    fn shown(lines: bool) -> (String, usize, usize) {
        let variant = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma".parse().unwrap();
        let task = Task::new("up forward", Problem::forward(2, 10, 8, 8), vec![5; 2]).unwrap();
        let machine = Machine {
            gpu: "made up".into(),
            compute_capability: "9.0".into(),
            driver: "1".into(),
            ggemm: "0".into(),
            kernels: String::new(),
        };
        let best = Timing { variant, microseconds: 10.0 };
        let problem = task.problem().clone();
        let entry = Entry { machine, problem, routing: Routing::Even, best, others: Vec::new() };
        let found = Discrepancy { group: Some(1), row: 2, col: 3, found: 1.0, exact: 0.0, bound: 0.5 };
        let memory = Error::OutOfMemory { device: "made up".into(), bytes: 7 };
        let (mut out, task, entry) = (Vec::new(), &task, &entry);
        let mut screen = Screen::new(&mut out, lines, 4);
        for event in [
            Event::Known { task, entry },
            Event::Started { task, candidates: 2 },
            Event::Timed { task, part: 0.5 },
            Event::Wrong { task, variant, wrong: Wrong::Element(found) },
            Event::Finished { task, entry, predicted: variant },
            Event::Unsolved { task, why: None },
            Event::Unsolved { task, why: Some(&memory) },
        ] {
            screen.observe(&event);
        }
        assert_eq!(screen.done, 4);
        let (entries, wrong) = screen.into_results().unwrap();
        (String::from_utf8(out).unwrap(), entries.len(), wrong.len())
    }

    #[test]
    fn each_task_is_told_of_once_and_what_is_wrong_besides() {
        let (text, entries, wrong) = shown(true);
        assert_eq!((entries, wrong), (2, 1));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[0].contains(" known "), "{text}");
        assert!(lines[1].contains("computes wrong results, report this: group 1 [2, 3] is 1e0"), "{text}");
        assert!(lines[2].contains(" the same "), "{text}");
        assert!(lines[3].ends_with("no variant computes it right"), "{text}");
        assert!(lines[4].contains("made up has no 7 bytes of memory left"), "{text}");
        assert_eq!(shown(false), (String::new(), 2, 1));
    }

    #[test]
    fn where_nothing_can_be_printed_tuning_goes_on_and_says_so_in_the_end() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let task = Task::new("t", Problem::forward(1, 1, 8, 8), vec![1]).unwrap();
        let mut closed = Closed;
        let mut screen = Screen::new(&mut closed, true, 2);
        for _ in 0..2 {
            screen.observe(&Event::Unsolved { task: &task, why: None });
        }
        assert_eq!(screen.done, 2);
        assert_eq!(screen.into_results().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
