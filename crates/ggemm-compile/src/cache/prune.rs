//! Removing entries, while other processes read and write.
//!
//! A reader that has an entry open keeps it, one that comes later compiles. A writer puts a whole file in place under
//! the key's lock; an entry is therefore removed under that lock, and only if it still is the file that was judged.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::inventory::date;
use super::{Bypass, Cache, Entry, abandoned, lock, sweep};

/// Which entries go. What does not read back always does: nothing would use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneRule {
    /// Those that were not used for this long.
    pub older_than: Option<Duration>,
    /// Those that were not used for the longest, until the rest take at most this many bytes.
    pub keep_below: Option<u64>,
}

impl PruneRule {
    /// Sets [`older_than`](Self::older_than).
    #[must_use]
    pub fn older_than(self, age: Option<Duration>) -> Self {
        Self { older_than: age, ..self }
    }

    /// Sets [`keep_below`](Self::keep_below).
    #[must_use]
    pub fn keep_below(self, bytes: Option<u64>) -> Self {
        Self { keep_below: bytes, ..self }
    }

    /// Those of `entries` that go, and why; those that do not read back first, then the oldest.
    fn judge(&self, mut entries: Vec<Entry>, now: SystemTime) -> Vec<(Entry, Reason)> {
        entries.sort_by(|a, b| (a.spoilt.is_none(), a.used, &a.path).cmp(&(b.spoilt.is_none(), b.used, &b.path)));
        let mut left: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut going = Vec::new();
        for entry in entries {
            // A date in the future is that of another machine's clock: the entry is new.
            let age = now.duration_since(entry.used).unwrap_or_default();
            let reason = if entry.spoilt.is_some() {
                Reason::Spoilt
            } else if self.older_than.is_some_and(|limit| age > limit) {
                Reason::Unused
            } else if self.keep_below.is_some_and(|limit| left > limit) {
                Reason::Excess
            } else {
                break;
            };
            left = left.saturating_sub(entry.bytes);
            going.push((entry, reason));
        }
        going
    }
}

/// Why an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It does not read back right.
    Spoilt,
    /// It was not used for longer than [`PruneRule::older_than`].
    Unused,
    /// The cache is larger than [`PruneRule::keep_below`].
    Excess,
}

/// What became of an entry that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is removed; in a dry run it would be.
    Removed,
    /// Another process was faster.
    Gone,
    /// It stays: it was used or written since it was judged, or its lock is taken by a process that compiles.
    InUse,
    /// It stays: the system refused, and this is what it said.
    Refused(String),
}

/// An entry that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// The entry, as it was judged.
    pub entry: Entry,
    /// Why it goes.
    pub reason: Reason,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a pruning did, or in a dry run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Entries that were to go, in the order in which they did.
    pub removals: Vec<Removal>,
    /// Files that processes which died while writing left behind, removed.
    pub abandoned: usize,
    /// Bytes that the removed files took.
    pub freed: u64,
    /// Entries that stay.
    pub kept: usize,
    /// Bytes that they take.
    pub kept_bytes: u64,
}

impl Cache {
    /// Removes the entries that `rule` says, and what dead writers left behind; in a dry run only tells.
    ///
    /// It never waits, and other processes may use the cache meanwhile: at worst they compile again.
    ///
    /// # Errors
    /// Why the cache cannot be used, or its folder not be listed. An entry that cannot be removed is no error
    /// ([`Outcome::Refused`]).
    pub fn prune(&self, rule: &PruneRule, dry_run: bool) -> Result<Pruned, Bypass> {
        let folder = self.folder.as_ref().map_err(Bypass::clone)?;
        let entries = self.entries()?;
        let (mut kept, mut kept_bytes) = (entries.len(), entries.iter().map(|entry| entry.bytes).sum::<u64>());
        let leavings = abandoned(folder);
        let mut freed = leavings.iter().map(|(_, bytes)| bytes).sum();
        let mut removals = Vec::new();
        for (entry, reason) in rule.judge(entries, SystemTime::now()) {
            let outcome = if dry_run { Outcome::Removed } else { remove(folder, &entry) };
            if matches!(outcome, Outcome::Removed | Outcome::Gone) {
                kept -= 1;
                kept_bytes -= entry.bytes;
            }
            if outcome == Outcome::Removed {
                freed += entry.bytes;
            }
            removals.push(Removal { entry, reason, outcome });
        }
        if !dry_run {
            sweep(folder);
        }
        Ok(Pruned { removals, abandoned: leavings.len(), freed, kept, kept_bytes })
    }
}

