//! Where a tile's reduction is divided among CTAs of the grid: the way of their sums to the one that has the first piece
//! of it, which adds them up in the order of pieces and writes them out.
//!
//! Sums travel through slots of device memory, of which there are as many as CTAs. A word beside each says that
//! they are there; who adds them sets it back for the next launch.

use super::super::walk::Piece;
use super::roles::Place;
use crate::dsl::{KernelBuilder, SumSlots, WarpgroupSums};
use crate::geometry::{self, THREADS_OF_WARPGROUP, WARPS_OF_WARPGROUP};
use crate::spec::KernelSpec;

/// The slots.
#[derive(Clone, Copy)]
pub(super) struct PartialSums {
    slots: SumSlots,
    /// Warpgroups that share a tile.
    sharing: u32,
}

impl PartialSums {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec, sums: WarpgroupSums) -> Option<Self> {
        s.stream_k.then(|| PartialSums { slots: k.sum_slots(sums), sharing: geometry::sharing_warpgroups(s) })
    }

    /// Leaves a warpgroup's sums of a piece in its slot, or where it is the tile's first adds those of the others
    /// and does `write_out`.
    pub(super) fn combine<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        sums: WarpgroupSums,
        place: Place<'k>,
        piece: &Piece<'k>,
        write_out: impl FnOnce(&mut KernelBuilder<'k>),
    ) {
        let PartialSums { slots, sharing } = *self;
        let barrier = place.barrier();
        let leader = (k.warp() % WARPS_OF_WARPGROUP).equals(0);
        let (slot, share) = (piece.slot, place.index % sharing);
        k.when_else(
            piece.added.lt(0),
            |k| {
                k.save_sums(sums, slots, slot);
                k.comment("One thread says so for all, whose sums it has met.");
                k.meet(barrier, THREADS_OF_WARPGROUP);
                k.when(leader, |k| k.elect(|k| k.set_ready(slots, slot * sharing + share)));
            },
            |k| {
                k.for_("other", piece.added, |k, other| {
                    let slot = k.let_("slot_of_other", slot + other);
                    k.when(leader, |k| k.elect(|k| k.await_ready(slots, slot * sharing + share)));
                    k.meet(barrier, THREADS_OF_WARPGROUP);
                    k.add_saved_sums(sums, slots, slot);
                });
                write_out(k);
            },
        );
    }
}
