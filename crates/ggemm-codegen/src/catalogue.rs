//! The variants that ship.
//!
//! A family is a ragged dimension with the majorness of B and an input and output type. Each has tiles for groups of
//! different sizes, and plain variants that take any stride, so that no shape is refused. Those of fp8 operands, whose
//! families have their types and scaling besides, are Hopper's with what the copy engine takes, or from sm_89 on with rows
//! at multiples of 16 bytes.

use crate::arch::Arch;
use crate::constraints::ValidSpec;
use crate::dtype::Dtype;
use crate::scaling::Scaling;
use crate::spec::{Accumulation, Cluster, CopyPath, KernelSpec, Major, Ragged, Schedule, Tile, Warps};

/// The largest number of variants that may ship for one target: fp8, swapped operands and rows that start anywhere each won
/// their place by measurement, and f32 has no other.
pub const MOST_PER_TARGET: usize = 160;

/// A tile with those who compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileConfig {
    /// Block of D and depth of a stage.
    pub tile: Tile,
    /// How warps share the tile.
    pub warps: Warps,
    /// Stages of the ring.
    pub stages: u32,
    /// How roles are scheduled.
    pub schedule: Schedule,
    /// How CTAs form clusters.
    pub cluster: Cluster,
    /// Whether tiles come from a counter.
    pub dynamic: bool,
    /// Whether products have D's columns in place of its rows.
    pub swapped: bool,
    /// CTAs that divide each tile's reduction.
    pub split: u32,
    /// Whether the last tiles' reductions are divided among all CTAs.
    pub stream_k: bool,
}

const fn config(m: u32, n: u32, k: u32, warps_m: u32, warps_n: u32, stages: u32) -> TileConfig {
    TileConfig {
        tile: Tile { m, n, k },
        warps: Warps { m: warps_m, n: warps_n },
        stages,
        schedule: Schedule::Multistage,
        cluster: Cluster::NONE,
        dynamic: false,
        swapped: false,
        split: 1,
        stream_k: false,
    }
}

/// Two warpgroups in turns, each with a tile of its own.
const fn pingpong(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { schedule: Schedule::Pingpong, ..config(m, n, 64, 4, 1, stages) }
}

/// The same, their tiles taken from one counter.
const fn pingpong_dynamic(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { dynamic: true, ..pingpong(m, n, stages) }
}

/// Two warpgroups that share a tile, which is taken from one counter.
const fn cooperative(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { schedule: Schedule::Cooperative, dynamic: true, ..config(m, n, 64, 8, 1, stages) }
}

/// Three that share a tile, and have fewer sums each.
const fn cooperative_of_three(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { warps: Warps { m: 12, n: 1 }, ..cooperative(m, n, stages) }
}

/// For groups of few rows: the weights' stream is the bound, and masks cost nothing.
const SMALL_ROWS: [TileConfig; 3] =
    [config(16, 64, 64, 1, 4, 4), config(16, 128, 64, 1, 4, 4), config(32, 128, 64, 1, 4, 4)];

/// For larger groups. Those of depth 32 fit the 99 KiB of sm_89 and sm_120.
const LARGE_ROWS: [TileConfig; 5] = [
    config(64, 128, 64, 2, 2, 4),
    config(128, 128, 64, 2, 2, 3),
    config(128, 128, 32, 2, 2, 6),
    config(128, 256, 64, 2, 4, 3),
    config(128, 256, 32, 2, 4, 4),
];

/// How many of them, from the first, also ship with masks on the reduction.
const LARGE_ROWS_MASKED: usize = 2;

/// Ragged reductions, the first for problems of few tiles.
const REDUCTION: [TileConfig; 5] = [
    config(64, 64, 64, 2, 2, 6),
    config(64, 128, 64, 2, 2, 4),
    config(128, 128, 64, 2, 2, 3),
    config(128, 128, 32, 2, 2, 6),
    config(128, 256, 32, 2, 4, 4),
];

/// Any stride and alignment.
const PLAIN: TileConfig = config(64, 64, 32, 2, 2, 2);

/// The same on Hopper, for all but few rows.
const HOPPER_PLAIN: TileConfig = cooperative(128, 128, 6);

