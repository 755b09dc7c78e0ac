//! Sums that travel between the CTAs of a cluster, each thread's to the thread in its place.

use super::barrier::BarrierRef;
use super::expr::ExprId;
use super::stmt::{FragmentId, TileRef};

/// Some of a warpgroup's sums: of a block of 64 rows, 8 columns at a time, as many of those as a tile of sums has rows of
/// 128 threads.
#[derive(Clone, Copy, Debug)]
pub struct SumsPart {
    /// The accumulator.
    pub fragment: FragmentId,
    /// The block.
    pub block: u32,
    /// The first 8 columns, in units of 8.
    pub first: u32,
}

/// Writes sums to a shared tile of another CTA of the cluster, whose barrier counts their bytes there.
///
/// A row of the tile is the four f32 that a thread has of 8 columns; the rows of the 128 threads follow each other.
#[derive(Clone, Copy, Debug)]
pub struct SendSums {
    /// The sums.
    pub from: SumsPart,
    /// The tile.
    pub to: TileRef,
    /// The barrier.
    pub at: BarrierRef,
    /// The rank in the cluster of the CTA whose tile and barrier they are (i32).
    pub rank: ExprId,
}

/// Adds such a tile of the own CTA to sums.
#[derive(Clone, Copy, Debug)]
pub struct AddSums {
    /// The sums.
    pub to: SumsPart,
    /// The tile.
    pub from: TileRef,
}
