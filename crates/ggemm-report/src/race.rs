//! What peers needed, as `benches/peers/race.py` keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use ggemm_codegen::{Dtype, Operation};
use serde::Deserialize;

use crate::error::ReportError;
use crate::record::{Record, Subject};

/// The version of the files that this reads.
const SCHEMA: u32 = 1;

/// One race.
#[derive(Clone, Debug, Deserialize)]
pub struct Race {
    schema: u32,
    /// The GPU's name.
    pub device: String,
    /// Its driver.
    pub driver: Option<String>,
    /// ggemm's commit.
    pub commit: Option<String>,
    /// The peers' versions, by name.
    pub versions: BTreeMap<String, String>,
    /// Turns of each.
    pub rounds: u32,
    /// Who needed how long, in the order of the race.
    pub rows: Vec<Contestant>,
    /// What a call costs the host, by the name of what is called.
    #[serde(default)]
    pub host_microseconds: BTreeMap<String, f64>,
}

/// One peer's time on one problem.
#[derive(Clone, Debug, Deserialize)]
pub struct Contestant {
    /// The layer.
    pub case: String,
    /// The operation.
    pub operation: Operation,
    /// Type of the operands, as torch calls it.
    pub dtype: String,
    /// G.
    pub groups: usize,
    /// M.
    pub m: usize,
    /// N.
    pub n: usize,
    /// K.
    pub k: usize,
    /// Who.
    pub peer: String,
    /// The median of its rounds.
    pub microseconds: f64,
    /// Useful operations over that.
    pub tflops: f64,
}

impl Contestant {
    fn computes(&self, subject: &Subject) -> bool {
        let problem = &subject.problem;
        let dtype = match problem.operand {
            Dtype::Bf16 => "bfloat16",
            Dtype::F16 => "float16",
            Dtype::E4m3 => "float8_e4m3fn",
            Dtype::E5m2 => "float8_e5m2",
            _ => "float32",
        };
        let extents = (problem.groups, problem.m, problem.n, problem.k);
        (self.case.as_str(), self.operation, self.dtype.as_str()) == (&subject.case, problem.operation, dtype)
            && (self.groups, self.m, self.n, self.k) == extents
    }
}

impl Race {
    /// What ggemm itself is called among the peers.
    pub const OWN: &'static str = "ggemm";

    /// Reads a file.
    ///
    /// # Errors
    /// [`ReportError::Read`], [`ReportError::Format`].
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        let format = |reason| ReportError::Format { path: path.to_owned(), kind: "race of peers", reason };
        Self::parse(&text).map_err(format)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let race: Race = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if race.schema != SCHEMA {
            return Err(format!("it is of schema {}, and {SCHEMA} is read: race anew", race.schema));
        }
        match race.rows.iter().find(|row| !(row.microseconds > 0.0 && row.tflops > 0.0)) {
            Some(row) => Err(format!("{} {} of {} took {} us", row.case, row.operation, row.peer, row.microseconds)),
            None => Ok(race),
        }
    }

    /// The first row of each case, in the order of the race.
    pub fn cases(&self) -> Vec<&Contestant> {
        let mut cases: Vec<&Contestant> = Vec::new();
        for row in &self.rows {
            if cases.iter().all(|case| case.case != row.case) {
                cases.push(row);
            }
        }
        cases
    }

    /// All who took part, ggemm among them, in the order of the race.
    pub fn peers(&self) -> Vec<&str> {
        let mut peers: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !peers.contains(&row.peer.as_str()) {
                peers.push(&row.peer);
            }
        }
        peers
    }

    /// The row of a peer.
    pub fn row(&self, case: &str, operation: Operation, peer: &str) -> Option<&Contestant> {
        self.rows.iter().find(|row| (row.case.as_str(), row.operation, row.peer.as_str()) == (case, operation, peer))
    }

    /// ggemm's time of one product, and the fastest peer's.
    pub fn best(&self, case: &str, operation: Operation) -> Option<(&Contestant, &Contestant)> {
        let own = self.row(case, operation, Self::OWN)?;
        let others =
            self.rows.iter().filter(|row| row.case == case && row.operation == operation && row.peer != Self::OWN);
        Some((own, others.min_by(|a, b| a.microseconds.total_cmp(&b.microseconds))?))
    }

    /// Whether it was on the device of a record.
    pub fn is_beside(&self, record: &Record) -> bool {
        self.device == record.device
    }

    /// The peers' times of what a record is of; none of ggemm's own.
    pub fn of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Contestant> {
        self.rows.iter().filter(|row| row.peer != Self::OWN && row.computes(subject))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use ggemm_codegen::Problem;

    use super::*;
    use crate::record::tests::subject;

    pub(crate) const RESULTS: &str = r#"{
        "schema": 1, "device": "a GPU", "driver": "1.2", "cuda": "13.0", "commit": "0123456789abcdef",
        "versions": {"ggemm": "0.1.0", "quack": "1", "torch": "2.11"}, "rounds": 5,
        "rows": [
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 1000, "n": 1000, "k": 1000,
             "peer": "ggemm", "microseconds": 10.0, "tflops": 200.0},
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 1000, "n": 1000, "k": 1000,
             "peer": "torch", "microseconds": 20.0, "tflops": 100.0},
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 1000, "n": 1000, "k": 1000,
             "peer": "quack", "microseconds": 16.0, "tflops": 125.0}
        ]
    }"#;

    #[test]
    fn peers_are_found_by_the_whole_problem() {
        let race = Race::parse(RESULTS).unwrap();
        let names = |subject: &Subject| race.of(subject).map(|row| row.peer.clone()).collect::<Vec<_>>();
        let same = subject("a", Operation::Forward);
        assert_eq!(names(&same), ["torch", "quack"]);
        let of = |problem| Subject { problem, ..same.clone() };
        for other in [
            subject("b", Operation::Forward),
            subject("a", Operation::GradX),
            of(Problem::forward(4, 1000, 1000, 1000).operand(Dtype::F16)),
            of(Problem::forward(4, 1001, 1000, 1000)),
        ] {
            assert!(names(&other).is_empty(), "{other:?}");
        }
        let (own, best) = race.best("a", Operation::Forward).unwrap();
        assert_eq!((own.microseconds, best.peer.as_str()), (10.0, "quack"));
    }

    #[test]
    fn results_of_another_kind_are_refused() {
        let refused = |text: &str| Race::parse(text).unwrap_err();
        let other = refused(&RESULTS.replace(r#""schema": 1"#, r#""schema": 9"#));
        assert_eq!(other, "it is of schema 9, and 1 is read: race anew");
        assert_eq!(refused(&RESULTS.replace("16.0", "0.0")), "a forward of quack took 0 us");
    }
}
