//! What is tuned.

use std::fmt;

use ggemm_codegen::Problem;
use ggemm_table::{Key, Routing};

use crate::error::Error;
use crate::groups::{GroupError, Runs};

/// A problem, with the rows of each of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    label: String,
    problem: Problem,
    sizes: Vec<usize>,
}

/// Sizes that are not those of a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The problem means nothing, or its groups do not own its rows.
    #[error("{label}: {source}")]
    Problem {
        /// The task.
        label: String,
        /// Why.
        source: Box<Error>,
    },
    /// Another number of groups.
    #[error("{label}: {listed} sizes for {groups} groups: list {groups}")]
    GroupCount {
        /// The task.
        label: String,
        /// The sizes listed.
        listed: usize,
        /// G.
        groups: usize,
    },
}

impl Task {
    /// A task; `label` is what people call it.
    ///
    /// # Errors
    /// [`TaskError`] for a problem that means nothing, and sizes that are not those of its groups.
    pub fn new(label: impl Into<String>, problem: Problem, sizes: Vec<usize>) -> Result<Self, TaskError> {
        let label = label.into();
        let refuse = |error: Error| TaskError::Problem { label: label.clone(), source: Box::new(error) };
        problem.validate().map_err(|error| refuse(error.into()))?;
        if sizes.len() != problem.groups {
            return Err(TaskError::GroupCount { label, listed: sizes.len(), groups: problem.groups });
        }
        let by_size = problem.clone().group_array(ggemm_codegen::GroupForm::Sizes, problem.group_index);
        let rows = sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX));
        Runs::checked(&by_size, rows).map_err(|error: GroupError| refuse(error.into()))?;
        Ok(Task { label, problem, sizes })
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The rows of each group.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// How they are spread.
    pub fn routing(&self) -> Routing {
        Routing::of(&self.sizes)
    }

    /// What its entry is found by.
    pub fn key(&self) -> Key {
        Key::new(&self.problem, self.routing())
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.label, self.problem, self.routing())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_must_be_the_problems() {
        let problem = Problem::forward(2, 10, 8, 8);
        assert_eq!(Task::new("t", problem.clone(), vec![4, 6]).unwrap().routing(), Routing::Even);
        let refused = |sizes: &[usize]| Task::new("t", problem.clone(), sizes.to_vec()).unwrap_err().to_string();
        assert_eq!(refused(&[10]), "t: 1 sizes for 2 groups: list 2");
        assert!(refused(&[10, 1]).starts_with("t: group 1 "), "{}", refused(&[10, 1]));
        assert!(refused(&[1, 1]).starts_with("t: "), "{}", refused(&[1, 1]));
        assert!(Task::new("t", Problem::forward(0, 0, 1, 1), Vec::new()).is_err());
    }
}
