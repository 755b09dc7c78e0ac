//! Entries, to be looked up.

use std::collections::HashMap;

use crate::entry::Entry;
use crate::error::TableError;
use crate::key::{Distance, Key};
use crate::line::{self, Line};
use crate::machine::Machine;

/// Entries of any number of machines, at most one for a key of a machine.
#[derive(Clone, Debug, Default)]
pub struct Table {
    machines: HashMap<Machine, Section>,
    damaged: usize,
    foreign: usize,
}

/// The entries of one machine, in the order in which their problems first came.
#[derive(Clone, Debug, Default)]
struct Section {
    entries: Vec<(Key, Entry)>,
    places: HashMap<Key, usize>,
}

/// An entry, and how far its problem is from the one that was looked up.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// The distance; of its own key 0.
    pub distance: Distance,
}

impl Table {
    /// Reads lines. Those that are none are left out and counted ([`Table::damaged`]), as are those that another version
    /// of ggemm wrote ([`Table::foreign`]).
    ///
    /// Anything reads, so that a table of which a killed process left half a line is as good as the rest of its lines.
    /// Text that is to be whole is for [`Table::whole`].
    pub fn parse(text: &str) -> Self {
        let mut table = Table::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match line::decode(line) {
                Line::Entry(entry) => table.insert(*entry),
                Line::Foreign => table.foreign += 1,
                Line::Damaged => table.damaged += 1,
            }
        }
        table
    }

    /// Reads lines of which each must be whole.
    ///
    /// # Errors
    /// [`TableError::Damaged`] with the first line's number that is not.
    pub fn whole(text: &str) -> Result<Self, TableError> {
        let damaged = |line: &str| !line.trim().is_empty() && matches!(line::decode(line), Line::Damaged);
        match text.lines().position(damaged) {
            Some(index) => Err(TableError::Damaged { line: index + 1 }),
            None => Ok(Self::parse(text)),
        }
    }

    /// Adds an entry, in place of one with the same machine and key.
    pub fn insert(&mut self, entry: Entry) {
        let section = self.machines.entry(entry.machine.clone()).or_default();
        let key = entry.key();
        match section.places.get(&key) {
            Some(place) => section.entries[*place] = (key, entry),
            None => {
                section.places.insert(key.clone(), section.entries.len());
                section.entries.push((key, entry));
            }
        }
    }

    /// The entry of this very key.
    pub fn get(&self, machine: &Machine, key: &Key) -> Option<&Entry> {
        let section = self.machines.get(machine)?;
        section.places.get(key).map(|place| &section.entries[*place].1)
    }

    /// The same, as what was found at no distance.
    pub fn exact(&self, machine: &Machine, key: &Key) -> Option<Found<'_>> {
        self.get(machine, key).map(|entry| Found { entry, distance: Distance::NONE })
    }

    /// The entries of `machine` that have a distance from `key`, nearest first. Of two that are equally near, the one
    /// that came first.
    pub fn near(&self, machine: &Machine, key: &Key) -> Vec<Found<'_>> {
        let Some(section) = self.machines.get(machine) else { return Vec::new() };
        let mut near: Vec<Found<'_>> = section
            .entries
            .iter()
            .filter_map(|(other, entry)| Some(Found { entry, distance: key.distance(other)? }))
            .collect();
        near.sort_by(|a, b| a.distance.total().total_cmp(&b.distance.total()));
        near
    }

    /// The machines that it has entries of, in the order of their names.
    pub fn machines(&self) -> Vec<&Machine> {
        let mut machines: Vec<&Machine> = self.machines.keys().collect();
        machines.sort_by_key(|machine| machine.to_string());
        machines
    }

    /// The entries of `machine`.
    pub fn entries(&self, machine: &Machine) -> impl Iterator<Item = &Entry> {
        self.machines.get(machine).into_iter().flat_map(|section| section.entries.iter().map(|(_, entry)| entry))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.machines.values().map(|section| section.entries.len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// Lines that were none: half written by a process that was killed, or changed by hand.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// Lines of other versions of ggemm.
    pub fn foreign(&self) -> usize {
        self.foreign
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ggemm_codegen::Problem;

    use super::*;
    use crate::entry::Timing;
    use crate::key::Routing;

    pub(crate) fn machine(gpu: &str) -> Machine {
        Machine {
            gpu: gpu.into(),
            compute_capability: "9.0".into(),
            driver: "1.2".into(),
            ggemm: "0.0".into(),
            kernels: "0123456789abcdef".into(),
        }
    }

    pub(crate) fn entry(groups: usize, m: usize) -> Entry {
        let variant = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma".parse().unwrap();
        let other = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x256x64_w4x1_s5_pingpong_tma".parse().unwrap();
        Entry {
            machine: machine("made up"),
            problem: Problem::forward(groups, m, 1536, 2048),
            routing: Routing::Skewed,
            best: Timing { variant, microseconds: 12.5 },
            others: vec![Timing { variant: other, microseconds: 13.25 }],
        }
    }

    fn text(entries: &[Entry]) -> String {
        entries.iter().map(|entry| line::encode(entry).unwrap() + "\n").collect()
    }

    #[test]
    fn of_two_entries_for_one_key_the_later_counts() {
        let mut later = entry(8, 4100);
        later.best.microseconds = 11.0;
        let table = Table::parse(&text(&[entry(8, 4096), entry(16, 4096), later.clone()]));
        assert_eq!((table.len(), table.damaged(), table.foreign()), (2, 0, 0));
        assert_eq!(table.get(&machine("made up"), &entry(8, 4096).key()), Some(&later));
    }

    #[test]
    fn another_machine_has_nothing() {
        let table = Table::parse(&text(&[entry(8, 4096)]));
        let key = entry(8, 4096).key();
        let own = machine("made up");
        assert!(table.get(&own, &key).is_some());
        let others = [
            Machine { gpu: "another".into(), ..own.clone() },
            Machine { compute_capability: "9.1".into(), ..own.clone() },
            Machine { driver: "1.3".into(), ..own.clone() },
            Machine { ggemm: "0.1".into(), ..own.clone() },
            Machine { kernels: "another".into(), ..own.clone() },
        ];
        for other in others {
            assert!(table.get(&other, &key).is_none() && table.near(&other, &key).is_empty(), "{other}");
        }
    }

    #[test]
    fn the_nearest_come_first() {
        let table = Table::parse(&text(&[entry(64, 4096), entry(8, 16384), entry(8, 8192), entry(8, 2048)]));
        let near = table.near(&machine("made up"), &entry(8, 4096).key());
        let order: Vec<(usize, usize, f64)> = near
            .iter()
            .map(|found| (found.entry.problem.groups, found.entry.problem.m, found.distance.total()))
            .collect();
        assert_eq!(order, [(8, 8192, 1.0), (8, 2048, 1.0), (8, 16384, 2.0), (64, 4096, 4.5)]);
    }

    #[test]
    fn damage_costs_the_damaged_line_alone() {
        let whole = text(&[entry(8, 4096), entry(16, 4096), entry(32, 4096)]);
        assert_eq!(Table::whole(&whole).unwrap().len(), 3);
        let half = whole.replacen("made up", "made", 2).replacen("made\"", "made up\"", 1);
        let table = Table::parse(&half);
        assert_eq!((table.len(), table.damaged()), (2, 1));
        let error = Table::whole(&half).unwrap_err();
        assert!(matches!(error, TableError::Damaged { line: 2 }), "{error}");
    }
}
