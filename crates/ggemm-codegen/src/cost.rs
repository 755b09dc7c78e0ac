//! Predicted time of a variant on a problem: what the selector ranks with where no measurement is at hand.
//!
//! A roofline per multiprocessor and iteration of the main loop, multiplied by the tiles that a typical routing makes and
//! by the waves they take (`multistage` and `warp_specialized` each have a model of that), and held against the time
//! that DRAM needs. Only M and G are known on the host; sizes are taken to vary as a router's do.

mod multistage;
mod sizes;
mod warp_specialized;

use std::fmt;

use serde::Serialize;

use crate::arch::{Arch, ArchLimits};
use crate::contraction::Contraction;
use crate::geometry;
use crate::ir::Contract;
use crate::kernels::realign::{RealignTask, Which};
use crate::spec::{KernelSpec, Ragged, Schedule};

pub use sizes::{SKEW, Sizes, Spread};

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
    /// Loads of the aligned pieces that hold pieces of rows that start anywhere.
    UnalignedLoads,
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
            Bound::UnalignedLoads => "unaligned loads",
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

/// How many CTAs of a kernel one multiprocessor has room for, by each thing that it may run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Residency {
    /// By shared memory.
    pub by_shared: u32,
    /// By registers, as many as are estimated.
    pub by_registers: u32,
    /// By threads.
    pub by_threads: u32,
}

impl Residency {
    /// CTAs that it holds.
    pub fn ctas(self) -> u32 {
        self.by_shared.min(self.by_registers).min(self.by_threads).clamp(1, 32)
    }
}

/// How many CTAs of a kernel one multiprocessor has room for.
pub fn residency(contract: &Contract, limits: &ArchLimits) -> Residency {
    // No thread of a launch has more than its share of one CTA's, whatever its role takes later.
    let share = limits.registers_per_sm / contract.threads.max(1) / 8 * 8;
    let registers = contract.registers.next_multiple_of(8).clamp(8, share.max(8)) * contract.threads;
    Residency {
        by_shared: limits.shared_per_sm / (contract.shared_bytes + 1024),
        by_registers: limits.registers_per_sm / registers.max(1),
        by_threads: limits.threads_per_sm / contract.threads.max(1),
    }
}

/// CTAs of a kernel that one multiprocessor holds.
pub fn ctas_per_sm(contract: &Contract, limits: &ArchLimits) -> u32 {
    residency(contract, limits).ctas()
}

/// Operations (a multiply-add is two) that the tensor cores do while a byte comes from L2, and from DRAM.
pub fn balance(spec: &KernelSpec, limits: &ArchLimits) -> (f64, f64) {
    let (clock, sms) = (limits.clock_ghz * 1e9, f64::from(limits.sms));
    let (multiply_adds, l2_bytes) = match spec.schedule {
        Schedule::Multistage => (multistage::multiply_adds(spec, limits), limits.l2_bytes_per_s / sms / clock),
        Schedule::Cooperative | Schedule::Pingpong => {
            (warp_specialized::multiply_adds(spec), warp_specialized::LOAD_BYTES)
        }
    };
    (2.0 * multiply_adds / l2_bytes, 2.0 * multiply_adds * sms * clock / limits.dram_bytes_per_s)
}

/// What both models count with: the tiles that a typical routing makes, and the loop over each.
struct Work<'a> {
    spec: &'a KernelSpec,
    contract: &'a Contract,
    limits: ArchLimits,
    /// Tiles, on average over a router's sizes.
    tiles: f64,
    /// Groups that have tiles of their own.
    groups: f64,
    /// Whether they differ in size.
    groups_differ: bool,
    /// Iterations of the main loop of each.
    blocks: f64,
    /// How much of a tile's rows is worked on: less than all where operands are swapped, and a tile has what rows exist.
    height: f64,
    /// Bytes of D that are written.
    written: f64,
}

/// The time on the multiprocessors alone.
struct OnChip {
    seconds: f64,
    waves: f64,
    ctas_per_sm: u32,
    bound: Bound,
    /// How much of the shorter of DRAM's time and the multiprocessors' does not hide behind the longer: of two variants
    /// that wait for DRAM alike, the one with less to do is the better one.
    overlap_loss: f64,
    /// The exponent of the norm by which both are one: neither waits for the other all the time, so that two that are
    /// alike take longer than either. Infinite: the longer.
    overlap_norm: f64,
    /// The part of DRAM's speed that it reaches.
    dram_speed: f64,
    /// Bytes that L2 holds of what was written before, which go to DRAM while the launch's own come.
    written_before: f64,
    /// A launch's own time on the device, in seconds.
    launch: f64,
    /// How much of the weights each further tile of a group reads from DRAM again.
    refetch: f64,
}

