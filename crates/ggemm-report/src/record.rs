//! What `ggemm bench` measured, as a file.

use std::path::Path;

use ggemm_codegen::{Operation, Problem};
use serde::{Deserialize, Serialize};

use crate::error::ReportError;
use crate::noise::{deviation, median};
use crate::rates::Rates;

/// The version of the format.
pub const SCHEMA: u32 = 2;

/// One run of `ggemm bench`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `cpu` or `cuda`.
    pub backend: String,
    /// The device's name.
    pub device: String,
    /// The GPU's driver.
    pub driver: Option<String>,
    /// The version that ran.
    pub ggemm: String,
    /// The commit that it was built from, where the program knows it.
    pub commit: Option<String>,
    /// The card's clocks, power and temperature at the start, where its driver's tool tells.
    pub card: Option<String>,
    /// Turns of each variant.
    pub rounds: u32,
    /// What the device sustains, where that is known.
    pub rates: Option<Rates>,
    /// What was timed, in its order.
    pub rows: Vec<Row>,
    /// What was not, and why not.
    pub left_out: Vec<String>,
    /// What a launch costs, where that was asked for.
    pub launch: Option<LaunchCost>,
}

/// What was computed: rows of two records are of one thing where all of this is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// The layer's name.
    pub case: String,
    /// How its rows were spread over groups: `listed`, or what drew them.
    pub spread: String,
    /// Where in a sweep this is.
    pub sweep: Option<Point>,
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
}

impl Subject {
    /// The operation.
    pub fn operation(&self) -> Operation {
        self.problem.operation
    }
}

/// A point of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// What is varied.
    pub axis: Axis,
    /// Its value.
    pub at: f64,
}

/// What is varied in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// M, the rows of all groups.
    M,
    /// The exponent by which rows are spread.
    Skew,
}

/// One variant's times on one problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was computed.
    #[serde(flatten)]
    pub subject: Subject,
    /// The variant's name; `cpu` for the CPU backend.
    pub variant: String,
    /// Whether a plan takes it.
    pub chosen: bool,
    /// Whether a plan takes it that has no table.
    pub by_model: bool,
    /// The cost model's time, in microseconds.
    pub predicted_us: Option<f64>,
    /// The median of each round, ascending, in microseconds.
    pub rounds_us: Vec<f64>,
    /// Their median.
    pub median_us: f64,
    /// The deviation of a round, in parts of the median ([`deviation`]).
    pub deviation: f64,
    /// Useful operations over the median; padding does not count.
    pub tflops: f64,
    /// Bytes that have to be moved, over the median.
    pub gbytes_per_s: f64,
    /// About the least time that it can take ([`Rates::floor`]), where the device's rates are known.
    pub floor_us: Option<f64>,
}

impl Row {
    /// A row of these times, of so many useful operations and bytes.
    pub fn new(
        subject: Subject,
        variant: String,
        rounds_us: Vec<f64>,
        flops: f64,
        bytes: f64,
        rates: Option<&Rates>,
    ) -> Self {
        let median_us = median(&rounds_us);
        let rate = |count: f64| if median_us > 0.0 { count / median_us } else { 0.0 };
        Row {
            floor_us: rates.map(|rates| rates.floor(subject.problem.operand, flops, bytes) * 1e6),
            subject,
            variant,
            chosen: false,
            by_model: false,
            predicted_us: None,
            median_us,
            deviation: deviation(&rounds_us),
            tflops: rate(flops) / 1e6,
            gbytes_per_s: rate(bytes) / 1e3,
            rounds_us,
        }
    }

    /// The floor over the time: 1 is about as fast as can be.
    pub fn of_floor(&self) -> Option<f64> {
        self.floor_us.filter(|_| self.median_us > 0.0).map(|floor| floor / self.median_us)
    }
}

/// What a launch costs, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchCost {
    /// The host's time for a launch that does not wait.
    pub launch_us: f64,
    /// The GPU's time for a launch in a graph of many.
    pub in_graph_us: f64,
    /// The host's time to plan with the kernel loaded.
    pub plan_us: f64,
}

