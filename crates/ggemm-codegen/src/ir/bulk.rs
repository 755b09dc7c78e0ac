//! Bulk copies of boxes between tensors and shared tiles, through the copy engine.

use super::barrier::BarrierRef;
use super::expr::ExprId;
use super::stmt::{ParamId, TileRef};

/// A load of rows of a tile: one box for each of its panels. Each lane that reaches it starts one.
#[derive(Clone, Debug)]
pub struct BulkLoad {
    /// The tensor map.
    pub map: ParamId,
    /// Coordinates of the tile's first element (i32), the contiguous dimension first.
    pub coordinates: Vec<ExprId>,
    /// The tile.
    pub to: TileRef,
    /// The tile's row that the box' first becomes (i32), a multiple of 8.
    pub row: ExprId,
    /// Where the bytes are counted.
    pub at: BarrierRef,
    /// A bit for each rank of the cluster that receives the tile, and counts its bytes, at the same place (i32).
    pub multicast: Option<ExprId>,
}

/// A store of rows of a tile: one box for each of its panels. Each lane that reaches it starts one.
#[derive(Clone, Debug)]
pub struct BulkStore {
    /// The tile.
    pub from: TileRef,
    /// The tile's row that is the box' first (i32), a multiple of 8.
    pub row: ExprId,
    /// The tensor map.
    pub map: ParamId,
    /// Coordinates of the tile's first element (i32), the contiguous dimension first.
    pub coordinates: Vec<ExprId>,
    /// Adds to what is there (f32), each element atomically.
    pub add: bool,
}
