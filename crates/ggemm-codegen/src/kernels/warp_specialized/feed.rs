//! The way of tiles from the warp that finds them to the warp that loads them and the warpgroups that multiply them: their
//! places, through words of shared memory.
//!
//! Which tile comes next goes by strides, or is the next number of one counter in device memory, so that whoever is
//! early does more. A number is taken only when the warp that loads will soon want it: tiles that share operands run at
//! one time, and find them in L2, only where none is taken long before it is begun.

use super::super::walk::{Piece, Strided, Tile, TileNumbers};
use super::roles::Family;
use crate::dsl::{Barriers, Cta, Expr, I32, KernelBuilder, Pointer, Producer, Ring, RingSlot, SharedTiles, Var};
use crate::geometry::{self, FEED_SLOTS, WARPS_OF_WARPGROUP};
use crate::ir::{AtomicScope, MemoryOrder};
use crate::spec::KernelSpec;

/// The group of what follows the last tile.
const NO_TILE: i32 = -1;

/// The word of the workspace that counts tiles.
const TAKEN: i32 = 0;
/// The word that counts CTAs that have taken their last.
const ENDED: i32 = 1;

/// The slots, and where tiles' numbers come from.
pub(super) struct Feed {
    words: SharedTiles,
    /// Words of a tile.
    width: u32,
    ring: Ring,
    counter: Option<Counter>,
    clusters: bool,
    /// Tiles come with the piece of their reduction.
    has_pieces: bool,
}

/// One counter for all CTAs.
#[derive(Clone, Copy)]
struct Counter {
    words: Pointer,
    /// Where the warps that load say that they will soon want another tile.
    wanted: Barriers,
}

impl Counter {
    /// Waits until the warps that load want another tile.
    fn await_wanted<'k>(&self, k: &mut KernelBuilder<'k>, parity: Var<'k, I32, Cta>) {
        let wanted = self.wanted.slot(k.int(0));
        k.await_phase(wanted, parity.get());
        let flipped = k.int(1) - parity.get();
        k.set(parity, flipped);
    }
}

