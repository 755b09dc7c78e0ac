//! Scales of fp8 operands: their way into registers, and where they meet sums.

use super::expr::ExprId;
use super::stmt::{FragmentId, ParamId};

/// Each thread reads the scales of the rows, or of the columns, that it holds of an accumulator.
#[derive(Clone, Copy, Debug)]
pub struct LoadScales {
    /// The scales.
    pub to: FragmentId,
    /// The array.
    pub pointer: ParamId,
    /// Scales from the pointer to that of the tile's first row or column (i64).
    pub origin: ExprId,
    /// Scales from one row, column or block of 128 columns to the next (i64).
    pub stride: ExprId,
    /// Rows or columns that exist (i32, any value); the others' scales are 0 and not read.
    pub count: ExprId,
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
    /// The sums of a block, which no product may own.
    pub partial: FragmentId,
    /// The block's scales.
    pub scales: Option<OuterScales>,
}
