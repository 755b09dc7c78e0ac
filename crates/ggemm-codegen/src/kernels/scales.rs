//! The scales of fp8 operands: where those of a tile lie, and the registers that hold them.
//!
//! Those of whole rows the warps that multiply read from device memory themselves when a tile leaves, each thread those of the
//! rows and columns that it holds. Those of blocks come through shared memory in Hopper's family
//! ([`block_scales`](super::warp_specialized)), and like those of rows in the other.

use super::parameters::Extents;
use super::walk::Tile;
use crate::dsl::{Cta, Expr, GlobalScales, Grid, I32, I64, KernelBuilder, Pointer, ScaleFragment, Slot, SumScales};
use crate::geometry;
use crate::ir::ParamRole;
use crate::layout::ThreadValueMap;
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::spec::{KernelSpec, Ragged};

/// Where the scales of both operands lie.
#[derive(Clone, Copy)]
pub(super) struct ScaleParameters<'k> {
    a: Array<'k>,
    b: Array<'k>,
    extents: Extents<'k>,
    ragged: Ragged,
    /// Each block of the reduction has scales of its own.
    in_blocks: bool,
}

/// The scales of one operand, and the strides that are not the same for every problem.
#[derive(Clone, Copy)]
struct Array<'k> {
    pointer: Pointer,
    /// Scales from one group to the next.
    group_stride: Option<Expr<'k, I64, Grid>>,
    /// Scales from one row, or block of columns, to the next; 1 without.
    outer_stride: Option<Expr<'k, I64, Grid>>,
    /// Scales from one block of the reduction to the next.
    reduction_stride: Option<Expr<'k, I64, Grid>>,
    /// Neighbours that share a scale.
    outer_block: u32,
    /// A tile of a cluster may begin where there are none.
    may_be_past_the_end: bool,
}

impl<'k> ScaleParameters<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec, extents: Extents<'k>) -> Option<Self> {
        let in_blocks = match s.scaling {
            Scaling::None => return None,
            Scaling::Row => false,
            Scaling::Block => true,
        };
        let rows = s.ragged == Ragged::Rows;
        let mut stride = |name: &str, role, varies: bool| varies.then(|| k.stride(name, role));
        // Rows are told apart by their number, and rows of blocks by where their group starts.
        let a_group_stride = stride("a_scale_group_stride", ParamRole::AScaleGroupStride, !rows && !in_blocks);
        let a_outer_stride = stride("a_scale_outer_stride", ParamRole::AScaleOuterStride, rows && in_blocks);
        let a_reduction_stride = stride("a_scale_reduction_stride", ParamRole::AScaleReductionStride, in_blocks);
        let b_group_stride = stride("b_scale_group_stride", ParamRole::BScaleGroupStride, rows || !in_blocks);
        let b_outer_stride = stride("b_scale_outer_stride", ParamRole::BScaleOuterStride, rows && in_blocks);
        let b_reduction_stride = stride("b_scale_reduction_stride", ParamRole::BScaleReductionStride, in_blocks);
        let a = k.input("a_scales", crate::dtype::Dtype::F32, ParamRole::AScales);
        let b = k.input("b_scales", crate::dtype::Dtype::F32, ParamRole::BScales);
        Some(ScaleParameters {
            a: Array {
                pointer: a,
                group_stride: a_group_stride,
                outer_stride: a_outer_stride,
                reduction_stride: a_reduction_stride,
                outer_block: 1,
                may_be_past_the_end: s.cluster.m > 1,
            },
            b: Array {
                pointer: b,
                group_stride: b_group_stride,
                outer_stride: b_outer_stride,
                reduction_stride: b_reduction_stride,
                outer_block: if rows && in_blocks { SCALE_BLOCK as u32 } else { 1 },
                may_be_past_the_end: s.cluster.n > 1,
            },
            extents,
            ragged: s.ragged,
            in_blocks,
        })
    }

    /// The scales of a tile, whose reduction is so long.
    pub(super) fn of(
        &self,
        k: &mut KernelBuilder<'k>,
        tile: &Tile<'k>,
        reduction: Expr<'k, I32, Cta>,
    ) -> TileScales<'k> {
        let Extents { rows, cols, .. } = self.extents;
        let (row, rows_left, first_block) = match self.ragged {
            Ragged::Rows => (tile.group_start + tile.row, tile.group_rows - tile.row, None),
            Ragged::Reduction => (tile.row, rows - tile.row, Some(first_block(tile))),
        };
        // Of a reduction of nothing there are no blocks.
        let nothing = (!self.in_blocks).then(|| {
            k.comment("Sums of nothing are 0, whatever the scales: they may belong to no group, and are not read.");
            k.let_("is_sum_of_nothing", reduction.equals(0))
        });
        let mut line = |array: &Array<'k>, name: &str, first: Expr<'k, I32, Cta>, left: Expr<'k, I32, Cta>| {
            let outer = (first / array.outer_block).cast::<I64>();
            let mut origin = array.outer_stride.map_or(outer, |stride| outer * stride);
            if let Some(stride) = array.group_stride {
                origin = origin + tile.group.cast::<I64>() * stride;
            }
            if let (Some(stride), Some(block)) = (array.reduction_stride, first_block) {
                origin = origin + block.cast::<I64>() * stride;
            }
            Line {
                before: first % array.outer_block,
                array: *array,
                origin: k.let_(&format!("first_of_{name}"), origin),
                count: match nothing {
                    None => k.let_(&format!("{name}_left"), left),
                    Some(nothing) => k.let_(&format!("{name}_left"), nothing.select::<I32, _, _, _>(0, left)),
                },
            }
        };
        let a = line(&self.a, "a_scales", row, rows_left);
        let b = line(&self.b, "b_scales", tile.col, cols - tile.col);
        TileScales { a, b }
    }
}

