//! A choice that was measured.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ggemm_codegen::Problem;
use ggemm_table::{Distance, Entry, Found, Key, Machine, Routing, Store, Table, TableError, TableLocation, Timing};

use super::variant::{self, ReadSet};
use super::ways::Ways;
use super::{Candidate, Rule, shipped};
use crate::error::Error;

/// Where a planner's measured choices come from, and the machine that they must have been measured on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuned {
    /// `None`: on the CPU, or on a GPU that kernels are only interpreted for.
    pub(crate) machine: Option<Machine>,
    /// The caller's tables, in the order of preference.
    pub(crate) tables: Vec<Arc<Table>>,
    /// How rows are expected to be spread.
    pub(crate) routing: Routing,
}

/// The measurement that a variant was chosen for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tuning {
    /// The GPU's time of one launch, in microseconds.
    pub microseconds: f64,
    /// How far the problem that was measured is from the one that was chosen for.
    pub distance: Distance,
    /// G of the problem that was measured.
    pub groups: usize,
    /// Its M.
    pub m: usize,
    /// Its N.
    pub n: usize,
    /// Its K.
    pub k: usize,
    /// How its rows were spread.
    pub routing: Routing,
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuning { microseconds, distance, groups, m, n, k, routing } = self;
        write!(f, "tuned, {microseconds:.1} us measured for G={groups} M={m} N={n} K={k} {routing}")?;
        match distance.total() {
            0.0 => Ok(()),
            far => write!(f, ", {far:.1} octaves away"),
        }
    }
}

impl Tuned {
    /// The variant that was measured to be fastest for a problem, or for the nearest that was tuned on this machine.
    ///
    /// Of an entry's variants it is the first that can compute the problem. An earlier table wins where two are equally
    /// near: the caller's, then the user's file, then what ships.
    pub(super) fn choose(
        &self,
        sets: &[&'static ReadSet],
        problem: &Problem,
        ways: &Ways,
        rule: Rule,
    ) -> Result<Option<(Candidate, Tuning)>, Error> {
        let Some(machine) = self.machine.as_ref().filter(|machine| machine.arch() == Some(ways.direct.arch)) else {
            return Ok(None);
        };
        let key = Key::new(problem, self.routing);
        // A batch-invariant choice knows nothing of the batch, and is the same however far that is.
        let within = |found: &Found<'_>| match rule {
            Rule::BatchInvariant => found.distance.layer <= Distance::FARTHEST,
            _ => found.distance.total() <= Distance::FARTHEST,
        };
        let tables = || self.tables.iter().map(Arc::as_ref).chain(users()).chain([shipped::table()]);
        // Its own entry is found at once; only where there is none are distances taken.
        for found in tables().filter_map(|table| table.exact(machine, &key)) {
            if let Some(choice) = fitting(sets, ways, found)? {
                return Ok(Some(choice));
            }
        }
        let mut near: Vec<Found<'_>> = tables().flat_map(|table| table.near(machine, &key)).filter(within).collect();
        near.sort_by(|a, b| a.distance.total().total_cmp(&b.distance.total()));
        for found in near {
            if let Some(choice) = fitting(sets, ways, found)? {
                return Ok(Some(choice));
            }
        }
        Ok(None)
    }
}

/// The fastest of an entry's variants that a set holds and that can compute the problem, with what was measured.
fn fitting(
    sets: &[&'static ReadSet],
    ways: &Ways,
    Found { entry, distance }: Found<'_>,
) -> Result<Option<(Candidate, Tuning)>, Error> {
    let Entry { problem: Problem { groups, m, n, k, .. }, routing, .. } = *entry;
    for &Timing { variant: spec, microseconds } in entry.timings() {
        let mut named = variant::of_family(sets, ways.direct.family())?.filter(|v| *v.spec() == spec);
        if let Some(candidate) = named.find_map(|v| ways.candidate(v)) {
            return Ok(Some((candidate, Tuning { microseconds, distance, groups, m, n, k, routing })));
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
