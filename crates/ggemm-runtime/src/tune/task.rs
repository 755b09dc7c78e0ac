//! What is tuned.

use std::fmt;

use ggemm_codegen::{Operation, Problem, Tail, WeightSharing};
use ggemm_table::{Key, Routing};

use crate::error::Error;
use crate::groups::{GroupError, Runs};

/// A problem, with the rows of each of its groups: as one batch has them, or as several draws of a router do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    label: String,
    problem: Problem,
    /// At least one.
    draws: Vec<Vec<usize>>,
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
    /// A further draw of rows that an entry for the first would not be found for.
    #[error("{label}: rows that are {found} beside rows that are {first}: draw them as the first")]
    Routing {
        /// The task.
        label: String,
        /// How the first draw spreads them.
        first: Routing,
        /// How this one does.
        found: Routing,
    },
}

impl Task {
    /// A task; `label` is what people call it.
    ///
    /// # Errors
    /// [`TaskError`] for a problem that means nothing, and sizes that are not those of its groups.
    pub fn new(label: impl Into<String>, problem: Problem, sizes: Vec<usize>) -> Result<Self, TaskError> {
        let label = label.into();
        if let Err(error) = problem.validate() {
            return Err(TaskError::Problem { label, source: Box::new(error.into()) });
        }
        check_sizes(&label, &problem, &sizes)?;
        Ok(Task { label, problem, draws: vec![sizes] })
    }

    /// The same with further draws of its rows: a variant's time is then the mean over all of them. Where tiles happen to
    /// end decides between variants that are nearly as fast, and falls out otherwise in the next batch.
    ///
    /// # Errors
    /// [`TaskError`] for sizes that are not those of the problem's groups, and for rows of another routing.
    pub fn and_draws(mut self, draws: impl IntoIterator<Item = Vec<usize>>) -> Result<Self, TaskError> {
        for sizes in draws {
            check_sizes(&self.label, &self.problem, &sizes)?;
            let (first, found) = (self.routing(), Routing::of(&sizes));
            if found != first {
                return Err(TaskError::Routing { label: self.label, first, found });
            }
            self.draws.push(sizes);
        }
        Ok(self)
    }

    /// What people call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The rows of each group, of the first draw.
    pub fn sizes(&self) -> &[usize] {
        self.draws.first().map_or(&[], Vec::as_slice)
    }

    /// The rows of each group, of every draw; all draws have as many together.
    pub fn draws(&self) -> &[Vec<usize>] {
        &self.draws
    }

    /// Operations that it takes, a multiply-add being two; rows of no group take none.
    pub fn flops(&self) -> f64 {
        let rows: usize = self.sizes().iter().sum();
        2.0 * rows as f64 * self.problem.n as f64 * self.problem.k as f64
    }

    /// Bytes of matrices that it must at least move. The weights of groups without rows are not read; grad_w writes
    /// their zeros, but where it accumulates.
    pub fn bytes(&self) -> f64 {
        let Problem { operation, groups, m, n, k, .. } = self.problem;
        let rows: usize = self.sizes().iter().sum();
        let live = self.sizes().iter().filter(|size| **size > 0).count();
        let shared = self.problem.weight_sharing == WeightSharing::Shared;
        let weights = |groups: usize| if shared { groups.min(1) } else { groups } as f64 * n as f64 * k as f64;
        let matrix = |rows: usize, cols: usize| rows as f64 * cols as f64;
        // The tail's zeros are written too.
        let written = if self.problem.tail == Tail::Untouched { rows } else { m };
        let (first, second, out) = match operation {
            Operation::Forward => (matrix(rows, k), weights(live), matrix(written, n)),
            Operation::GradX => (matrix(rows, n), weights(live), matrix(written, k)),
            Operation::GradW if self.problem.accumulate => (matrix(rows, n), matrix(rows, k), 2.0 * weights(live)),
            Operation::GradW => (matrix(rows, n), matrix(rows, k), weights(groups)),
        };
        let [of_first, of_second, of_out] = self.problem.tensors().map(|tensor| f64::from(tensor.dtype.size_bytes()));
        first * of_first + second * of_second + out * of_out
    }

