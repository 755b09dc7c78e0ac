//! Problems whose operands a kernel quantizes: for the interpreter's tests, the hunt for planted faults and verification.

use std::fmt;

use super::spec::QuantizeSpec;
use crate::interp::Dice;
use crate::ir::SharedBy;
use crate::problem::{GroupForm, IndexType, Operation, Problem, Tail, WeightLayout, WeightSharing};
use crate::scaling::Scaling;
use crate::scenario::Extent;

/// An operand of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The problem.
    pub problem: Problem,
    /// 0: its first operand, 1: its second.
    pub which: usize,
}

/// What a kernel is to quantize: the operands that its copies are, of one source.
#[derive(Clone, Debug)]
pub struct QuantizeScenario {
    /// An operand for each copy.
    pub asked: Vec<Asked>,
    /// How the source of a weight lies.
    pub from: WeightLayout,
    /// Sizes or ends, which may contradict the problem; of no use to a kernel without groups.
    pub groups: Vec<i64>,
    /// Whether scales are powers of two.
    pub powers_of_two: bool,
}

impl fmt::Display for QuantizeScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Asked { problem, which } in &self.asked {
            write!(f, "operand {which} of {problem}; ")?;
        }
        let scales = if self.powers_of_two { "powers of two" } else { "any scales" };
        write!(f, "weights from {:?}, groups {:?}, {scales}", self.from, self.groups)
    }
}

/// Rows and columns of the largest random source: where clusters divide rows or columns, these are long.
fn most_of(spec: &QuantizeSpec, extent: Extent) -> (usize, usize) {
    let (block_rows, block_cols) = spec.block();
    let blocks = match extent {
        Extent::Tiles => 5,
        _ => 5 * spec.ctas() as usize / 2,
    };
    match (spec.division(), spec.form().copy.by, extent) {
        (None, _, Extent::Tiles) => (300, 300),
        (None, ..) => (3000, 1500),
        (Some(_), SharedBy::Row, _) => (20, blocks * block_cols as usize),
        (Some(_), _, Extent::Tiles) => (blocks * block_rows as usize, 70),
        (Some(_), ..) => (blocks * block_rows as usize, 500),
    }
}

impl QuantizeScenario {
    /// A random one: sizes around a block's, empty groups, a tail; extents of whole 16 bytes and others.
    pub fn random(spec: &QuantizeSpec, seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed ^ 0x9a17);
        let (most_rows, most_cols) = most_of(spec, extent);
        let is_whole = dice.below(3) > 0;
        let mut side = |most: usize| {
            let side = dice.below(most + 1);
            if is_whole { side.next_multiple_of(16) } else { side }
        };
        let (mut rows, cols) = (side(most_rows), side(most_cols));
        let pick = dice.below(1 << 16) as u64;
        let count = [1 + dice.below(8), 1 + dice.below(70)][usize::from(dice.below(4) == 0)];
        let mut sizes = Vec::with_capacity(count);
        if spec.form().ragged {
            let each = 2 * rows / count + 1;
            sizes.extend((0..count).map(|_| if dice.below(4) == 0 { 0 } else { dice.below(each) as i64 }));
            let tail = [0, dice.below(200)][dice.below(2)];
            rows = sizes.iter().sum::<i64>() as usize + tail;
        } else {
            rows /= 1 + rows * count / (4 * most_rows);
            sizes.resize(count, 0);
        }
        let rows = if is_whole && !spec.form().ragged { rows.next_multiple_of(16) } else { rows };
        Self::of(spec, &sizes, rows, cols, pick)
    }

    /// Of these sizes, and a source of so many rows and columns. The bits of `pick` say the rest.
    pub fn of(spec: &QuantizeSpec, sizes: &[i64], rows: usize, cols: usize, pick: u64) -> Self {
        let is = |bit: u32| pick >> bit & 1 == 1;
        let form = spec.form();
        let groups = sizes.len();
        let problem = |operation, [g, m, n, k]: [usize; 4]| {
            Problem::new(operation, g, m, n, k).operand(spec.format()).scaling(form.scaling).tail(Tail::Zero)
        };
        let sharing = if is(0) { WeightSharing::Shared } else { WeightSharing::PerExpert };
        let padded = |cols: usize| cols + if is(3) { 16 } else { 0 };
        let reduction = |transposed: bool| {
            let form = if is(1) { GroupForm::Ends } else { GroupForm::Sizes };
            let index = if is(2) { IndexType::I64 } else { IndexType::I32 };
            let problem = problem(Operation::GradW, [groups, rows, 8, cols]).weight_sharing(sharing);
            Asked { problem: problem.group_array(form, index).reduction_blocks(transposed), which: 1 }
        };
        let tokens = || Asked {
            problem: problem(Operation::Forward, [groups, rows, 8, cols]).x_row_stride(padded(cols)),
            which: 0,
        };
        let ends = || {
            let sum = |end: &mut i64, size: &i64| {
                *end = end.saturating_add(*size);
                Some(*end)
            };
            sizes.iter().scan(0, sum).collect()
        };
        let values = if form.ragged && is(1) && sizes.iter().all(|s| *s >= 0) { ends() } else { sizes.to_vec() };
        let of = |asked, from| QuantizeScenario { asked, from, groups: values, powers_of_two: is(7) };
        if form.ragged {
            let asked = match form.second {
                None => vec![reduction(form.copy.transposed)],
                Some(second) => vec![tokens(), reduction(second.transposed)],
            };
            return of(asked, WeightLayout::Nk);
        }
        let is_tokens = form.scaling == Scaling::Block || !is(4);
        if form.copy.by == SharedBy::Row && !form.copy.transposed && is_tokens {
            return of(vec![tokens()], WeightLayout::Nk);
        }
        // Weights [rows, cols]: the copy's layout, and the operation that reduces along the scales.
        let from = if is(5) { WeightLayout::Kn } else { WeightLayout::Nk };
        let (n, k, other) = match from {
            WeightLayout::Nk => (rows, cols, WeightLayout::Kn),
            WeightLayout::Kn => (cols, rows, WeightLayout::Nk),
        };
        let along_cols = form.copy.by == SharedBy::Row || form.copy.by == SharedBy::Block && !is(6);
        let operation = if along_cols == (from == WeightLayout::Nk) { Operation::Forward } else { Operation::GradX };
        let copies = spec.copies().map(|copy| {
            let problem = problem(operation, [groups, 8, n, k]).weight_sharing(sharing);
            let problem = problem.weight_layout(if copy.transposed { other } else { from });
            let (r, c) = problem.weight_shape();
            let matrix = (r * padded(c)).max(1).next_multiple_of(16);
            let group_stride = if sharing == WeightSharing::Shared { 0 } else { matrix };
            Asked { problem: problem.w_row_stride(padded(c)).w_group_stride(group_stride), which: 1 }
        });
        of(copies.collect(), from)
    }
}
