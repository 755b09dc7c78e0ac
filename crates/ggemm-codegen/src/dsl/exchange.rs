//! Sums that travel between the CTAs of a cluster.

use super::barriers::BarrierSlot;
use super::builder::KernelBuilder;
use super::products::WarpgroupSums;
use super::scalar::{I32, Operand};
use super::tiles::Slot;
use crate::ir::{AddSums, Op, SendSums, SumsPart};

impl<'k> KernelBuilder<'k> {
    /// Each thread of a warpgroup writes sums of a block of 64 rows, from the `first` 8 columns on, to a tile of the CTA
    /// with this rank in the cluster, whose barrier counts their bytes there. They may arrive at any later moment.
    #[track_caller]
    pub fn send_sums(
        &mut self,
        sums: WarpgroupSums,
        (block, first): (u32, u32),
        (to, at): (&Slot, BarrierSlot),
        rank: impl Operand<'k, I32>,
    ) {
        let (from, rank) = (SumsPart { fragment: sums.id(), block, first }, rank.expr(self.arena()));
        self.push(Op::SendSums(SendSums { from, to: to.tile(), at: at.0, rank }));
    }

    /// Each thread of a warpgroup adds what a tile has for it to its sums of a block, from the `first` 8 columns on.
    #[track_caller]
    pub fn add_sums(&mut self, sums: WarpgroupSums, (block, first): (u32, u32), from: &Slot) {
        let to = SumsPart { fragment: sums.id(), block, first };
        self.push(Op::AddSums(AddSums { to, from: from.tile() }));
    }
}
