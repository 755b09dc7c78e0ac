//! What was compiled before, and came out clean: `xtask/compiled.json`.
//!
//! Compiling every kernel for every architecture takes longer than all tests together. So `cargo xtask check-cubins`
//! writes down what it found, under the hash of all that decides what comes out (name, text, target, flags, compiler), and
//! `cargo xtask test` compiles what is not written there, and a sample of what is.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use ggemm_attest::CubinHash;
use serde::{Deserialize, Serialize};

use crate::{Result, root};

/// A kernel for an architecture that compiled without a spill, a stack frame or a warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clean {
    /// The hash of what it was compiled from, and by.
    pub(crate) key: String,
    /// What came out.
    pub(crate) cubin: CubinHash,
    /// Registers of a thread.
    pub(crate) registers: u32,
}

/// All of them: by target, then by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Compiled(BTreeMap<String, BTreeMap<String, Clean>>);

impl Compiled {
    fn path() -> PathBuf {
        root().join("xtask/compiled.json")
    }

    /// What the project's file holds.
    pub(crate) fn read() -> Result<Self> {
        let path = Self::path();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Writes the project's file, where that changes it.
    pub(crate) fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        if fs::read_to_string(Self::path()).is_ok_and(|old| old == text) {
            return Ok(());
        }
        Ok(fs::write(Self::path(), text)?)
    }

    /// What is known of a kernel, compiled from and by what `key` says.
    pub(crate) fn find(&self, target: &str, name: &str, key: &str) -> Option<&Clean> {
        self.0.get(target)?.get(name).filter(|clean| clean.key == key)
    }

    pub(crate) fn insert(&mut self, target: &str, name: &str, clean: Clean) {
        self.0.entry(target.to_owned()).or_default().insert(name.to_owned(), clean);
    }

    /// Whether a kernel is of the sample that is compiled all the same: so many in a hundred, others whenever a kernel
    /// changes.
    pub(crate) fn samples(&self, key: &str, percent: u64) -> bool {
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        let keys = self.0.values().flat_map(BTreeMap::values).map(|clean| clean.key.as_str());
        for byte in keys.chain([key]).flat_map(str::bytes) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state % 100 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(key: &str) -> Clean {
        Clean { key: key.to_owned(), cubin: CubinHash::of(&[1]), registers: 168 }
    }

    #[test]
    fn a_kernel_is_known_by_what_it_was_compiled_from() {
        let mut compiled = Compiled::default();
        compiled.insert("sm_90a", "k", clean("one"));
        assert_eq!(compiled.find("sm_90a", "k", "one"), Some(&clean("one")));
        for (target, name, key) in [("sm_80", "k", "one"), ("sm_90a", "other", "one"), ("sm_90a", "k", "two")] {
            assert_eq!(compiled.find(target, name, key), None);
        }
        let text = serde_json::to_string(&compiled).unwrap();
        assert_eq!(serde_json::from_str::<Compiled>(&text).unwrap(), compiled);
    }

    #[test]
    fn samples_are_of_their_size_and_change() {
        let mut compiled = Compiled::default();
        let keys: Vec<String> = (0..1000).map(|i: u32| format!("key {i}")).collect();
        let sample =
            |compiled: &Compiled| -> Vec<&String> { keys.iter().filter(|key| compiled.samples(key, 5)).collect() };
        let first = sample(&compiled).len();
        assert!((20..=90).contains(&first), "{first}");
        let before: Vec<String> = sample(&compiled).into_iter().cloned().collect();
        compiled.insert("sm_90a", "k", clean("one"));
        assert!(before.iter().ne(sample(&compiled)), "the same sample");
    }
}
