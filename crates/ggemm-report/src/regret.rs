//! How far what is chosen is from what would have been fastest.

use crate::record::{Record, Row, Subject};

/// One problem of which several variants were timed.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// Variants that were timed.
    pub timed: usize,
    /// The one that was taken.
    pub taken: &'a Row,
    /// The fastest.
    pub best: &'a Row,
}

impl Choice<'_> {
    /// What was lost: 0.03 where the one taken needs 3 % more time than the best.
    pub fn regret(&self) -> f64 {
        self.taken.median_us / self.best.median_us - 1.0
    }
}

/// Each problem of a record with the variant that `taken` picks of its rows, if that and another one were timed.
pub fn choices<'a>(record: &'a Record, taken: impl Fn(&Row) -> bool) -> Vec<Choice<'a>> {
    let mut subjects: Vec<&Subject> = Vec::new();
    for row in &record.rows {
        if !subjects.contains(&&row.subject) {
            subjects.push(&row.subject);
        }
    }
    let choice = |subject: &&Subject| {
        let rows = || record.rows.iter().filter(|row| row.subject == **subject);
        let timed = rows().count();
        let best = rows().min_by(|a, b| a.median_us.total_cmp(&b.median_us))?;
        (timed > 1).then_some(Choice { timed, taken: rows().find(|row| taken(row))?, best })
    };
    subjects.iter().filter_map(choice).collect()
}

/// Regrets of many problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution(Vec<f64>);

impl Distribution {
    /// Of these problems; `None` for none.
    pub fn of(choices: &[Choice<'_>]) -> Option<Self> {
        let mut regrets: Vec<f64> = choices.iter().map(Choice::regret).collect();
        regrets.sort_by(f64::total_cmp);
        (!regrets.is_empty()).then_some(Distribution(regrets))
    }

    /// Problems.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The regret that this part of the problems does not pass: the least that at least so many have, or less.
    pub fn percentile(&self, part: f64) -> f64 {
        let place = (part * self.0.len() as f64).ceil() as usize;
        self.0.get(place.clamp(1, self.0.len()) - 1).copied().unwrap_or_default()
    }

    /// The part of the problems that lose at most so much.
    pub fn within(&self, regret: f64) -> f64 {
        // A time of 103 over 100 is 3 %, whatever its last bit is.
        self.0.iter().filter(|found| **found <= regret + 1e-9).count() as f64 / self.0.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{record, row};

    #[test]
    fn regret_is_what_the_best_would_have_saved() {
        let mut rows = Vec::new();
        // 100 problems that lose 0, 1, … 99 %; one of which nothing else was timed, and one whose choice was not.
        for percent in 0..100 {
            let case = format!("case {percent}");
            let mut chosen = row(&case, "chosen", &[100.0 + f64::from(percent)]);
            chosen.chosen = true;
            rows.extend([chosen, row(&case, "best", &[100.0]), row(&case, "other", &[300.0])]);
        }
        let mut alone = row("alone", "chosen", &[1.0]);
        alone.chosen = true;
        rows.extend([alone, row("unchosen", "a", &[1.0]), row("unchosen", "b", &[2.0])]);
        let record = record(rows);
        let choices = choices(&record, |row| row.chosen);
        assert!(choices.iter().all(|choice| choice.timed == 3 && choice.best.median_us == 100.0));
        let regrets = Distribution::of(&choices).unwrap();
        let percentiles = [0.0, 0.5, 0.95, 1.0].map(|part| (100.0 * regrets.percentile(part)).round());
        assert_eq!((regrets.count(), percentiles), (100, [0.0, 49.0, 94.0, 99.0]));
        assert_eq!([regrets.within(0.0), regrets.within(0.03), regrets.within(2.0)], [0.01, 0.04, 1.0]);
        assert_eq!(Distribution::of(&[]), None);
    }
}
