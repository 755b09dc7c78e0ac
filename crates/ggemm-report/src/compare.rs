//! What has changed between two records, beyond what measuring alone changes.
//!
//! A row's change is the logarithm of its new time over its old one. Two things move it though nothing has changed:
//!
//! - rounds of one run differ: the standard error of both medians, from how far their rounds scatter;
//! - runs differ, each row in its own way: how far the changes of all rows scatter. Up to a third of the rows may have
//!   changed indeed and do not count there ([`Level`]); below eight rows nothing is known of it.
//!
//! A row has changed where its change is further than five times both together, and than a tolerance, from that of most
//! rows, and from none at all: what most rows have in common comes of the clock, which rows that wait for memory do not
//! follow. What most rows have in common is the card's doing (its clock follows its temperature) up to [`DRIFT`];
//! beyond that it is a change too. Of fewer than eight rows nobody knows what they have in common, so that their
//! tolerance is the drift, unless somebody says how far this card drifts.

use crate::noise::{self, Level};
use crate::record::{Record, Row};

/// Changes below this are never told of, unless somebody asks for it.
pub const TOLERANCE: f64 = 0.02;

/// How far all rows of two runs may be apart on one kind of card that has not changed (`docs/tuning.md`).
pub const DRIFT: f64 = 0.06;

/// Deviations that a change is beyond.
const DEVIATIONS: f64 = 5.0;

/// Two records, row by row.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// The change that most rows have, as a part of the old time: 0.02 is 2 % slower.
    pub shift: f64,
    /// Rows that both have, in the order of the new one.
    pub changes: Vec<Change<'a>>,
    /// Rows that only the old one has.
    pub gone: Vec<&'a Row>,
    /// Rows that only the new one has.
    pub added: Vec<&'a Row>,
}

/// A row of two records.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What it was.
    pub old: &'a Row,
    /// What it is.
    pub new: &'a Row,
    /// The change, beside that of most rows or by itself, whichever is less, as a part of the old time.
    pub change: f64,
    /// What is no change: as far as this, up or down.
    pub noise: f64,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None that shows.
    Same,
    /// Less time.
    Faster,
    /// More time.
    Slower,
}

impl Verdict {
    fn of(change: f64, noise: f64) -> Self {
        match change {
            change if change > noise => Verdict::Slower,
            change if change < -noise => Verdict::Faster,
            _ => Verdict::Same,
        }
    }
}

impl Change<'_> {
    /// What it means.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.change, self.noise)
    }
}

/// Of two numbers of one sign the one that is nearer to 0; else 0.
fn nearer_to_none(a: f64, b: f64) -> f64 {
    match a * b > 0.0 {
        true if a.abs() < b.abs() => a,
        true => b,
        false => 0.0,
    }
}

impl<'a> Comparison<'a> {
    /// Compares. What a plan takes is compared with what one took, whatever variants these are; others by their names.
    /// Changes below `tolerance` count as none; `None`: [`TOLERANCE`], or [`DRIFT`] where there are few rows.
    pub fn new(old: &'a Record, new: &'a Record, tolerance: Option<f64>) -> Self {
        let (taken_before, taken) = (old.taken(), new.taken());
        let is_in = |rows: &[&Row], row: &Row| rows.iter().any(|other| std::ptr::eq(*other, row));
        let alike = |before: &Row, row: &Row| {
            let (was_taken, is_taken) = (is_in(&taken_before, before), is_in(&taken, row));
            before.subject == row.subject
                && if was_taken || is_taken { was_taken && is_taken } else { before.variant == row.variant }
        };
        let mut pairs = Vec::new();
        let mut added = Vec::new();
        for row in &new.rows {
            match old.rows.iter().find(|before| alike(before, row)) {
                Some(before) => pairs.push((before, row)),
                None => added.push(row),
            }
        }
        let gone = old.rows.iter().filter(|before| !new.rows.iter().any(|row| alike(before, row))).collect();
        let logs: Vec<f64> = pairs.iter().map(|(old, new)| (new.median_us / old.median_us).ln()).collect();
        let found = Level::of(&logs);
        let tolerance = tolerance.unwrap_or(if found.is_some() { TOLERANCE } else { DRIFT });
        let level = found.unwrap_or(Level { at: 0.0, scatter: 0.0 });
        let change = |((old, new), log): (&(&'a Row, &'a Row), &f64)| {
            let errors = [noise::of_median(&old.rounds_us), noise::of_median(&new.rounds_us), level.scatter];
            let deviation = errors.iter().map(|error| error * error).sum::<f64>().sqrt();
            let noise = (DEVIATIONS * deviation).max(tolerance);
            Change { old, new, change: nearer_to_none(*log, log - level.at).exp_m1(), noise }
        };
        let changes = pairs.iter().zip(&logs).map(change).collect();
        Comparison { shift: level.at.exp_m1(), changes, gone, added }
    }

    /// What the change that most rows have means.
    pub fn overall(&self) -> Verdict {
        Verdict::of(self.shift, DRIFT)
    }

    /// Whether anything has become slower.
    pub fn is_slower(&self) -> bool {
        self.overall() == Verdict::Slower || self.changes.iter().any(|change| change.verdict() == Verdict::Slower)
    }
}

#[cfg(test)]
mod tests {
    use ggemm_runtime::random::Rng;

    use super::*;
    use crate::record::tests::{record, row};

