//! Runs a kernel's IR on the CPU and checks its protocol.
//!
//! CTAs and warps are coroutines of statements, interleaved by a seeded [`Policy`]. Asynchronous copies land, and
//! products and stores happen, at any moment that the [asynchrony table](crate::ir::asynchrony) allows, in pieces.
//! Beside values, every access to shared memory is held against vector clocks that only synchronization joins: a read
//! of what has not arrived, or a write of what is still being read, is a [`Finding`] whatever the schedule happened to
//! be. `docs/memory-model.md` goes through the table row by row.
//!
//! ```
//! use ggemm_codegen::interp::{Memory, Settings, run};
//! use ggemm_codegen::{Arch, Dtype, Problem, ValidSpec, kernels};
//!
//! let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_16x64x32_w1x2_s2_multistage_cpasync";
//! let kernel = kernels::build(&ValidSpec::new(name.parse()?, Arch::Sm80).map_err(|v| v[0].clone())?);
//! let problem = Problem::forward(2, 5, 8, 8).contraction();
//! let mut memory = Memory::for_problem(&problem);
//! memory.a.fill(|i| (i % 3) as f32);
//! memory.b.fill(|i| (i % 5) as f32);
//! memory.groups.set_integers(&[3, 2]);
//! run(&kernel, &problem, &mut memory, Settings::default())?;
//! let expected: f32 = (0..8).map(|k| (k % 3) as f32 * (k % 5) as f32).sum();
//! assert_eq!(memory.d.get(0), expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod barriers;
mod bulk;
pub mod cases;
mod cluster;
mod evaluate;
mod exchange;
mod execute;
mod finding;
mod knowledge;
mod machine;
mod memory;
mod observe;
mod partial_sums;
mod products;
mod quantize;
mod rows;
mod scalars;
mod scales;
mod schedule;
mod scheduling;
mod shared;
mod tiles;
mod warp;

pub use finding::{BarrierPlace, Event, Finding, FindingKind, Place};
pub use memory::{Buffer, ElementKind, Memory};
pub use observe::{Actor, BarrierSlot, Cause, Observer, PhaseOf, StartedLoad, Subject, TileSlot};
pub(crate) use schedule::Dice;
pub use schedule::{Policy, Settings};

use crate::contraction::Contraction;
use crate::ir::Kernel;
use crate::launch::Argument;

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Statements executed, summed over warps.
    pub statements: u64,
    /// Asynchronous pieces that landed.
    pub landed: u64,
    /// CTA-wide barriers passed.
    pub barriers: u64,
}

/// Runs `kernel` for `problem` on `memory`.
///
/// # Errors
/// The first breach of the protocol, with the statement that did it and what happened before. `memory` then holds what
/// had been written so far.
pub fn run(
    kernel: &Kernel,
    problem: &Contraction,
    memory: &mut Memory,
    settings: Settings,
) -> Result<Statistics, Box<Finding>> {
    run_observed(kernel, problem, memory, settings, &mut ())
}

/// Runs `kernel` as [`run`] does, and tells `observer` of it.
///
/// # Errors
/// Those of [`run`].
pub fn run_observed(
    kernel: &Kernel,
    problem: &Contraction,
    memory: &mut Memory,
    settings: Settings,
    observer: &mut dyn Observer,
) -> Result<Statistics, Box<Finding>> {
    machine::Machine::new(kernel, Some(problem), arguments_of(kernel, problem), memory, settings, observer).run()
}

/// Runs a kernel that computes no product, whose parameters have these values, in their order.
///
/// # Errors
/// Those of [`run`].
pub fn run_with(
    kernel: &Kernel,
    arguments: Vec<Argument>,
    memory: &mut Memory,
    settings: Settings,
) -> Result<Statistics, Box<Finding>> {
    machine::Machine::new(kernel, None, arguments, memory, settings, &mut ()).run()
}

fn arguments_of(kernel: &Kernel, problem: &Contraction) -> Vec<Argument> {
    kernel.contract.params.iter().map(|p| crate::launch::argument(p.role, problem)).collect()
}
