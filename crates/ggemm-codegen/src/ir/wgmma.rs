//! Products of a warpgroup, which read both operands from shared memory behind its back.

use super::expr::ExprId;
use super::stmt::{Fragment, FragmentId, TileRef};
use crate::geometry::MMA_N;

/// accumulator (+)= a · bᵀ for one step along the reduction, of 32 bytes: each warpgroup multiplies its rows of the A tile.
#[derive(Clone, Copy, Debug)]
pub struct WarpgroupMultiply {
    /// The accumulator.
    pub accumulator: FragmentId,
    /// The A tile: [m, k], or [k, m] where it is MN-major.
    pub a: TileRef,
    /// The B tile: [n, k], or [k, n] where it is MN-major.
    pub b: TileRef,
    /// A's rows are the reduction.
    pub a_is_mn_major: bool,
    /// B's rows are the reduction.
    pub b_is_mn_major: bool,
    /// The first of B's rows that are multiplied, a multiple of 8 (of MN-major ones: 0); they are the accumulator's columns.
    pub first: u32,
    /// How many of the accumulator's columns, from the first, are multiplied and touched; `None`: all.
    pub columns: Option<u32>,
    /// The step along the reduction, in units of 16 elements, or of 32 of fp8.
    pub step: ExprId,
    /// Adds to the sums that are there; else they start anew.
    pub keep: ExprId,
}

impl WarpgroupMultiply {
    /// Columns of the product into this accumulator, which is its own.
    pub fn width(&self, accumulator: &Fragment) -> u32 {
        self.columns.unwrap_or(accumulator.map.values[2].extent * MMA_N)
    }
}
