//! Sums that travel between the CTAs of the grid, through device memory.

use super::builder::KernelBuilder;
use super::products::WarpgroupSums;
use super::scalar::{Bool, Expr, I32, Lane, Operand};
use super::tiles::Pointer;
use crate::ir::{AddSaved, AtomicScope, AwaitWord, MemoryOrder, Op, SaveSums};

/// A slot for the sums of a tile for each CTA of the grid, and words, found at 0, that say which hold any.
#[derive(Clone, Copy)]
pub struct SumSlots {
    pub(super) sums: Pointer,
    pub(super) ready: Pointer,
}

impl<'k> KernelBuilder<'k> {
    /// Each thread of a warpgroup writes its sums to a slot.
    #[track_caller]
    pub fn save_sums(&mut self, sums: WarpgroupSums, slots: SumSlots, slot: impl Operand<'k, I32>) {
        let slot = slot.expr(self.arena());
        self.push(Op::SaveSums(SaveSums { from: sums.id(), pointer: slots.sums.param(), slot }));
    }

    /// Each thread of a warpgroup adds what a slot has for it to its sums.
    #[track_caller]
    pub fn add_saved_sums(&mut self, sums: WarpgroupSums, slots: SumSlots, slot: impl Operand<'k, I32>) {
        let slot = slot.expr(self.arena());
        self.push(Op::AddSaved(AddSaved { to: sums.id(), pointer: slots.sums.param(), slot }));
    }

    /// Says by a word that the slots' sums that this thread knows of may be read.
    #[track_caller]
    pub fn set_ready(&mut self, slots: SumSlots, word: impl Operand<'k, I32>) {
        let all: Expr<'k, Bool, Lane> = self.always().within();
        let order = (MemoryOrder::AcquireRelease, AtomicScope::Gpu);
        self.fetch_add("ready_before", slots.ready, word, 1, all, order);
    }

    /// Waits until a word says so, and sets it back for the next launch.
    #[track_caller]
    pub fn await_ready(&mut self, slots: SumSlots, word: impl Operand<'k, I32>) {
        let index = word.expr(self.arena());
        let value = Operand::<I32>::expr(1, self.arena());
        self.push(Op::AwaitWord(AwaitWord { pointer: slots.ready.param(), index, value }));
        let all: Expr<'k, Bool, Lane> = self.always().within();
        let index: Expr<'k, I32, Lane> = Expr::new(self.arena(), index);
        let order = (MemoryOrder::Relaxed, AtomicScope::Gpu);
        self.fetch_add("ready", slots.ready, index, -1, all, order);
    }
}