impl Record {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ReportError::Read`], [`ReportError::Format`].
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ReportError::Read { path: path.to_owned(), source })?;
        let format = |reason| ReportError::Format { path: path.to_owned(), kind: "record of `ggemm bench`", reason };
        Self::parse(&text).map_err(format)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let Version { schema } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if schema != SCHEMA {
            return Err(format!("it is of schema {schema}, and {SCHEMA} is read: measure anew"));
        }
        let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match record.rows.iter().find(|row| !(row.median_us > 0.0 && row.median_us.is_finite())) {
            Some(row) => Err(format!("{} {} took {} us", row.subject.case, row.subject.operation(), row.median_us)),
            None => Ok(record),
        }
    }

    /// As a file's text.
    ///
    /// # Errors
    /// A number that JSON does not have.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Takes the rows of another record of the same machine and program, which was stopped or was of other problems.
    ///
    /// # Errors
    /// [`ReportError::Apart`].
    pub fn join(&mut self, other: Record) -> Result<(), ReportError> {
        let unknown = || "unknown".to_owned();
        for (what, first, other) in [
            ("device", self.device.clone(), other.device.clone()),
            ("driver", self.driver.clone().unwrap_or_else(unknown), other.driver.clone().unwrap_or_else(unknown)),
            ("version", self.ggemm.clone(), other.ggemm.clone()),
            ("commit", self.commit.clone().unwrap_or_else(unknown), other.commit.clone().unwrap_or_else(unknown)),
        ] {
            if first != other {
                return Err(ReportError::Apart { what, first, other });
            }
        }
        self.rows.extend(other.rows);
        self.left_out.extend(other.left_out);
        self.launch = self.launch.or(other.launch);
        Ok(())
    }

    /// What a plan takes, a row a problem; where its variant was not timed, the fastest that was.
    pub fn taken(&self) -> Vec<&Row> {
        let mut taken: Vec<&Row> = Vec::new();
        for row in &self.rows {
            match taken.iter_mut().find(|known| known.subject == row.subject) {
                None => taken.push(row),
                Some(known) => {
                    let better = (row.chosen, -row.median_us) > (known.chosen, -known.median_us);
                    if better {
                        *known = row;
                    }
                }
            }
        }
        taken
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn subject(case: &str, operation: Operation) -> Subject {
        let problem = Problem::new(operation, 4, 1000, 1000, 1000);
        Subject { case: case.to_owned(), spread: "zipf".to_owned(), sweep: None, problem }
    }

    pub(crate) fn row(case: &str, variant: &str, rounds: &[f64]) -> Row {
        let rates = Rates { flops_16_bit: 400e12, flops_8_bit: 800e12, bytes: 3e12 };
        Row::new(subject(case, Operation::Forward), variant.to_owned(), rounds.to_vec(), 2e9, 6e6, Some(&rates))
    }

    pub(crate) fn record(rows: Vec<Row>) -> Record {
        Record {
            schema: SCHEMA,
            backend: "cuda".to_owned(),
            device: "a GPU".to_owned(),
            driver: Some("1.2".to_owned()),
            ggemm: "0.1.0".to_owned(),
            commit: None,
            card: None,
            rounds: 3,
            rates: None,
            rows,
            left_out: Vec::new(),
            launch: None,
        }
    }

    #[test]
    fn rates_are_over_the_median() {
        let row = row("a", "v", &[10.0, 20.0, 90.0]);
        assert_eq!((row.median_us, row.tflops, row.gbytes_per_s), (20.0, 100.0, 300.0));
        assert_eq!((row.floor_us, row.of_floor()), (Some(5.0), Some(0.25)));
        assert_eq!(Row { median_us: 0.0, ..row }.of_floor(), None);
    }

    #[test]
    fn a_record_reads_back() {
        let mut swept = row("b", "w", &[1.5, 2.5]);
        swept.subject.sweep = Some(Point { axis: Axis::Skew, at: 0.6 });
        let record = record(vec![row("a", "v", &[10.0]), swept]);
        assert_eq!(Record::parse(&record.to_json().unwrap()).unwrap(), record);
        let old = record.to_json().unwrap().replace("\"schema\": 2", "\"schema\": 1");
        assert_eq!(Record::parse(&old).unwrap_err(), "it is of schema 1, and 2 is read: measure anew");
        let never = record.to_json().unwrap().replace("\"median_us\": 10.0", "\"median_us\": 0.0");
        assert_eq!(Record::parse(&never).unwrap_err(), "a forward took 0 us");
        assert!(Record::parse("{}").unwrap_err().starts_with("missing field `schema`"));
    }

    #[test]
    fn records_of_one_machine_are_one() {
        let mut first = record(vec![row("a", "v", &[10.0])]);
        first.join(record(vec![row("b", "v", &[10.0])])).unwrap();
        assert_eq!(first.rows.len(), 2);
        let other = Record { driver: None, ..record(Vec::new()) };
        let error = first.join(other).unwrap_err().to_string();
        assert_eq!(error, "records can be read as one where their driver is one: 1.2 and unknown");
    }

    #[test]
    fn what_a_plan_takes_is_what_counts() {
        let mut chosen = row("a", "chosen", &[10.0]);
        chosen.chosen = true;
        let record = record(vec![
            row("a", "fast", &[5.0]),
            chosen,
            row("a", "slow", &[20.0]),
            row("b", "slow", &[9.0]),
            row("b", "fast", &[8.0]),
        ]);
        let names: Vec<&str> = record.taken().iter().map(|row| row.variant.as_str()).collect();
        assert_eq!(names, ["chosen", "fast"]);
    }
}
