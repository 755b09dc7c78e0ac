//! Quantization: patches of elements in registers, the largest magnitudes of what shares a scale, and rounded copies.

use super::expr::ExprId;
use super::stmt::{FragmentId, GlobalTile, TileRef};
use crate::dtype::Dtype;

/// What shares one value: a scale, or before that its largest magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedBy {
    /// The elements of a row of the block.
    Row,
    /// The elements of a column of the block.
    Column,
    /// All elements of the block.
    Block,
}

/// A statement about patches ([`FragmentRole::Patch`]) and scales ([`FragmentRole::BlockValues`]).
///
/// [`FragmentRole::Patch`]: super::FragmentRole::Patch
/// [`FragmentRole::BlockValues`]: super::FragmentRole::BlockValues
#[derive(Clone, Debug)]
pub enum Quantize {
    /// Reads a block of device memory into patches; what does not exist becomes zero.
    LoadPatch {
        /// The patches.
        to: FragmentId,
        /// The block.
        from: GlobalTile,
        /// Rows start at multiples of 16 bytes, and columns exist 8 at a time.
        aligned: ExprId,
    },
    /// Puts each thread's patch aside, into a shared tile with a column of pieces for each.
    KeepPatch {
        /// The patches.
        from: FragmentId,
        /// The tile.
        to: TileRef,
    },
    /// Takes each thread's patch back.
    RestorePatch {
        /// The patches.
        to: FragmentId,
        /// The tile.
        from: TileRef,
    },
    /// Each lane's values become the largest of themselves and of the magnitudes of the lane's elements; infinities and
    /// NaN do not count.
    FoldMaxima {
        /// The values.
        into: FragmentId,
        /// The patches.
        from: FragmentId,
    },
    /// Lanes of a warp that hold a value of the same elements take the largest of theirs.
    ReduceMaxima {
        /// The values.
        fragment: FragmentId,
    },
    /// Each warp writes its values to a row of its own of a tile of f32.
    StoreMaxima {
        /// The values.
        from: FragmentId,
        /// The tile.
        to: TileRef,
    },
    /// Values become the largest of those in all rows of the tile: of all warps, or of all CTAs of a cluster.
    LoadMaxima {
        /// The values.
        to: FragmentId,
        /// The tile.
        from: TileRef,
    },
    /// Writes the values, which all warps have alike, to the row of the CTA's rank of a tile of f32 in every CTA of the
    /// cluster. Warps deal those out among them. The cluster's barrier makes it visible.
    TellMaxima {
        /// The values.
        from: FragmentId,
        /// The tile.
        to: TileRef,
    },
    /// Largest magnitudes become scales ([`fp8::scale`](crate::fp8::scale)).
    MakeScales {
        /// The values.
        fragment: FragmentId,
        /// What is quantized to.
        format: Dtype,
        /// Whether scales are rounded up to powers of two.
        powers_of_two: ExprId,
    },
    /// Writes those scales that exist.
    StoreScales {
        /// The scales.
        from: FragmentId,
        /// Where to.
        to: GlobalTile,
    },
    /// Scales become their inverses, rounded.
    InvertScales {
        /// The scales.
        fragment: FragmentId,
    },
    /// Rounds the elements times their scales' inverses, and writes those that exist.
    StorePatch {
        /// The patches.
        from: FragmentId,
        /// The inverses.
        by: FragmentId,
        /// Where to.
        to: GlobalTile,
        /// Rows start at multiples of 16 bytes, and columns exist 8 at a time.
        aligned: ExprId,
    },
    /// Rounds the elements times their scales' inverses into a shared tile whose rows are the patches' columns.
    TransposePatch {
        /// The patches.
        from: FragmentId,
        /// The inverses.
        by: FragmentId,
        /// The tile.
        to: TileRef,
    },
    /// Writes those rounded elements of a shared tile that exist; all threads of the CTA share them.
    StoreTransposed {
        /// The tile.
        from: TileRef,
        /// Where to.
        to: GlobalTile,
        /// Rows start at multiples of 16 bytes, and columns exist 16 at a time.
        aligned: ExprId,
    },
}

