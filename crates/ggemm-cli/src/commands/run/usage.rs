//! Flags of `ggemm run` that contradict each other or mean nothing.

use ggemm_codegen::{Dtype, Operation, ProblemError};
use ggemm_runtime::GroupError;

use crate::numbers::bytes;

/// The longest reduction whose sums of the small integers of `--exact` stay exact in f32.
pub(crate) const LONGEST_EXACT: usize = (1 << 20) - 1;

/// Why the flags make no problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UsageError {
    /// `ggemm list --quantize` without a problem.
    #[error("--quantize is about a problem that variants are ranked for: add --op, -g, -m, -n and -k")]
    NothingToRank,
    /// `--sizes` and `--groups` of another number.
    #[error("--sizes lists {listed} groups and --groups says {groups}: drop --groups, or list {groups} sizes")]
    GroupCount {
        /// Sizes listed.
        listed: usize,
        /// `--groups`.
        groups: usize,
    },
    /// `--sizes` and a file's weights of another number.
    #[error("--sizes lists {listed} groups and `{name}` of the file has {experts} experts: list {experts} sizes")]
    GroupCountOfFile {
        /// Sizes listed.
        listed: usize,
        /// The weight's name.
        name: String,
        /// Its experts.
        experts: usize,
    },
    /// `--sizes` and `--rows` of another total.
    #[error(
        "--sizes sums to {sum} and --rows says {rows}: drop --rows{}",
        match rows.checked_sub(*sum) {
            Some(more) => format!(", or declare the other {more} rows as a tail with --tail {more}"),
            None => String::new(),
        }
    )]
    RowCount {
        /// The sum of the sizes.
        sum: usize,
        /// `--rows`.
        rows: usize,
    },
    /// `--sizes`, `--tail` and `--rows` that do not add up.
    #[error("--sizes sums to {sum}, with --tail {tail} that is {total}, and --rows says {rows}: drop --rows")]
    RowCountWithTail {
        /// The sum of the sizes.
        sum: usize,
        /// `--tail`.
        tail: usize,
        /// Both together.
        total: usize,
        /// `--rows`.
        rows: usize,
    },
    /// More rows than a number holds.
    #[error("the rows of all groups and the tail together are past the largest number: give fewer")]
    TooManyRows,
    /// A tail longer than all rows.
    #[error("--tail {tail} is more than --rows {rows}, which counts the tail's rows too: give at most {rows}")]
    TailPastRows {
        /// `--tail`.
        tail: usize,
        /// `--rows`.
        rows: usize,
    },
    /// A policy and no tail.
    #[error("--tail-policy is about rows past the last group, and there are none: add --tail ROWS")]
    NoTail,
    /// `--accumulate` into a type that does not accumulate.
    #[error("--accumulate adds grad_w to an f32 output, and the output is {output}: add --output-dtype f32")]
    AccumulateOutput {
        /// The output's type.
        output: Dtype,
    },
    /// `--accumulate` without grad_w.
    #[error("--accumulate is about grad_w, which --ops leaves out: add it, or drop --accumulate")]
    AccumulateOperation,
    /// A stride between weights of which there is one.
    #[error("--w-group-stride is about one weight for each group, and all share one: add --weights per-expert")]
    SharedGroupStride,
    /// An architecture where nothing is interpreted.
    #[error("--arch is about --backend interpret: add that, or drop --arch")]
    ArchWithoutInterpreter,
    /// A variant that computes none of the operations.
    #[error(
        "--variant {name} computes {}, which --ops leaves out: drop --ops, or name another variant",
        computes.iter().map(|operation| operation.name()).collect::<Vec<_>>().join(" and ")
    )]
    VariantOperation {
        /// The variant.
        name: String,
        /// What it computes.
        computes: Vec<Operation>,
    },
    /// Sums too long to be exact.
    #[error(
        "--exact: the reduction of {operation} has {length} terms, and sums of small integers are exact in f32 up to {LONGEST_EXACT}: make it shorter, or leave {operation} out with --ops"
    )]
    ExactTooLong {
        /// The operation.
        operation: Operation,
        /// The length of its reduction.
        length: usize,
    },
    /// The problem means nothing.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// Groups that contradict the problem.
    #[error("{source}{}", remedy(source))]
    Groups {
        /// What the runtime says.
        source: GroupError,
    },
    /// More memory than there is.
    #[error(
        "the problem takes about {} of this machine's memory, and {} are free: ask for less, or for fewer --ops",
        bytes(*needed),
        bytes(*available)
    )]
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        available: u64,
    },
}

/// The flags that do what the runtime's message asks for.
fn remedy(error: &GroupError) -> &'static str {
    match error {
        GroupError::UndeclaredTail { .. } => " (here: --tail-policy zero or untouched, or --group-form ends)",
        GroupError::DecreasingEnd { .. } => " (here: --group-form sizes)",
        _ => "",
    }
}