/// The number of a group's first block of rows: see [`first_row_block`](crate::scaling::first_row_block).
pub(super) fn first_block<'k>(tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
    tile.group_start / SCALE_BLOCK as i32 + tile.group
}

/// The scales of the rows of a tile of A, or of the columns of one of B.
#[derive(Clone, Copy)]
struct Line<'k> {
    array: Array<'k>,
    origin: Expr<'k, I64, Cta>,
    /// Rows or columns that have scales.
    count: Expr<'k, I32, Cta>,
    /// Those that share the first scale and lie before the tile.
    before: Expr<'k, I32, Cta>,
}

impl<'k> Line<'k> {
    /// From row or column `skipped` on, a multiple of what shares a scale; in this block of the reduction.
    fn part(&self, k: &KernelBuilder<'k>, skipped: u32, block: Option<Expr<'k, I32, Cta>>) -> GlobalScales<'k> {
        let stride = self.array.outer_stride.unwrap_or(k.long(1));
        let mut origin = self.origin + stride * i64::from(skipped / self.array.outer_block);
        if let (Some(block), Some(stride)) = (block, self.array.reduction_stride) {
            origin = origin + block.cast::<I64>() * stride;
        }
        GlobalScales { pointer: self.array.pointer, origin, stride, count: self.count - skipped }
    }

    /// From this block of the reduction on, and what lies between two of them.
    fn beginning_at(
        &self,
        k: &KernelBuilder<'k>,
        block: Expr<'k, I32, Cta>,
    ) -> (GlobalScales<'k>, Expr<'k, I64, Grid>) {
        let stride = self.array.outer_stride.unwrap_or(k.long(1));
        let block_stride = self.array.reduction_stride.unwrap_or(k.long(0));
        let origin = self.origin + block.cast::<I64>() * block_stride;
        // Past the end, division rounds up: of what does not exist nothing does.
        let scales =
            |count| (count + self.before + (self.array.outer_block as i32 - 1)) / self.array.outer_block as i32;
        let count = match self.array.outer_block {
            1 => self.count,
            _ if self.array.may_be_past_the_end => {
                self.count.le(0).select::<I32, _, _, _>(0, scales(self.count.max(0)))
            }
            _ => scales(self.count),
        };
        (GlobalScales { pointer: self.array.pointer, origin, stride, count }, block_stride)
    }
}

/// The scales of a tile's rows and columns.
#[derive(Clone, Copy)]
pub(super) struct TileScales<'k> {
    a: Line<'k>,
    b: Line<'k>,
}

impl<'k> TileScales<'k> {
    /// Those of A and of B from a block of the reduction on.
    pub(super) fn beginning_at(
        &self,
        k: &KernelBuilder<'k>,
        block: Expr<'k, I32, Cta>,
    ) -> [(GlobalScales<'k>, Expr<'k, I64, Grid>); 2] {
        [self.a.beginning_at(k, block), self.b.beginning_at(k, block)]
    }
}

/// Registers for the scales of the rows of sums and of some of their columns.
#[derive(Clone, Copy)]
pub(super) struct ScaleRegisters {
    rows: ScaleFragment,
    cols: ScaleFragment,
}

impl ScaleRegisters {
    /// Those of the sums of a tile, for each block of the reduction.
    pub(super) fn of_blocks(k: &mut KernelBuilder<'_>, s: &KernelSpec, sums: &ThreadValueMap) -> Option<Self> {
        let shared = geometry::columns_share_scales(s);
        (s.scaling == Scaling::Block).then(|| ScaleRegisters::declare(k, sums, shared))
    }

    /// Those of such sums, for all of the reduction.
    pub(super) fn of_rows(k: &mut KernelBuilder<'_>, s: &KernelSpec, sums: &ThreadValueMap) -> Option<Self> {
        (s.scaling == Scaling::Row).then(|| ScaleRegisters::declare(k, sums, false))
    }

    fn declare(k: &mut KernelBuilder<'_>, sums: &ThreadValueMap, shared: bool) -> Self {
        let (rows, cols) = (geometry::row_scale_map(sums), geometry::col_scale_map(sums, shared));
        ScaleRegisters { rows: k.scales("row_scales", rows), cols: k.scales("col_scales", cols) }
    }

    /// Reads those of a tile's rows, in a block of the reduction where each has its own.
    pub(super) fn load_rows<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        scales: &TileScales<'k>,
        block: Option<Expr<'k, I32, Cta>>,
    ) {
        let part = scales.a.part(k, 0, block);
        k.load_scales(self.rows, &part);
    }

    /// Reads those of a tile's columns from `first` on.
    pub(super) fn load_cols<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        scales: &TileScales<'k>,
        first: u32,
        block: Option<Expr<'k, I32, Cta>>,
    ) {
        let part = scales.b.part(k, first, block);
        k.load_scales(self.cols, &part);
    }

    /// Reads those of a tile's rows in a block of the reduction from a tile of shared memory.
    pub(super) fn read_rows<'k>(&self, k: &mut KernelBuilder<'k>, from: &Slot, block: Expr<'k, I32, Cta>) {
        k.read_scales(self.rows, from, block, (0, None));
    }

    /// Reads those of columns from `first` on, where so many of those that share the first scale lie before the tile.
    pub(super) fn read_cols<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        from: &Slot,
        block: Expr<'k, I32, Cta>,
        (first, before): (u32, Option<Expr<'k, I32, Cta>>),
    ) {
        k.read_scales(self.cols, from, block, (first, before));
    }

    pub(super) fn both(&self) -> SumScales {
        SumScales { rows: self.rows, cols: self.cols }
    }
}
