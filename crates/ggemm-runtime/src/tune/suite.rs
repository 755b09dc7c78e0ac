//! Layers of models, as a file lists them.

use std::path::{Path, PathBuf};

use ggemm_codegen::{Operation, Problem};
use serde::Deserialize;

use super::task::{Task, TaskError};
use crate::random::{Rng, Spread, UnknownSpread};

/// A list of layers: `{ "cases": [{ "name": …, "groups": …, "m": …, "n": …, "k": … }] }`, where a case may also have
/// `sizes` (the rows of each group), `spread` (how they are drawn: `balanced`, `zipf`, `one-hot` or `ragged`) and
/// `operations`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The layers.
    #[serde(rename = "cases")]
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
    /// How they are drawn; 1 / (i + 1)^0.6 where nothing is said.
    #[serde(default)]
    pub spread: Option<String>,
    /// What is computed.
    #[serde(default = "all")]
    pub operations: Vec<Operation>,
}

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
    /// The rows of each group: those that are listed, else as the spread draws them, the same in every run.
    ///
    /// # Errors
    /// [`SuiteError::Spread`].
    pub fn rows(&self) -> Result<Vec<usize>, SuiteError> {
        if !self.sizes.is_empty() {
            return Ok(self.sizes.clone());
        }
        let spread: Spread = match &self.spread {
            Some(name) => name.parse().map_err(|source| SuiteError::Spread { name: self.name.clone(), source })?,
            None => Spread::Zipf,
        };
        let seed = self.name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(131).wrapping_add(byte.into()));
        Ok(spread.sizes(self.groups, self.m, &mut Rng::new(seed)))
    }

    /// A task for each of its operations, of the problem that `form` makes of the one with the default types and
    /// layouts.
    ///
    /// # Errors
    /// [`SuiteError::Spread`], [`SuiteError::Task`].
    pub fn tasks(&self, form: &dyn Fn(Problem) -> Problem) -> Result<Vec<Task>, SuiteError> {
        let rows = self.rows()?;
        let task = |operation: &Operation| {
            let problem = form(Problem::new(*operation, self.groups, self.m, self.n, self.k));
            Ok(Task::new(format!("{} {operation}", self.name), problem, rows.clone())?)
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
    }
}
