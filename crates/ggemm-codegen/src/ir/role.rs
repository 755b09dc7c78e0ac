//! Roles: warps of a CTA that do something of their own.

use super::stmt::Block;

/// A range of a CTA's warps with a block of its own. Roles that stand one after another run side by side.
///
/// Inside, what is uniform in the CTA is uniform in the role's warps. A role may consist of roles of some of its warps,
/// and of nothing else: registers change hands in whole warpgroups, of which not all warps do the same.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name in the text.
    pub name: String,
    /// Its first warp.
    pub first_warp: u32,
    /// Its warps.
    pub warps: u32,
    /// What it does with its registers first.
    pub registers: RegisterBudget,
    /// What it does.
    pub body: Block,
}

/// What a role does with the registers that the launch gave its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterBudget {
    /// Keeps them.
    Launch,
    /// Keeps so many of each thread's and gives the others back.
    Shrink(u32),
    /// Waits until it has so many for each thread.
    Grow(u32),
}
