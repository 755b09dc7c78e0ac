//! Threads by role, and registers.

use serde::Serialize;

use super::EVERYONE;
use crate::arch::ArchLimits;
use crate::ir::{Block, Kernel, Op, RegisterBudget};
use crate::resources;

/// A role and its threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleShare {
    /// Its name.
    pub name: String,
    /// Its first warp.
    pub first_warp: u32,
    /// Its warps; those that roles inside it take are theirs, not its own.
    pub warps: u32,
    /// Its threads.
    pub threads: u32,
    /// Registers of each after the roles have exchanged them; `None`: what the launch gave.
    pub registers: Option<u32>,
}

/// Registers of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registers {
    /// All together, estimated, of a thread that multiplies.
    pub estimate: u32,
    /// The most that the compiler may use: the file shared by the threads of one CTA.
    pub most: u32,
    /// What fragments take of them, those apart that take the place of others.
    pub fragments: Vec<FragmentRegisters>,
    /// What addresses, the walk and loops were seen to take.
    pub addresses: u32,
}

/// Registers of a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FragmentRegisters {
    /// Its name.
    pub name: String,
    /// Registers of a thread.
    pub registers: u32,
}

pub(super) fn roles(kernel: &Kernel) -> Vec<RoleShare> {
    let mut roles = Vec::new();
    collect(&kernel.body.block, None, &mut roles);
    if roles.is_empty() {
        let (warps, threads) = (kernel.contract.threads / 32, kernel.contract.threads);
        roles.push(RoleShare { name: EVERYONE.to_owned(), first_warp: 0, warps, threads, registers: None });
    }
    roles
}

/// Innermost roles; warps of a role that none inside it has are the role's own.
fn collect(block: &Block, outer: Option<u32>, roles: &mut Vec<RoleShare>) {
    for stmt in &block.0 {
        let Op::Role(role) = &stmt.op else { continue };
        let registers = match role.registers {
            RegisterBudget::Launch => outer,
            RegisterBudget::Shrink(n) | RegisterBudget::Grow(n) => Some(n),
        };
        let before = roles.len();
        collect(&role.body, registers, roles);
        let taken: u32 = roles[before..].iter().map(|inner| inner.warps).sum();
        let own = role.warps.saturating_sub(taken);
        if own > 0 {
            let name = if taken > 0 { format!("{} (idle)", role.name) } else { role.name.clone() };
            let first_warp = role.first_warp + taken;
            roles.push(RoleShare { name, first_warp, warps: own, threads: 32 * own, registers });
        }
    }
}

/// The most registers that a thread's instructions can name.
const MOST_OF_THREAD: u32 = 255;

pub(super) fn registers(kernel: &Kernel, limits: &ArchLimits) -> Registers {
    let share = limits.registers_per_sm / kernel.contract.threads.max(1) / 8 * 8;
    Registers {
        estimate: kernel.contract.registers,
        most: share.min(MOST_OF_THREAD),
        fragments: resources::beside_each_other(&kernel.body)
            .map(|f| FragmentRegisters { name: f.name.clone(), registers: resources::registers_of(f) })
            .collect(),
        addresses: resources::address_registers(&kernel.body),
    }
}
