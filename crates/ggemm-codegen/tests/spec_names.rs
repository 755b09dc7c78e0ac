//! Names of specs read back, whatever the values; legal ones build.

use ggemm_codegen::interp::cases::{Case, Data};
use ggemm_codegen::interp::{Memory, Settings, run};
use ggemm_codegen::{
    Accumulation, Arch, Cluster, CopyPath, Dtype, KernelSpec, Major, Problem, Ragged, Scaling, Schedule, Tile,
    ValidSpec, Warps, WeightLayout, generate, kernels,
};
use proptest::prelude::*;
use proptest::sample::select;

fn spec() -> impl Strategy<Value = KernelSpec> {
    let majors = select(vec![Major::K, Major::Mn]);
    let dtypes = select(Dtype::ALL.to_vec());
    (
        (select(vec![Ragged::Rows, Ragged::Reduction]), majors.clone(), majors),
        ((dtypes.clone(), dtypes.clone()), dtypes.clone(), dtypes, select(Arch::ALL.to_vec())),
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
        (select(vec![CopyPath::Plain, CopyPath::CpAsync, CopyPath::Tma]), any::<bool>()),
        (
            select(vec![Schedule::Multistage, Schedule::Cooperative, Schedule::Pingpong]),
            any::<[u32; 2]>(),
            any::<([bool; 4], u32)>(),
            select(vec![Scaling::None, Scaling::Row, Scaling::Block]),
            select(vec![Accumulation::Fast, Accumulation::Promoted]),
        ),
    )
        .prop_map(
            |((ragged, a_major, b_major), (operands, accumulator, output, arch), n, (copy, even_k), walk)| {
                let (
                    schedule,
                    [along_m, along_n],
                    ([dynamic, swapped, stream_k, d_by_threads], split),
                    scaling,
                    accumulation,
                ) = walk;
                let (operand, b_operand) = operands;
                KernelSpec {
                    ragged,
                    a_major,
                    b_major,
                    operand,
                    b_operand,
                    accumulator,
                    output,
                    arch,
                    tile: Tile { m: n.0, n: n.1, k: n.2 },
                    warps: Warps { m: n.3, n: n.4 },
                    stages: n.5,
                    schedule,
                    copy,
                    even_k,
                    cluster: Cluster { m: along_m, n: along_n },
                    dynamic,
                    scaling,
                    accumulation,
                    swapped,
                    split,
                    stream_k,
                    d_by_threads,
                }
            },
        )
}

/// Specs near those that ship, most of them legal.
fn likely_spec() -> impl Strategy<Value = KernelSpec> {
    let sides = || select(vec![16u32, 32, 48, 64, 96, 128, 192, 256]);
    let shape = (sides(), sides(), select(vec![32u32, 64]), 1u32..=4, 1u32..=4, 2u32..=5);
    (shape, select(vec![Ragged::Rows, Ragged::Reduction]), any::<[bool; 3]>()).prop_map(
        |(n, ragged, [plain, b_k, even]): (_, _, [bool; 3])| {
            let rows = ragged == Ragged::Rows;
            KernelSpec {
                ragged,
                a_major: if rows { Major::K } else { Major::Mn },
                b_major: if rows && b_k { Major::K } else { Major::Mn },
                operand: Dtype::Bf16,
                b_operand: Dtype::Bf16,
                accumulator: Dtype::F32,
                output: Dtype::F32,
                arch: Arch::Sm80,
                tile: Tile { m: n.0, n: n.1, k: n.2 },
                warps: Warps { m: n.3, n: n.4 },
                stages: if plain { 2 } else { n.5 },
                schedule: Schedule::Multistage,
                copy: if plain { CopyPath::Plain } else { CopyPath::CpAsync },
                even_k: even && rows && !plain,
                cluster: Cluster::NONE,
                dynamic: false,
                scaling: Scaling::None,
                accumulation: Accumulation::Fast,
                swapped: false,
                split: 1,
                stream_k: false,
                d_by_threads: false,
            }
        },
    )
}

