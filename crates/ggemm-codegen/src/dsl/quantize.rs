//! Quantization in the DSL: a block in patches, the scales of what shares one, and rounded copies.
//!
//! A patch is 8 × 8 elements: its rows are read in 16-byte pieces, its columns become 8-byte pieces of a transposed
//! copy. How the threads' patches lie decides the block's shape ([`PatchShape`]).

use super::builder::KernelBuilder;
use super::scalar::{Bool, Expr, Grid};
use super::tiles::{GlobalBlock, SharedTiles, Slot};
use crate::dtype::Dtype;
use crate::ir::{FragmentId, FragmentRole, Op, Quantize, SharedBy};
use crate::layout::{Axis, CHUNK_BYTES, Digit, Layout, Mode, Swizzle, ThreadValueMap};

/// Rows and columns of a patch.
const PATCH: u32 = 8;

/// How the patches of a CTA's threads lie: the shape of the block that they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchShape {
    /// 128 columns by 16 rows a warp.
    Square,
    /// 8 rows by 256 columns a warp: warps lie side by side.
    Wide,
    /// 64 columns by 32 rows a warp.
    Tall,
}

impl PatchShape {
    /// Lanes of a warp along the columns; the others lie along the rows.
    const fn lanes(self) -> u32 {
        match self {
            PatchShape::Square => 16,
            PatchShape::Wide => 32,
            PatchShape::Tall => 8,
        }
    }

    /// Rows and columns of the block of so many warps.
    pub const fn block(self, warps: u32) -> (u32, u32) {
        let (rows, cols) = (32 / self.lanes() * PATCH, self.lanes() * PATCH);
        match self {
            PatchShape::Wide => (rows, cols * warps),
            PatchShape::Square | PatchShape::Tall => (rows * warps, cols),
        }
    }
}

/// The patches of a CTA's threads.
#[derive(Clone, Copy)]
pub struct Patches {
    id: FragmentId,
    shape: PatchShape,
}

/// The values of what shares one: largest magnitudes, scales, inverses of scales.
#[derive(Clone, Copy)]
pub struct ScaleValues {
    id: FragmentId,
    by: SharedBy,
    shape: PatchShape,
}

/// Which element of the block each thread holds.
fn patch_map(shape: PatchShape, warps: u32) -> ThreadValueMap {
    let mode = |extent, row, col| Mode { extent, row, col };
    let (rows, cols) = shape.block(1);
    let warps = if shape == PatchShape::Wide { mode(warps, 0, cols) } else { mode(warps, rows, 0) };
    let along_rows = (rows > PATCH).then(|| mode(rows / PATCH, PATCH, 0));
    ThreadValueMap {
        threads: [mode(cols / PATCH, 0, PATCH)].into_iter().chain(along_rows).chain([warps]).collect(),
        values: vec![mode(PATCH, 0, 1), mode(PATCH, 1, 0)],
    }
}

/// The same of what its elements share: digits that lead to no other value add nothing.
fn scales_map(shape: PatchShape, by: SharedBy, warps: u32) -> ThreadValueMap {
    let shared = |m: Mode| match by {
        SharedBy::Row => Mode { col: 0, ..m },
        SharedBy::Column => Mode { row: 0, ..m },
        SharedBy::Block => Mode { row: 0, col: 0, ..m },
    };
    let patch = patch_map(shape, warps);
    let values = patch.values.into_iter().map(shared).filter(|m| m.row + m.col > 0).collect();
    ThreadValueMap { threads: patch.threads.into_iter().map(shared).collect(), values }
}

/// A row of f32 for each warp: its values, and at least 16 bytes.
fn maxima_tile(shape: PatchShape, by: SharedBy, warps: u32) -> Layout {
    let (rows, cols) = shape.block(1);
    let cols = match by {
        SharedBy::Row => rows,
        SharedBy::Column => cols,
        SharedBy::Block => 4,
    };
    Layout {
        rows: Axis(vec![Digit { extent: warps, stride: cols * 4 }]),
        cols: Axis(vec![Digit { extent: cols, stride: 4 }]),
        swizzle: Swizzle { bits: 0, base: 4, shift: 3 },
        element_bytes: 4,
    }
}

/// A column of 16-byte pieces for each thread's patch.
fn kept_tile(dtype: Dtype, threads: u32) -> Layout {
    let bytes = dtype.size_bytes();
    let (pieces, in_piece) = (PATCH * PATCH * bytes / CHUNK_BYTES, CHUNK_BYTES / bytes);
    Layout {
        rows: Axis(vec![Digit { extent: pieces, stride: threads * CHUNK_BYTES }]),
        cols: Axis(vec![Digit { extent: threads * in_piece, stride: bytes }]),
        swizzle: Swizzle { bits: 0, base: 4, shift: 3 },
        element_bytes: bytes,
    }
}

