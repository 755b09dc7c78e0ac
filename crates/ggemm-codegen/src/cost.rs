//! Predicted time of a variant on a problem: what the selector ranks with where no measurement is at hand.
//!
//! A roofline per multiprocessor and iteration of the main loop (tensor cores, shared memory, L2), multiplied by the
//! tiles that a typical routing makes and by the waves they take, and held against the time that DRAM needs. Only M
//! and G are known on the host; sizes are taken to vary as a router's do.

use std::fmt;

use crate::arch::{Arch, ArchLimits};
use crate::contraction::Contraction;
use crate::ir::Contract;
use crate::spec::{CopyPath, KernelSpec, Ragged};

/// What bounds a predicted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Tensor cores.
    Compute,
    /// Shared memory.
    SharedMemory,
    /// Traffic between L2 and the multiprocessors.
    L2,
    /// Device memory.
    Dram,
    /// Loads of single elements.
    ElementLoads,
    /// Waiting: too few copies in flight, or too few tiles to fill the chip.
    Latency,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Bound::Compute => "tensor cores",
            Bound::SharedMemory => "shared memory",
            Bound::L2 => "L2",
            Bound::Dram => "DRAM",
            Bound::ElementLoads => "element loads",
            Bound::Latency => "latency",
        })
    }
}

/// A predicted time and what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Seconds of one launch.
    pub seconds: f64,
    /// Tiles, on average over a router's sizes.
    pub tiles: f64,
    /// Tiles over those in flight at once.
    pub waves: f64,
    /// CTAs that share a multiprocessor.
    pub ctas_per_sm: u32,
    /// The largest term.
    pub bound: Bound,
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prediction { seconds, tiles, waves, bound, .. } = self;
        write!(f, "{:.1} us predicted ({tiles:.0} tiles in {waves:.1} waves, bound by {bound})", seconds * 1e6)
    }
}

// Fitted to every variant's time on the H200 (docs/tuning.md, "The cost model"), but for those that say otherwise.

/// A launch's own time on the device, in seconds.
const LAUNCH_SECONDS: f64 = 5.0e-6;
/// Clocks from a copy's issue to its data, with L2 or DRAM behind it.
const COPY_LATENCY_CLOCKS: f64 = 750.0;
/// Clocks that an iteration of the main loop takes beyond its units' where its CTA is alone: the barrier, and filling
/// the pipes behind it. Another CTA on the multiprocessor fills them meanwhile.
const ALONE_ITERATION_CLOCKS: f64 = 225.0;
/// Clocks of an iteration that no other CTA hides.
const ITERATION_CLOCKS: f64 = 25.0;
/// Clocks of an iteration that masks on the reduction add.
const MASK_CLOCKS: f64 = 10.0;
/// Clocks of a plain copy's load of one element in each of a warp's lanes. Lanes lie 16 bytes apart, so that the load
/// touches four lines. Not measured.
const ELEMENT_LOAD_CLOCKS: f64 = 4.0;
/// Clocks to find a tile and to drain it, where no other CTA hides them.
const TILE_CLOCKS: f64 = 1500.0;
/// How many times longer a tile's sums take to write than L2's rate alone says: the CTA does nothing else meanwhile.
const STORE_FACTOR: f64 = 2.4;
/// How much of the shorter of DRAM's time and the multiprocessors' does not hide behind the longer: of two variants
/// that wait for DRAM alike, the one with less to do is the better one.
const OVERLAP_LOSS: f64 = 0.15;

/// CTAs of a kernel that one multiprocessor holds.
pub fn ctas_per_sm(contract: &Contract, limits: &ArchLimits) -> u32 {
    let by_shared = limits.shared_per_sm / (contract.shared_bytes + 1024);
    let registers = contract.registers.next_multiple_of(8).max(8) * contract.threads;
    let by_registers = limits.registers_per_sm / registers.max(1);
    let by_threads = limits.threads_per_sm / contract.threads.max(1);
    by_shared.min(by_registers).min(by_threads).clamp(1, 32)
}

/// Tiles of `side` that a group with `mean` rows on average needs on average, where sizes spread as widely as a skewed
/// router's do: the mean of ⌈m / side⌉ over an exponential m, and no more than the chance that the group has rows.
fn expected_tiles(mean: f64, side: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    let spread = 1.0 / (1.0 - (-side / mean).exp());
    let occupied = 1.0 - (-mean).exp();
    spread.min(mean / side + 0.5).max(mean / side) * occupied.max(f64::MIN_POSITIVE)
}

