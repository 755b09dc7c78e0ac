//! Which tile comes next: by strides, or the next number of one counter in device memory, so that whoever is early does
//! more. The warp that loads takes the number and hands it to the warpgroups that multiply.

use super::super::walk::{Strided, TileNumbers};
use crate::dsl::{Barriers, Cta, Expr, I32, KernelBuilder, Lane, Pointer, SharedTiles, Var};
use crate::geometry::{self, NUMBER_SLOTS, WARPS_OF_WARPGROUP};
use crate::ir::{AtomicScope, MemoryOrder};
use crate::spec::KernelSpec;

/// The word that counts tiles.
const TAKEN: i32 = 0;
/// The word that counts CTAs that have taken their last.
const ENDED: i32 = 1;

/// How a CTA comes by its tiles.
pub(super) enum Schedule {
    /// By strides.
    Strided(Strided),
    /// From the counter.
    Counted(Counter),
}

/// The counter, and the way of its numbers.
pub(super) struct Counter {
    words: Pointer,
    numbers: SharedTiles,
    full: Barriers,
    empty: Barriers,
}

impl Schedule {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        if !s.dynamic {
            return Schedule::Strided(Strided { cluster: s.cluster });
        }
        Schedule::Counted(Counter {
            words: k.workspace("counter", 2),
            numbers: k.shared_words("tile_numbers", NUMBER_SLOTS),
            full: k.barriers("number_full", NUMBER_SLOTS, 1),
            empty: k.barriers("number_empty", NUMBER_SLOTS, WARPS_OF_WARPGROUP * geometry::consumers(s)),
        })
    }

    /// For the warp that loads.
    pub(super) fn taker<'k>(&self, k: &mut KernelBuilder<'k>) -> Numbers<'_, 'k> {
        match self {
            Schedule::Strided(strided) => Numbers::Strided(strided),
            Schedule::Counted(counter) => {
                let taken = k.var("taken", 0);
                Numbers::Taken { counter, at: Cursor::declare(k, 1), taken }
            }
        }
    }

    /// For a warpgroup that multiplies.
    pub(super) fn follower<'k>(&self, k: &mut KernelBuilder<'k>) -> Numbers<'_, 'k> {
        match self {
            Schedule::Strided(strided) => Numbers::Strided(strided),
            Schedule::Counted(counter) => Numbers::Followed { counter, at: Cursor::declare(k, 0) },
        }
    }

    /// The warp that loads has taken its last number: the last CTA to do so leaves the words as the next launch wants
    /// them.
    pub(super) fn end<'k>(&self, k: &mut KernelBuilder<'k>) {
        let Schedule::Counted(counter) = self else { return };
        let first = k.lane().equals(0);
        k.comment("The last CTA sets the counter back for the next launch.");
        let order = (MemoryOrder::AcquireRelease, AtomicScope::Gpu);
        let before = k.fetch_add("ended_before", counter.words, ENDED, 1, first, order);
        let last = first & (before + 1).equals(k.cta_count());
        let count = k.fetch_add("count", counter.words, TAKEN, 0, last, order);
        k.fetch_add("count_again", counter.words, TAKEN, count * -1, last, order);
        let ctas: Expr<'k, I32, Lane> = k.cta_count().within();
        k.fetch_add("ended", counter.words, ENDED, ctas * -1, last, order);
    }
}

/// A place among the slots, and the parity of the phase that is waited for there.
pub(super) struct Cursor<'k> {
    slot: Var<'k, I32, Cta>,
    parity: Var<'k, I32, Cta>,
}

impl<'k> Cursor<'k> {
    fn declare(k: &mut KernelBuilder<'k>, parity: i32) -> Self {
        Cursor { slot: k.var("number_slot", 0), parity: k.var("number_parity", parity) }
    }

    fn step(&self, k: &mut KernelBuilder<'k>) {
        let last = self.slot.get().equals(NUMBER_SLOTS - 1);
        let flipped = k.int(1) - self.parity.get();
        k.set(self.parity, last.select::<I32, _, _, _>(flipped, self.parity.get()));
        k.set(self.slot, last.select::<I32, _, _, _>(0, self.slot.get() + 1));
    }
}

/// The numbers as one role sees them.
pub(super) enum Numbers<'c, 'k> {
    Strided(&'c Strided),
    Taken { counter: &'c Counter, at: Cursor<'k>, taken: Var<'k, I32, Lane> },
    Followed { counter: &'c Counter, at: Cursor<'k> },
}

impl<'k> TileNumbers<'k> for Numbers<'_, 'k> {
    fn ahead(&self, k: &mut KernelBuilder<'k>) {
        if let Numbers::Taken { counter, taken, .. } = self {
            k.comment("The next tile's number is on its way while this one's loads are started.");
            let first = k.lane().equals(0);
            let order = (MemoryOrder::Relaxed, AtomicScope::Gpu);
            let number = k.fetch_add("number", counter.words, TAKEN, 1, first, order);
            k.set(*taken, number);
        }
    }

    fn next(&self, k: &mut KernelBuilder<'k>, number: Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta> {
        match self {
            Numbers::Strided(strided) => strided.next(k, number),
            Numbers::Taken { counter, at, taken } => {
                let number = k.shuffle("next_number", taken.get(), 0).agree::<Cta>();
                let next = k.let_("next_tile", number + k.cta_count());
                k.await_phase(counter.empty.slot(at.slot.get()), at.parity.get());
                k.elect(|k| {
                    k.write_word(&counter.numbers.slot(at.slot.get()), next);
                    k.arrive(counter.full.slot(at.slot.get()));
                });
                at.step(k);
                next
            }
            Numbers::Followed { counter, at } => {
                k.await_phase(counter.full.slot(at.slot.get()), at.parity.get());
                let next = k.read_word("next_tile", &counter.numbers.slot(at.slot.get()));
                k.elect(|k| k.arrive(counter.empty.slot(at.slot.get())));
                at.step(k);
                next
            }
        }
    }
}