/// The block's columns as rows of as many bytes as it has rows. Threads that write together have columns that are 8 apart,
/// which is therefore what decides the swizzle.
fn transposed_tile(shape: PatchShape, warps: u32) -> Layout {
    let (bytes, cols) = shape.block(warps);
    Layout {
        rows: Axis(vec![Digit { extent: cols, stride: bytes }]),
        cols: Axis(vec![Digit { extent: bytes, stride: 1 }]),
        swizzle: Swizzle { bits: 3, base: 4, shift: (bytes * PATCH).ilog2() - 4 },
        element_bytes: 1,
    }
}

impl<'k> KernelBuilder<'k> {
    /// Declares the patches of all threads.
    pub fn patches(&mut self, name: &str, dtype: Dtype, shape: PatchShape) -> Patches {
        let map = patch_map(shape, self.threads() / 32);
        Patches { id: self.declare_fragment(name, dtype, FragmentRole::Patch, map, 1), shape }
    }

    /// Declares a value for each row or column of the patches' block, or for all of it.
    pub fn scale_values(&mut self, name: &str, of: Patches, by: SharedBy) -> ScaleValues {
        let map = scales_map(of.shape, by, self.threads() / 32);
        let id = self.declare_fragment(name, Dtype::F32, FragmentRole::BlockValues(by), map, 1);
        ScaleValues { id, by, shape: of.shape }
    }

    /// Declares the tile through which warps tell each other their maxima.
    pub fn maxima_tile(&mut self, name: &str, values: ScaleValues) -> SharedTiles {
        let layout = maxima_tile(values.shape, values.by, self.threads() / 32);
        self.shared_tiles(name, Dtype::F32, &layout, 1)
    }

    /// The same in the memory of a tile that is not in use from before the warps tell each other until after.
    pub fn maxima_tile_in(&mut self, name: &str, values: ScaleValues, of: &SharedTiles) -> SharedTiles {
        let layout = maxima_tile(values.shape, values.by, self.threads() / 32);
        self.shared_tiles_in(name, Dtype::F32, &layout, of)
    }

    /// Declares the tile through which the CTAs of a cluster tell each other their maxima.
    pub fn told_tile(&mut self, name: &str, values: ScaleValues) -> SharedTiles {
        let layout = maxima_tile(values.shape, values.by, self.cluster_size());
        self.shared_tiles(name, Dtype::F32, &layout, 1)
    }

    /// Declares a tile that holds the patches of all threads.
    pub fn kept_tile(&mut self, name: &str, dtype: Dtype) -> SharedTiles {
        let layout = kept_tile(dtype, self.threads());
        self.shared_tiles(name, dtype, &layout, 1)
    }

    /// Declares a tile for the transpose of the patches' block.
    pub fn transposed_tile(&mut self, name: &str, of: Patches, format: Dtype) -> SharedTiles {
        let layout = transposed_tile(of.shape, self.threads() / 32);
        self.bulk_tiles(name, format, &layout, 1)
    }

    /// Reads a block; what does not exist becomes zero. `aligned`: rows start at multiples of 16 bytes, and columns exist
    /// 8 at a time.
    #[track_caller]
    pub fn load_patches(&mut self, to: Patches, from: &GlobalBlock<'k>, aligned: Expr<'k, Bool, Grid>) {
        self.push(Op::Quantize(Quantize::LoadPatch { to: to.id, from: from.lower(), aligned: aligned.id }));
    }

    /// Puts the patches aside.
    #[track_caller]
    pub fn keep_patches(&mut self, from: Patches, to: &Slot) {
        self.push(Op::Quantize(Quantize::KeepPatch { from: from.id, to: to.tile() }));
    }

    /// Takes back what was put aside.
    #[track_caller]
    pub fn restore_patches(&mut self, to: Patches, from: &Slot) {
        self.push(Op::Quantize(Quantize::RestorePatch { to: to.id, from: from.tile() }));
    }

    /// Sets the largest magnitudes to those of nothing.
    #[track_caller]
    pub fn zero_maxima(&mut self, values: ScaleValues) {
        self.push(Op::Zero { fragment: values.id });
    }

    /// Takes each thread's elements into its largest magnitudes.
    #[track_caller]
    pub fn fold_maxima(&mut self, into: ScaleValues, from: Patches) {
        self.push(Op::Quantize(Quantize::FoldMaxima { into: into.id, from: from.id }));
    }

    /// Threads of a warp that share a value take the largest of theirs.
    #[track_caller]
    pub fn reduce_maxima(&mut self, values: ScaleValues) {
        self.push(Op::Quantize(Quantize::ReduceMaxima { fragment: values.id }));
    }

    /// Warps that share values take the largest of theirs, through a tile that nobody may be reading.
    #[track_caller]
    pub fn share_maxima(&mut self, values: ScaleValues, through: &Slot) {
        self.push(Op::Quantize(Quantize::StoreMaxima { from: values.id, to: through.tile() }));
        self.barrier();
        self.push(Op::Quantize(Quantize::LoadMaxima { to: values.id, from: through.tile() }));
    }

