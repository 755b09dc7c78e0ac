//! What is printed of tuned problems.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use ggemm_codegen::KernelSpec;
use ggemm_runtime::tune::{Entry, Machine, Summary, Task};
use serde::Serialize;

use crate::Outcome;
use crate::numbers::time;

/// One problem's line.
pub(super) struct Line<'a> {
    pub(super) task: &'a Task,
    pub(super) entry: &'a Entry,
    /// The variant that the cost model would have taken; `None` for what the table had.
    pub(super) predicted: Option<KernelSpec>,
}

impl Line<'_> {
    /// What stands above the lines.
    pub(super) fn header() -> String {
        columns("problem", "time", "TFLOP/s", "of the model's choice", "variant")
    }
}

/// Columns of fixed widths: lines come one at a time.
fn columns(problem: &str, time: &str, teraflops: &str, chosen: &str, variant: &str) -> String {
    format!("{problem:<44} {time:>9} {teraflops:>9}  {chosen:>21}  {variant}")
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { task, entry, predicted } = self;
        let best = &entry.best;
        let chosen = match predicted {
            None => "known".to_owned(),
            Some(spec) if *spec == best.variant => "the same".to_owned(),
            Some(spec) => match entry.others.iter().find(|timing| timing.variant == *spec) {
                Some(timing) => format!("{:.1} %", 100.0 * best.microseconds / timing.microseconds),
                None => "wrong".to_owned(),
            },
        };
        let microseconds = Duration::try_from_secs_f64(best.microseconds / 1e6).unwrap_or_default();
        let teraflops = task.problem().flops() / best.microseconds / 1e6;
        let (teraflops, variant) = (format!("{teraflops:.1}"), best.variant.to_string());
        f.write_str(&columns(task.label(), &time(microseconds), &teraflops, &chosen, &variant))
    }
}

/// All results, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    schema: u32,
    table: &'a Path,
    machine: &'a Machine,
    tuned: usize,
    known: usize,
    wrong: Vec<String>,
    unsolved: usize,
    entries: Vec<Entry>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        table: &'a Path,
        machine: &'a Machine,
        summary: &Summary,
        entries: Vec<Entry>,
        wrong: Vec<String>,
    ) -> Self {
        let Summary { tuned, known, unsolved, .. } = *summary;
        Report { schema: 1, table, machine, tuned, known, wrong, unsolved, entries }
    }
}

/// The last line.
pub(super) fn foot(summary: &Summary, table: &Path) -> String {
    let Summary { tuned, known, wrong, unsolved } = *summary;
    let mut text = format!("{tuned} tuned, {known} known before; the table is {}", table.display());
    if wrong > 0 {
        text += &format!("\n{wrong} variants computed WRONG results and were passed over: please report them");
    }
    if unsolved > 0 {
        text += &format!("\n{unsolved} problems are not in the table, for the reasons above");
    }
    text
}

/// A variant that is wrong is a wrong result, whatever took its place.
pub(super) fn outcome(summary: &Summary) -> Outcome {
    if summary.wrong + summary.unsolved > 0 { Outcome::ComparisonFailed } else { Outcome::Success }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::Problem;
    use ggemm_runtime::tune::{Routing, Timing};

    use super::*;

    #[test]
    fn a_line_says_what_tuning_gained() {
        let [fast, slow, never] =
            ["128x192x64_w4x1_s5_pingpong", "64x256x64_w4x1_s5_pingpong", "64x128x64_w4x1_s8_pingpong"]
                .map(|tile| format!("ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_{tile}_tma").parse().unwrap());
        let task = Task::new("up forward", Problem::forward(2, 1000, 1000, 1000), vec![500; 2]).unwrap();
        let machine = Machine {
            gpu: "made up".into(),
            compute_capability: "9.0".into(),
            driver: "1".into(),
            ggemm: "0".into(),
            kernels: String::new(),
        };
        let entry = Entry {
            machine,
            problem: task.problem().clone(),
            routing: Routing::Even,
            best: Timing { variant: fast, microseconds: 10.0 },
            others: vec![Timing { variant: slow, microseconds: 12.5 }],
        };
        let line = |predicted| Line { task: &task, entry: &entry, predicted }.to_string();
        let words = |predicted| line(predicted).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(Some(slow)), format!("up forward 10.0 us 200.0 80.0 % {fast}"));
        assert_eq!(words(Some(fast)), format!("up forward 10.0 us 200.0 the same {fast}"));
        assert_eq!(words(Some(never)), format!("up forward 10.0 us 200.0 wrong {fast}"));
        assert_eq!(words(None), format!("up forward 10.0 us 200.0 known {fast}"));
        // Columns stand below their heads.
        let header = Line::header();
        let at = |text: &str| header.find(text).unwrap() + text.len();
        assert_eq!(line(None).find("known").unwrap() + "known".len(), at("of the model's choice"));
        assert_eq!(line(None).find(&fast.to_string()), header.find("variant"));
    }

    #[test]
    fn a_wrong_variant_shows_in_the_exit_code() {
        let right = Summary { tuned: 3, ..Summary::default() };
        assert_eq!(outcome(&right), Outcome::Success);
        for wrong in [Summary { wrong: 1, ..right }, Summary { unsolved: 1, ..right }] {
            assert_eq!(outcome(&wrong), Outcome::ComparisonFailed);
            assert_eq!(foot(&wrong, Path::new("t")).lines().count(), 2);
        }
    }
}
