//! Where a tile's operands and its part of D lie in memory, for threads that address them.

use super::parameters::{Extents, Parameters};
use super::scales::first_block;
use super::walk::Tile;
use crate::dsl::{Cta, Expr, GlobalBlock, Grid, I32, I64, KernelBuilder, Pointer};
use crate::ir::ParamRole;
use crate::scaling::SCALE_BLOCK;
use crate::spec::{KernelSpec, Major, Ragged};

/// One operand of a tile, of which a loop takes one block of the reduction after another.
#[derive(Clone, Copy)]
pub(super) struct OperandWalk<'k> {
    /// The matrix' pointer.
    pointer: Pointer,
    /// Elements from the pointer to the tile's first element.
    origin: Expr<'k, I64, Cta>,
    /// Elements between rows.
    row_stride: Expr<'k, I64, Grid>,
    /// The dimension along which it is contiguous.
    major: Major,
    /// Rows (of A) or columns (of B) that the tile still has; the rest is zero.
    side: Expr<'k, I32, Cta>,
}

impl<'k> OperandWalk<'k> {
    /// The block at `k_offset` along the reduction, of which `k_left` remains (`None`: at least a whole block).
    pub(super) fn block(&self, k_offset: Expr<'k, I32, Cta>, k_left: Option<Expr<'k, I32, Cta>>) -> GlobalBlock<'k> {
        let offset = k_offset.cast::<I64>();
        let (advance, rows, cols) = match self.major {
            Major::K => (offset, Some(self.side), k_left),
            Major::Mn => (offset * self.row_stride, k_left, Some(self.side)),
        };
        let origin = self.origin + advance;
        GlobalBlock { pointer: self.pointer, origin, row_stride: self.row_stride, rows, cols }
    }
}

/// Where D is.
#[derive(Clone, Copy)]
pub(super) struct Destination<'k> {
    pub(super) pointer: Pointer,
    pub(super) extents: Extents<'k>,
    pub(super) row_stride: Expr<'k, I64, Grid>,
    /// Between the matrices of groups, where the groups divide the reduction.
    pub(super) group_stride: Option<Expr<'k, I64, Grid>>,
}

/// A tile's part of D, and what of it exists.
struct Part<'k> {
    block: GlobalBlock<'k>,
    rows: Expr<'k, I32, Cta>,
    cols: Expr<'k, I32, Cta>,
    /// The tile's first row in the token matrix, where the groups divide its rows.
    first_row: Option<Expr<'k, I64, Cta>>,
}

impl<'k> Destination<'k> {
    /// Of a pointer that is declared already: extents and strides.
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec, pointer: Pointer) -> Self {
        Destination {
            pointer,
            extents: Extents::declare(k),
            row_stride: k.stride("d_row_stride", ParamRole::DRowStride),
            group_stride: (s.ragged == Ragged::Reduction).then(|| k.stride("d_group_stride", ParamRole::DGroupStride)),
        }
    }

    /// A tile's part of it.
    pub(super) fn of(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k> {
        self.part(k, tile).block
    }

    fn part(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Part<'k> {
        let total_rows = if self.group_stride.is_some() { self.extents.rows.within() } else { tile.group_rows };
        let rows = k.let_("rows_left", total_rows - tile.row);
        let cols = k.let_("cols_left", self.extents.cols - tile.col);
        let col = tile.col.cast::<I64>();
        let (first_row, origin) = match self.group_stride {
            None => {
                let first_row = k.let_("first_row", (tile.group_start + tile.row).cast::<I64>());
                (Some(first_row), first_row * self.row_stride + col)
            }
            Some(group_stride) => {
                let of_group = tile.group.cast::<I64>() * group_stride;
                (None, of_group + tile.row.cast::<I64>() * self.row_stride + col)
            }
        };
        let (pointer, row_stride) = (self.pointer, self.row_stride);
        let block = GlobalBlock { pointer, origin, row_stride, rows: Some(rows), cols: Some(cols) };
        Part { block, rows, cols, first_row }
    }
}

/// All three of a tile.
#[derive(Clone, Copy)]
pub(super) struct Operands<'k> {
    pub(super) a: OperandWalk<'k>,
    pub(super) b: OperandWalk<'k>,
    pub(super) d: GlobalBlock<'k>,
}

impl<'k> Operands<'k> {
    /// Those of `tile`.
    pub(super) fn of(k: &mut KernelBuilder<'k>, s: &KernelSpec, p: &Parameters<'k>, tile: &Tile<'k>) -> Self {
        match s.ragged {
            Ragged::Rows => Operands::of_rows(k, s, p, tile),
            Ragged::Reduction => Operands::of_reduction(k, s, p, tile),
        }
    }

    fn of_rows(k: &mut KernelBuilder<'k>, s: &KernelSpec, p: &Parameters<'k>, tile: &Tile<'k>) -> Self {
        let Part { block: d, rows: rows_left, cols: cols_left, first_row } = p.destination(s.ragged).part(k, tile);
        let first_row = first_row.unwrap_or_else(|| k.long(0).within());
        let group_of_b = tile.group.cast::<I64>() * p.group_stride;
        let col = tile.col.cast::<I64>();
        Operands {
            a: OperandWalk {
                pointer: p.a,
                origin: first_row * p.a_row_stride,
                row_stride: p.a_row_stride,
                major: s.a_major,
                side: rows_left,
            },
            b: OperandWalk {
                pointer: p.b,
                origin: match s.b_major {
                    Major::K => group_of_b + col * p.b_row_stride,
                    Major::Mn => group_of_b + col,
                },
                row_stride: p.b_row_stride,
                major: s.b_major,
                side: cols_left,
            },
            d,
        }
    }

    fn of_reduction(k: &mut KernelBuilder<'k>, s: &KernelSpec, p: &Parameters<'k>, tile: &Tile<'k>) -> Self {
        let Part { block: d, rows: rows_left, cols: cols_left, .. } = p.destination(s.ragged).part(k, tile);
        // Where operands lie along the reduction, every group starts at the block of that number.
        let first_token = match s.a_major {
            Major::Mn => tile.group_start.cast::<I64>(),
            Major::K => k.let_("first_token", first_block(tile).cast::<I64>() * SCALE_BLOCK as i64),
        };
        let origin = |major, side: Expr<'k, I64, Cta>, row_stride: Expr<'k, I64, Grid>| match major {
            Major::Mn => first_token * row_stride + side,
            Major::K => side * row_stride + first_token,
        };
        let (row, col) = (tile.row.cast::<I64>(), tile.col.cast::<I64>());
        Operands {
            a: OperandWalk {
                pointer: p.a,
                origin: origin(s.a_major, row, p.a_row_stride),
                row_stride: p.a_row_stride,
                major: s.a_major,
                side: rows_left,
            },
            b: OperandWalk {
                pointer: p.b,
                origin: origin(s.b_major, col, p.b_row_stride),
                row_stride: p.b_row_stride,
                major: s.b_major,
                side: cols_left,
            },
            d,
        }
    }
}