/// Predicts one launch; `sizes` are those of the problem.
pub fn predict(
    spec: &KernelSpec,
    contract: &Contract,
    problem: &Contraction,
    sizes: &Sizes,
    target: Arch,
) -> Prediction {
    let limits = target.limits();
    let (tile_m, tile_n, tile_k) = (f64::from(spec.tile.m), f64::from(spec.tile.n), f64::from(spec.tile.k));
    let (rows, cols, reduction) = (problem.rows as f64, problem.cols as f64, problem.reduction as f64);
    let groups = sizes.groups();

    // Tiles, those of whole clusters, and iterations of the main loop over all of them.
    let (along_m, along_n) = (f64::from(spec.cluster.m.max(1)), f64::from(spec.cluster.n.max(1)));
    let col_tiles = (cols / (tile_n * along_n)).ceil() * along_n;
    let (row_tiles, blocks) = match problem.ragged {
        Ragged::Rows => (sizes.tiles(tile_m * along_m) * along_m, (reduction / tile_k).ceil()),
        Ragged::Reduction => ((rows / (tile_m * along_m)).ceil() * along_m, sizes.tiles(tile_k)),
    };
    let tiles = groups * row_tiles * col_tiles;
    let height = if spec.swapped { height_of_tiles(spec, rows / (groups * row_tiles)) } else { 1.0 };

    // What the tiles write: where one reaches past D, nothing.
    let output_bytes = f64::from(spec.output.size_bytes());
    let written = match problem.ragged {
        Ragged::Rows => rows * cols * output_bytes,
        Ragged::Reduction => groups * rows * cols * output_bytes * if problem.accumulate { 2.0 } else { 1.0 },
    };
    let groups_differ = sizes.differ();
    let work = Work { spec, contract, limits, tiles, groups, groups_differ, blocks, height, written };
    let chip = match spec.schedule {
        Schedule::Multistage => multistage::on_chip(&work),
        Schedule::Cooperative | Schedule::Pingpong => warp_specialized::on_chip(&work),
    };

    // Each operand and the output once, and of the weights what L2 does not keep for a group's further tiles.
    let operand_bytes = f64::from(spec.operand.size_bytes());
    let operands = match problem.ragged {
        Ragged::Rows => {
            let reached = if problem.weight_shared { 1.0 } else { groups * (1.0 - (-rows / groups).exp()) };
            let tiles_of_each = groups * row_tiles / reached.max(f64::MIN_POSITIVE);
            let fetches = (1.0 + chip.refetch * (tiles_of_each - 1.0)).clamp(1.0, MOST_FETCHES);
            (rows * reduction + reached * cols * reduction * fetches) * operand_bytes
        }
        Ragged::Reduction => reduction * (rows + cols) * operand_bytes,
    };
    let moved = operands + written;
    let dram = (moved + moved.min(chip.written_before)) / (chip.dram_speed * limits.dram_bytes_per_s);
    let bound = match () {
        () if dram > chip.seconds => Bound::Dram,
        () if chip.waves < 0.5 => Bound::Latency,
        () => chip.bound,
    };
    let (longer, shorter) = (dram.max(chip.seconds), dram.min(chip.seconds));
    let both = match longer > 0.0 {
        true => longer * (1.0 + (shorter / longer).powf(chip.overlap_norm)).powf(1.0 / chip.overlap_norm),
        false => 0.0,
    };
    let seconds = both + chip.overlap_loss * shorter + chip.launch;
    Prediction { seconds, tiles, waves: chip.waves, ctas_per_sm: chip.ctas_per_sm, bound }
}

/// The time of a copy of an operand of `problem` to aligned rows, in seconds: each element is read and written once, but
/// those of groups without rows.
pub fn predict_realign(task: &RealignTask, problem: &Contraction, target: Arch) -> f64 {
    let groups = problem.groups as f64;
    let reached = match (problem.ragged, task.which()) {
        (Ragged::Rows, Which::B) if !problem.weight_shared => 1.0 - (-(problem.rows as f64) / groups.max(1.0)).exp(),
        _ => 1.0,
    };
    2.0 * reached * task.copy_bytes() as f64 / (COPY_SPEED * target.limits().dram_bytes_per_s) + COPY_LAUNCH_SECONDS
}

/// The part of DRAM's speed that a copy reaches.
const COPY_SPEED: f64 = 0.92;
/// What a copy's launch adds to a product's.
const COPY_LAUNCH_SECONDS: f64 = 3e-6;

/// The share of its rows that a tile has where operands are swapped, so many of them exist on average, and the last step
/// is half empty.
fn height_of_tiles(spec: &KernelSpec, rows: f64) -> f64 {
    let most = f64::from(spec.tile.m);
    ((rows + f64::from(geometry::row_step(spec)) / 2.0) / most).clamp(f64::from(geometry::row_step(spec)) / most, 1.0)
}