    /// So many rows of between 10 and 1000 microseconds, each as noisy as it happens to be, on a card that is by `drift`
    /// slower, of which `changed` says by which factor each has changed.
    fn run(rows: usize, rounds: usize, drift: f64, seed: u64, changed: impl Fn(usize) -> f64) -> Record {
        let mut speeds = Rng::new(7);
        let mut rng = Rng::new(seed);
        let rows = (0..rows).map(|index| {
            let speed = 10.0 * 100_f64.powf(speeds.unit()) * drift * changed(index);
            let noise = 0.001 + 0.007 * speeds.unit();
            // What differs between two runs and not between rounds.
            let speed = speed * (1.0 + 0.004 * f64::from(rng.normal()));
            let mut times: Vec<f64> = (0..rounds).map(|_| speed * (1.0 + noise * f64::from(rng.normal()))).collect();
            // Something else wants the card now and then.
            if rng.below(10) == 0 {
                times[0] *= 1.3;
            }
            row(&format!("case {index}"), "v", &times)
        });
        record(rows.collect())
    }

    #[test]
    fn noise_is_no_change() {
        for seed in 0..40 {
            for (rows, rounds, drift) in [(1, 9, 1.0), (5, 9, 1.0), (38, 9, 1.03), (38, 15, 0.96), (150, 7, 1.05)] {
                let (old, new) =
                    (run(rows, rounds, 1.0, 2 * seed, |_| 1.0), run(rows, rounds, drift, 2 * seed + 1, |_| 1.0));
                let comparison = Comparison::new(&old, &new, None);
                assert_eq!(comparison.changes.len(), rows);
                for change in &comparison.changes {
                    assert_eq!(change.verdict(), Verdict::Same, "{seed} {rows}: {change:?}");
                }
                assert!(!comparison.is_slower() && comparison.overall() == Verdict::Same, "{}", comparison.shift);
            }
        }
    }

    /// Ten in a hundred, in one row, or in a third of them: each is found, and nothing else.
    #[test]
    fn ten_percent_are_a_change() {
        for seed in 0..40 {
            for (rows, every) in [(1, 1), (5, 3), (38, 38), (38, 3), (150, 7)] {
                for (factor, verdict) in [(1.1, Verdict::Slower), (1.0 / 1.1, Verdict::Faster)] {
                    let changed = |index: usize| index.is_multiple_of(every);
                    let old = run(rows, 9, 1.0, 2 * seed, |_| 1.0);
                    let new = run(rows, 9, 1.02, 2 * seed + 1, |index| if changed(index) { factor } else { 1.0 });
                    let comparison = Comparison::new(&old, &new, None);
                    let found: Vec<bool> =
                        comparison.changes.iter().map(|change| change.verdict() == verdict).collect();
                    let expected: Vec<bool> = (0..rows).map(changed).collect();
                    assert_eq!(found, expected, "{seed} {rows} {every}: {comparison:?}");
                    assert_eq!(comparison.is_slower(), verdict == Verdict::Slower);
                }
            }
        }
    }

    /// A card that clocks lower slows down what multiplies, and not what waits for memory.
    #[test]
    fn rows_that_do_not_follow_the_clock_have_not_changed() {
        for seed in 0..40 {
            for drift in [0.95, 1.05] {
                let old = run(38, 9, 1.0, 2 * seed, |_| 1.0);
                let new = run(38, 9, 1.0, 2 * seed + 1, |index| if index % 3 == 0 { 1.0 } else { drift });
                let comparison = Comparison::new(&old, &new, None);
                for change in &comparison.changes {
                    assert_eq!(change.verdict(), Verdict::Same, "{seed}: {change:?}");
                }
            }
        }
    }

    #[test]
    fn a_tolerance_of_ones_own_counts() {
        let (old, new) = (run(5, 9, 1.0, 1, |_| 1.0), run(5, 9, 1.05, 2, |_| 1.0));
        let slower = |tolerance| Comparison::new(&old, &new, tolerance).is_slower();
        assert_eq!([None, Some(0.02), Some(0.1)].map(slower), [false, true, false]);
    }

    #[test]
    fn all_rows_together_are_told_of_beyond_a_cards_own_drift() {
        let (old, new) = (run(38, 9, 1.0, 1, |_| 1.0), run(38, 9, 1.1, 2, |_| 1.0));
        let comparison = Comparison::new(&old, &new, None);
        assert_eq!((comparison.overall(), comparison.is_slower()), (Verdict::Slower, true));
        let comparison = Comparison::new(&new, &old, None);
        assert_eq!((comparison.overall(), comparison.is_slower()), (Verdict::Faster, false));
    }

    #[test]
    fn what_is_taken_is_compared_with_what_was() {
        let chosen = |mut row: Row| {
            row.chosen = true;
            row
        };
        let old = record(vec![chosen(row("a", "v", &[10.0])), row("a", "w", &[20.0]), row("b", "v", &[5.0])]);
        let new = record(vec![row("a", "v", &[11.0]), chosen(row("a", "x", &[9.0])), row("c", "v", &[5.0])]);
        let comparison = Comparison::new(&old, &new, None);
        let names = |rows: &[&Row]| -> Vec<String> {
            rows.iter().map(|row| format!("{} {}", row.subject.case, row.variant)).collect()
        };
        let pairs: Vec<_> = comparison
            .changes
            .iter()
            .map(|change| (change.old.variant.as_str(), change.new.variant.as_str()))
            .collect();
        assert_eq!(pairs, [("v", "x")]);
        assert_eq!(names(&comparison.gone), ["a w", "b v"]);
        assert_eq!(names(&comparison.added), ["a v", "c v"]);
        assert!((comparison.changes[0].change + 0.1).abs() < 1e-9);
    }
}