    /// How they are spread.
    pub fn routing(&self) -> Routing {
        Routing::of(self.sizes())
    }

    /// What its entry is found by.
    pub fn key(&self) -> Key {
        Key::new(&self.problem, self.routing())
    }
}

/// Whether sizes are those of a problem's groups.
fn check_sizes(label: &str, problem: &Problem, sizes: &[usize]) -> Result<(), TaskError> {
    if sizes.len() != problem.groups {
        return Err(TaskError::GroupCount { label: label.to_owned(), listed: sizes.len(), groups: problem.groups });
    }
    let by_size = problem.clone().group_array(ggemm_codegen::GroupForm::Sizes, problem.group_index);
    let rows = sizes.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX));
    let refuse = |error: GroupError| TaskError::Problem { label: label.to_owned(), source: Box::new(error.into()) };
    Runs::checked(&by_size, rows).map_err(refuse).map(drop)
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {}", self.label, self.problem, self.routing())
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::Dtype;

    use super::*;

    #[test]
    fn bytes_are_those_of_what_is_read_and_written() {
        let bytes = |problem: Problem| Task::new("t", problem, vec![4, 0, 6]).unwrap().bytes();
        // x or dy of 10 rows, two weights that are read or three that are written, y or dx.
        let (x, y, w) = (10.0 * 16.0, 10.0 * 8.0, 8.0 * 16.0);
        assert_eq!(bytes(Problem::forward(3, 10, 8, 16)), 2.0 * (x + y + 2.0 * w));
        assert_eq!(bytes(Problem::grad_x(3, 10, 8, 16)), 2.0 * (x + y + 2.0 * w));
        assert_eq!(bytes(Problem::grad_w(3, 10, 8, 16)), 2.0 * (x + y + 3.0 * w));
        assert_eq!(bytes(Problem::forward(3, 10, 8, 16).output(Dtype::F32)), 2.0 * (x + 2.0 * w) + 4.0 * y);
        let accumulating = Problem::grad_w(3, 10, 8, 16).output(Dtype::F32).accumulate(true);
        assert_eq!(bytes(accumulating), 2.0 * (x + y) + 4.0 * 2.0 * 2.0 * w);
        let shared = Problem::forward(3, 10, 8, 16).weight_sharing(WeightSharing::Shared);
        assert_eq!(bytes(shared), 2.0 * (x + y + w));
        let tailed = Task::new("t", Problem::forward(3, 12, 8, 16).tail(Tail::Zero), vec![4, 0, 6]).unwrap();
        assert_eq!((tailed.bytes(), tailed.flops()), (2.0 * (x + y + 2.0 * 8.0 + 2.0 * w), 2.0 * 10.0 * w));
    }

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

    #[test]
    fn further_draws_are_of_the_same_problem_and_routing() {
        let task = || Task::new("t", Problem::forward(4, 40, 8, 8), vec![25, 5, 5, 5]).unwrap();
        let drawn = task().and_draws([vec![5, 20, 5, 10], vec![4, 4, 28, 4]]).unwrap();
        assert_eq!((drawn.draws().len(), drawn.sizes(), drawn.key()), (3, task().sizes(), task().key()));
        let refused = |sizes: &[usize]| task().and_draws([sizes.to_vec()]).unwrap_err().to_string();
        assert_eq!(refused(&[10; 4]), "t: rows that are even beside rows that are skewed: draw them as the first");
        assert_eq!(refused(&[40]), "t: 1 sizes for 4 groups: list 4");
        assert!(refused(&[30, 5, 5, 5]).starts_with("t: "), "{}", refused(&[30, 5, 5, 5]));
    }
}
