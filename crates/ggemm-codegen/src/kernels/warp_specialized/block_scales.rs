//! The scales of blocks of the reduction on their way through shared memory: a warp of their own copies those of some blocks
//! at a time, ahead of the warps that multiply.
//!
//! Read from device memory where they are needed, they would keep the tensor cores waiting; and one by one, each row's from
//! another line, they would take as much of L1 as a fifth of the operands.

use super::super::walk::Tile;
use super::exchange::part_of;
use super::feed::Feed;
use super::roles::Family;
use crate::dsl::{Bool, Consumer, Cta, Expr, I32, KernelBuilder, Ring, SharedTiles, Slot};
use crate::geometry::{self, SCALE_SLOTS, SCALES_TOGETHER};
use crate::scaling::SCALE_BLOCK;
use crate::spec::KernelSpec;

/// Lanes that arrive when their copies of scales have landed.
const LANES: u32 = 32;

/// The ring of scales.
pub(super) struct BlockScales {
    a: SharedTiles,
    b: SharedTiles,
    ring: Ring,
}

impl BlockScales {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Option<Self> {
        let [a, b] = geometry::scale_tiles(s)?;
        // A lane of each warp that reads a slot says so.
        let readers = s.warps.count();
        let mut tiles = |name, layout| k.scale_tiles(name, layout, SCALE_SLOTS);
        let (a, b) = (tiles("a_scale_tiles", &a), tiles("b_scale_tiles", &b));
        Some(BlockScales { a, b, ring: Ring::filled_by(k, "scales", SCALE_SLOTS, (2 * LANES, readers)) })
    }

    /// Copies the scales of each tile that this role is told of.
    pub(super) fn copy<'k>(&self, k: &mut KernelBuilder<'k>, s: &KernelSpec, family: &impl Family<'k>, feed: &Feed) {
        let ring = self.ring.producer(k);
        feed.each(k, |k, tile| {
            let part = part_of(k, s, family, tile);
            let Some(scales) = family.scales().map(|scales| scales.of(k, tile, part.length)) else { return };
            let blocks = k.let_("blocks", part.length.ceil_div(s.tile.k));
            let before = part.start.map(|start| k.let_("blocks_before", start / s.tile.k));
            k.for_("batch", blocks.ceil_div(SCALES_TOGETHER), |k, batch| {
                let first = k.let_("first", batch * SCALES_TOGETHER);
                let slot = ring.acquire(k);
                let from = before.map_or(first, |before| before + first);
                for (tiles, (from, block_stride)) in [&self.a, &self.b].into_iter().zip(scales.beginning_at(k, from)) {
                    k.copy_scales(&from, (block_stride, blocks - first), &tiles.slot(slot.index), slot.full);
                }
                ring.go_on(k);
            });
        });
    }

    /// The end that reads.
    pub(super) fn reader<'k>(&self, k: &mut KernelBuilder<'k>) -> ScaleReader<'k> {
        ScaleReader { a: self.a.clone(), b: self.b.clone(), ring: self.ring.consumer(k) }
    }
}

/// The end of the ring that a warpgroup reads.
pub(super) struct ScaleReader<'k> {
    a: SharedTiles,
    b: SharedTiles,
    ring: Consumer<'k>,
}

/// The scales of one block of the reduction.
pub(super) struct OfBlock<'k> {
    pub(super) a: Slot,
    pub(super) b: Slot,
    /// Which of those that lie together.
    pub(super) block: Expr<'k, I32, Cta>,
    /// Whether a block of the tile follows.
    pub(super) has_next: Expr<'k, Bool, Cta>,
    /// Columns that share the tile's first scale and lie before it, where tiles may begin in the middle of a block.
    pub(super) before: Option<Expr<'k, I32, Cta>>,
}

impl<'k> ScaleReader<'k> {
    /// Does `body` for each of a tile's so many blocks, whose scales are there.
    pub(super) fn each(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (tile, blocks): (&Tile<'k>, Expr<'k, I32, Cta>),
        body: impl FnOnce(&mut KernelBuilder<'k>, &OfBlock<'k>),
    ) {
        let is_split = geometry::columns_share_scales(s) && !s.tile.n.is_multiple_of(SCALE_BLOCK as u32);
        let before = is_split.then(|| k.let_("cols_before", tile.col % SCALE_BLOCK as i32));
        k.for_("batch", blocks.ceil_div(SCALES_TOGETHER), |k, batch| {
            let slot = self.ring.wait_full(k);
            let some = k.let_("blocks_of_batch", (blocks - batch * SCALES_TOGETHER).min(SCALES_TOGETHER as i32));
            k.for_("block", some, |k, block| {
                let has_next = (batch * SCALES_TOGETHER + block + 1).lt(blocks);
                body(k, &OfBlock { a: self.a.slot(slot.index), b: self.b.slot(slot.index), block, has_next, before });
            });
            self.ring.release(k);
        });
    }

    /// Passes over the scales of a tile with so many blocks, which someone else reads.
    pub(super) fn skip(&self, k: &mut KernelBuilder<'k>, blocks: Expr<'k, I32, Cta>) {
        self.ring.skip(k, blocks.ceil_div(SCALES_TOGETHER));
    }
}
