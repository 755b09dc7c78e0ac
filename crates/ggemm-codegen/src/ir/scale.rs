//! Scales of fp8 operands: their way into registers, and where they meet sums.

use super::barrier::BarrierRef;
use super::expr::ExprId;
use super::stmt::{FragmentId, ParamId, TileRef};

/// Each thread reads the scales of the rows, or of the columns, that it holds of an accumulator.
#[derive(Clone, Copy, Debug)]
pub struct LoadScales {
    /// The scales.
    pub to: FragmentId,
    /// The array.
    pub pointer: ParamId,
    /// Scales from the pointer to that of the tile's first row or column (i64).
    pub origin: ExprId,
    /// Scales from one row or column to the next (i64).
    pub stride: ExprId,
    /// Rows or columns that exist (i32, any value); the others' scales are 0 and not read.
    pub count: ExprId,
}

/// The lanes of a warp start copies of scales to a shared tile, each lane those of every 32nd row or column of an operand, in
/// as many blocks of the reduction as the tile has columns. Each lane arrives at the barrier once its own have landed.
#[derive(Clone, Copy, Debug)]
pub struct CopyScales {
    /// The array.
    pub pointer: ParamId,
    /// Scales from the pointer to the first (i64).
    pub origin: ExprId,
    /// Scales from one row, column or block of columns to the next (i64).
    pub stride: ExprId,
    /// Scales from one block of the reduction to the next (i64).
    pub block_stride: ExprId,
    /// Rows, columns or blocks of columns that exist (i32, any value); the others' scales become 0 and are not read.
    pub count: ExprId,
    /// Blocks of the reduction that exist (i32, at least 1); the others' scales become 0 and are not read.
    pub blocks: ExprId,
    /// The tile: a row of it for each row, column or block of columns.
    pub to: TileRef,
    /// Where the lanes arrive.
    pub at: BarrierRef,
}

/// Each thread reads the scales of the rows, or of the columns, that it holds of an accumulator from a shared tile.
#[derive(Clone, Copy, Debug)]
pub struct ReadScales {
    /// The scales.
    pub to: FragmentId,
    /// The tile: a row of it for each row, column or block of columns of the tile of D.
    pub from: TileRef,
    /// The tile's column (i32).
    pub block: ExprId,
    /// The first of the columns of the tile of D that are read.
    pub first: u32,
    /// Where columns share scales: those of the tile's first block that lie before the tile (i32); `None`: none.
    pub before: Option<ExprId>,
}

/// The scales of an accumulator's rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterScales {
    /// Of the rows.
    pub rows: FragmentId,
    /// Of the columns.
    pub cols: FragmentId,
}

/// Each of the sums times the scale of its row and then of its column.
#[derive(Clone, Copy, Debug)]
pub struct ScaleSums {
    /// The sums, of which none is on its way.
    pub sums: FragmentId,
    /// The scales.
    pub scales: OuterScales,
}

/// total += partial, or partial times the scales of its row and its column.
///
/// Where 128 columns share a scale, it is multiplied by the row's first, and the sum by both at once.
#[derive(Clone, Copy, Debug)]
pub struct Promote {
    /// The sums so far.
    pub total: FragmentId,
    /// The sums of a block, which no product may own: all of the total's rows, and some of its columns.
    pub partial: FragmentId,
    /// The first of those columns.
    pub first: u32,
    /// Which of the partial sums' columns are added: the first, a multiple of 8, and how many.
    pub columns: (u32, u32),
    /// The block's scales.
    pub scales: Option<OuterScales>,
}
