//! Atomics on device memory.

use super::expr::ExprId;
use super::stmt::{ParamId, VarId};

/// The order that an atomic keeps with the other accesses of its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryOrder {
    /// None: only the word itself is agreed on.
    Relaxed,
    /// What other threads released before is visible after, and the other way round.
    AcquireRelease,
}

/// The threads among which an atomic is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AtomicScope {
    /// The CTA's.
    Cta,
    /// The cluster's.
    Cluster,
    /// The device's.
    Gpu,
}

/// Adds to a word of the workspace and takes what was there (i32); 0 where the guard does not hold.
#[derive(Clone, Copy, Debug)]
pub struct FetchAdd {
    /// Declared and set here.
    pub var: VarId,
    /// The words.
    pub pointer: ParamId,
    /// Which of them (i32).
    pub index: ExprId,
    /// What is added (i32).
    pub amount: ExprId,
    /// The lanes that add.
    pub guard: ExprId,
    /// Order.
    pub order: MemoryOrder,
    /// Scope.
    pub scope: AtomicScope,
}
