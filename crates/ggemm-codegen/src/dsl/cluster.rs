//! Clusters of CTAs, the grid around them, and what they count together.

use super::builder::KernelBuilder;
use super::scalar::{Bool, Cluster, Cta, Expr, Grid, I32, Lane, Operand};
use super::tiles::{Pointer, Slot};
use crate::ir::{AtomicScope, Builtin, FetchAdd, MemoryOrder, Op};

impl<'k> KernelBuilder<'k> {
    /// The CTA's index in its cluster.
    pub fn cluster_rank(&self) -> Expr<'k, I32, Cta> {
        Expr::new(self.arena(), self.arena().borrow_mut().builtin(Builtin::ClusterRank))
    }

    /// The cluster's index in the grid.
    pub fn cluster(&self) -> Expr<'k, I32, Cluster> {
        Expr::new(self.arena(), self.arena().borrow_mut().builtin(Builtin::Cluster))
    }

    /// Clusters in the grid.
    pub fn cluster_count(&self) -> Expr<'k, I32, Grid> {
        Expr::new(self.arena(), self.arena().borrow_mut().builtin(Builtin::ClusterCount))
    }

    /// All threads of the cluster meet.
    #[track_caller]
    pub fn cluster_barrier(&mut self) {
        self.push(Op::ClusterArrive);
        self.push(Op::ClusterWait);
    }

    /// Says that the thread has reached the cluster's barrier.
    #[track_caller]
    pub fn cluster_arrive(&mut self) {
        self.push(Op::ClusterArrive);
    }

    /// Waits until all threads of the cluster have reached its barrier.
    #[track_caller]
    pub fn cluster_wait(&mut self) {
        self.push(Op::ClusterWait);
    }

    /// Adds to a word of the workspace where the guard holds, and gives what was there; elsewhere 0.
    #[track_caller]
    pub fn fetch_add(
        &mut self,
        name: &str,
        words: Pointer,
        index: impl Operand<'k, I32>,
        amount: impl Operand<'k, I32>,
        guard: Expr<'k, Bool, Lane>,
        (order, scope): (MemoryOrder, AtomicScope),
    ) -> Expr<'k, I32, Lane> {
        let (index, amount) = (index.expr(self.arena()), amount.expr(self.arena()));
        let (var, value) = self.declare_value(name);
        let pointer = words.param();
        self.push(Op::FetchAdd(FetchAdd { var, pointer, index, amount, guard: guard.id, order, scope }));
        value
    }

    /// This CTA has taken its last number from the word `taken`. The last CTA of the grid to say so, which `ended` counts,
    /// sets both words back to 0, as the next launch is to find them. One warp of each CTA says it.
    #[track_caller]
    pub fn end_count(&mut self, words: Pointer, taken: i32, ended: i32) {
        let first = self.lane().equals(0);
        self.comment("The last CTA sets the counter back for the next launch.");
        let order = (MemoryOrder::AcquireRelease, AtomicScope::Gpu);
        let before = self.fetch_add("ended_before", words, ended, 1, first, order);
        let last = first & (before + 1).equals(self.cta_count());
        let count = self.fetch_add("count", words, taken, 0, last, order);
        self.fetch_add("count_again", words, taken, count * -1, last, order);
        let ctas: Expr<'k, I32, Lane> = self.cta_count().within();
        self.fetch_add("ended", words, ended, ctas * -1, last, order);
    }

    /// Each lane writes a word of shared memory.
    #[track_caller]
    pub fn write_word(&mut self, to: &Slot, value: impl Operand<'k, I32>) {
        let value = value.expr(self.arena());
        self.push(Op::WriteWord { to: to.tile(), value });
    }

    /// Reads a word of shared memory.
    #[track_caller]
    pub fn read_word(&mut self, name: &str, from: &Slot) -> Expr<'k, I32, Cta> {
        let (var, value) = self.declare_value(name);
        self.push(Op::ReadWord { var, from: from.tile() });
        value
    }

    /// Waits until the grids that this one depends on have ended and all they wrote is visible.
    #[track_caller]
    pub fn await_grid(&mut self) {
        self.may_overlap_earlier_grids();
        self.push(Op::AwaitGrid);
    }

    /// Lets the grids that depend on this one start; they still wait for its end before they touch its results.
    #[track_caller]
    pub fn launch_dependents(&mut self) {
        self.push(Op::LaunchDependents);
    }

    /// The warp's lanes wait for each other, and see what each did before.
    #[track_caller]
    pub fn warp_sync(&mut self) {
        self.elect(|_| {});
    }
}
