//! Chooses anew among variants that were timed before, so that a change of the cost model or of how a table corrects it can
//! be judged without a GPU.

use std::fmt::Write;

use ggemm_codegen::{Arch, KernelSpec};
use ggemm_report::{Record, Row, Subject};
use ggemm_runtime::random::Spread;
use ggemm_runtime::tune::{Machine, Routing, Table};
use ggemm_runtime::{Device, Error, Planner, catalogue};

use super::cases::label;

/// Marks in a record what a planner takes with `table` and without, and says by what it chose.
///
/// For each problem the table's entries of its own layer are left out: else what was measured would be judged by itself.
pub(super) fn anew(record: &mut Record, table: &Table) -> Result<String, Error> {
    let machine = machine(record, table);
    let mut text = match machine {
        Some(machine) => {
            let entries = table.entries(machine).count();
            let kernels = match machine.kernels == catalogue::fingerprint() {
                true => "",
                false => " of other kernels than this program's",
            };
            format!("chosen anew by a table of {entries} entries{kernels}, without those of the layer that is judged\n")
        }
        None => "chosen anew by the cost model: the table has nothing of this GPU with this driver\n".to_owned(),
    };
    let Some(arch) = machine.and_then(Machine::arch).or_else(|| newest(record)) else { return Ok(text) };
    let mut subjects: Vec<Subject> = Vec::new();
    for row in &record.rows {
        if !subjects.contains(&row.subject) {
            subjects.push(row.subject.clone());
        }
    }
    for subject in subjects {
        let mut planner = Planner::new(Device::cpu()).routing(routing(&subject.spread));
        if let Some(machine) = machine {
            planner = planner.only_table(others(table, machine, &subject)).assume(machine.clone());
        }
        let explanation = planner.explain(&subject.problem, arch)?;
        let chosen = explanation.selection().preferred().variant.name();
        let by_model = explanation.by_model().map_or(chosen, |candidate| candidate.variant.name());
        let mut is_timed = false;
        for row in record.rows.iter_mut().filter(|row| row.subject == subject) {
            (row.chosen, row.by_model) = (row.variant == chosen, row.variant == by_model);
            is_timed |= row.chosen;
            let candidate = explanation.candidates().iter().find(|candidate| candidate.variant.name() == row.variant);
            row.predicted_us = candidate.map(|candidate| candidate.prediction.seconds * 1e6);
        }
        if !is_timed {
            _ = writeln!(text, "{} {}: {chosen} was not timed", label(&subject), subject.operation());
        }
    }
    Ok(text)
}

/// The table's machine that a record is of; of several that differ in kernels alone, the one with this program's.
fn machine<'a>(record: &Record, table: &'a Table) -> Option<&'a Machine> {
    let is_same = |machine: &&Machine| machine.gpu == record.device && Some(&machine.driver) == record.driver.as_ref();
    let same = table.machines().into_iter().filter(is_same);
    same.max_by_key(|machine| machine.kernels == catalogue::fingerprint())
}

/// What a caller may say of rows that are spread so.
fn routing(spread: &str) -> Routing {
    match spread.parse::<Spread>() {
        Ok(Spread::Balanced) => Routing::Even,
        Ok(Spread::OneHot) => Routing::Single,
        // A table's entry has a routing's name.
        _ => spread.parse().unwrap_or(Routing::Skewed),
    }
}

/// What a table knows of other layers than a subject's.
fn others(table: &Table, machine: &Machine, subject: &Subject) -> Table {
    let own = (subject.problem.n, subject.problem.k);
    let mut others = Table::default();
    for entry in table.entries(machine).filter(|entry| (entry.problem.n, entry.problem.k) != own) {
        others.insert(entry.clone());
    }
    others
}

/// The newest architecture that variants of a record are for.
fn newest(record: &Record) -> Option<Arch> {
    let arch = |row: &Row| row.variant.parse::<KernelSpec>().ok().map(|spec| spec.arch);
    let found: Vec<Arch> = record.rows.iter().filter_map(arch).collect();
    Arch::ALL.into_iter().rfind(|arch| found.contains(arch))
}