/// Hopper's, near those that ship.
fn likely_hopper_spec() -> impl Strategy<Value = KernelSpec> {
    let shape = (select(vec![16u32, 64, 128, 192, 256]), select(vec![64u32, 128, 192, 256]), 2u32..=8, 1u32..=2);
    let ragged = select(vec![Ragged::Rows, Ragged::Reduction]);
    let cluster = select(vec![(1, 1), (1, 2), (1, 4), (2, 1), (4, 1)]);
    let split = select(vec![1u32, 1, 2, 4]);
    (shape, ragged, (cluster, split), any::<[bool; 6]>(), select(vec![Dtype::Bf16, Dtype::F32])).prop_map(
        |(
            (m, n, stages, warpgroups),
            ragged,
            (cluster, split),
            [pingpong, b_k, dynamic, swapped, streams, d_by_threads],
            output,
        )| {
            let rows = ragged == Ragged::Rows;
            let swapped = swapped && rows && cluster == (1, 1);
            let along = if pingpong { 4 } else { 4 * warpgroups };
            KernelSpec {
                ragged,
                a_major: if rows { Major::K } else { Major::Mn },
                b_major: if rows && b_k { Major::K } else { Major::Mn },
                operand: Dtype::Bf16,
                b_operand: Dtype::Bf16,
                accumulator: Dtype::F32,
                output,
                arch: Arch::Sm90a,
                tile: Tile { m, n, k: 64 },
                warps: if swapped { Warps { m: 1, n: along } } else { Warps { m: along, n: 1 } },
                stages,
                schedule: if pingpong { Schedule::Pingpong } else { Schedule::Cooperative },
                copy: CopyPath::Tma,
                even_k: false,
                cluster: Cluster { m: cluster.0, n: cluster.1 },
                dynamic: dynamic && cluster == (1, 1) && (split == 1 || d_by_threads),
                scaling: Scaling::None,
                accumulation: Accumulation::Fast,
                swapped,
                split: if cluster == (1, 1) && !d_by_threads { split } else { 1 },
                stream_k: streams && cluster == (1, 1) && split == 1 && !swapped && !d_by_threads,
                d_by_threads: d_by_threads && cluster == (1, 1) && !swapped,
            }
        },
    )
}

