//! Problems whose operands a kernel copies: for the interpreter's tests, the hunt for planted faults and verification.

use std::fmt;

use super::spec::RealignSpec;
use super::task::Which;
use crate::interp::Dice;
use crate::problem::{GroupForm, IndexType, Operation, Problem, Tail, WeightLayout, WeightSharing};
use crate::scenario::Extent;

/// What a kernel is to copy: an operand of a problem's contraction.
#[derive(Clone, Debug)]
pub struct RealignScenario {
    /// The problem.
    pub problem: Problem,
    /// Which operand.
    pub which: Which,
    /// Sizes or ends, which may contradict the problem.
    pub groups: Vec<i64>,
}

impl fmt::Display for RealignScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}, groups {:?}", self.which, self.problem, self.groups)
    }
}

impl RealignScenario {
    /// A random one: extents around a block's, any strides, empty groups.
    pub fn random(spec: &RealignSpec, seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed ^ 0x4ea1);
        let (most_rows, most_cols) = match extent {
            Extent::Tiles => (80, 600),
            _ => (700, 3000),
        };
        let count = 1 + dice.below(5);
        let sizes: Vec<i64> = (0..count).map(|_| if dice.below(3) == 0 { 0 } else { dice.below(60) as i64 }).collect();
        let (rows, cols) = (dice.below(most_rows + 1), dice.below(most_cols + 1));
        Self::of(spec, &sizes, rows, cols, dice.below(1 << 16) as u64)
    }

    /// Of these sizes, and an operand of so many rows and columns. The bits of `pick` say the rest.
    pub fn of(spec: &RealignSpec, sizes: &[i64], rows: usize, cols: usize, pick: u64) -> Self {
        let is = |bit: u32| pick >> bit & 1 == 1;
        let groups = sizes.len();
        let form = if is(1) { GroupForm::Ends } else { GroupForm::Sizes };
        let index = if is(2) { IndexType::I64 } else { IndexType::I32 };
        let row_stride = cols + [0, 1, 8, 13][(pick >> 3) as usize % 4];
        let problem = |operation, m, n, k| {
            let problem = Problem::new(operation, groups, m, n, k).operand(spec.element());
            problem.group_array(form, index).tail(Tail::Zero)
        };
        let is_tokens = is(5) && is(6);
        let problem = if is_tokens {
            problem(Operation::Forward, rows, 8, cols).x_row_stride(row_stride)
        } else {
            let total = sizes.iter().map(|size| (*size).clamp(0, 1000) as usize).sum();
            let sharing = if is(0) { WeightSharing::Shared } else { WeightSharing::PerExpert };
            let matrix = rows * row_stride + if is(7) { 3 } else { 0 };
            let (problem, layout) = match is(8) {
                true => (problem(Operation::Forward, total, rows, cols), WeightLayout::Nk),
                false => (problem(Operation::Forward, total, cols, rows), WeightLayout::Kn),
            };
            problem.weight_layout(layout).weight_sharing(sharing).w_row_stride(row_stride).w_group_stride(matrix)
        };
        let sum = |end: &mut i64, size: &i64| {
            *end = end.saturating_add(*size);
            Some(*end)
        };
        let are_ends = form == GroupForm::Ends && sizes.iter().all(|size| *size >= 0);
        let groups = if are_ends { sizes.iter().scan(0, sum).collect() } else { sizes.to_vec() };
        RealignScenario { problem, which: if is_tokens { Which::A } else { Which::B }, groups }
    }
}
