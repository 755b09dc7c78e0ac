//! Barriers in shared memory, and those that the hardware names.
//!
//! An mbarrier counts arrivals and bytes. When both are complete its *phase* ends and the next one begins with the same
//! number of arrivals; a waiter names the phase by its parity, and passes once that phase has ended.

use super::expr::ExprId;

/// A barrier's index in [`Body::barriers`](super::Body::barriers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BarrierId(pub u32);

/// `slots` equal mbarriers in shared memory, one after another.
#[derive(Clone, Debug)]
pub struct Barrier {
    /// Its name in the text.
    pub name: String,
    /// Number of barriers.
    pub slots: u32,
    /// Arrivals that complete a phase.
    pub arrivals: u32,
    /// Bytes from the start of the CTA's shared memory.
    pub offset: u32,
}

/// Bytes of an mbarrier.
pub const BARRIER_BYTES: u32 = 8;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct BarrierRef {
    /// The barriers.
    pub barrier: BarrierId,
    /// Which of them.
    pub slot: ExprId,
}

/// An arrival: each lane that reaches it makes one.
#[derive(Clone, Copy, Debug)]
pub struct Arrive {
    /// Where.
    pub at: BarrierRef,
    /// Bytes that the phase waits for on top (i32).
    pub bytes: Option<ExprId>,
    /// The rank in the cluster of the CTA whose barrier it is; `None`: the own.
    pub rank: Option<ExprId>,
}
