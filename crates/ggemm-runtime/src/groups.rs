//! From sizes or ends to the run of rows that each group owns.
//!
//! There are two readings of the same array. The *checked* one refuses what makes no sense; the CPU always uses it. The
//! *clamping* one makes the best of anything, exactly as the kernels do: a negative size counts as 0, ends become
//! running maxima, and nothing passes M.

use std::ops::Range;

use ggemm_codegen::{GroupForm, Problem, Tail};

use crate::buffer::View;

/// The rows of each group: consecutive runs from row 0 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// The row after each group's last.
    ends: Vec<usize>,
}

/// Sizes or ends that contradict the problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A size below 0.
    #[error("the size of group {group} is {value}: sizes are at least 0")]
    NegativeSize {
        /// The group.
        group: usize,
        /// Its size.
        value: i64,
    },
    /// An end before the one of the group before.
    #[error(
        "the end of group {group} is {value}, before {previous} where it starts: ends never decrease (pass GroupForm::Sizes if these are sizes)"
    )]
    DecreasingEnd {
        /// The group.
        group: usize,
        /// Its end.
        value: i64,
        /// The end of the group before; 0 for the first.
        previous: i64,
    },
    /// Groups that own rows past the last.
    #[error("group {group} ends at row {end}, past M = {m}: the groups own at most M rows")]
    PastLastRow {
        /// The first group that does not fit.
        group: usize,
        /// The row after its last; saturates.
        end: i64,
        /// M.
        m: usize,
    },
    /// Rows of no group, where no tail was declared.
    #[error(
        "the last group, {group}, ends at row {end} of M = {m}, and no tail was declared: declare Tail::Zero or Tail::Untouched, or pass GroupForm::Ends if these are ends"
    )]
    UndeclaredTail {
        /// The last group.
        group: usize,
        /// The row after its last.
        end: usize,
        /// M.
        m: usize,
    },
}

impl Runs {
    /// Reads `values` and refuses what contradicts the problem.
    ///
    /// # Errors
    /// The first group that does, with its value.
    pub fn checked(problem: &Problem, values: impl IntoIterator<Item = i64>) -> Result<Self, GroupError> {
        let m = i64::try_from(problem.m).unwrap_or(i64::MAX);
        let mut ends = Vec::with_capacity(problem.groups);
        let mut start = 0_i64;
        for (group, value) in values.into_iter().enumerate() {
            let end = match problem.group_form {
                GroupForm::Sizes if value < 0 => return Err(GroupError::NegativeSize { group, value }),
                GroupForm::Ends if value < start => {
                    return Err(GroupError::DecreasingEnd { group, value, previous: start });
                }
                GroupForm::Sizes => start.saturating_add(value),
                GroupForm::Ends => value,
            };
            if end > m {
                return Err(GroupError::PastLastRow { group, end, m: problem.m });
            }
            ends.push(to_row(end));
            start = end;
        }
        let runs = Runs { ends };
        if problem.tail == Tail::Undeclared && runs.total() < problem.m {
            let group = runs.len().saturating_sub(1);
            return Err(GroupError::UndeclaredTail { group, end: runs.total(), m: problem.m });
        }
        Ok(runs)
    }

    /// Reads `values` as the kernels do outside checked mode: whatever they are, every run lies within M.
    pub fn clamped(problem: &Problem, values: impl IntoIterator<Item = i64>) -> Self {
        let m = i64::try_from(problem.m).unwrap_or(i64::MAX);
        let mut start = 0_i64;
        let ends = values.into_iter().map(|value| {
            let end = match problem.group_form {
                GroupForm::Sizes => start.saturating_add(value.max(0)),
                GroupForm::Ends => value.max(start),
            };
            start = end.min(m);
            to_row(start)
        });
        Runs { ends: ends.collect() }
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rows of all groups together; what follows is the tail.
    pub fn total(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The rows of each group.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| std::mem::replace(&mut start, end)..end)
    }

    /// All groups as one, for a product in which they share everything.
    pub(crate) fn merged(&self) -> Self {
        Runs { ends: vec![self.total()] }
    }
}

