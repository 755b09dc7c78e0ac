//! Hopper's family on a multiprocessor: the tensor cores at the rate that the card's power allows, shared memory, and the
//! way out, which the other warpgroup of a pingpong hides.

use super::{Bound, OnChip, Work, ctas_per_sm, whole_waves};
use crate::spec::Schedule;

// Fitted to the shipped variants' times on the H200 (docs/tuning.md, "The cost model").

/// Multiply-adds of `wgmma` in a clock of a multiprocessor. The tensor cores do 2048; the card's power allows this.
const MULTIPLY_ADDS: f64 = 1460.0;
/// How many times longer than its bytes over 128 shared memory takes.
const SHARED_FACTOR: f64 = 1.05;
/// Clocks from a load's issue to its data, with L2 or DRAM behind it.
const LOAD_LATENCY_CLOCKS: f64 = 2600.0;
/// What sharing a tile in a cluster saves of an iteration.
const CLUSTER_FACTOR: f64 = 0.92;
/// Clocks to write out one byte of a tile where nothing hides it.
const EXPOSED_STORE_CLOCKS: f64 = 0.01;
/// Clocks to write out one byte of a pingpong's tile, while the other warpgroup multiplies.
const HIDDEN_STORE_CLOCKS: f64 = 0.13;
/// Clocks between one warpgroup's products and the other's.
const TURN_CLOCKS: f64 = 500.0;
/// Clocks to begin and to end a launch's tiles, and for each byte of its last.
const FILL_CLOCKS: f64 = 3300.0;
/// See [`FILL_CLOCKS`].
const LAST_STORE_CLOCKS: f64 = 0.029;
/// How much waiting for the slowest CTA counts, where each has a whole number of tiles; and where a counter evens it out.
const WHOLE_WAVES: (f64, f64) = (0.45, 0.1);
/// See [`OnChip::overlap_loss`].
const OVERLAP_LOSS: f64 = 0.06;
/// See [`OnChip::launch`].
const LAUNCH_SECONDS: f64 = 4.3e-6;
/// See [`OnChip::refetch`].
const REFETCH: f64 = 0.22;

pub(super) fn on_chip(work: &Work<'_>) -> OnChip {
    let Work { spec, contract, limits, tiles, blocks, .. } = work;
    let clock = limits.clock_ghz * 1e9;
    let compute = contract.work.multiply_adds as f64 / MULTIPLY_ADDS;
    let shared = contract.work.shared_bytes as f64 / 128.0 * SHARED_FACTOR;
    let latency = LOAD_LATENCY_CLOCKS / f64::from(spec.stages.max(2) - 1);
    let units = [(compute, Bound::Compute), (shared, Bound::SharedMemory), (latency, Bound::Latency)];
    let (unit, bound) =
        units.into_iter().fold((0.0, Bound::Latency), |best, term| if term.0 > best.0 { term } else { best });
    let iteration = if spec.cluster > 1 { unit * CLUSTER_FACTOR } else { unit };

    let tile_bytes = f64::from(spec.tile.m) * f64::from(spec.tile.n) * f64::from(spec.output.size_bytes());
    let products = blocks * iteration;
    let tile = match spec.schedule {
        Schedule::Pingpong => (products + TURN_CLOCKS).max((products + tile_bytes * HIDDEN_STORE_CLOCKS) / 2.0),
        Schedule::Cooperative | Schedule::Multistage => products + tile_bytes * EXPOSED_STORE_CLOCKS,
    };
    let per_sm = ctas_per_sm(contract, limits);
    let waves = (tiles / f64::from(limits.sms)).max(f64::MIN_POSITIVE);
    let weight = if spec.dynamic { WHOLE_WAVES.1 } else { WHOLE_WAVES.0 };
    let clocks = whole_waves(waves, weight) * tile + FILL_CLOCKS + tile_bytes * LAST_STORE_CLOCKS;
    OnChip {
        seconds: clocks / clock,
        waves,
        ctas_per_sm: per_sm,
        bound,
        overlap_loss: OVERLAP_LOSS,
        launch: LAUNCH_SECONDS,
        refetch: REFETCH,
    }
}
