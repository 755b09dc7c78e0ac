//! Barriers in shared memory, and rings of stages whose slots they hand back and forth.

use super::builder::KernelBuilder;
use super::scalar::{Cta, Expr, I32, Operand, ScopeTag, Var};
use crate::ir::{Arrive, BarrierId, BarrierRef, Op};

/// Equal mbarriers in shared memory.
#[derive(Clone, Copy)]
pub struct Barriers(BarrierId);

/// One of them.
#[derive(Clone, Copy)]
pub struct BarrierSlot(pub(super) BarrierRef);

impl Barriers {
    /// The barrier with this index.
    pub fn slot<'k, S: ScopeTag>(&self, index: Expr<'k, I32, S>) -> BarrierSlot {
        BarrierSlot(BarrierRef { barrier: self.0, slot: index.id })
    }
}

impl<'k> KernelBuilder<'k> {
    /// Declares `slots` barriers whose phases end after `arrivals` arrivals and the bytes that those expect.
    pub fn barriers(&mut self, name: &str, slots: u32, arrivals: u32) -> Barriers {
        Barriers(self.declare_barrier(name, slots, arrivals))
    }

    /// One lane initializes all barriers that were declared so far; the CTA (or the cluster) must meet before anyone
    /// uses them.
    #[track_caller]
    pub fn init_barriers(&mut self) {
        let first = self.warp().equals(0);
        let all = self.declared_barriers();
        self.when(first, |k| {
            k.elect(|k| {
                for barrier in (0..all).map(BarrierId) {
                    k.push(Op::InitBarrier { barrier });
                }
                k.push(Op::FenceBarrierInit);
            });
        });
    }

    /// Each lane arrives once.
    #[track_caller]
    pub fn arrive(&mut self, at: BarrierSlot) {
        self.push(Op::Arrive(Arrive { at: at.0, bytes: None, rank: None }));
    }

    /// Each lane arrives once and lets the phase wait for so many bytes on top.
    #[track_caller]
    pub fn arrive_expect(&mut self, at: BarrierSlot, bytes: impl Operand<'k, I32>) {
        let bytes = bytes.expr(self.arena());
        self.push(Op::Arrive(Arrive { at: at.0, bytes: Some(bytes), rank: None }));
    }

    /// Each lane arrives once at the same barrier of another CTA of the cluster (or of its own).
    #[track_caller]
    pub fn arrive_remote(&mut self, at: BarrierSlot, rank: impl Operand<'k, I32>) {
        let rank = rank.expr(self.arena());
        self.push(Op::Arrive(Arrive { at: at.0, bytes: None, rank: Some(rank) }));
    }

    /// Waits for the end of the phase with this parity.
    #[track_caller]
    pub fn await_phase(&mut self, at: BarrierSlot, parity: impl Operand<'k, I32>) {
        let parity = parity.expr(self.arena());
        self.push(Op::Await { at: at.0, parity });
    }
}

/// Slots that producers fill and consumers free, each handed over by a barrier: `full` by its bytes, `empty` by the
/// consumers' arrivals.
#[derive(Clone, Copy)]
pub struct Ring {
    full: Barriers,
    empty: Barriers,
    slots: u32,
}

/// The slot at hand.
#[derive(Clone, Copy)]
pub struct RingSlot<'k> {
    /// Its index.
    pub index: Expr<'k, I32, Cta>,
    /// Where its bytes are counted.
    pub full: BarrierSlot,
    /// Where its readers say that they are done.
    pub empty: BarrierSlot,
}

impl Ring {
    /// Declares a ring whose slots are filled by one arrival with bytes and freed by `consumers` arrivals.
    pub fn declare(k: &mut KernelBuilder<'_>, name: &str, slots: u32, consumers: u32) -> Ring {
        Ring::filled_by(k, name, slots, (1, consumers))
    }

    /// Declares a ring whose slots are filled by `producers` arrivals and freed by `consumers` arrivals.
    pub fn filled_by(k: &mut KernelBuilder<'_>, name: &str, slots: u32, (producers, consumers): (u32, u32)) -> Ring {
        Ring {
            full: k.barriers(&format!("{name}_full"), slots, producers),
            empty: k.barriers(&format!("{name}_empty"), slots, consumers),
            slots,
        }
    }

    fn slot<'k>(&self, index: Expr<'k, I32, Cta>) -> RingSlot<'k> {
        RingSlot { index, full: self.full.slot(index), empty: self.empty.slot(index) }
    }

    /// The end that fills: no slot was ever full, so that the first round waits for nothing.
    #[track_caller]
    pub fn producer<'k>(&self, k: &mut KernelBuilder<'k>) -> Producer<'k> {
        Producer { ring: *self, at: Cursor::declare(k, "fill", 1) }
    }

    /// An end that reads.
    #[track_caller]
    pub fn consumer<'k>(&self, k: &mut KernelBuilder<'k>) -> Consumer<'k> {
        Consumer { ring: *self, at: Cursor::declare(k, "read", 0), free: k.var("free_slot", 0) }
    }
}

/// A place in a ring: the slot, and the parity of the phase that it waits for there.
#[derive(Clone, Copy)]
struct Cursor<'k> {
    slot: Var<'k, I32, Cta>,
    parity: Var<'k, I32, Cta>,
}

impl<'k> Cursor<'k> {
    #[track_caller]
    fn declare(k: &mut KernelBuilder<'k>, name: &str, parity: i32) -> Self {
        Cursor { slot: k.var(&format!("{name}_slot"), 0), parity: k.var(&format!("{name}_parity"), parity) }
    }

