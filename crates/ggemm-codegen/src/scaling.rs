//! The scales of fp8 operands: which elements share one, and where it lies.
//!
//! An element of an fp8 operand stands for its value times an f32. Scales are dense arrays, row-major:
//!
//! | | row-wise ([`Scaling::Row`]) | in blocks ([`Scaling::Block`]) |
//! | --- | --- | --- |
//! | forward, reduction K | x \[M\], w [G, N] | x [M, ⌈K/128⌉], w like w's blocks of 128 × 128 |
//! | grad_x, reduction N | dy \[M\], w [G, K] | dy [M, ⌈N/128⌉], w like w's blocks of 128 × 128 |
//! | grad_w, reduction a group's rows | dy [G, N], x [G, K] | dy [B, N], x [B, K], B = ⌊M/128⌋ + G |
//!
//! "Like w's blocks" is [G, ⌈N/128⌉, ⌈K/128⌉] for a [G, N, K] weight and [G, ⌈K/128⌉, ⌈N/128⌉] for a [G, K, N] one. Where
//! all groups share a weight, the arrays of weights lack G, and grad_w's are those of one group that owns all rows.
//!
//! Blocks of rows are counted from the start of each group, so that no block reaches over two groups and no group need be
//! a multiple of 128. Block i of group g, which starts at row s, has scales in row ⌊s/128⌋ + g + i of its array
//! ([`first_row_block`]). That needs nothing but the group's start. It is disjoint: from one group's first row to the
//! next's lie ⌊(s + n)/128⌋ + 1 − ⌊s/128⌋ ≥ ⌊n/128⌋ + 1 ≥ ⌈n/128⌉ rows, n the group's size. What lies in a row of no block
//! is not read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::problem::{Operation, Problem, WeightLayout, WeightSharing};

/// The side of a block of elements that share a scale.
pub const SCALE_BLOCK: usize = 128;

/// Which elements of an fp8 operand share a scale.
///
/// Scales are any f32. That they are powers of two is a property of how they were made and changes nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// There are none: bf16 and f16.
    #[default]
    None,
    /// One scale for each row of an operand along the reduction, as `torch._scaled_grouped_mm` takes them.
    Row,
    /// One for 128 elements of a token along the reduction and one for 128 × 128 elements of a weight, as DeepGEMM takes
    /// them.
    Block,
}

