//! Where the CTAs of a cluster divide each tile's reduction among them: which part is whose, and the way of their sums to
//! the first of them, which adds them up in the order of ranks and writes them out. So the bits are the same on every run.
//!
//! Sums travel as they lie in registers, some columns at a time, each thread's to the thread in its place.

use super::super::walk::Tile;
use super::roles::Family;
use crate::dsl::{Barriers, Cta, Expr, I32, KernelBuilder, SharedTiles, Var, Warpgroup, WarpgroupSums};
use crate::dtype::Dtype;
use crate::geometry::{self, MMA_N, PART_COLS, PART_SLOTS, WARPS_OF_WARPGROUP};
use crate::spec::KernelSpec;

/// The rank that adds up.
const FIRST: i32 = 0;

/// The part of a tile's reduction that a CTA sums.
pub(super) struct Part<'k> {
    /// Elements before it; `None`: it is all of the reduction.
    pub(super) start: Option<Expr<'k, I32, Cta>>,
    /// Its elements.
    pub(super) length: Expr<'k, I32, Cta>,
}

/// The part of this CTA: whole blocks, but for the last part's end.
pub(super) fn part_of<'k>(
    k: &mut KernelBuilder<'k>,
    s: &KernelSpec,
    family: &impl Family<'k>,
    tile: &Tile<'k>,
) -> Part<'k> {
    if let Some(piece) = tile.piece {
        return Part { start: Some(piece.start), length: piece.length };
    }
    let reduction = family.reduction(k, tile);
    if s.split == 1 {
        return Part { start: None, length: reduction };
    }
    let most = k.let_("part", reduction.ceil_div(s.tile.k * s.split) * s.tile.k);
    let rank = k.cluster_rank();
    let start = k.let_("part_start", rank * most);
    let length = k.let_("part_length", (reduction - start).min(most).max(0));
    Part { start: Some(start), length }
}

/// Places in the first CTA for the others' sums.
pub(super) struct Exchange {
    /// CTAs of a cluster.
    ctas: u32,
    parts: SharedTiles,
    /// In the first CTA: the bytes of all senders have come.
    full: Barriers,
    /// In each of the others: the first has added what it sent.
    free: Barriers,
}

impl Exchange {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Option<Self> {
        let places = geometry::consumers(s) * PART_SLOTS;
        (s.split > 1).then(|| Exchange {
            ctas: s.split,
            parts: k.bulk_tiles("parts", Dtype::F32, &geometry::part_tile(), places * (s.split - 1)),
            full: k.barriers("part_full", places, 1),
            free: k.barriers("part_free", places, WARPS_OF_WARPGROUP),
        })
    }

    /// A warpgroup's end of it.
    pub(super) fn end<'k>(&self, k: &mut KernelBuilder<'k>, warpgroup: Expr<'k, I32, Warpgroup>) -> ExchangeEnd<'k> {
        let Exchange { ctas, ref parts, full, free } = *self;
        ExchangeEnd { ctas, parts: parts.clone(), full, free, warpgroup, parity: k.var("part_parity", 0) }
    }
}

/// The end of a warpgroup, which exchanges sums with those in its place in other CTAs.
pub(super) struct ExchangeEnd<'k> {
    ctas: u32,
    parts: SharedTiles,
    full: Barriers,
    free: Barriers,
    warpgroup: Expr<'k, I32, Warpgroup>,
    /// Of the phase of each place that comes next.
    parity: Var<'k, I32, Cta>,
}

/// A part of the sums on its way.
struct Leg<'k> {
    /// The block of 64 rows that it is of, and the first of its 8 columns at a time.
    sums: (u32, u32),
    /// Its place among those of all warpgroups.
    place: Expr<'k, I32, Warpgroup>,
    /// Whether the place is in a phase of the tile's first parity.
    is_even: bool,
}

impl<'k> ExchangeEnd<'k> {
    /// Adds up the cluster's sums of a tile in its first CTA, and does `write_out` there.
    pub(super) fn combine(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        sums: WarpgroupSums,
        write_out: impl FnOnce(&mut KernelBuilder<'k>),
    ) {
        let is_first = k.cluster_rank().equals(FIRST);
        k.when_else(
            is_first,
            |k| {
                self.legs(s).for_each(|leg| self.receive(k, sums, &leg));
                write_out(k);
            },
            |k| self.legs(s).for_each(|leg| self.send(k, sums, &leg)),
        );
        if !(geometry::parts(s) / PART_SLOTS).is_multiple_of(2) {
            let flipped = self.parity(k, false);
            k.set(self.parity, flipped);
        }
    }

    fn legs(&self, s: &KernelSpec) -> impl Iterator<Item = Leg<'k>> + use<'k> {
        let warpgroup = self.warpgroup;
        let of_block = geometry::product_sides(s).1 / PART_COLS;
        (0..geometry::parts(s)).map(move |part| {
            let slot = part % PART_SLOTS;
            Leg {
                sums: (part / of_block, part % of_block * (PART_COLS / MMA_N)),
                place: warpgroup * PART_SLOTS + slot,
                is_even: (part / PART_SLOTS).is_multiple_of(2),
            }
        })
    }

    /// The parity of the phase that comes next in the first places, or of the one before and after it.
    fn parity(&self, k: &KernelBuilder<'k>, is_next: bool) -> Expr<'k, I32, Cta> {
        if is_next { self.parity.get() } else { k.int(1) - self.parity.get() }
    }

    fn receive(&self, k: &mut KernelBuilder<'k>, sums: WarpgroupSums, leg: &Leg<'k>) {
        let place = leg.place;
        let senders = self.ctas - 1;
        let leader = (k.warp() % WARPS_OF_WARPGROUP).equals(0);
        let bytes = geometry::part_tile().bytes() * senders;
        k.when(leader, |k| k.elect(|k| k.arrive_expect(self.full.slot(place), bytes)));
        let parity = self.parity(k, leg.is_even);
        k.await_phase(self.full.slot(place), parity);
        for sender in 0..senders {
            let from = self.parts.own(place * senders + sender);
            k.add_sums(sums, leg.sums, &from);
        }
        let lane = k.lane();
        k.warp_sync();
        k.when(lane.lt(senders), |k| k.arrive_remote(self.free.slot(place), lane + 1));
    }

    fn send(&self, k: &mut KernelBuilder<'k>, sums: WarpgroupSums, leg: &Leg<'k>) {
        let place = leg.place;
        let senders = self.ctas - 1;
        k.comment("Free once what was sent there last has been added.");
        let parity = self.parity(k, !leg.is_even);
        k.await_phase(self.free.slot(place), parity);
        let to = self.parts.own(place * senders + k.cluster_rank() - 1);
        k.send_sums(sums, leg.sums, (&to, self.full.slot(place)), FIRST);
    }

    /// The first CTA may still say that it has added what this one sent; of the last place it does so last.
    pub(super) fn finish(&self, k: &mut KernelBuilder<'k>) {
        let is_first = k.cluster_rank().equals(FIRST);
        k.when(!is_first, |k| {
            let last = self.warpgroup * PART_SLOTS + (PART_SLOTS - 1);
            let parity = self.parity(k, false);
            k.await_phase(self.free.slot(last), parity);
        });
    }
}