impl Feed {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        // All warps that multiply, those that load, and one that copies scales.
        let loaders = geometry::loader_warps(s);
        let scales = geometry::scale_warp(s).map_or(0, |_| 1);
        let readers = WARPS_OF_WARPGROUP * geometry::consumers(s) + loaders + scales;
        Feed {
            words: k.shared_words("tile_words", FEED_SLOTS * geometry::feed_words(s)),
            width: geometry::feed_words(s),
            ring: Ring::declare(k, "tile", FEED_SLOTS, readers),
            counter: s
                .dynamic
                .then(|| Counter { words: k.workspace("counter", 2), wanted: k.barriers("tile_wanted", 1, loaders) }),
            clusters: s.cluster_ctas() > 1,
            has_pieces: s.stream_k,
        }
    }

    /// Finds each tile of this CTA and tells the others.
    pub(super) fn find<'k>(&self, k: &mut KernelBuilder<'k>, s: &KernelSpec, family: &impl Family<'k>) {
        let (walk, groups) = family.walk();
        let ring = self.ring.producer(k);
        let numbers = match self.counter {
            None => Numbers::Strided(Strided { clusters: self.clusters }),
            Some(counter) => Numbers::Counted { counter, parity: k.var("wanted_parity", 0) },
        };
        if s.stream_k {
            let usual = family.usual_reduction();
            let reduction = |k: &mut KernelBuilder<'k>, tile: &Tile<'k>| family.reduction(k, tile);
            walk.each_piece(k, groups, &numbers, (s.tile.k, usual), reduction, |k, tile, piece| {
                let Piece { start, length, slot, added } = *piece;
                let place = [tile.group, tile.group_start, tile.group_rows, tile.row, tile.col];
                self.tell(k, &ring, &[&place[..], &[start, length, slot, added]].concat());
            });
        } else {
            walk.each(k, groups, &numbers, |k, tile| {
                self.tell(k, &ring, &[tile.group, tile.group_start, tile.group_rows, tile.row, tile.col]);
            });
        }
        let mut none = vec![k.int(0).within(); self.width as usize];
        none[0] = k.int(NO_TILE).within();
        self.tell(k, &ring, &none);
        numbers.end(k);
    }

    /// Does `body` for each tile that this role is told of.
    pub(super) fn each<'k>(&self, k: &mut KernelBuilder<'k>, body: impl FnOnce(&mut KernelBuilder<'k>, &Tile<'k>)) {
        let ring = self.ring.consumer(k);
        k.loop_(|k| {
            let slot = ring.wait_full(k);
            let has_pieces = self.has_pieces;
            let mut word = |index, name| k.read_word(name, &self.words.slot(slot.index * self.width + index));
            let tile = Tile {
                group: word(0, "group"),
                group_start: word(1, "group_start"),
                group_rows: word(2, "group_rows"),
                row: word(3, "tile_row"),
                col: word(4, "tile_col"),
                piece: has_pieces.then(|| Piece {
                    start: word(5, "piece_start"),
                    length: word(6, "piece_length"),
                    slot: word(7, "slot"),
                    added: word(8, "added"),
                }),
            };
            ring.release(k);
            k.break_if(tile.group.equals(NO_TILE));
            body(k, &tile);
        });
    }

    /// Does `load` for each of the `blocks` of a tile, and asks for the next tile while the last that fill a ring of so
    /// many `stages` are loaded.
    pub(super) fn each_block<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        blocks: Expr<'k, I32, Cta>,
        stages: u32,
        load: impl FnOnce(&mut KernelBuilder<'k>, Expr<'k, I32, Cta>),
    ) {
        let Some(counter) = self.counter else { return k.for_("block", blocks, load) };
        let want = |k: &mut KernelBuilder<'k>| {
            let wanted = counter.wanted.slot(k.int(0));
            k.elect(|k| k.arrive(wanted));
        };
        let last_round = k.let_("last_round", (blocks - stages as i32).max(0));
        k.when(blocks.equals(0), want);
        k.for_("block", blocks, |k, block| {
            k.when(block.equals(last_round), want);
            load(k, block);
        });
    }

    fn tell<'k>(&self, k: &mut KernelBuilder<'k>, ring: &Producer<'k>, words: &[Expr<'k, I32, Cta>]) {
        ring.hand_over(k, |k, slot: RingSlot<'k>| {
            for (index, word) in words.iter().enumerate() {
                k.write_word(&self.words.slot(slot.index * self.width + index as i32), *word);
            }
        });
    }
}

/// Where the numbers of tiles come from.
enum Numbers<'k> {
    Strided(Strided),
    Counted { counter: Counter, parity: Var<'k, I32, Cta> },
}

impl<'k> Numbers<'k> {
    /// This CTA has taken its last number.
    fn end(&self, k: &mut KernelBuilder<'k>) {
        if let Numbers::Counted { counter, .. } = self {
            k.end_count(counter.words, TAKEN, ENDED);
        }
    }
}

impl<'k> TileNumbers<'k> for Numbers<'k> {
    fn pace(&self, k: &mut KernelBuilder<'k>) {
        if let Numbers::Counted { counter, parity } = self {
            counter.await_wanted(k, *parity);
        }
    }

    fn next(&self, k: &mut KernelBuilder<'k>, number: Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta> {
        match self {
            Numbers::Strided(strided) => strided.next(k, number),
            Numbers::Counted { counter, parity } => {
                counter.await_wanted(k, *parity);
                let first = k.lane().equals(0);
                let order = (MemoryOrder::Relaxed, AtomicScope::Gpu);
                let taken = k.fetch_add("taken", counter.words, TAKEN, 1, first, order);
                let number = k.shuffle("number", taken, 0).agree::<Cta>();
                k.let_("next_tile", number + k.cta_count())
            }
        }
    }

    fn may_share_a_wave(&self) -> bool {
        matches!(self, Numbers::Counted { .. })
    }
}