impl Scaling {
    /// `none`, `row` or `block`.
    pub const fn name(self) -> &'static str {
        match self {
            Scaling::None => "none",
            Scaling::Row => "row",
            Scaling::Block => "block",
        }
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Scaling`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a way to scale: expected none, row or block")]
pub struct UnknownScaling(pub String);

impl FromStr for Scaling {
    type Err = UnknownScaling;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let all = [Scaling::None, Scaling::Row, Scaling::Block];
        all.into_iter().find(|x| x.name() == s).ok_or_else(|| UnknownScaling(s.to_owned()))
    }
}

/// The first of the blocks of 128 rows of a group that starts at row `start`, in the numbering of all groups' blocks.
pub const fn first_row_block(start: usize, group: usize) -> usize {
    start / SCALE_BLOCK + group
}

/// Blocks of rows that `groups` groups of `m` rows may have, counted with the gaps: one past the last.
pub const fn row_blocks(m: usize, groups: usize) -> usize {
    first_row_block(m, groups)
}

/// Where the scales of one operand lie, in the form that a kernel reads: element (i, k) of group g, i along the output
/// and k along the reduction, has scale number
///
/// g · `group_stride` + ⌊i / `outer_block`⌋ · `outer_stride` + b · `reduction_stride`,
///
/// b the block of k: ⌊k/128⌋, and with a ragged reduction, k counted from the group's first row, ⌊k/128⌋ +
/// [`first_row_block`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScaleShape {
    /// What messages call it, such as `x_scale`.
    pub name: &'static str,
    /// Elements along the output that share a scale: 1 or 128.
    pub outer_block: usize,
    /// Scales from one of those to the next.
    pub outer_stride: usize,
    /// Scales from one block of 128 elements of the reduction to the next; 0 where all of it shares one.
    pub reduction_stride: usize,
    /// Scales from one group to the next; 0 where groups share them, or are told apart by their rows.
    pub group_stride: usize,
    dims: [usize; 3],
    rank: usize,
}

impl ScaleShape {
    fn new<const RANK: usize>(
        name: &'static str,
        dims: [usize; RANK],
        outer: (usize, usize),
        reduction_stride: usize,
        group_stride: usize,
    ) -> Self {
        let mut all = [1; 3];
        all[..RANK].copy_from_slice(&dims);
        let (outer_block, outer_stride) = outer;
        ScaleShape { name, outer_block, outer_stride, reduction_stride, group_stride, dims: all, rank: RANK }
    }

    /// The array's extents.
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// How many scales there are. Saturates.
    pub fn elements(&self) -> usize {
        self.dims().iter().fold(1, |n, d| n.saturating_mul(*d))
    }

    /// The number of the scale of row or column `outer` of `group`, in block `block` of the reduction.
    pub fn index(&self, group: usize, outer: usize, block: usize) -> usize {
        group * self.group_stride + outer / self.outer_block * self.outer_stride + block * self.reduction_stride
    }
}

impl Problem {
    /// Groups of which each has a weight of its own: 1 where all share one.
    pub(crate) fn weights(&self) -> usize {
        if self.weight_sharing == WeightSharing::Shared { 1 } else { self.groups }
    }

    /// The scales of the first and the second operand; `None` for operands that have none.
    pub fn scales(&self) -> Option<[ScaleShape; 2]> {
        let block = match self.scaling {
            Scaling::None => return None,
            Scaling::Row => false,
            Scaling::Block => true,
        };
        let per_expert = self.weight_sharing == WeightSharing::PerExpert;
        let tokens = |name, reduction: usize| {
            let blocks = reduction.div_ceil(SCALE_BLOCK);
            match block {
                false => ScaleShape::new(name, [self.m], (1, 1), 0, 0),
                true => ScaleShape::new(name, [self.m, blocks], (1, blocks), 1, 0),
            }
        };
        let weight = |outer: usize, reduction_is_last: bool| {
            let name = "w_scale";
            if !block && per_expert {
                return ScaleShape::new(name, [self.groups, outer], (1, 1), 0, outer);
            } else if !block {
                return ScaleShape::new(name, [outer], (1, 1), 0, 0);
            }
            let (rows, cols) = self.weight_shape();
            let (rows, cols) = (rows.div_ceil(SCALE_BLOCK), cols.div_ceil(SCALE_BLOCK));
            let (outer, reduction) = if reduction_is_last { (cols, 1) } else { (1, cols) };
            if per_expert {
                let group = rows.saturating_mul(cols);
                ScaleShape::new(name, [self.groups, rows, cols], (SCALE_BLOCK, outer), reduction, group)
            } else {
                ScaleShape::new(name, [rows, cols], (SCALE_BLOCK, outer), reduction, 0)
            }
        };
        let ragged = |name, cols: usize| match (block, per_expert) {
            (true, _) => ScaleShape::new(name, [row_blocks(self.m, self.weights()), cols], (1, 1), cols, 0),
            (false, true) => ScaleShape::new(name, [self.groups, cols], (1, 1), 0, cols),
            (false, false) => ScaleShape::new(name, [cols], (1, 1), 0, 0),
        };
        let nk = self.weight_layout == WeightLayout::Nk;
        Some(match self.operation {
            Operation::Forward => [tokens("x_scale", self.k), weight(self.n, nk)],
            Operation::GradX => [tokens("dy_scale", self.n), weight(self.k, !nk)],
            Operation::GradW => [ragged("dy_scale", self.n), ragged("x_scale", self.k)],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;

    fn scales(operation: Operation, layout: WeightLayout, scaling: Scaling) -> [ScaleShape; 2] {
        let p = Problem::new(operation, 3, 300, 200, 500).operand(Dtype::E4m3).weight_layout(layout).scaling(scaling);
        p.scales().expect("fp8 has scales")
    }

    #[test]
    fn extents_are_those_of_the_table() {
        use Operation::{Forward, GradW, GradX};
        use WeightLayout::{Kn, Nk};
        let dims = |operation, layout, scaling| scales(operation, layout, scaling).map(|s| s.dims().to_vec());
        for layout in [Nk, Kn] {
            assert_eq!(dims(Forward, layout, Scaling::Row), [vec![300], vec![3, 200]]);
            assert_eq!(dims(GradX, layout, Scaling::Row), [vec![300], vec![3, 500]]);
            assert_eq!(dims(GradW, layout, Scaling::Row), [vec![3, 200], vec![3, 500]]);
            assert_eq!(dims(GradW, layout, Scaling::Block), [vec![5, 200], vec![5, 500]]);
        }
        assert_eq!(dims(Forward, Nk, Scaling::Block), [vec![300, 4], vec![3, 2, 4]]);
        assert_eq!(dims(Forward, Kn, Scaling::Block), [vec![300, 4], vec![3, 4, 2]]);
        assert_eq!(dims(GradX, Nk, Scaling::Block), [vec![300, 2], vec![3, 2, 4]]);
        assert_eq!(dims(GradX, Kn, Scaling::Block), [vec![300, 2], vec![3, 4, 2]]);
        let shared = Problem::grad_w(3, 300, 200, 500).scaling(Scaling::Row).weight_sharing(WeightSharing::Shared);
        assert_eq!(shared.scales().map(|s| s.map(|s| s.dims().to_vec())), Some([vec![200], vec![500]]));
        let shared = shared.scaling(Scaling::Block);
        assert_eq!(shared.scales().map(|s| s.map(|s| s.dims().to_vec())), Some([vec![3, 200], vec![3, 500]]));
    }

    /// A weight's block has one scale, in whichever operation and whichever way round it is read.
    #[test]
    fn a_weights_scales_are_those_of_its_blocks() {
        for layout in [WeightLayout::Nk, WeightLayout::Kn] {
            let [_, forward] = scales(Operation::Forward, layout, Scaling::Block);
            let [_, grad_x] = scales(Operation::GradX, layout, Scaling::Block);
            for (n, k) in [(0, 0), (199, 499), (127, 128), (128, 127), (5, 300)] {
                let expected = match layout {
                    WeightLayout::Nk => 2 * 8 + n / 128 * 4 + k / 128,
                    WeightLayout::Kn => 2 * 8 + k / 128 * 2 + n / 128,
                };
                assert_eq!(forward.index(2, n, k / SCALE_BLOCK), expected);
                assert_eq!(grad_x.index(2, k, n / SCALE_BLOCK), expected);
            }
        }
    }

    /// No two groups share a row of scales, and none is past the end, for sizes around every multiple of a block.
    #[test]
    fn blocks_of_rows_are_disjoint() {
        let sizes = [0_usize, 1, 2, 126, 127, 128, 129, 130, 254, 255, 256, 257];
        for first in 0..sizes.len().pow(3) {
            let groups = [first % 12, first / 12 % 12, first / 144].map(|i| sizes[i]);
            let (mut start, mut free) = (0, 0);
            for (g, size) in groups.into_iter().enumerate() {
                let base = first_row_block(start, g);
                assert!(base >= free, "{groups:?}: group {g} begins at {base}, before {free}");
                free = base + size.div_ceil(SCALE_BLOCK);
                start += size;
            }
            assert!(free <= row_blocks(start, groups.len()), "{groups:?}: {free} blocks");
        }
    }

    #[test]
    fn names_read_back() {
        for scaling in [Scaling::None, Scaling::Row, Scaling::Block] {
            assert_eq!(scaling.name().parse(), Ok(scaling));
        }
        assert_eq!("tile".parse::<Scaling>(), Err(UnknownScaling("tile".into())));
    }
}
