//! What a variant takes and does, read off its kernel: registers, shared memory, what each access to memory costs, what
//! the tensor cores and the copy engine are asked for, and how much arithmetic there is for a byte.
//!
//! Everything is computed from the values that the kernel itself is made of: bank conflicts from a tile's
//! [`Layout`](crate::layout::Layout) and the fragment's or the copy's
//! [`ThreadValueMap`](crate::layout::ThreadValueMap), boxes from the contract's tensor maps.

mod bulk;
mod device;
mod intensity;
mod products;
mod shared;
mod threads;

use serde::Serialize;

pub use bulk::{BulkCopy, BulkDirection};
pub use device::{DeviceAccess, Direction};
pub use intensity::{Intensity, LoopIntensity, TileIntensity};
pub use products::Products;
pub use shared::{SharedAccess, SharedPart, SharedUse};
pub use threads::{FragmentRegisters, Registers, RoleShare};

use crate::arch::Arch;
use crate::constraints::ValidSpec;
use crate::cost::{Residency, residency};
use crate::emit::cuda;
use crate::ir::{Block, Kernel, Op, Stmt};
use crate::kernels;

/// What a variant takes and does.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The spec's name.
    pub name: String,
    /// The architecture whose limits and rates are meant.
    pub target: Arch,
    /// The product in the notation of a paper.
    pub summary: String,
    /// Threads of a CTA.
    pub threads: u32,
    /// CTAs of a cluster.
    pub cluster: u32,
    /// Who they are.
    pub roles: Vec<RoleShare>,
    /// Registers of a thread.
    pub registers: Registers,
    /// Shared memory of a CTA.
    pub shared: SharedUse,
    /// CTAs that a multiprocessor holds, and what limits them.
    pub residency: Residency,
    /// Accesses of threads, and of `wgmma`, to shared memory.
    pub shared_accesses: Vec<SharedAccess>,
    /// Accesses of threads to device memory.
    pub device_accesses: Vec<DeviceAccess>,
    /// What the copy engine is asked for.
    pub bulk_copies: Vec<BulkCopy>,
    /// What the tensor cores are asked for.
    pub products: Vec<Products>,
    /// Arithmetic for a byte.
    pub intensity: Intensity,
}

/// Where a statement stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Site {
    /// The statement's number.
    pub statement: u32,
    /// Its name.
    pub op: &'static str,
    /// Its first line in the CUDA text.
    pub line: u32,
    /// The role whose warps execute it.
    pub role: String,
}

/// Explains a variant.
pub fn explain(spec: &ValidSpec) -> Explanation {
    let kernel = kernels::build(spec);
    let sites = sites(&kernel);
    let (contract, limits) = (&kernel.contract, spec.target().limits());
    Explanation {
        name: contract.name.clone(),
        target: spec.target(),
        summary: kernel.body.summary.clone(),
        threads: contract.threads,
        cluster: contract.cluster,
        roles: threads::roles(&kernel),
        registers: threads::registers(&kernel, &limits),
        shared: shared::parts(&kernel, &limits),
        residency: residency(contract, &limits),
        shared_accesses: shared::accesses(&kernel, &sites),
        device_accesses: device::accesses(&kernel, &sites),
        bulk_copies: bulk::copies(&kernel, &sites),
        products: products::shapes(&kernel, &sites),
        intensity: intensity::of(spec, contract),
    }
}

/// The name of the role of what no role does.
const EVERYONE: &str = "all warps";

/// Every statement with its site, in program order.
fn sites(kernel: &Kernel) -> Vec<(Site, &Stmt)> {
    fn walk<'a>(block: &'a Block, role: &str, found: &mut Vec<(&'a Stmt, String)>) {
        for stmt in &block.0 {
            found.push((stmt, role.to_owned()));
            let inside = if let Op::Role(role) = &stmt.op { &role.name } else { role };
            stmt.op.blocks().for_each(|block| walk(block, inside, found));
        }
    }
    let mut found = Vec::new();
    walk(&kernel.body.block, EVERYONE, &mut found);
    let lines: std::collections::HashMap<_, _> =
        cuda::emit(kernel).lines.into_iter().map(|(id, first, _)| (id, first)).collect();
    let site = |(stmt, role): (&Stmt, String)| Site {
        statement: stmt.id.0,
        op: stmt.op.name(),
        line: lines.get(&stmt.id).copied().unwrap_or(0),
        role,
    };
    found.into_iter().map(|(stmt, role)| (site((stmt, role)), stmt)).collect()
}

#[cfg(test)]
mod tests;
