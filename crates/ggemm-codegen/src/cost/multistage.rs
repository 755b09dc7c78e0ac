//! The multistage family on a multiprocessor: tensor cores, shared memory and L2 each take their time of an iteration, and
//! CTAs that share a multiprocessor hide each other's waits.

use super::{Bound, OnChip, Work, ctas_per_sm, whole_waves};
use crate::arch::ArchLimits;
use crate::dtype::Dtype;
use crate::spec::{Accumulation, CopyPath, KernelSpec};

// Fitted to every variant's time on the H200 (docs/tuning.md, "The cost model"), but for those that say otherwise.

/// See [`OnChip::launch`].
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
/// Bytes that a plain copy reads for each that it copies: the two aligned pieces that hold one, from where the second of
/// them often is in L1.
const UNALIGNED_BYTES: f64 = 2.0;
/// How many times longer than these and its writes to shared memory it takes, on an H100 (docs/tuning.md, "Rows that
/// start anywhere").
const UNALIGNED_FACTOR: f64 = 1.8;
/// Clocks to find a tile and to drain it, where no other CTA hides them.
const TILE_CLOCKS: f64 = 1500.0;
/// How many times longer a tile's sums take to write than L2's rate alone says: the CTA does nothing else meanwhile.
const STORE_FACTOR: f64 = 2.4;
/// See [`OnChip::overlap_loss`].
const OVERLAP_LOSS: f64 = 0.15;

/// Sums that a multiprocessor promotes in a clock: each takes a multiplication of scales and a multiply-add of the 128 that
/// it has lanes for. Counted, not fitted.
const PROMOTED_PER_CLOCK: f64 = 64.0;

/// Multiply-adds of one multiprocessor in a clock.
pub(super) fn multiply_adds(spec: &KernelSpec, limits: &ArchLimits) -> f64 {
    match spec.operand {
        Dtype::E4m3 | Dtype::E5m2 => limits.mma_fp8_per_clock,
        Dtype::Bf16 | Dtype::F16 => limits.mma_per_clock,
        // TF32, everywhere.
        Dtype::F32 => limits.mma_per_clock / 2.0,
    }
}

pub(super) fn on_chip(work: &Work<'_>) -> OnChip {
    let Work { spec, contract, limits, tiles, blocks, written, .. } = work;
    let clock = limits.clock_ghz * 1e9;

    // One iteration on one multiprocessor, in clocks.
    let per_sm = f64::from(ctas_per_sm(contract, limits));
    let iteration = contract.work;
    let promotion = match spec.accumulation {
        Accumulation::Fast => 0.0,
        Accumulation::Promoted => f64::from(spec.tile.m * spec.tile.n) / PROMOTED_PER_CLOCK,
    };
    let compute = iteration.multiply_adds as f64 / multiply_adds(spec, limits) + promotion;
    let shared = iteration.shared_bytes as f64 / 128.0;
    let l2_per_clock = limits.l2_bytes_per_s / f64::from(limits.sms) / clock;
    let l2 = iteration.global_bytes as f64 / l2_per_clock;
    let unaligned_loads = match spec.copy {
        CopyPath::Plain => (iteration.global_bytes as f64 * UNALIGNED_BYTES / 128.0 + shared) * UNALIGNED_FACTOR,
        CopyPath::CpAsync | CopyPath::Tma => 0.0,
    };
    let slots = f64::from(limits.sms) * per_sm;
    let waves = (tiles / slots).max(f64::MIN_POSITIVE);
    // A multiprocessor that holds fewer CTAs than it could is faster on each.
    let resident = (tiles / f64::from(limits.sms)).clamp(1.0, per_sm);
    let units = [
        (compute, Bound::Compute),
        (shared, Bound::SharedMemory),
        (l2, Bound::L2),
        (unaligned_loads, Bound::UnalignedLoads),
    ];
    let (unit, unit_bound) =
        units.into_iter().fold((0.0, Bound::Latency), |best, term| if term.0 > best.0 { term } else { best });
    let masks = if spec.even_k { 0.0 } else { MASK_CLOCKS };
    let store = written / tiles.max(1.0) / l2_per_clock * STORE_FACTOR;

    // A wave takes as long as one CTA alone, whose copies are all stages but one ahead, or as the units need for all
    // the CTAs that share them.
    let wait = COPY_LATENCY_CLOCKS / f64::from(spec.stages.max(2) - 1);
    let iteration_alone = unit.max(wait) + ALONE_ITERATION_CLOCKS + masks;
    let alone = TILE_CLOCKS + COPY_LATENCY_CLOCKS + blocks * iteration_alone + store;
    let shared = resident * (blocks * (unit + ITERATION_CLOCKS + masks) + store);
    let bound = if shared > alone || unit > wait { unit_bound } else { Bound::Latency };
    let wave = alone.max(shared);
    OnChip {
        seconds: whole_waves(waves, 0.5) * wave / clock,
        waves,
        ctas_per_sm: per_sm as u32,
        bound,
        overlap_loss: OVERLAP_LOSS,
        overlap_norm: f64::INFINITY,
        dram_speed: 1.0,
        written_before: 0.0,
        launch: LAUNCH_SECONDS,
        refetch: 0.0,
    }
}