/// Hopper's ragged rows. The first two, which serve few and many rows, ship for sums that leave as f32 as well.
///
/// A counter evens out what CTAs do, and keeps those that share operands close together where groups differ; without
/// one, CTAs that start together stay together, which is as good where all tiles take equally long.
const HOPPER_ROWS: [TileConfig; 7] = [
    pingpong_dynamic(64, 128, 8),
    cooperative(128, 256, 4),
    pingpong(64, 128, 8),
    pingpong(64, 256, 5),
    pingpong(128, 192, 5),
    pingpong_dynamic(128, 192, 4),
    stream_k(cooperative(128, 256, 4)),
];

/// How many of them, from the first, also ship with f32 outputs.
const HOPPER_ROWS_F32: usize = 2;

/// The one whose D threads write.
const D_BY_THREADS: TileConfig = pingpong_dynamic(128, 192, 4);

/// Hopper's ragged reductions, the first two for problems of few tiles.
const HOPPER_REDUCTION: [TileConfig; 5] = [
    pingpong(64, 64, 8),
    pingpong(64, 128, 8),
    pingpong(128, 192, 5),
    pingpong_dynamic(128, 192, 4),
    cooperative(128, 256, 4),
];

/// A tile of fp8 operands, with their way to scale and to accumulate.
type ScaledConfig = (TileConfig, Scaling, Accumulation);

