//! Choices that were measured, and measurements of problems nearby.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ggemm_codegen::Problem;
use ggemm_table::{Entry, Found, Key, Machine, Routing, Store, Table, TableError, TableLocation, Timing};

use super::calibration::Calibration;
use super::demand::Demand;
use super::variant::{self, ReadSet};
use super::ways::Ways;
use super::{Candidate, shipped};
use crate::error::Error;

/// Where a planner's measured choices come from, and the machine that they must have been measured on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuned {
    /// `None`: on the CPU, or on a GPU that kernels are only interpreted for.
    pub(crate) machine: Option<Machine>,
    /// The caller's tables, in the order of preference.
    pub(crate) tables: Vec<Arc<Table>>,
    /// Neither the user's file nor what ships counts.
    pub(crate) only_callers: bool,
    /// How rows are expected to be spread.
    pub(crate) routing: Routing,
}

/// The measurement that a variant was chosen for: one of this very problem, as far as measurements tell problems apart.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// The GPU's time of one launch, in microseconds.
    pub microseconds: f64,
    /// M of the problem that was measured.
    pub m: usize,
    /// How its rows were spread.
    pub routing: Routing,
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuning { microseconds, m, routing } = self;
        write!(f, "tuned, {microseconds:.1} us measured for M={m} {routing}")
    }
}

impl Tuned {
    /// The variant that was measured to be fastest for a problem.
    ///
    /// Of an entry's variants it is the first that can compute the problem. An earlier table comes first: the caller's,
    /// then the user's file, then what ships.
    pub(super) fn choose(
        &self,
        sets: &[&'static ReadSet],
        problem: &Problem,
        ways: &Ways,
    ) -> Result<Option<(Candidate, Tuning)>, Error> {
        let Some(machine) = self.machine(&ways.direct) else { return Ok(None) };
        let key = Key::new(problem, self.routing);
        for entry in self.tables().filter_map(|table| table.get(machine, &key)) {
            if let Some(choice) = fitting(sets, ways, entry)? {
                return Ok(Some(choice));
            }
        }
        Ok(None)
    }

    /// What was measured of problems that are near.
    pub(super) fn calibration(
        &self,
        sets: &[&'static ReadSet],
        problem: &Problem,
        demand: &Demand,
    ) -> Result<Option<Calibration>, Error> {
        let Some(machine) = self.machine(demand) else { return Ok(None) };
        let key = Key::new(problem, self.routing);
        let mut near: Vec<Found<'_>> = self.tables().flat_map(|table| table.near(machine, &key)).collect();
        near.sort_by(|a, b| a.distance.total().total_cmp(&b.distance.total()));
        Calibration::new(sets, demand, near.into_iter())
    }

    fn machine(&self, demand: &Demand) -> Option<&Machine> {
        self.machine.as_ref().filter(|machine| machine.arch() == Some(demand.arch))
    }

    fn tables(&self) -> impl Iterator<Item = &Table> {
        let others = || users().into_iter().chain([shipped::table()]);
        self.tables.iter().map(Arc::as_ref).chain((!self.only_callers).then(others).into_iter().flatten())
    }
}

/// The fastest of an entry's variants that a set holds and that can compute the problem, with what was measured.
fn fitting(sets: &[&'static ReadSet], ways: &Ways, entry: &Entry) -> Result<Option<(Candidate, Tuning)>, Error> {
    for &Timing { variant: spec, microseconds } in entry.timings() {
        let mut named = variant::of_family(sets, ways.direct.family())?.filter(|v| *v.spec() == spec);
        if let Some(candidate) = named.find_map(|v| ways.candidate(v)) {
            return Ok(Some((candidate, Tuning { microseconds, m: entry.problem.m, routing: entry.routing })));
        }
    }
    Ok(None)
}

/// The user's own table, where `GGEMM_TABLE` says or beside the compile cache, as it was when it was first wanted.
fn users() -> Option<&'static Table> {
    static TABLE: OnceLock<Option<Table>> = OnceLock::new();
    let read = || match Store::at(TableLocation::from_env()).and_then(|store| store.read()) {
        Ok(table) => {
            if table.damaged() > 0 {
                tracing::info!(target: "select", lines = table.damaged(), "damaged lines of the table are passed over");
            }
            Some(table)
        }
        Err(TableError::NoPlace { reason }) => {
            tracing::debug!(target: "select", reason, "no table of the user's");
            None
        }
        // A table is never needed.
        Err(error) => {
            tracing::warn!(target: "select", %error, "the table is not used");
            None
        }
    };
    TABLE.get_or_init(read).as_ref()
}
