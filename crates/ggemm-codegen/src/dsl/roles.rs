//! Roles of warps, elected lanes, and meetings of some of a CTA's warps.

use std::ops::Range;

use super::builder::KernelBuilder;
use super::scalar::{Expr, I32, Operand, Warp, Warpgroup, Within};
use crate::ir::{Builtin, Op, RegisterBudget, Role};

impl<'k> KernelBuilder<'k> {
    /// Gives some warps of the CTA something of their own to do. Roles that follow each other run side by side.
    ///
    /// What is declared inside belongs to the role: there, a value that is the same in the CTA is the same in the
    /// role's warps. A role may consist of roles of its warps.
    #[track_caller]
    pub fn role(&mut self, name: &str, warps: Range<u32>, registers: RegisterBudget, body: impl FnOnce(&mut Self)) {
        let id = self.next_id();
        let body = self.inside(body);
        let (first_warp, warps) = (warps.start, warps.len() as u32);
        self.push_with(id, Op::Role(Role { name: name.to_owned(), first_warp, warps, registers, body }));
    }

    /// One lane of the warp does it, the same each time; what the others did before is ordered before it, and what
    /// they do next after it.
    #[track_caller]
    pub fn elect(&mut self, body: impl FnOnce(&mut Self)) {
        let id = self.next_id();
        let body = self.inside(body);
        self.push_with(id, Op::Elect { body });
    }

    /// The warp's index in its CTA.
    pub fn warp(&self) -> Expr<'k, I32, Warp> {
        Expr::new(self.arena(), self.arena().borrow_mut().builtin(Builtin::Warp))
    }

    /// The warpgroup's index in its CTA.
    pub fn warpgroup(&self) -> Expr<'k, I32, Warpgroup> {
        Expr::new(self.arena(), self.arena().borrow_mut().builtin(Builtin::Warpgroup))
    }

    /// `threads` threads meet at the named barrier `id`, 1 to 15; what each did to shared memory before is visible
    /// after.
    #[track_caller]
    pub fn meet<S>(&mut self, id: impl Operand<'k, I32, Scope = S>, threads: u32)
    where
        S: Within<Warp>,
    {
        let id = id.expr(self.arena());
        self.push(Op::NamedBarrier { id, threads, wait: true });
    }

    /// Counts at the named barrier `id` without waiting for the others.
    #[track_caller]
    pub fn pass<S>(&mut self, id: impl Operand<'k, I32, Scope = S>, threads: u32)
    where
        S: Within<Warp>,
    {
        let id = id.expr(self.arena());
        self.push(Op::NamedBarrier { id, threads, wait: false });
    }
}
