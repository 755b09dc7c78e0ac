//! Layers of models, as a file lists them.

use std::path::{Path, PathBuf};

use ggemm_codegen::{Operation, Problem};
use ggemm_table::Routing;
use serde::Deserialize;

use super::task::{Task, TaskError};
use crate::random::{Rng, Spread, UnknownSpread, zipf};

/// A list of layers: `{ "cases": [{ "name": …, "groups": …, "m": …, "n": …, "k": … }] }`, where a case may also have
/// `sizes` (the rows of each group), `spread` (how they are drawn: `balanced`, `zipf`, `one-hot` or `ragged`), `skew` (the
/// exponent of `zipf`), `operations`, and `source` (where its shape is from).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The layers.
    #[serde(rename = "cases")]
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// What people call it.
    pub name: String,
    /// G.
    pub groups: usize,
    /// M.
    pub m: usize,
    /// N.
    pub n: usize,
    /// K.
    pub k: usize,
    /// Rows of each group; drawn where there are none.
    #[serde(default)]
    pub sizes: Vec<usize>,
    /// How they are drawn; `zipf` where nothing is said.
    #[serde(default)]
    pub spread: Option<String>,
    /// How unlike groups are that `zipf` draws: its exponent ([`zipf`]); 0.6 where nothing is said.
    #[serde(default)]
    pub skew: Option<f64>,
    /// What is computed.
    #[serde(default = "all")]
    pub operations: Vec<Operation>,
    /// Where its shape is from, for people.
    #[serde(default)]
    pub source: Option<String>,
}

/// Draws of a layer's rows, where chance spreads them.
const DRAWS: u64 = 3;

fn all() -> Vec<Operation> {
    Operation::ALL.to_vec()
}

/// Why a file is no suite.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuiteError {
    /// It cannot be read.
    #[error("the suite {} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no list of layers.
    #[error(
        "it is no suite: {source}; expected {{ \"cases\": [{{ \"name\": …, \"groups\": …, \"m\": …, \"n\": …, \"k\": … }}] }}"
    )]
    Json {
        /// What the parser met.
        source: serde_json::Error,
    },
    /// A way to spread rows that is none.
    #[error("the case {name}: {source}")]
    Spread {
        /// The layer.
        name: String,
        /// What it says.
        source: UnknownSpread,
    },
    /// A skew that is none, or that something else contradicts.
    #[error(
        "the case {name}: a skew of {skew} with {with}: give a number, at least 0, to cases that are drawn by zipf"
    )]
    Skew {
        /// The layer.
        name: String,
        /// What it says.
        skew: f64,
        /// How its rows are spread.
        with: String,
    },
    /// Sizes that are not the layer's.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl Suite {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SuiteError::Read`], [`SuiteError::Json`].
    pub fn read(path: &Path) -> Result<Self, SuiteError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SuiteError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`SuiteError::Json`].
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        serde_json::from_str(text).map_err(|source| SuiteError::Json { source })
    }
}

impl Layer {
    /// How its rows are spread, in a word or two: `listed`, or what draws them.
    pub fn spread(&self) -> String {
        match (&self.spread, self.skew) {
            _ if !self.sizes.is_empty() => "listed".to_owned(),
            (Some(name), None) => name.clone(),
            (None, None) => Spread::Zipf.name().to_owned(),
            (_, Some(skew)) => format!("{} {skew}", Spread::Zipf),
        }
    }

    /// The rows of each group: those that are listed, else as the spread draws them, the same in every run.
    ///
    /// # Errors
    /// [`SuiteError::Spread`], [`SuiteError::Skew`].
    pub fn rows(&self) -> Result<Vec<usize>, SuiteError> {
        self.draw(0)
    }

    /// Further draws that differ from the first and have its routing: none of rows that are listed, or that chance has
    /// no part in.
    fn further_draws(&self, first: &[usize]) -> Result<Vec<Vec<usize>>, SuiteError> {
        let mut draws = (1..DRAWS).map(|number| self.draw(number)).collect::<Result<Vec<_>, _>>()?;
        draws.retain(|rows| rows != first && Routing::of(rows) == Routing::of(first));
        Ok(draws)
    }

    fn draw(&self, number: u64) -> Result<Vec<usize>, SuiteError> {
        let spread: Spread = match &self.spread {
            Some(name) => name.parse().map_err(|source| SuiteError::Spread { name: self.name.clone(), source })?,
            None => Spread::Zipf,
        };
        if let Some(skew) = self.skew {
            let with = if self.sizes.is_empty() { spread.to_string() } else { "listed sizes".to_owned() };
            if !(skew >= 0.0 && skew.is_finite() && spread == Spread::Zipf && self.sizes.is_empty()) {
                return Err(SuiteError::Skew { name: self.name.clone(), skew, with });
            }
        }
        if !self.sizes.is_empty() {
            return Ok(self.sizes.clone());
        }
        let seed = self.name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(131).wrapping_add(byte.into()));
        let mut rng = Rng::new(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Ok(match self.skew {
            Some(skew) => zipf(self.groups, self.m, skew, &mut rng),
            None => spread.sizes(self.groups, self.m, &mut rng),
        })
    }

