//! The scales of fp8 operands: where those of a tile lie, and the registers that hold them.
//!
//! Those of whole rows the warps that multiply read from device memory themselves when a tile leaves, each thread those of the
//! rows and columns that it holds. Those of blocks come through shared memory ([`block_scales`](super::block_scales)).

use super::super::parameters::Extents;
use super::super::walk::Tile;
use super::block_scales::OfBlock;
use crate::dsl::{Cta, Expr, GlobalScales, Grid, I32, I64, KernelBuilder, Pointer, ScaleFragment, SumScales};
use crate::geometry;
use crate::ir::ParamRole;
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
            },
            b: Array {
                pointer: b,
                group_stride: b_group_stride,
                outer_stride: b_outer_stride,
                reduction_stride: b_reduction_stride,
                outer_block: if rows && in_blocks { SCALE_BLOCK as u32 } else { 1 },
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
    /// From row or column `skipped` on.
    fn part(&self, k: &KernelBuilder<'k>, skipped: u32) -> GlobalScales<'k> {
        let stride = self.array.outer_stride.unwrap_or(k.long(1));
        let origin = self.origin + stride * i64::from(skipped);
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
        let count = match self.array.outer_block {
            1 => self.count,
            shared => (self.count + self.before + (shared as i32 - 1)) / shared as i32,
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

/// Registers for the scales of a warpgroup's rows and of some of its columns.
#[derive(Clone, Copy)]
pub(super) struct ScaleRegisters {
    rows: ScaleFragment,
    cols: ScaleFragment,
}

impl ScaleRegisters {
    /// Those of so many columns; `shared`: neighbours in a block have one.
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec, cols: u32, shared: bool) -> Self {
        let warpgroups = s.warps.m / geometry::WARPS_OF_WARPGROUP;
        let rows = geometry::row_scale_map(geometry::warpgroup_blocks(s), warpgroups);
        let cols = geometry::col_scale_map(cols, warpgroups, shared);
        ScaleRegisters { rows: k.scales("row_scales", rows), cols: k.scales("col_scales", cols) }
    }

    /// Reads those of a tile's rows.
    pub(super) fn load_rows<'k>(&self, k: &mut KernelBuilder<'k>, scales: &TileScales<'k>) {
        let part = scales.a.part(k, 0);
        k.load_scales(self.rows, &part);
    }

    /// Reads those of a tile's columns from `first` on.
    pub(super) fn load_cols<'k>(&self, k: &mut KernelBuilder<'k>, scales: &TileScales<'k>, first: u32) {
        let part = scales.b.part(k, first);
        k.load_scales(self.cols, &part);
    }

    /// Reads those of a tile's rows in a block of the reduction from shared memory.
    pub(super) fn read_rows<'k>(&self, k: &mut KernelBuilder<'k>, of: &OfBlock<'k>) {
        k.read_scales(self.rows, &of.a, of.block, (0, None));
    }

    /// Reads those of columns from `first` on.
    pub(super) fn read_cols<'k>(&self, k: &mut KernelBuilder<'k>, of: &OfBlock<'k>, first: u32) {
        k.read_scales(self.cols, &of.b, of.block, (first, of.before));
    }

    pub(super) fn both(&self) -> SumScales {
        SumScales { rows: self.rows, cols: self.cols }
    }
}
