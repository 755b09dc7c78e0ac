//! Rows of device memory that start anywhere: copied to where the copy engine can address them, or written from shared
//! memory in the largest pieces that their addresses allow.

use super::expr::ExprId;
use super::stmt::{GlobalTile, TileRef};

/// A statement about rows that start anywhere.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// Copies a block of elements of 2 bytes; all threads of the CTA share it. What the block's bounds leave out is not
    /// read, but for the rest of the 16 aligned bytes that hold what exists. Elements of the copy's last piece of a row
    /// past the last column may take any value.
    Realign {
        /// The block, of [`REALIGNED_COLS`](crate::geometry::REALIGNED_COLS) columns.
        from: GlobalTile,
        /// Where to, without bounds: rows start at multiples of 16 bytes.
        to: GlobalTile,
    },
    /// Writes those elements of a shared tile of 64 rows of 128 bytes that exist. A warp writes the 16 rows that it wrote to
    /// the tile.
    StorePanel {
        /// The tile.
        from: TileRef,
        /// Where to.
        to: GlobalTile,
        /// Whether to add to what is there; `None`: never.
        accumulate: Option<ExprId>,
    },
}

impl Rows {
    /// Every expression that the statement evaluates.
    pub fn expressions(&self) -> Vec<ExprId> {
        let block = |b: &GlobalTile| [b.origin, b.row_stride].into_iter().chain(b.rows).chain(b.cols);
        match self {
            Rows::Realign { from, to } => block(from).chain(block(to)).collect(),
            Rows::StorePanel { from, to, accumulate } => block(to).chain([from.slot]).chain(*accumulate).collect(),
        }
    }

    /// The block of device memory that has bounds.
    pub fn bounded_mut(&mut self) -> &mut GlobalTile {
        match self {
            Rows::Realign { from: block, .. } | Rows::StorePanel { to: block, .. } => block,
        }
    }

    /// The shared tile that the statement reads.
    pub fn tile(&self) -> Option<&TileRef> {
        match self {
            Rows::Realign { .. } => None,
            Rows::StorePanel { from, .. } => Some(from),
        }
    }

    /// A short name for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Rows::Realign { .. } => "realign",
            Rows::StorePanel { .. } => "store_panel",
        }
    }
}