    /// CTAs of the cluster that share values, which all warps of each have alike, take the largest of theirs. Each has
    /// arrived at the cluster's barrier ([`Self::cluster_arrive`]) since it ran and last read the tile.
    #[track_caller]
    pub fn share_maxima_in_cluster(&mut self, values: ScaleValues, through: &Slot) {
        self.cluster_wait();
        self.push(Op::Quantize(Quantize::TellMaxima { from: values.id, to: through.tile() }));
        self.cluster_barrier();
        self.push(Op::Quantize(Quantize::LoadMaxima { to: values.id, from: through.tile() }));
    }

    /// Largest magnitudes become the scales of `format`.
    #[track_caller]
    pub fn make_scales(&mut self, values: ScaleValues, format: Dtype, powers_of_two: Expr<'k, Bool, Grid>) {
        let powers_of_two = powers_of_two.id;
        self.push(Op::Quantize(Quantize::MakeScales { fragment: values.id, format, powers_of_two }));
    }

    /// Writes the scales that exist.
    #[track_caller]
    pub fn store_scales(&mut self, from: ScaleValues, to: &GlobalBlock<'k>) {
        self.push(Op::Quantize(Quantize::StoreScales { from: from.id, to: to.lower() }));
    }

    /// Scales become their inverses.
    #[track_caller]
    pub fn invert_scales(&mut self, values: ScaleValues) {
        self.push(Op::Quantize(Quantize::InvertScales { fragment: values.id }));
    }

    /// Writes the elements, times `by` and rounded, as the block lies. `aligned` as for [`Self::load_patches`], of the
    /// copy.
    #[track_caller]
    pub fn store_patches(
        &mut self,
        from: Patches,
        by: ScaleValues,
        to: &GlobalBlock<'k>,
        aligned: Expr<'k, Bool, Grid>,
    ) {
        let (from, by, to, aligned) = (from.id, by.id, to.lower(), aligned.id);
        self.push(Op::Quantize(Quantize::StorePatch { from, by, to, aligned }));
    }

    /// Writes the elements, times `by` and rounded, to a tile for the transpose.
    #[track_caller]
    pub fn transpose_patches(&mut self, from: Patches, by: ScaleValues, to: &Slot) {
        self.push(Op::Quantize(Quantize::TransposePatch { from: from.id, by: by.id, to: to.tile() }));
    }

    /// Writes the transpose. `aligned`: its rows start at multiples of 16 bytes, and its columns exist 16 at a time.
    #[track_caller]
    pub fn store_transpose(&mut self, from: &Slot, to: &GlobalBlock<'k>, aligned: Expr<'k, Bool, Grid>) {
        let (from, to, aligned) = (from.tile(), to.lower(), aligned.id);
        self.push(Op::Quantize(Quantize::StoreTransposed { from, to, aligned }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::bank_conflicts;

    /// Threads of a half warp write 8 bytes each of a column of their own: at most two of them meet in a bank.
    #[test]
    fn the_transpose_is_nearly_free_of_conflicts() {
        for (shape, warps, at_most) in [(PatchShape::Square, 8, 2), (PatchShape::Tall, 8, 1), (PatchShape::Tall, 16, 1)]
        {
            let (tile, lanes) = (transposed_tile(shape, warps), shape.lanes());
            let (bytes, cols) = shape.block(warps);
            for (col, first) in (0..PATCH).flat_map(|c| (0..2).map(move |first| (c, first * 16))) {
                let place = |lane: u32| tile.offset(lane % lanes * PATCH + col, lane / lanes * PATCH);
                let written: Vec<u32> = (first..first + 16).map(place).collect();
                assert_eq!(bank_conflicts(&written, 8), at_most, "{shape:?}, column {col}");
            }
            for (col, first) in (0..cols).flat_map(|c| (0..bytes / 16).step_by(8).map(move |first| (c, first))) {
                let read: Vec<u32> = (first..first + 8).map(|piece| tile.offset(col, piece * 16)).collect();
                assert_eq!(bank_conflicts(&read, 16), 1, "{shape:?}, column {col}");
            }
        }
    }

    /// Every element of the block is one thread's, and what shares a value has one.
    #[test]
    fn maps_cover_the_block() {
        let all = [PatchShape::Square, PatchShape::Wide, PatchShape::Tall];
        for (shape, warps) in all.into_iter().flat_map(|shape| [8, 16].map(|warps| (shape, warps))) {
            let (rows, cols) = shape.block(warps);
            let patch = patch_map(shape, warps);
            let mut seen = vec![0; (rows * cols) as usize];
            for (t, v) in (0..32 * warps).flat_map(|t| (0..64).map(move |v| (t, v))) {
                let (row, col) = patch.coordinates(t, v);
                seen[(row * cols + col) as usize] += 1;
                for (by, shared) in [(SharedBy::Row, (row, 0)), (SharedBy::Column, (0, col)), (SharedBy::Block, (0, 0))]
                {
                    let map = scales_map(shape, by, warps);
                    let value = [v / PATCH, v % PATCH, 0][by as usize];
                    assert_eq!(map.coordinates(t, value), shared, "{by:?}");
                }
            }
            assert!(seen.iter().all(|n| *n == 1), "{shape:?}");
        }
    }
}