/// Hopper's ragged rows of fp8 operands: those of few rows, and of many.
/// Promoted sums serve whoever asks for fast ones as well.
const FP8_ROWS: [ScaledConfig; 8] = [
    (fp8(pingpong_dynamic(64, 128, 8)), Scaling::Block, Accumulation::Promoted),
    (fp8(cooperative(128, 256, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(cooperative_of_three(192, 128, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(stream_k(cooperative(128, 256, 4))), Scaling::Block, Accumulation::Promoted),
    (fp8(pingpong_dynamic(64, 128, 8)), Scaling::Row, Accumulation::Promoted),
    (fp8(cooperative(128, 192, 5)), Scaling::Row, Accumulation::Promoted),
    (fp8(cooperative(128, 256, 4)), Scaling::Row, Accumulation::Fast),
    (fp8(stream_k(cooperative(128, 256, 4))), Scaling::Row, Accumulation::Fast),
];

/// Its ragged reductions.
const FP8_REDUCTION: [ScaledConfig; 3] = [
    (fp8(cooperative_of_three(192, 128, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(cooperative(128, 192, 5)), Scaling::Row, Accumulation::Promoted),
    (fp8(cooperative(128, 256, 4)), Scaling::Row, Accumulation::Fast),
];

/// Ragged rows of fp8 operands from sm_89 on, where `mma.sync` multiplies them: those of few rows, of some, and of many. They
/// fit the 99 KiB of sm_89 and sm_120.
const PORTABLE_FP8_ROWS: [ScaledConfig; 7] = [
    (fp8(config(32, 128, 64, 1, 4, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(config(64, 128, 64, 2, 4, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(config(128, 128, 64, 2, 4, 3)), Scaling::Block, Accumulation::Promoted),
    (fp8(config(32, 128, 64, 1, 4, 4)), Scaling::Row, Accumulation::Promoted),
    (fp8(config(64, 128, 64, 2, 4, 4)), Scaling::Row, Accumulation::Promoted),
    (fp8(config(128, 128, 64, 2, 4, 3)), Scaling::Row, Accumulation::Promoted),
    (fp8(config(128, 128, 64, 2, 4, 3)), Scaling::Row, Accumulation::Fast),
];

/// Ragged reductions of the same, for problems of few tiles and of many. Where columns have scales of their own in each block,
/// registers do not suffice for the largest tile.
const PORTABLE_FP8_REDUCTION: [ScaledConfig; 4] = [
    (fp8(config(64, 64, 64, 2, 2, 3)), Scaling::Block, Accumulation::Promoted),
    (fp8(config(64, 128, 64, 2, 4, 4)), Scaling::Block, Accumulation::Promoted),
    (fp8(config(64, 64, 64, 2, 2, 3)), Scaling::Row, Accumulation::Promoted),
    (fp8(config(128, 128, 64, 2, 4, 3)), Scaling::Row, Accumulation::Promoted),
];

/// Ragged rows of f32 operands, which `mma.sync` multiplies as TF32, few and many.
const F32_ROWS: [TileConfig; 2] = [words(config(32, 128, 64, 1, 4, 4)), words(config(128, 128, 32, 2, 2, 6))];

/// Their ragged reductions, few tiles and many.
const F32_REDUCTION: [TileConfig; 2] = [words(config(64, 64, 64, 2, 2, 6)), words(config(128, 128, 32, 2, 2, 6))];

/// The same stages of elements of 32 bits.
const fn words(config: TileConfig) -> TileConfig {
    TileConfig { tile: Tile { k: config.tile.k / 2, ..config.tile }, ..config }
}

/// The same stages of elements of 8 bits.
const fn fp8(config: TileConfig) -> TileConfig {
    TileConfig { tile: Tile { k: 2 * config.tile.k, ..config.tile }, ..config }
}

/// Two warpgroups in turns with operands swapped: at most `m` rows, fewer where fewer exist.
const fn pingpong_swapped(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { schedule: Schedule::Pingpong, swapped: true, ..config(m, n, 64, 1, 4, stages) }
}

/// Two warpgroups that share a tile with operands swapped.
const fn cooperative_swapped(m: u32, n: u32, stages: u32) -> TileConfig {
    TileConfig { schedule: Schedule::Cooperative, swapped: true, dynamic: true, ..config(m, n, 64, 1, 8, stages) }
}

/// Hopper's ragged rows with operands swapped: for groups of some hundred rows, for large ones, for decoding.
const HOPPER_ROWS_SWAPPED: [TileConfig; 3] = [
    pingpong_swapped(192, 128, 5),
    cooperative_swapped(256, 128, 4),
    TileConfig { dynamic: true, ..pingpong_swapped(64, 128, 8) },
];

/// For decoding too: no faster than the last of those.
const DECODING_SWAPPED: TileConfig = cooperative_swapped(32, 128, 8);

/// Two warpgroups in turns, in clusters of `split` CTAs that divide each tile's reduction: for few tiles with long ones.
const fn pingpong_split(m: u32, n: u32, stages: u32, split: u32) -> TileConfig {
    TileConfig { split, ..pingpong(m, n, stages) }
}

/// The same, where all CTAs share the reductions of the last tiles.
const fn stream_k(config: TileConfig) -> TileConfig {
    TileConfig { stream_k: true, ..config }
}

/// Ragged rows and reductions of few tiles.
const HOPPER_SPLIT: [TileConfig; 3] =
    [pingpong_split(64, 128, 7, 2), pingpong_split(64, 128, 4, 4), pingpong_split(128, 128, 5, 2)];

/// The last wave shared out where tiles are smaller: it wins a hundredth, and loses as much where waves are many.
const HOPPER_STREAM_K: [TileConfig; 2] = [stream_k(pingpong(64, 256, 5)), stream_k(pingpong(128, 192, 5))];

/// Variants that are proven but do not ship, because what they win is little or rare (docs/tuning.md): `ggemm verify`,
/// `ggemm run` and `ggemm bench` take them by name, and `cargo xtask check-cubins` compiles them.
pub fn unshipped() -> Vec<KernelSpec> {
    let of = |b_major, operand, output| {
        move |config| variant((Ragged::Rows, b_major), (operand, output), config, CopyPath::Tma, false)
    };
    let mut specs = Vec::new();
    for b_major in [Major::K, Major::Mn] {
        specs.push(of(b_major, Dtype::Bf16, Dtype::Bf16)(DECODING_SWAPPED));
    }
    specs.push(of(Major::K, Dtype::F16, Dtype::F32)(HOPPER_ROWS_SWAPPED[0]));
    specs.extend(HOPPER_SPLIT.map(of(Major::K, Dtype::Bf16, Dtype::Bf16)));
    specs.extend(HOPPER_STREAM_K.map(of(Major::K, Dtype::Bf16, Dtype::Bf16)));
    for output in [Dtype::Bf16, Dtype::F32] {
        let reduction = (Ragged::Reduction, Major::Mn);
        let reduced = |config| variant(reduction, (Dtype::Bf16, output), config, CopyPath::Tma, false);
        specs.extend(HOPPER_SPLIT.map(reduced));
        specs.push(reduced(HOPPER_STREAM_K[1]));
    }
    specs
}

/// Every variant that ships, in the order in which tables list them.
pub fn shipped() -> Vec<KernelSpec> {
    let mut specs = Vec::new();
    for operand in [Dtype::Bf16, Dtype::F16] {
        for b_major in [Major::K, Major::Mn] {
            rows_family(&mut specs, operand, b_major);
        }
        reduction_family(&mut specs, operand);
        d_by_threads(&mut specs, operand);
    }
    fp8_families(&mut specs, &FP8_ROWS, &FP8_REDUCTION);
    fp8_families(&mut specs, &PORTABLE_FP8_ROWS, &PORTABLE_FP8_REDUCTION);
    f32_families(&mut specs);
    specs
}

/// The shipped variants for `target`.
pub fn shipped_for(target: Arch) -> Vec<ValidSpec> {
    shipped().into_iter().filter_map(|s| for_target(s, target)).collect()
}

/// The variant for `target`, if it is legal there and worth choosing: where TMA copies, it copies whatever `cp.async`
/// could, and faster. sm_100a has no `mma.sync` of fp8: compilers widen operands to f16 before each, in registers that the
/// largest tiles do not leave.
pub fn for_target(spec: KernelSpec, target: Arch) -> Option<ValidSpec> {
    let spills = target == Arch::Sm100a && spec.operand.is_fp8() && spec.tile.m * spec.tile.n > 64 * 128;
    let by_tma = target == Arch::Sm90a && spec.operand != Dtype::F32;
    let outdone = by_tma && spec.copy == CopyPath::CpAsync || spills;
    ValidSpec::new(spec, target).ok().filter(|_| !outdone)
}

/// A variant of a family, as the catalogue composes it.
pub fn variant(
    (ragged, b_major): (Ragged, Major),
    (operand, output): (Dtype, Dtype),
    config: TileConfig,
    copy: CopyPath,
    even_k: bool,
) -> KernelSpec {
    KernelSpec {
        ragged,
        a_major: if ragged == Ragged::Rows { Major::K } else { Major::Mn },
        b_major,
        operand,
        b_operand: operand,
        accumulator: Dtype::F32,
        output,
        arch: match config.schedule.is_warp_specialized() {
            true => Arch::Sm90a,
            false if operand.is_fp8() => Arch::Sm89,
            false => Arch::Sm80,
        },
        tile: config.tile,
        warps: config.warps,
        stages: config.stages,
        schedule: config.schedule,
        copy,
        even_k,
        cluster: config.cluster,
        dynamic: config.dynamic,
        scaling: Scaling::None,
        accumulation: Accumulation::Fast,
        swapped: config.swapped,
        split: config.split,
        stream_k: config.stream_k,
        d_by_threads: false,
    }
}

/// The variant of a family that takes any stride and alignment.
pub fn plain(family: (Ragged, Major), dtypes: (Dtype, Dtype)) -> KernelSpec {
    let config = if dtypes.0 == Dtype::F32 { words(PLAIN) } else { PLAIN };
    variant(family, dtypes, config, CopyPath::Plain, false)
}

fn rows_family(specs: &mut Vec<KernelSpec>, operand: Dtype, b_major: Major) {
    let family = (Ragged::Rows, b_major);
    for output in Dtype::OUTPUTS {
        let tma = |config| variant(family, (operand, output), config, CopyPath::Tma, false);
        let cp_async = |config, even_k| variant(family, (operand, output), config, CopyPath::CpAsync, even_k);
        if output == operand {
            specs.extend(HOPPER_ROWS.map(tma));
            specs.extend(HOPPER_ROWS_SWAPPED.map(tma));
            specs.extend(SMALL_ROWS.map(|c| cp_async(c, false)));
            for (i, config) in LARGE_ROWS.into_iter().enumerate() {
                specs.push(cp_async(config, true));
                specs.extend((i < LARGE_ROWS_MASKED).then(|| cp_async(config, false)));
            }
        } else if output == Dtype::F32 {
            specs.extend(HOPPER_ROWS.into_iter().take(HOPPER_ROWS_F32).map(tma));
            specs.extend([SMALL_ROWS[2], LARGE_ROWS[1]].map(|c| cp_async(c, false)));
        }
        if output == operand || output == Dtype::F32 {
            specs.push(variant(family, (operand, output), HOPPER_PLAIN, CopyPath::Plain, false));
        }
        specs.push(plain(family, (operand, output)));
    }
}

fn reduction_family(specs: &mut Vec<KernelSpec>, operand: Dtype) {
    let family = (Ragged::Reduction, Major::Mn);
    for output in Dtype::OUTPUTS {
        let with = |copy| move |config| variant(family, (operand, output), config, copy, false);
        if output == operand || output == Dtype::F32 {
            specs.extend(HOPPER_REDUCTION.map(with(CopyPath::Tma)));
            specs.extend(REDUCTION.map(with(CopyPath::CpAsync)));
            specs.push(with(CopyPath::Plain)(HOPPER_PLAIN));
        }
        specs.push(plain(family, (operand, output)));
    }
}

/// Of operands with aligned rows, which may be copies of others, and a D whose rows start anywhere.
fn d_by_threads(specs: &mut Vec<KernelSpec>, operand: Dtype) {
    for family in [(Ragged::Rows, Major::K), (Ragged::Rows, Major::Mn), (Ragged::Reduction, Major::Mn)] {
        specs.extend([operand, Dtype::F32].map(|output| {
            let spec = variant(family, (operand, output), D_BY_THREADS, CopyPath::Tma, false);
            KernelSpec { d_by_threads: true, ..spec }
        }));
    }
}

/// f32 operands leave as f32, fast where rows are aligned; other outputs by plain copies alone.
fn f32_families(specs: &mut Vec<KernelSpec>) {
    for (family, configs) in [
        ((Ragged::Rows, Major::K), F32_ROWS),
        ((Ragged::Rows, Major::Mn), F32_ROWS),
        ((Ragged::Reduction, Major::Mn), F32_REDUCTION),
    ] {
        let types = (Dtype::F32, Dtype::F32);
        specs.extend(configs.map(|config| variant(family, types, config, CopyPath::CpAsync, false)));
        specs.extend(Dtype::OUTPUTS.map(|output| plain(family, (Dtype::F32, output))));
    }
}

/// Activations and weights are e4m3, gradients e4m3 or e5m2. Gradients of weights have them as A, or where the weight is
/// [G, K, N] as B.
fn fp8_families(specs: &mut Vec<KernelSpec>, rows: &[ScaledConfig], reduction: &[ScaledConfig]) {
    use Dtype::{Bf16, E4m3, E5m2, F32};
    let mut add = |ragged, operands: [Dtype; 2], output, (config, scaling, accumulation): ScaledConfig| {
        let [operand, b_operand] = operands;
        let copy = if config.schedule.is_warp_specialized() { CopyPath::Tma } else { CopyPath::CpAsync };
        let spec = variant((ragged, Major::K), (operand, output), config, copy, false);
        specs.push(KernelSpec { a_major: Major::K, b_operand, scaling, accumulation, ..spec });
    };
    for operands in [[E4m3, E4m3], [E5m2, E4m3]] {
        rows.iter().for_each(|how| add(Ragged::Rows, operands, Bf16, *how));
    }
    for output in [F32, Bf16] {
        reduction.iter().for_each(|how| add(Ragged::Reduction, [E4m3, E4m3], output, *how));
        let exact = |how: &&ScaledConfig| how.2 == Accumulation::Promoted;
        for operands in [[E5m2, E4m3], [E4m3, E5m2]] {
            reduction.iter().filter(exact).for_each(|how| add(Ragged::Reduction, operands, output, *how));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::geometry;
    use crate::problem::{Operation, Problem, WeightLayout};
    use std::collections::HashSet;

    #[test]
    fn what_is_to_be_measured_is_legal_and_does_not_ship() {
        let shipped: HashSet<KernelSpec> = shipped().into_iter().collect();
        for spec in unshipped() {
            assert!(for_target(spec, Arch::Sm90a).is_some() && !shipped.contains(&spec), "{spec}");
        }
    }

    #[test]
    fn the_catalogue_is_legal_distinct_and_small() {
        let all = shipped();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "no variant twice");
        for spec in &all {
            assert!(Arch::ALL.iter().any(|t| for_target(*spec, *t).is_some()), "{spec} is for no target");
            assert_eq!(spec.to_string().parse(), Ok(*spec));
        }
        for target in Arch::ALL {
            let n = shipped_for(target).len();
            assert!((50..=MOST_PER_TARGET).contains(&n), "{n} variants on {target}");
        }
    }

    /// Every problem has at least one variant on every target, whatever its strides.
    #[test]
    fn no_problem_is_without_a_variant() {
        for target in Arch::ALL {
            let specs = shipped_for(target);
            for operation in Operation::ALL {
                for layout in [WeightLayout::Nk, WeightLayout::Kn] {
                    for (operand, output) in Dtype::OUTPUTS.into_iter().flat_map(|i| Dtype::OUTPUTS.map(|o| (i, o))) {
                        let p = Problem::new(operation, 3, 100, 33, 77).operand(operand).output(output);
                        let c = p.weight_layout(layout).contraction();
                        let fits = |s: &&ValidSpec| {
                            (s.ragged, s.a_major, s.b_major) == (c.ragged, c.a_major, c.b_major)
                                && (s.operand, s.output) == (c.operand, c.output)
                                && s.copy == CopyPath::Plain
                        };
                        let always = plain((c.ragged, c.b_major), (operand, output));
                        assert!(
                            specs.iter().any(|s| s.spec() == &always),
                            "{operation} {operand} {output} on {target}"
                        );
                        let has_hopper = target == Arch::Sm90a && operand != Dtype::F32;
                        let hopper = usize::from(has_hopper && (output == operand || output == Dtype::F32));
                        assert_eq!(specs.iter().filter(fits).count(), 1 + hopper, "{operation} {operand} {output}");
                    }
                }
            }
        }
    }

    /// Roles that grow wait until there are registers: what a CTA begins with must do for all.
    #[test]
    fn roles_share_what_a_cta_begins_with() {
        let unshipped = unshipped().into_iter().filter_map(|spec| for_target(spec, Arch::Sm90a));
        for spec in shipped_for(Arch::Sm90a).into_iter().chain(unshipped) {
            let spec = spec.spec();
            let Some(shares) = geometry::register_budget(spec) else { continue };
            let threads = geometry::threads(spec);
            let at_launch = Arch::Sm90a.limits().registers_per_sm / threads / 8 * 8;
            let multiplying = geometry::consumers(spec) * geometry::THREADS_OF_WARPGROUP;
            let loading = if spec.copy == CopyPath::Plain { geometry::THREADS_OF_WARPGROUP } else { 0 };
            let finding = threads - multiplying - loading;
            let taken = multiplying * shares.consumer + loading * shares.loader + finding * shares.finder;
            assert!(taken <= threads * at_launch, "{spec}: {shares:?} for {threads} threads");
            let are_legal = [shares.consumer, shares.loader, shares.finder].iter().all(|n| n % 8 == 0 && *n >= 24);
            assert!(are_legal, "{spec}: {shares:?}");
        }
    }

    /// What validation counts and what the built kernel states are the same.
    #[test]
    fn contracts_agree_with_validation() {
        let unshipped = unshipped().into_iter().filter_map(|spec| for_target(spec, Arch::Sm90a));
        for spec in shipped_for(Arch::Sm80).into_iter().chain(shipped_for(Arch::Sm90a)).chain(unshipped) {
            let built = generate(&spec);
            assert_eq!(built.contract.shared_bytes, geometry::shared_bytes(&spec), "{}", built.name);
            assert_eq!(built.contract.threads, geometry::threads(&spec));
            assert_eq!(built.contract.registers, geometry::register_estimate(&spec), "{}", built.name);
            assert_eq!(built.contract.cluster, spec.cluster_ctas(), "{}", built.name);
            assert_eq!(built.contract.workspace_bytes > 0, spec.dynamic, "{}", built.name);
            let slot = spec.stream_k.then_some(4 * spec.tile.m * spec.tile.n);
            assert_eq!(built.contract.partial_sums.map(|sums| sums.slot_bytes), slot, "{}", built.name);
            let t = spec.tile;
            assert_eq!(built.contract.work.multiply_adds, u64::from(t.m) * u64::from(t.n) * u64::from(t.k));
            let copied = u64::from((t.m + t.n) * t.k * spec.operand.size_bytes());
            assert_eq!(built.contract.work.global_bytes, copied, "{}", built.name);
        }
    }
}