/// The same of fp8 operands.
fn likely_fp8_spec() -> impl Strategy<Value = KernelSpec> {
    let types = || select(vec![Dtype::E4m3, Dtype::E5m2]);
    let scaling = select(vec![Scaling::Row, Scaling::Block]);
    (likely_hopper_spec(), types(), types(), scaling, any::<bool>()).prop_map(|(spec, a, b, scaling, fast)| {
        let fast = fast && scaling == Scaling::Row;
        KernelSpec {
            a_major: Major::K,
            b_major: Major::K,
            operand: a,
            b_operand: b,
            tile: Tile { k: 128, ..spec.tile },
            scaling,
            accumulation: if fast { Accumulation::Fast } else { Accumulation::Promoted },
            d_by_threads: false,
            ..spec
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn names_read_back(spec in spec()) {
        prop_assert_eq!(spec.to_string().parse(), Ok(spec));
    }

    /// Checking never panics or overflows, and always says why.
    #[test]
    fn any_spec_is_legal_or_told_why(spec in spec(), target in select(Arch::ALL.to_vec())) {
        if let Err(violations) = ValidSpec::new(spec, target) {
            prop_assert!(!violations.is_empty());
        }
    }

    #[test]
    fn mangled_names_never_panic(name in "ggemm_(rows|reduction|_)_?[a-z0-9_x]{0,60}") {
        let _ = name.parse::<KernelSpec>();
    }
}

/// Those that `mma.sync` multiplies.
fn likely_portable_fp8_spec() -> impl Strategy<Value = KernelSpec> {
    let types = || select(vec![Dtype::E4m3, Dtype::E5m2]);
    let scaling = select(vec![Scaling::Row, Scaling::Block]);
    (likely_spec(), types(), types(), scaling, any::<bool>()).prop_map(|(spec, a, b, scaling, fast)| {
        let fast = fast && scaling == Scaling::Row;
        KernelSpec {
            a_major: Major::K,
            b_major: Major::K,
            operand: a,
            b_operand: b,
            arch: Arch::Sm89,
            tile: Tile { k: if fast { 2 * spec.tile.k } else { 128 }, ..spec.tile },
            copy: CopyPath::CpAsync,
            scaling,
            accumulation: if fast { Accumulation::Fast } else { Accumulation::Promoted },
            ..spec
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// What the constraints admit can be built, written and run, not only what ships.
    #[test]
    fn legal_specs_build_and_run(spec in likely_spec()) {
        builds_and_runs(spec)?;
    }

    #[test]
    fn legal_hopper_specs_build_and_run(spec in likely_hopper_spec()) {
        builds_and_runs(spec)?;
    }

    #[test]
    fn legal_fp8_specs_build_and_run(spec in prop_oneof![likely_fp8_spec(), likely_portable_fp8_spec()]) {
        computes(spec)?;
    }
}

/// Where columns share scales, the count of those past the last column must not be rounded up to one.
#[test]
fn a_tile_of_a_cluster_past_the_last_column_has_no_scales() -> Result<(), TestCaseError> {
    for name in [
        "rows_ak_bk_e4m3_f32_bf16_sm90a_64x128x128_w4x1_s2_cooperative_tma_c1x4_block_promoted",
        "rows_ak_bk_e4m3_f32_bf16_sm90a_64x192x128_w4x1_s2_cooperative_tma_c1x4_block_promoted",
    ] {
        let spec: KernelSpec = format!("ggemm_{name}").parse().expect("a name");
        prop_assert!(ValidSpec::new(spec, Arch::Sm90a).is_ok(), "{name} is not legal");
        computes(spec)?;
    }
    Ok(())
}

fn computes(spec: KernelSpec) -> Result<(), TestCaseError> {
    let Ok(valid) = ValidSpec::new(spec, Arch::Sm90a) else { return Ok(()) };
    prop_assert!(generate(&valid).source().contains(&spec.to_string()));
    let case = Case::random(&spec, 5, Data::Integers);
    let mut memory = case.memory();
    let settings = Settings { ctas: spec.cluster.ctas() as usize, ..Settings::default() };
    let ran = run(&kernels::build(&valid), case.contraction(), &mut memory, settings);
    prop_assert!(ran.is_ok(), "{ran:?}");
    prop_assert_eq!(case.check(&memory), Ok(()), "{}", case);
    Ok(())
}

fn builds_and_runs(spec: KernelSpec) -> Result<(), TestCaseError> {
    let Ok(valid) = ValidSpec::new(spec, Arch::Sm90a) else { return Ok(()) };
    let source = generate(&valid).source();
    prop_assert!(source.contains(&spec.to_string()));
    let (m, n, k) = (70, 40, 64);
    let problem = match spec.ragged {
        Ragged::Rows => Problem::forward(2, m, n, k),
        Ragged::Reduction => Problem::grad_w(2, m, n, k),
    };
    let layout = if spec.b_major == Major::K { WeightLayout::Nk } else { WeightLayout::Kn };
    let layout = if spec.ragged == Ragged::Rows { layout } else { WeightLayout::Nk };
    let problem = problem.output(spec.output).weight_layout(layout).contraction();
    let mut memory = Memory::for_problem(&problem);
    memory.a.fill(|_| 1.0);
    memory.b.fill(|_| 1.0);
    memory.groups.set_integers(&[30, 40]);
    let settings = Settings { ctas: spec.cluster_ctas() as usize, ..Settings::default() };
    let ran = run(&kernels::build(&valid), &problem, &mut memory, settings);
    prop_assert!(ran.is_ok(), "{ran:?}");
    for i in 0..memory.d.len() {
        let terms = match spec.ragged {
            Ragged::Rows => k,
            Ragged::Reduction => {
                if i < n * k {
                    30
                } else {
                    40
                }
            }
        };
        prop_assert_eq!(memory.d.get(i), terms as f32);
    }
    Ok(())
}