    /// Goes on to the next slot; the parity flips with each round.
    #[track_caller]
    fn step(self, k: &mut KernelBuilder<'k>, slots: u32) {
        let last = self.slot.get().equals(slots - 1);
        let flipped = k.int(1) - self.parity.get();
        k.set(self.parity, last.select::<I32, _, _, _>(flipped, self.parity.get()));
        k.set(self.slot, last.select::<I32, _, _, _>(0, self.slot.get() + 1));
    }
}

/// The end of a ring that fills its slots.
#[derive(Clone, Copy)]
pub struct Producer<'k> {
    ring: Ring,
    at: Cursor<'k>,
}

impl<'k> Producer<'k> {
    /// Waits until the next slot is free.
    #[track_caller]
    pub fn acquire(&self, k: &mut KernelBuilder<'k>) -> RingSlot<'k> {
        let slot = self.ring.slot(self.at.slot.get());
        k.await_phase(slot.empty, self.at.parity.get());
        slot
    }

    /// One lane announces `bytes` and does `write`, which starts loads of as many; then goes on to the next slot.
    #[track_caller]
    pub fn fill(
        &self,
        k: &mut KernelBuilder<'k>,
        bytes: impl Operand<'k, I32>,
        write: impl FnOnce(&mut KernelBuilder<'k>, RingSlot<'k>),
    ) {
        let slot = self.acquire(k);
        k.elect(|k| {
            k.arrive_expect(slot.full, bytes);
            write(k, slot);
        });
        self.at.step(k, self.ring.slots);
    }

    /// One lane does `write`, which writes to the next slot, and says that it is full; then goes on to the one after it.
    #[track_caller]
    pub fn hand_over(&self, k: &mut KernelBuilder<'k>, write: impl FnOnce(&mut KernelBuilder<'k>, RingSlot<'k>)) {
        let slot = self.acquire(k);
        k.elect(|k| {
            write(k, slot);
            k.arrive(slot.full);
        });
        self.at.step(k, self.ring.slots);
    }

    /// What this warp wrote to the slot at hand is there for the copy engine and the tensor cores: a lane of each warp
    /// says so; then goes on to the next slot.
    #[track_caller]
    pub fn deliver(&self, k: &mut KernelBuilder<'k>, slot: RingSlot<'k>) {
        k.fence_proxy();
        k.elect(|k| k.arrive(slot.full));
        self.at.step(k, self.ring.slots);
    }

    /// Goes on to the next slot, where what fills the one at hand says itself that it is full.
    #[track_caller]
    pub fn go_on(&self, k: &mut KernelBuilder<'k>) {
        self.at.step(k, self.ring.slots);
    }

    /// Waits until every slot is free again: nobody will signal this CTA any more.
    #[track_caller]
    pub fn drain(&self, k: &mut KernelBuilder<'k>) {
        k.unroll("slot", self.ring.slots, |k, _| {
            self.acquire(k);
            self.at.step(k, self.ring.slots);
        });
    }
}

/// An end of a ring that reads its slots.
#[derive(Clone, Copy)]
pub struct Consumer<'k> {
    ring: Ring,
    at: Cursor<'k>,
    free: Var<'k, I32, Cta>,
}

impl<'k> Consumer<'k> {
    /// Waits until the next slot is full, and goes on to the one after it.
    #[track_caller]
    pub fn wait_full(&self, k: &mut KernelBuilder<'k>) -> RingSlot<'k> {
        let index = k.let_("slot", self.at.slot.get());
        let slot = self.ring.slot(index);
        k.await_phase(slot.full, self.at.parity.get());
        self.at.step(k, self.ring.slots);
        slot
    }

    /// Waits until the next slot is full.
    #[track_caller]
    pub fn await_next(&self, k: &mut KernelBuilder<'k>) {
        let slot = self.ring.slot(self.at.slot.get());
        k.await_phase(slot.full, self.at.parity.get());
    }

    /// The next slot, which was waited for, and goes on to the one after it.
    #[track_caller]
    pub fn take(&self, k: &mut KernelBuilder<'k>) -> RingSlot<'k> {
        let index = k.let_("slot", self.at.slot.get());
        self.at.step(k, self.ring.slots);
        self.ring.slot(index)
    }

    /// Passes over `count` slots that someone else reads and frees.
    #[track_caller]
    pub fn skip(&self, k: &mut KernelBuilder<'k>, count: Expr<'k, I32, Cta>) {
        let beyond = k.let_("beyond", self.at.slot.get() + count);
        k.set(self.at.parity, (self.at.parity.get() + beyond / self.ring.slots) % 2);
        k.set(self.at.slot, beyond % self.ring.slots);
        k.set(self.free, self.at.slot.get());
    }

    /// Frees the oldest slot that was waited for and not freed: one lane of each warp arrives.
    #[track_caller]
    pub fn release(&self, k: &mut KernelBuilder<'k>) {
        let slot = self.ring.slot(self.free.get());
        k.elect(|k| k.arrive(slot.empty));
        self.step_free(k);
    }

    /// The same in a cluster of `ctas` CTAs that all write into each other's slots: a lane of each warp arrives at
    /// each CTA's barrier.
    #[track_caller]
    pub fn release_in_cluster(&self, k: &mut KernelBuilder<'k>, ctas: u32) {
        let slot = self.ring.slot(self.free.get());
        let lane = k.lane();
        k.warp_sync();
        k.when(lane.lt(ctas), |k| k.arrive_remote(slot.empty, lane));
        self.step_free(k);
    }

    #[track_caller]
    fn step_free(&self, k: &mut KernelBuilder<'k>) {
        let last = self.free.get().equals(self.ring.slots - 1);
        k.set(self.free, last.select::<I32, _, _, _>(0, self.free.get() + 1));
    }
}
