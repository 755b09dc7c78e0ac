//! A table of `ggemm tune`, read as a record: each entry is a problem of which several variants were timed.

use std::path::Path;

use ggemm_report::{Rates, Record, Row, SCHEMA, Subject};
use ggemm_runtime::tune::{Entry, Store, Table, TableLocation};

use super::error::BenchError;

/// Whether a file's name is a table's.
pub(super) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl")
}

/// The table in a file, which must be there: no file is an empty table to those who write one.
pub(super) fn table(path: &Path) -> Result<Table, BenchError> {
    if !path.exists() {
        return Err(BenchError::NoTable { path: path.to_owned() });
    }
    Ok(Store::at(TableLocation::At(path.to_owned()))?.read()?)
}

/// Reads a table of one machine.
pub(super) fn read(path: &Path) -> Result<Record, BenchError> {
    let table = table(path)?;
    let [machine] = table.machines()[..] else {
        return Err(BenchError::Machines { path: path.to_owned(), machines: table.machines().len() });
    };
    let rates = Rates::of(&machine.gpu);
    Ok(Record {
        schema: SCHEMA,
        backend: "cuda".to_owned(),
        device: machine.gpu.clone(),
        driver: Some(machine.driver.clone()),
        ggemm: machine.ggemm.clone(),
        commit: None,
        card: None,
        // A time of a table is the median of an unknown number.
        rounds: 1,
        rates,
        rows: table.entries(machine).flat_map(|entry| rows(entry, rates.as_ref())).collect(),
        left_out: Vec::new(),
        launch: None,
    })
}

fn rows(entry: &Entry, rates: Option<&Rates>) -> Vec<Row> {
    let problem = &entry.problem;
    let subject = Subject {
        case: format!("g{}-m{}-n{}-k{}", problem.groups, problem.m, problem.n, problem.k),
        spread: entry.routing.to_string(),
        sweep: None,
        problem: problem.clone(),
    };
    let flops = 2.0 * problem.m as f64 * problem.n as f64 * problem.k as f64;
    let bytes: u64 = problem.tensors().iter().map(|t| t.elements() as u64 * u64::from(t.dtype.size_bytes())).sum();
    let row = |timing: &ggemm_runtime::tune::Timing| {
        Row::new(subject.clone(), timing.variant.to_string(), vec![timing.microseconds], flops, bytes as f64, rates)
    };
    entry.timings().map(row).collect()
}