/// How often the weights are read from DRAM at most: where a group has many tiles, few of them are far apart.
const MOST_FETCHES: f64 = 1.23;

/// Launches whose CTAs each have a whole number of tiles take as long as the most of them: half way between even and
/// whole, because not all tiles take equally long.
fn whole_waves(waves: f64, weight: f64) -> f64 {
    waves.max(1.0).mul_add(1.0 - weight, waves.ceil() * weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::constraints::ValidSpec;
    use crate::dtype::Dtype;
    use crate::generate::generate;
    use crate::problem::Problem;

    fn of(spec: &KernelSpec, contract: &Contract, problem: &Contraction, target: Arch) -> Prediction {
        predict(spec, contract, problem, &Sizes::of(problem, Spread::Routed), target)
    }

    fn best(problem: &Problem) -> ValidSpec {
        let c = problem.contraction();
        catalogue::shipped_for(Arch::Sm90a)
            .into_iter()
            .filter(|s| {
                (s.ragged, s.b_major, s.operand, s.output) == (c.ragged, c.b_major, c.operand, c.output)
                    && (!s.even_k || c.reduction.is_multiple_of(s.tile.k as usize))
            })
            .min_by(|a, b| {
                let t = |s: &ValidSpec| of(s, &generate(s).contract, &c, Arch::Sm90a).seconds;
                t(a).total_cmp(&t(b))
            })
            .unwrap()
    }

    #[test]
    fn large_groups_take_large_tiles_and_small_groups_small_ones() {
        assert!(best(&Problem::forward(8, 32768, 4096, 7168)).tile.n == 256);
        let decoding = best(&Problem::forward(128, 512, 1536, 2048));
        // Swapped operands have as many rows as exist.
        assert!(decoding.swapped || decoding.tile.m <= 64, "{}", decoding.spec());
        assert!(best(&Problem::grad_w(8, 32768, 4096, 7168)).tile.m == 128);
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
            .map(|s| of(&s, &generate(&s).contract, &problem, Arch::Sm90a))
            .filter(|p| p.bound == Bound::Dram)
            .map(|p| p.seconds)
            .collect();
        let count = times.len();
        times.sort_by(f64::total_cmp);
        times.dedup();
        assert!(count > 4 && times.len() == count, "{times:?}");
    }

    /// CTAs that go by strides fall apart at borders of groups whose reductions differ. Where all are alike, none does.
    #[test]
    fn borders_of_groups_cost_where_groups_differ() {
        let spec = "ggemm_reduction_am_bn_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma";
        let spec = ValidSpec::new(spec.parse().unwrap(), Arch::Sm90a).unwrap();
        let contract = generate(&spec).contract;
        let of_each = |groups: usize, spread| {
            let problem = Problem::grad_w(groups, 1024 * groups, 4096, 4096).contraction();
            let sizes = Sizes::of(&problem, spread);
            predict(&spec, &contract, &problem, &sizes, Arch::Sm90a).seconds / groups as f64
        };
        let eightfold = |spread| of_each(64, spread) / of_each(8, spread);
        assert!(eightfold(Spread::Even) <= 1.0, "{}", eightfold(Spread::Even));
        assert!(eightfold(Spread::Routed) > 1.05, "{}", eightfold(Spread::Routed));
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
                of(&spec, &contract, &p.contraction(), Arch::Sm90a).seconds
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

    /// A tile with swapped operands costs what its rows do: 520 rows are three tiles of 176, and 528 would cost as much.
    #[test]
    fn swapped_operands_pay_for_the_rows_that_exist() {
        let spec = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_256x128x64_w1x8_s4_cooperative_tma_dynamic_swapped";
        let spec = ValidSpec::new(spec.parse().unwrap(), Arch::Sm90a).unwrap();
        let contract = generate(&spec).contract;
        let time = |rows: usize| {
            of(&spec, &contract, &Problem::forward(64, 64 * rows, 4096, 2048).contraction(), Arch::Sm90a).seconds
        };
        assert!(time(16) < time(64) && time(64) < time(250) && time(250) < time(2000));
        assert!((0.4..0.75).contains(&(time(520) / time(1000))), "{} of {}", time(520), time(1000));
    }

    #[test]
    fn degenerate_problems_have_a_finite_time() {
        for spec in catalogue::shipped_for(Arch::Sm80) {
            let contract = generate(&spec).contract;
            for (g, m, n, k) in [(1, 0, 0, 0), (4096, 1, 1, 0), (1, 0, 7, 9)] {
                for p in [Problem::forward(g, m, n, k), Problem::grad_w(g, m, n, k)] {
                    let t = of(&spec, &contract, &p.contraction(), Arch::Sm80);
                    assert!(t.seconds.is_finite() && t.seconds > 0.0, "{p}: {t}");
                }
            }
        }
    }
}
