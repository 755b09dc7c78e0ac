//! Hopper's family on a multiprocessor: tensor cores, shared memory and L2 share an iteration; the way out is hidden by
//! the other warpgroup of a pingpong; and CTAs that go by strides pay for tiles that differ.

use super::{Bound, OnChip, Work, ctas_per_sm, whole_waves};
use crate::descriptor::WGMMA_M;
use crate::kernels::{CUTS, EXCHANGE_BLOCKS};
use crate::spec::{Cluster, CopyPath, KernelSpec, Ragged, Schedule};

// Fitted to the shipped variants' times on an H100 (docs/tuning.md, "Hopper's cost model"), in two steps: what is counted in
// clocks first, at the 1.75 GHz of [`ArchLimits`](crate::arch::ArchLimits), and later, to more problems, how clocks and DRAM
// are time.

/// Clocks in a second of a multiprocessor that is not yet held down by the card's limit of power.
const CLOCKS_PER_SECOND: f64 = 1.98e9;
/// Multiply-adds of `wgmma` of 16-bit operands in a clock of a multiprocessor. Of 8-bit ones it does twice as many.
const MULTIPLY_ADDS: f64 = 2048.0;
/// How many times longer than its bytes over 128 shared memory takes.
const SHARED_FACTOR: f64 = 1.235;
/// Bytes that a multiprocessor loads in a clock, from L2 or from where others that load the same have them.
pub(super) const LOAD_BYTES: f64 = 50.0;
/// Bytes that a warpgroup which loads a stage itself brings to shared memory in a clock: between 7.5 and 12, by how the
/// operands lie.
const THREADS_LOAD_BYTES: f64 = 9.5;
/// Clocks from a load's issue to its data that stages must cover.
const LOAD_LATENCY_CLOCKS: f64 = 1000.0;
/// What waiting for each other costs the CTAs of a cluster.
const CLUSTER_FACTOR: f64 = 1.05;
/// How much longer than counted a tile with swapped operands takes: nearly full ones execute 4 to 9 % less.
const SWAPPED_FACTOR: f64 = 1.08;
/// Clocks to write out one byte of a tile where nothing hides it.
const EXPOSED_STORE_CLOCKS: f64 = 0.061;
/// Clocks to write out one byte of a pingpong's tile, while the other warpgroup multiplies.
const HIDDEN_STORE_CLOCKS: f64 = 0.209;
/// The same where threads write D, whose rows start anywhere.
const THREADS_STORE_CLOCKS: f64 = 0.36;
/// How much longer a tile takes then all in all: threads that write ask for instructions beside those that multiply.
const THREADS_STORE_FACTOR: f64 = 1.05;
/// Clocks between a tile's sums and the next one's, where both warpgroups share tiles.
const TILE_CLOCKS: f64 = 300.0;
/// Clocks between one warpgroup's products and the other's.
const TURN_CLOCKS: f64 = 50.0;
/// How much longer a pingpong takes whose CTAs come to their tiles at different times, so that no two load the same at
/// once.
const APART_FACTOR: f64 = 1.059;
/// Clocks to begin and to end a launch's tiles, and for each byte of its last.
const FILL_CLOCKS: f64 = 5500.0;
/// See [`FILL_CLOCKS`].
const LAST_STORE_CLOCKS: f64 = 0.08;
/// How much waiting for the slowest CTA counts, where each has a whole number of tiles; and where a counter evens it out.
const WHOLE_WAVES: (f64, f64) = (0.73, 0.84);
/// How much longer all tiles take where reductions differ and CTAs go by strides, for each e-fold of groups: at every
/// border of two groups they fall further apart, and short reductions write at the same time what others must read.
const GROUP_BORDERS: f64 = 0.045;
/// Clocks for a byte of sums that another CTA of the cluster sends: a guess, until splits are measured.
const EXCHANGE_CLOCKS: f64 = 0.06;
/// Clocks until the last wave of a stream-K is known.
const LAST_WAVE_CLOCKS: f64 = 800.0;
/// See [`OnChip::overlap_loss`]: going by strides, and with a counter.
const OVERLAP_LOSS: (f64, f64) = (0.06, 0.04);
/// See [`OnChip::overlap_norm`].
const OVERLAP_NORM: f64 = 6.0;
/// See [`OnChip::dram_speed`]: what a copy reaches, too.
const DRAM_SPEED: f64 = 0.92;
/// See [`OnChip::written_before`]: half of an H100's L2.
const WRITTEN_BEFORE: f64 = 25e6;
/// See [`OnChip::launch`].
const LAUNCH_SECONDS: f64 = 2.4e-6;
/// See [`OnChip::refetch`]: where CTAs drift apart, and where a counter keeps them together.
const REFETCH: (f64, f64) = (0.17, 0.066);

/// Multiply-adds of `wgmma` in a clock of a multiprocessor.
pub(super) fn multiply_adds(spec: &KernelSpec) -> f64 {
    MULTIPLY_ADDS * 2.0 / f64::from(spec.operand.size_bytes())
}