    /// A task for each of its operations, of the problem that `form` makes of the one with the default types and
    /// layouts, with up to three draws of its rows.
    ///
    /// # Errors
    /// [`SuiteError::Spread`], [`SuiteError::Task`].
    pub fn tasks(&self, form: &dyn Fn(Problem) -> Problem) -> Result<Vec<Task>, SuiteError> {
        let rows = self.rows()?;
        let further = self.further_draws(&rows)?;
        let task = |operation: &Operation| {
            let problem = form(Problem::new(*operation, self.groups, self.m, self.n, self.k));
            let task = Task::new(format!("{} {operation}", self.name), problem, rows.clone())?;
            Ok(task.and_draws(further.iter().cloned())?)
        };
        self.operations.iter().map(task).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_makes_a_task_of_each_operation() {
        let suite = Suite::parse(
            r#"{ "cases": [
                { "name": "a", "groups": 2, "m": 10, "n": 8, "k": 16, "sizes": [4, 6] },
                { "name": "b", "groups": 64, "m": 6400, "n": 8, "k": 16, "operations": ["forward"], "spread": "balanced" }
            ] }"#,
        )
        .unwrap();
        let tasks: Vec<Task> = suite.layers.iter().flat_map(|layer| layer.tasks(&|p| p).unwrap()).collect();
        let labels: Vec<&str> = tasks.iter().map(Task::label).collect();
        assert_eq!(labels, ["a forward", "a grad_x", "a grad_w", "b forward"]);
        assert_eq!((tasks[0].sizes(), tasks[3].sizes()), (&[4, 6][..], &[100; 64][..]));
        assert_eq!(*tasks[2].problem(), Problem::grad_w(2, 10, 8, 16));
    }

    #[test]
    fn rows_are_drawn_thrice_where_chance_spreads_them() {
        let draws = |more: &str| {
            let text = format!(r#"{{ "cases": [{{ "name": "a", "groups": 8, "m": 4096, "n": 8, "k": 8 {more} }}] }}"#);
            let tasks = Suite::parse(&text).unwrap().layers[0].tasks(&|p| p).unwrap();
            assert!(tasks.iter().all(|task| task.draws() == tasks[0].draws()));
            tasks[0].draws().to_vec()
        };
        let drawn = draws("");
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().all(|rows| rows.iter().sum::<usize>() == 4096));
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2]);
        assert_eq!(draws(r#", "spread": "balanced""#).len(), 1);
        assert_eq!(draws(r#", "sizes": [4089, 1, 1, 1, 1, 1, 1, 1]"#).len(), 1);
    }

    /// The same name draws the same ranks, so that only the skew differs.
    #[test]
    fn the_largest_group_grows_with_the_skew() {
        let layer = |more: &str| {
            let text =
                format!(r#"{{ "cases": [{{ "name": "a", "groups": 16, "m": 16000, "n": 8, "k": 8 {more} }}] }}"#);
            Suite::parse(&text).unwrap().layers.remove(0)
        };
        let largest = |more: &str| layer(more).rows().unwrap().into_iter().max().unwrap();
        assert!(largest(r#", "skew": 0"#) < 1200);
        assert_eq!(layer(r#", "skew": 0.6"#).rows().unwrap(), layer("").rows().unwrap());
        assert!(largest("") > 2000 && largest(r#", "skew": 1.5"#) > 2 * largest(""));
        let spreads = ["", r#", "spread": "balanced""#, r#", "skew": 1.5"#].map(|more| layer(more).spread());
        assert_eq!(spreads, ["zipf", "balanced", "zipf 1.5"]);
    }

    #[test]
    fn what_is_no_suite_says_what_is_wrong() {
        let message = |text: &str| match Suite::parse(text) {
            Ok(suite) => suite.layers[0].tasks(&|p| p).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(message(r#"{ "cases": [{ "name": "a" }] }"#).contains("missing field `groups`"));
        assert!(message("[]").starts_with("it is no suite: "));
        let layer =
            |more: &str| format!(r#"{{ "cases": [{{ "name": "a", "groups": 2, "m": 9, "n": 8, "k": 8 {more} }}] }}"#);
        assert!(message(&layer(r#", "tile": 3"#)).contains("unknown field `tile`"));
        assert_eq!(message(&layer(r#", "sizes": [9]"#)), "a forward: 1 sizes for 2 groups: list 2");
        assert!(message(&layer(r#", "spread": "zip""#)).starts_with("the case a: `zip` is not a spread"));
        let remedy = "give a number, at least 0, to cases that are drawn by zipf";
        for (more, found) in [
            (r#", "skew": -1"#, "-1 with zipf"),
            (r#", "skew": 1.5, "spread": "balanced""#, "1.5 with balanced"),
            (r#", "skew": 1, "sizes": [4, 5]"#, "1 with listed sizes"),
        ] {
            assert_eq!(message(&layer(more)), format!("the case a: a skew of {found}: {remedy}"));
        }
    }
}