/// Removes an entry if it still is what was judged.
fn remove(folder: &Path, entry: &Entry) -> Outcome {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::Gone,
        _ => Outcome::Refused(error.to_string()),
    };
    let _lock = match lock::take(folder, &entry.key) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Outcome::InUse,
        Err(bypass) => return Outcome::Refused(bypass.to_string()),
    };
    let metadata = match std::fs::metadata(&entry.path) {
        Ok(metadata) => metadata,
        Err(error) => return refused(error),
    };
    if (metadata.len(), date(&metadata)) != (entry.bytes, entry.used) {
        return Outcome::InUse;
    }
    match std::fs::remove_file(&entry.path) {
        Ok(()) => Outcome::Removed,
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fs::{self, File};

    use super::super::{CacheKey, CacheLocation, Origin};
    use super::*;
    use crate::compile::Cubin;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn key(name: &str) -> CacheKey {
        CacheKey::new(name, "source", "sm_80", &[], "fake 1")
    }

    /// A cache whose entries `a`, `b`, … were last used so many days ago.
    fn filled(days: &[u32]) -> (tempfile::TempDir, Cache) {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(CacheLocation::At(root.path().join("cache")));
        for (name, days) in ('a'..).zip(days) {
            let key = key(&name.to_string());
            let Ok((_, origin)) =
                cache.get_or_insert_with(&key, || Ok::<_, Infallible>(Cubin::new(vec![7; 1000], String::new())));
            assert_eq!(origin, Origin::Compiled);
            date_back(&path(&cache, &key), *days);
        }
        (root, cache)
    }

    fn path(cache: &Cache, key: &CacheKey) -> std::path::PathBuf {
        cache.folder().unwrap().join(key.file_name())
    }

    fn date_back(path: &Path, days: u32) {
        File::open(path).unwrap().set_modified(SystemTime::now() - days * DAY).unwrap();
    }

    fn names(cache: &Cache) -> String {
        cache.entries().unwrap().into_iter().map(|entry| entry.kernel).collect()
    }

    fn removed(pruned: &Pruned) -> Vec<(&str, Reason, &Outcome)> {
        pruned.removals.iter().map(|r| (&r.entry.kernel[..], r.reason, &r.outcome)).collect()
    }

    #[test]
    fn what_was_not_used_for_long_goes() {
        let (_root, cache) = filled(&[40, 0, 31, 29]);
        let rule = PruneRule::default().older_than(Some(30 * DAY));
        let plan = cache.prune(&rule, true).unwrap();
        assert_eq!(names(&cache), "abcd", "a dry run removes nothing");
        let pruned = cache.prune(&rule, false).unwrap();
        assert_eq!(plan, pruned, "and tells what will happen");
        assert_eq!(
            removed(&pruned),
            [("a", Reason::Unused, &Outcome::Removed), ("c", Reason::Unused, &Outcome::Removed)]
        );
        assert_eq!(names(&cache), "bd");
        let bytes = cache.entries().unwrap().iter().map(|entry| entry.bytes).sum::<u64>();
        assert_eq!((pruned.kept, pruned.kept_bytes, pruned.freed), (2, bytes, bytes));
    }

    #[test]
    fn the_longest_unused_go_until_the_rest_fits() {
        // In the order of their last use: a, d, b, c.
        for (entries, left) in [(4, "abcd"), (3, "bcd"), (2, "bc"), (1, "c"), (0, "")] {
            let (_root, cache) = filled(&[9, 2, 1, 5]);
            let limit = cache.entries().unwrap()[0].bytes * entries;
            cache.prune(&PruneRule::default().keep_below(Some(limit)), false).unwrap();
            assert_eq!(names(&cache), left, "{entries}");
        }
    }

    #[test]
    fn what_does_not_read_back_goes_first() {
        let (_root, cache) = filled(&[3, 2, 1]);
        let size = cache.entries().unwrap()[0].bytes;
        let spoilt = path(&cache, &key("c"));
        let mut bytes = fs::read(&spoilt).unwrap();
        bytes[200] ^= 1;
        fs::write(&spoilt, bytes).unwrap();
        let entry = cache.entries().unwrap().remove(2);
        assert!(entry.spoilt.unwrap().contains("hash does not match"));
        assert_eq!((&entry.kernel[..], entry.target, entry.compiler), ("c", None, None));
        // Two fit, so that no other has to go.
        let pruned = cache.prune(&PruneRule::default().keep_below(Some(2 * size)), false).unwrap();
        assert_eq!(removed(&pruned), [("c", Reason::Spoilt, &Outcome::Removed)]);
        assert_eq!(names(&cache), "ab");
    }

    #[test]
    fn a_use_makes_an_entry_young() {
        let (_root, cache) = filled(&[40, 40]);
        assert!(cache.peek(&key("b")).is_some(), "a look is no use");
        let Ok((_, origin)) = cache.get_or_insert_with(&key("a"), || -> Result<Cubin, Infallible> { unreachable!() });
        assert_eq!(origin, Origin::Hit);
        cache.prune(&PruneRule::default().older_than(Some(30 * DAY)), false).unwrap();
        assert_eq!(names(&cache), "a");
    }

    #[test]
    fn an_entry_stays_that_is_not_what_was_judged_or_is_being_made() {
        let (_root, cache) = filled(&[5, 5, 5]);
        let folder = cache.folder().unwrap();
        let [used, made, gone] = &cache.entries().unwrap()[..] else { panic!("three entries") };
        date_back(&used.path, 0);
        assert_eq!(remove(folder, used), Outcome::InUse);
        let lock = lock::wait(folder, key("b").hash()).unwrap();
        assert_eq!(remove(folder, made), Outcome::InUse);
        drop(lock);
        assert_eq!(remove(folder, made), Outcome::Removed);
        fs::remove_file(&gone.path).unwrap();
        assert_eq!(remove(folder, gone), Outcome::Gone);
        assert_eq!(names(&cache), "a");
    }

    #[test]
    fn files_that_are_no_entries_stay_and_what_cannot_go_is_told() {
        let (_root, cache) = filled(&[5]);
        let folder = cache.folder().unwrap();
        let notes = folder.join("notes.txt");
        fs::write(&notes, "mine").unwrap();
        let abandoned = folder.join(".partial-old");
        fs::write(&abandoned, "half").unwrap();
        date_back(&abandoned, 1);
        // A folder in an entry's place, not empty.
        fs::create_dir_all(folder.join(key("z").file_name()).join("inner")).unwrap();
        let pruned = cache.prune(&PruneRule::default().keep_below(Some(0)), false).unwrap();
        let [z, a] = &pruned.removals[..] else { panic!("{pruned:?}") };
        assert!(matches!(&z.outcome, Outcome::Refused(_)) && z.entry.kernel == "z", "{z:?}");
        assert_eq!((&a.outcome, &a.entry.kernel[..]), (&Outcome::Removed, "a"));
        assert_eq!((pruned.kept, pruned.abandoned), (1, 1));
        assert!(notes.exists() && !abandoned.exists());
    }
}