pub(super) fn on_chip(work: &Work<'_>) -> OnChip {
    let Work { spec, contract, limits, tiles, groups, groups_differ, blocks, height, .. } = work;
    // Of a tile that is not full (it is where operands are not swapped), rows that do not exist are neither loaded nor
    // read by each product of 64 columns.
    let missing = (1.0 - height) * f64::from(spec.tile.m * spec.tile.k * spec.operand.size_bytes());
    let missing_reads = missing * f64::from(spec.tile.n / WGMMA_M);
    let by_threads = match spec.copy {
        CopyPath::Plain => contract.work.global_bytes as f64 / THREADS_LOAD_BYTES,
        CopyPath::CpAsync | CopyPath::Tma => 0.0,
    };
    let units = [
        (contract.work.multiply_adds as f64 * height / multiply_adds(spec), Bound::Compute),
        ((contract.work.shared_bytes as f64 - missing - missing_reads) / 128.0 * SHARED_FACTOR, Bound::SharedMemory),
        ((contract.work.global_bytes as f64 - missing) / LOAD_BYTES, Bound::L2),
        (by_threads, Bound::UnalignedLoads),
        (LOAD_LATENCY_CLOCKS / f64::from(spec.stages.max(2) - 1), Bound::Latency),
    ];
    let (_, bound) =
        units.into_iter().fold((0.0, Bound::Latency), |most, unit| if unit.0 > most.0 { unit } else { most });
    // No unit hides another entirely: the longest counts most.
    let iteration = units.iter().map(|(clocks, _)| clocks.powi(6)).sum::<f64>().powf(1.0 / 6.0);
    let iteration = if spec.cluster == Cluster::NONE { iteration } else { iteration * CLUSTER_FACTOR };

    let tile_bytes = height * f64::from(spec.tile.m) * f64::from(spec.tile.n) * f64::from(spec.output.size_bytes());
    let split = f64::from(spec.split);
    let products = blocks / split * iteration;
    let tile = match spec.schedule {
        Schedule::Pingpong => {
            let store = if spec.d_by_threads { THREADS_STORE_CLOCKS } else { HIDDEN_STORE_CLOCKS };
            let in_turns = (products + TURN_CLOCKS).max((products + tile_bytes * store) / 2.0);
            if spec.dynamic { in_turns * APART_FACTOR } else { in_turns }
        }
        Schedule::Cooperative | Schedule::Multistage => products + tile_bytes * EXPOSED_STORE_CLOCKS + TILE_CLOCKS,
    };
    // Where CTAs divide a tile's reduction, there are fewer places for tiles, and sums come to the first CTA's.
    let sums_bytes = height * f64::from(spec.tile.m) * f64::from(spec.tile.n) * 4.0;
    let tile = tile + (split - 1.0) * sums_bytes * EXCHANGE_CLOCKS;
    let tile = if spec.swapped { tile * SWAPPED_FACTOR } else { tile };
    let tile = if spec.d_by_threads { tile * THREADS_STORE_FACTOR } else { tile };
    let sms = f64::from(limits.sms) / split;
    let waves = (tiles / sms).max(f64::MIN_POSITIVE);
    let apart = match spec.ragged {
        Ragged::Reduction if !spec.dynamic && *groups_differ => 1.0 + GROUP_BORDERS * groups.max(1.0).ln(),
        _ => 1.0,
    };
    let weight = if spec.dynamic { WHOLE_WAVES.1 } else { WHOLE_WAVES.0 };
    let (waves_taken, begin) = match spec.stream_k {
        false => (whole_waves(waves, weight), 0.0),
        true => (stream_k_waves(waves, *blocks, weight), LAST_WAVE_CLOCKS),
    };
    let clocks = waves_taken * tile * apart + FILL_CLOCKS + begin + tile_bytes * LAST_STORE_CLOCKS;
    OnChip {
        seconds: clocks / CLOCKS_PER_SECOND,
        waves,
        ctas_per_sm: ctas_per_sm(contract, limits),
        bound,
        overlap_loss: if spec.dynamic { OVERLAP_LOSS.1 } else { OVERLAP_LOSS.0 },
        overlap_norm: OVERLAP_NORM,
        dram_speed: DRAM_SPEED,
        written_before: WRITTEN_BEFORE,
        launch: LAUNCH_SECONDS,
        refetch: if spec.dynamic { REFETCH.1 } else { REFETCH.0 },
    }
}

/// The same as [`whole_waves`] where CTAs share the last wave as [`kernels::stream_k`](crate::kernels) does: in units of
/// its tiles' reduction, of so many blocks.
fn stream_k_waves(waves: f64, blocks: f64, weight: f64) -> f64 {
    let taken = waves.floor() + shared_wave(waves - waves.floor(), blocks);
    waves.max(taken.min(1.0)).mul_add(1.0 - weight, taken * weight)
}

/// The time of a wave that is this full, in whole tiles'.
fn shared_wave(full: f64, blocks: f64) -> f64 {
    if full <= 0.0 {
        return 0.0;
    }
    // As `LastWave::share_out` cuts tiles: by what each CTA has to do.
    let mut least = blocks;
    for (units, kept) in CUTS.map(|(units, kept)| (f64::from(units), f64::from(kept))) {
        let ctas = full * (1.0 + (units - kept) / kept);
        let done = kept * (blocks / units).ceil() + f64::from(EXCHANGE_BLOCKS) * units;
        if ctas <= 1.0 && done < least {
            least = done;
        }
    }
    least / blocks.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_shared_where_that_is_thought_to_be_faster() {
        assert_eq!(shared_wave(0.0, 64.0), 0.0);
        // A short reduction is left whole, whose sums would take as long as its products.
        assert_eq!(shared_wave(0.2, 8.0), 1.0);
        assert!(shared_wave(0.2, 448.0) < 0.3 && (0.5..0.6).contains(&shared_wave(0.5, 448.0)));
        assert!((0.75..0.8).contains(&shared_wave(0.7, 448.0)), "{}", shared_wave(0.7, 448.0));
        assert_eq!(stream_k_waves(3.0, 448.0, 0.8), 3.0);
    }
}
