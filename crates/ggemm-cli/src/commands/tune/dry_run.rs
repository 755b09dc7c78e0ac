//! What would be timed.

use std::io::Write;
use std::time::Duration;

use ggemm_codegen::{Arch, Problem};
use ggemm_runtime::tune::{Routing, Task, worth_timing};
use ggemm_runtime::{Candidate, Device, Planner};
use serde::Serialize;

use crate::Outcome;
use crate::error::CliError;
use crate::numbers::time;
use crate::table;

/// The architecture that is assumed where there is no GPU.
const DEFAULT_ARCH: Arch = Arch::Sm90a;

/// A problem that would be timed.
#[derive(Debug, Serialize)]
struct Planned<'a> {
    label: &'a str,
    problem: &'a Problem,
    routing: Routing,
    arch: Arch,
    candidates: Vec<Predicted>,
}

/// A variant that would be.
#[derive(Debug, Serialize)]
struct Predicted {
    variant: &'static str,
    predicted_microseconds: f64,
}

/// Prints the tasks with their candidates.
pub(super) fn print(tasks: &[Task], within: f64, arch: Option<Arch>, json: bool) -> Result<Outcome, CliError> {
    let arch = arch.unwrap_or(DEFAULT_ARCH);
    let planner = Planner::new(Device::cpu());
    let mut planned = Vec::new();
    for task in tasks {
        let explanation = planner.explain(task.problem(), arch)?;
        let predicted = |candidate: &Candidate| Predicted {
            variant: candidate.variant.name(),
            predicted_microseconds: candidate.prediction.seconds * 1e6,
        };
        let candidates = worth_timing(explanation.candidates(), within).iter().map(predicted).collect();
        planned.push(Planned {
            label: task.label(),
            problem: task.problem(),
            routing: task.routing(),
            arch,
            candidates,
        });
    }
    let mut stdout = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut stdout, &planned)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}", text(&planned, arch))?;
    }
    stdout.flush()?;
    Ok(Outcome::Success)
}

fn text(planned: &[Planned<'_>], arch: Arch) -> String {
    let mut table = table::table(["problem", "G", "M", "N", "K", "rows", "variant", "predicted"], [1, 2, 3, 4, 7]);
    for Planned { label, problem, routing, candidates, .. } in planned {
        let Problem { groups, m, n, k, .. } = problem;
        let numbers = [groups, m, n, k].map(usize::to_string);
        let mut head: Vec<String> =
            [(*label).to_owned()].into_iter().chain(numbers).chain([routing.to_string()]).collect();
        for candidate in candidates {
            let seconds = candidate.predicted_microseconds / 1e6;
            let predicted = time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
            head.extend([candidate.variant.to_owned(), predicted]);
            table.add_row(std::mem::replace(&mut head, vec![String::new(); 6]));
        }
    }
    let candidates: usize = planned.iter().map(|planned| planned.candidates.len()).sum();
    let problems = planned.len();
    format!("{}\n{candidates} variants of {problems} problems would be timed on {arch}\n", table::text(&table))
}
