//! What was measured for one problem.

use ggemm_codegen::{KernelSpec, Problem};
use serde::{Deserialize, Serialize};

use crate::error::TableError;
use crate::key::{Key, Routing};
use crate::line;
use crate::machine::Machine;

/// The variants that were timed on one problem, on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub machine: Machine,
    /// The problem that was timed.
    pub problem: Problem,
    /// How its rows were spread over its groups.
    pub routing: Routing,
    /// The fastest variant, whose result was verified.
    pub best: Timing,
    /// The others that were timed, fastest first.
    pub others: Vec<Timing>,
}

/// A variant's time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The variant, by its name.
    #[serde(with = "by_name")]
    pub variant: KernelSpec,
    /// The GPU's time for one launch with cold caches, the median over rounds, in microseconds.
    pub microseconds: f64,
}

impl Entry {
    /// What the entry is found by.
    pub fn key(&self) -> Key {
        Key::new(&self.problem, self.routing)
    }

    /// The entry as a line of a table, without its end.
    ///
    /// # Errors
    /// [`TableError::Entry`] for numbers that JSON does not have.
    pub fn line(&self) -> Result<String, TableError> {
        line::encode(self).map_err(|source| TableError::Entry { problem: self.problem.to_string(), source })
    }

    /// All that were timed, fastest first.
    pub fn timings(&self) -> impl Iterator<Item = &Timing> {
        std::iter::once(&self.best).chain(&self.others)
    }
}

mod by_name {
    use ggemm_codegen::KernelSpec;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(spec: &KernelSpec, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(spec)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KernelSpec, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