/// The elements of an array of groups; empty for a view that is none.
pub(crate) fn values<'a>(groups: &View<'a>) -> Vec<i64> {
    if let Some(values) = groups.as_slice::<i32>() {
        values.iter().copied().map(i64::from).collect()
    } else {
        groups.as_slice::<i64>().unwrap_or_default().to_vec()
    }
}

/// Rows are at least 0 and at most M, a `usize`.
fn to_row(row: i64) -> usize {
    usize::try_from(row).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::IndexType;

    use super::*;

    fn problem(form: GroupForm, m: usize, tail: Tail) -> Problem {
        Problem::forward(3, m, 1, 1).group_array(form, IndexType::I64).tail(tail)
    }

    fn clamped(form: GroupForm, m: usize, values: [i64; 3]) -> Vec<Range<usize>> {
        Runs::clamped(&problem(form, m, Tail::Zero), values).iter().collect()
    }

    #[test]
    fn clamping_keeps_every_run_within_m() {
        use GroupForm::{Ends, Sizes};
        assert_eq!(clamped(Sizes, 10, [3, 0, 5]), [0..3, 3..3, 3..8]);
        assert_eq!(clamped(Sizes, 10, [3, -4, 5]), [0..3, 3..3, 3..8]);
        assert_eq!(clamped(Sizes, 10, [3, 9, 5]), [0..3, 3..10, 10..10]);
        assert_eq!(clamped(Sizes, 10, [3, i64::MAX, i64::MAX]), [0..3, 3..10, 10..10]);
        assert_eq!(clamped(Sizes, 10, [i64::MIN, i64::MIN, 2]), [0..0, 0..0, 0..2]);
        assert_eq!(clamped(Ends, 10, [3, 3, 8]), [0..3, 3..3, 3..8]);
        assert_eq!(clamped(Ends, 10, [3, 1, 8]), [0..3, 3..3, 3..8]);
        assert_eq!(clamped(Ends, 10, [-3, 12, 8]), [0..0, 0..10, 10..10]);
        assert_eq!(clamped(Ends, 10, [i64::MIN, i64::MAX, 0]), [0..0, 0..10, 10..10]);
        assert_eq!(clamped(Ends, 0, [1, 2, 3]), [0..0, 0..0, 0..0]);
    }

    #[test]
    fn checking_names_the_group_and_the_value() {
        use GroupError::*;
        use GroupForm::{Ends, Sizes};
        let refused = |form, tail, values: [i64; 3]| Runs::checked(&problem(form, 10, tail), values).unwrap_err();
        assert_eq!(refused(Sizes, Tail::Zero, [1, 2, -3]), NegativeSize { group: 2, value: -3 });
        assert_eq!(refused(Sizes, Tail::Zero, [1, 9, 1]), PastLastRow { group: 2, end: 11, m: 10 });
        assert_eq!(refused(Sizes, Tail::Zero, [1, i64::MAX, 1]), PastLastRow { group: 1, end: i64::MAX, m: 10 });
        assert_eq!(refused(Sizes, Tail::Undeclared, [1, 2, 3]), UndeclaredTail { group: 2, end: 6, m: 10 });
        assert_eq!(refused(Ends, Tail::Zero, [4, 3, 9]), DecreasingEnd { group: 1, value: 3, previous: 4 });
        assert_eq!(refused(Ends, Tail::Zero, [-1, 3, 9]), DecreasingEnd { group: 0, value: -1, previous: 0 });
        assert_eq!(refused(Ends, Tail::Zero, [1, 11, 2]), PastLastRow { group: 1, end: 11, m: 10 });
        assert_eq!(refused(Ends, Tail::Undeclared, [1, 2, 9]), UndeclaredTail { group: 2, end: 9, m: 10 });
    }

    #[test]
    fn what_passes_the_check_is_read_alike_by_both() {
        for (form, values) in
            [(GroupForm::Sizes, [0, 10, 0]), (GroupForm::Ends, [0, 10, 10]), (GroupForm::Ends, [2, 2, 10])]
        {
            let problem = problem(form, 10, Tail::Undeclared);
            assert_eq!(Runs::checked(&problem, values), Ok(Runs::clamped(&problem, values)));
        }
        let tail = problem(GroupForm::Sizes, 10, Tail::Untouched);
        assert_eq!(Runs::checked(&tail, [1, 0, 2]).unwrap().total(), 3);
    }
}