impl Quantize {
    /// Every expression that the statement evaluates.
    pub fn expressions(&self) -> Vec<ExprId> {
        let block = |b: &GlobalTile| [b.origin, b.row_stride].into_iter().chain(b.rows).chain(b.cols);
        match self {
            Quantize::LoadPatch { from, aligned, .. } => block(from).chain([*aligned]).collect(),
            Quantize::FoldMaxima { .. } | Quantize::ReduceMaxima { .. } | Quantize::InvertScales { .. } => Vec::new(),
            Quantize::KeepPatch { to: tile, .. }
            | Quantize::RestorePatch { from: tile, .. }
            | Quantize::StoreMaxima { to: tile, .. }
            | Quantize::LoadMaxima { from: tile, .. }
            | Quantize::TellMaxima { to: tile, .. }
            | Quantize::TransposePatch { to: tile, .. } => vec![tile.slot],
            Quantize::MakeScales { powers_of_two, .. } => vec![*powers_of_two],
            Quantize::StoreScales { to, .. } => block(to).collect(),
            Quantize::StorePatch { to, aligned, .. } => block(to).chain([*aligned]).collect(),
            Quantize::StoreTransposed { from, to, aligned } => block(to).chain([from.slot, *aligned]).collect(),
        }
    }

    /// The block of device memory that the statement reads or writes.
    pub fn block_mut(&mut self) -> Option<&mut GlobalTile> {
        match self {
            Quantize::LoadPatch { from: block, .. }
            | Quantize::StoreScales { to: block, .. }
            | Quantize::StorePatch { to: block, .. }
            | Quantize::StoreTransposed { to: block, .. } => Some(block),
            _ => None,
        }
    }

    /// The shared tile that the statement reads or writes.
    pub fn tile(&self) -> Option<&TileRef> {
        match self {
            Quantize::KeepPatch { to: tile, .. }
            | Quantize::RestorePatch { from: tile, .. }
            | Quantize::StoreMaxima { to: tile, .. }
            | Quantize::LoadMaxima { from: tile, .. }
            | Quantize::TellMaxima { to: tile, .. }
            | Quantize::TransposePatch { to: tile, .. }
            | Quantize::StoreTransposed { from: tile, .. } => Some(tile),
            _ => None,
        }
    }

    /// The fragment that the statement is about first of all.
    pub fn fragment(&self) -> Option<FragmentId> {
        match self {
            Quantize::LoadPatch { to: fragment, .. }
            | Quantize::KeepPatch { from: fragment, .. }
            | Quantize::RestorePatch { to: fragment, .. }
            | Quantize::FoldMaxima { into: fragment, .. }
            | Quantize::ReduceMaxima { fragment }
            | Quantize::StoreMaxima { from: fragment, .. }
            | Quantize::LoadMaxima { to: fragment, .. }
            | Quantize::TellMaxima { from: fragment, .. }
            | Quantize::MakeScales { fragment, .. }
            | Quantize::StoreScales { from: fragment, .. }
            | Quantize::InvertScales { fragment }
            | Quantize::StorePatch { by: fragment, .. }
            | Quantize::TransposePatch { by: fragment, .. } => Some(*fragment),
            Quantize::StoreTransposed { .. } => None,
        }
    }

    /// A short name for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Quantize::LoadPatch { .. } => "load_patch",
            Quantize::KeepPatch { .. } => "keep_patch",
            Quantize::RestorePatch { .. } => "restore_patch",
            Quantize::FoldMaxima { .. } => "fold_maxima",
            Quantize::ReduceMaxima { .. } => "reduce_maxima",
            Quantize::StoreMaxima { .. } => "store_maxima",
            Quantize::LoadMaxima { .. } => "load_maxima",
            Quantize::TellMaxima { .. } => "tell_maxima",
            Quantize::MakeScales { .. } => "make_scales",
            Quantize::StoreScales { .. } => "store_scales",
            Quantize::InvertScales { .. } => "invert_scales",
            Quantize::StorePatch { .. } => "store_patch",
            Quantize::TransposePatch { .. } => "transpose_patch",
            Quantize::StoreTransposed { .. } => "store_transposed",
        }
    }
}