/// Predicts one launch.
pub fn predict(spec: &KernelSpec, contract: &Contract, problem: &Contraction, target: Arch) -> Prediction {
    let limits = target.limits();
    let clock = limits.clock_ghz * 1e9;
    let (tile_m, tile_n, tile_k) = (f64::from(spec.tile.m), f64::from(spec.tile.n), f64::from(spec.tile.k));
    let (rows, cols, reduction) = (problem.rows as f64, problem.cols as f64, problem.reduction as f64);
    let merged = problem.ragged == Ragged::Reduction && problem.weight_shared;
    let groups = if merged { 1.0 } else { problem.groups as f64 };

    // Tiles, and iterations of the main loop over all of them.
    let col_tiles = (cols / tile_n).ceil();
    let (tiles, blocks_per_tile) = match problem.ragged {
        Ragged::Rows => (groups * expected_tiles(rows / groups, tile_m) * col_tiles, (reduction / tile_k).ceil()),
        Ragged::Reduction => (groups * (rows / tile_m).ceil() * col_tiles, expected_tiles(reduction / groups, tile_k)),
    };

    // One iteration on one multiprocessor, in clocks.
    let per_sm = f64::from(ctas_per_sm(contract, &limits));
    let work = contract.work;
    let compute = work.multiply_adds as f64 / limits.mma_per_clock;
    let shared = work.shared_bytes as f64 / 128.0;
    let l2_per_clock = limits.l2_bytes_per_s / f64::from(limits.sms) / clock;
    let l2 = work.global_bytes as f64 / l2_per_clock;
    let element_loads = match spec.copy {
        CopyPath::Plain => work.global_bytes as f64 / f64::from(spec.operand.size_bytes()) / 32.0 * ELEMENT_LOAD_CLOCKS,
        CopyPath::CpAsync => 0.0,
    };
    let slots = f64::from(limits.sms) * per_sm;
    let waves = (tiles / slots).max(f64::MIN_POSITIVE);
    // A multiprocessor that holds fewer CTAs than it could is faster on each.
    let resident = (tiles / f64::from(limits.sms)).clamp(1.0, per_sm);
    let units = [
        (compute, Bound::Compute),
        (shared, Bound::SharedMemory),
        (l2, Bound::L2),
        (element_loads, Bound::ElementLoads),
    ];
    let (unit, unit_bound) =
        units.into_iter().fold((0.0, Bound::Latency), |best, term| if term.0 > best.0 { term } else { best });
    let masks = if spec.even_k { 0.0 } else { MASK_CLOCKS };

    // What a tile writes on average: where a tile reaches past D, nothing.
    let output_bytes = f64::from(spec.output.size_bytes());
    let written = match problem.ragged {
        Ragged::Rows => rows * cols * output_bytes,
        Ragged::Reduction => groups * rows * cols * output_bytes * if problem.accumulate { 2.0 } else { 1.0 },
    };
    let store = written / tiles.max(1.0) / l2_per_clock * STORE_FACTOR;

    // A wave takes as long as one CTA alone, whose copies are all stages but one ahead, or as the units need for all
    // the CTAs that share them.
    let wait = COPY_LATENCY_CLOCKS / f64::from(spec.stages.max(2) - 1);
    let iteration_alone = unit.max(wait) + ALONE_ITERATION_CLOCKS + masks;
    let alone = TILE_CLOCKS + COPY_LATENCY_CLOCKS + blocks_per_tile * iteration_alone + store;
    let shared = resident * (blocks_per_tile * (unit + ITERATION_CLOCKS + masks) + store);
    let bound = if shared > alone || unit > wait { unit_bound } else { Bound::Latency };
    let wave = alone.max(shared);
    let on_chip = waves.max(1.0).mul_add(0.5, waves.ceil() * 0.5) * wave / clock;

    // Each operand and the output once.
    let operand_bytes = f64::from(spec.operand.size_bytes());
    let weights = |side: f64, depth: f64| {
        let active = if problem.weight_shared { 1.0 } else { groups * (1.0 - (-rows / groups).exp()) };
        active * side * depth * operand_bytes
    };
    let operands = match problem.ragged {
        Ragged::Rows => rows * reduction * operand_bytes + weights(cols, reduction),
        Ragged::Reduction => reduction * (rows + cols) * operand_bytes,
    };
    let dram = (operands + written) / limits.dram_bytes_per_s;
    let bound = match () {
        () if dram > on_chip => Bound::Dram,
        () if waves < 0.5 => Bound::Latency,
        () => bound,
    };
    let seconds = dram.max(on_chip) + OVERLAP_LOSS * dram.min(on_chip);
    Prediction { seconds: seconds + LAUNCH_SECONDS, tiles, waves, ctas_per_sm: per_sm as u32, bound }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::constraints::ValidSpec;
    use crate::dtype::Dtype;
    use crate::generate::generate;
    use crate::problem::Problem;

    fn best(problem: &Problem) -> ValidSpec {
        let c = problem.contraction();
        catalogue::shipped_for(Arch::Sm90a)
            .into_iter()
            .filter(|s| {
                (s.ragged, s.b_major, s.operand, s.output) == (c.ragged, c.b_major, c.operand, c.output)
                    && (!s.even_k || c.reduction.is_multiple_of(s.tile.k as usize))
            })
            .min_by(|a, b| {
                let t = |s: &ValidSpec| predict(s, &generate(s).contract, &c, Arch::Sm90a).seconds;
                t(a).total_cmp(&t(b))
            })
            .unwrap()
    }

    #[test]
    fn large_groups_take_large_tiles_and_small_groups_small_ones() {
        assert!(best(&Problem::forward(8, 32768, 4096, 7168)).tile.n == 256);
        assert!(best(&Problem::forward(128, 512, 1536, 2048)).tile.m <= 32);
        assert!(best(&Problem::grad_w(8, 32768, 4096, 7168)).tile.m == 128);
    }

    /// Plain copies and masks are for the problems that need them.
    #[test]
    fn aligned_and_even_problems_take_copies_by_cp_async_without_masks() {
        for (groups, m) in [(1, 1), (1, 16), (8, 128), (64, 8192), (256, 65536)] {
            for (n, k) in [(64, 64), (64, 8192), (2048, 64), (4096, 7168)] {
                for problem in [Problem::forward(groups, m, n, k), Problem::grad_x(groups, m, n, k)] {
                    let spec = best(&problem);
                    let twin = KernelSpec { even_k: true, ..*spec };
                    let masks_in_vain = !spec.even_k && catalogue::shipped().contains(&twin);
                    assert!(spec.copy == CopyPath::CpAsync && !masks_in_vain, "{problem}: {}", spec.spec());
                }
            }
            let problem = Problem::grad_w(groups, m, 4096, 7168).output(Dtype::F32);
            assert!(best(&problem).copy == CopyPath::CpAsync, "{problem}");
        }
    }

    /// Waiting for DRAM alike, the tile with less to do beside it wins.
    #[test]
    fn variants_bound_by_dram_are_told_apart() {
        let problem = Problem::forward(128, 512, 1536, 2048).contraction();
        let mut times: Vec<f64> = catalogue::shipped_for(Arch::Sm90a)
            .into_iter()
            .filter(|s| {
                (s.ragged, s.b_major, s.operand, s.output) == (Ragged::Rows, problem.b_major, Dtype::Bf16, Dtype::Bf16)
            })
            .map(|s| predict(&s, &generate(&s).contract, &problem, Arch::Sm90a))
            .filter(|p| p.bound == Bound::Dram)
            .map(|p| p.seconds)
            .collect();
        let count = times.len();
        times.sort_by(f64::total_cmp);
        times.dedup();
        assert!(count > 4 && times.len() == count, "{times:?}");
    }

    #[test]
    fn more_work_is_never_predicted_faster() {
        for spec in catalogue::shipped_for(Arch::Sm90a) {
            let contract = generate(&spec).contract;
            let time = |m: usize, n: usize, k: usize| {
                let p = match spec.ragged {
                    Ragged::Rows => Problem::forward(8, m, n, k),
                    Ragged::Reduction => Problem::grad_w(8, m, n, k),
                };
                predict(&spec, &contract, &p.contraction(), Arch::Sm90a).seconds
            };
            for s in [1usize, 4, 16] {
                let base = time(512 * s, 512 * s, 512 * s);
                assert!(base.is_finite() && base > 0.0);
                assert!(time(1024 * s, 512 * s, 512 * s) >= base, "{}", spec.spec());
                assert!(time(512 * s, 1024 * s, 512 * s) >= base, "{}", spec.spec());
                assert!(time(512 * s, 512 * s, 1024 * s) >= base, "{}", spec.spec());
            }
        }
    }

    #[test]
    fn degenerate_problems_have_a_finite_time() {
        for spec in catalogue::shipped_for(Arch::Sm80) {
            let contract = generate(&spec).contract;
            for (g, m, n, k) in [(1, 0, 0, 0), (4096, 1, 1, 0), (1, 0, 7, 9)] {
                for p in [Problem::forward(g, m, n, k), Problem::grad_w(g, m, n, k)] {
                    let t = predict(&spec, &contract, &p.contraction(), Arch::Sm80);
                    assert!(t.seconds.is_finite() && t.seconds > 0.0, "{p}: {t}");
                }
            }
        }
    }
}
