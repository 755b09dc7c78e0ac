//! Arithmetic for a byte: of an iteration of the main loop, and of a tile, against what the chip needs.

use serde::Serialize;

use crate::constraints::ValidSpec;
use crate::cost::{balance, residency};
use crate::ir::Contract;
use crate::kernels::band;

/// Reductions for which tiles are counted: their sums' way out weighs less the longer it is.
const REDUCTIONS: [u32; 3] = [512, 2048, 8192];

/// Arithmetic for a byte. An operation is a multiplication or an addition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intensity {
    /// Operations that the tensor cores do while L2 brings a byte: below it, L2 is the bound.
    pub balance_l2: f64,
    /// Operations that they do while DRAM brings a byte.
    pub balance_dram: f64,
    /// One iteration of the main loop.
    pub iteration: LoopIntensity,
    /// Whole tiles.
    pub tiles: Vec<TileIntensity>,
}

/// One iteration of the main loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoopIntensity {
    /// Operations.
    pub flop: u64,
    /// Bytes that the CTA reads from L2; of what a cluster shares, its part.
    pub l2_bytes: u64,
    /// Bytes written to shared memory and read from it.
    pub shared_bytes: u64,
    /// Operations for a byte from L2.
    pub flop_per_l2_byte: f64,
    /// Operations for a byte of shared memory.
    pub flop_per_shared_byte: f64,
}

/// A tile, its operands and its part of D.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileIntensity {
    /// The length of its reduction.
    pub reduction: u32,
    /// Operations.
    pub flop: u64,
    /// Bytes between the CTA and L2.
    pub l2_bytes: u64,
    /// Operations for each of them.
    pub flop_per_l2_byte: f64,
    /// Operations for a byte of DRAM, where all CTAs that are resident at once are at neighbouring tiles of one group,
    /// in the order of the walk, and DRAM brings each operand once.
    pub flop_per_dram_byte: f64,
}

pub(super) fn of(spec: &ValidSpec, contract: &Contract) -> Intensity {
    let (operand, output) = (u64::from(spec.operand.size_bytes()), u64::from(spec.output.size_bytes()));
    let [m, n, k] = [spec.tile.m, spec.tile.n, spec.tile.k].map(u64::from);
    let [cluster_m, cluster_n] = [spec.cluster.m, spec.cluster.n].map(|ctas| u64::from(ctas.max(1)));
    // Bytes of both operands for one element of the reduction. CTAs beside each other share A, below each other B.
    let depth_bytes = (m / cluster_n + n / cluster_m) * operand;
    let flop = 2 * contract.work.multiply_adds;
    let iteration = LoopIntensity {
        flop,
        l2_bytes: depth_bytes * k,
        shared_bytes: contract.work.shared_bytes,
        flop_per_l2_byte: ratio(flop, depth_bytes * k),
        flop_per_shared_byte: ratio(flop, contract.work.shared_bytes),
    };
    // Resident CTAs fill a band of row tiles, column after column.
    let limits = spec.target().limits();
    let resident = u64::from(limits.sms * residency(contract, &limits).ctas());
    let high = (u64::from(band(spec)) * cluster_m).min(resident);
    let wide = resident.div_ceil(high);
    let tiles = REDUCTIONS.map(|reduction| {
        let flop = 2 * m * n * u64::from(reduction);
        let l2_bytes = depth_bytes * u64::from(reduction) + m * n * output;
        let dram = (high * m + wide * n) * operand * u64::from(reduction) + high * wide * m * n * output;
        TileIntensity {
            reduction,
            flop,
            l2_bytes,
            flop_per_l2_byte: ratio(flop, l2_bytes),
            flop_per_dram_byte: ratio(flop * high * wide, dram),
        }
    });
    let (balance_l2, balance_dram) = balance(spec, &limits);
    Intensity { balance_l2, balance_dram, iteration, tiles: tiles.into() }
}

fn ratio(flop: u64, bytes: u64) -> f64 {
    flop as f64 / bytes.max(1) as f64
}
