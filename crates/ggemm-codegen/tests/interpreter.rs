//! Every variant that ships or is to be measured, executed on the CPU on random ragged problems under random schedules: bit for bit on small
//! integers and within the bound on reals, with NaN in everything that is no part of the problem.

use ggemm_codegen::interp::cases::{self, Case, Data};
use ggemm_codegen::interp::{Policy, Settings, run};
use ggemm_codegen::scenario::with_operands;
use ggemm_codegen::{Arch, Major, Problem, Ragged, Tail, ValidSpec, WeightLayout, catalogue, kernels};

/// All that ships for any target runs on Hopper.
fn on_hopper() -> impl Iterator<Item = ValidSpec> {
    catalogue::shipped().into_iter().filter_map(|spec| ValidSpec::new(spec, Arch::Sm90a).ok())
}

/// One variant of each shape of code is run on all cases; the rest, which differ in types alone, on one.
#[test]
fn every_shipped_variant_computes_ragged_problems() {
    let mut seed = 1;
    let unshipped = catalogue::unshipped().into_iter().filter_map(|s| ValidSpec::new(s, Arch::Sm90a).ok());
    for spec in on_hopper().chain(unshipped) {
        let kernel = kernels::build(&spec);
        let reals = Case::random(&spec, 1000 * seed + 7, Data::Reals);
        for case in cases::random(&spec, 2, seed).into_iter().chain([reals]) {
            seed += 1;
            let policy = Policy::ALL[seed as usize % 4];
            let settings = Settings {
                policy,
                seed,
                ctas: (1 + seed as usize % 3) * spec.cluster_ctas() as usize,
                ..Settings::default()
            };
            let mut memory = case.memory();
            if let Err(finding) = run(&kernel, case.contraction(), &mut memory, settings) {
                panic!("{case}\n{finding}");
            }
            case.check(&memory).unwrap_or_else(|wrong| panic!("{} on {case}, {settings}: {wrong}", spec.spec()));
        }
    }
}

/// The same bits on every run and under every schedule, on any number of CTAs.
#[test]
fn schedules_do_not_change_results() {
    for spec in on_hopper().filter(|s| s.tile.m * s.tile.n <= 64 * 128).step_by(5) {
        let kernel = kernels::build(&spec);
        let case = Case::random(&spec, 77, Data::Reals);
        let mut first = None;
        for (n, policy) in Policy::ALL.into_iter().cycle().take(8).enumerate() {
            let mut memory = case.memory();
            let settings = Settings {
                policy,
                seed: n as u64,
                // How many CTAs share the last wave decides which parts of its tiles are summed apart.
                ctas: (1 + if spec.stream_k { 2 } else { n % 4 }) * spec.cluster_ctas() as usize,
                ..Settings::default()
            };
            run(&kernel, case.contraction(), &mut memory, settings).unwrap();
            let bits: Vec<u32> = (0..memory.d.len()).map(|i| memory.d.get(i).to_bits()).collect();
            assert_eq!(first.get_or_insert_with(|| bits.clone()), &bits, "{} {settings}", spec.spec());
            case.check(&memory).unwrap_or_else(|wrong| panic!("{} on {case}: {wrong}", spec.spec()));
        }
    }
}

/// However many tiles the last wave has, and however many CTAs share them: in turns and together, by strides and by number,
/// with a tail of sums of nothing.
#[test]
fn a_last_wave_is_shared_by_any_number_of_ctas() {
    for spec in [
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s2_pingpong_tma_streamk",
        "ggemm_rows_ak_bn_bf16_f32_f32_sm90a_128x64x64_w8x1_s2_cooperative_tma_dynamic_streamk",
        "ggemm_rows_ak_bk_e4m3_f32_bf16_sm90a_64x64x128_w4x1_s2_pingpong_tma_block_promoted_streamk",
        "ggemm_rows_ak_bk_e4m3_f32_f32_sm90a_128x64x128_w8x1_s2_cooperative_tma_row_streamk",
        "ggemm_rows_ak_bk_e4m3_f32_bf16_sm90a_192x64x128_w12x1_s2_cooperative_tma_block_promoted_streamk",
    ] {
        let spec = ValidSpec::new(spec.parse().unwrap(), Arch::Sm90a).unwrap();
        let kernel = kernels::build(&spec);
        let layout = if spec.b_major == Major::K { WeightLayout::Nk } else { WeightLayout::Kn };
        for (n, (tiles, ctas)) in (1..=6).flat_map(|tiles| [3, 5].map(|ctas| (tiles, ctas))).enumerate() {
            let rows = tiles * spec.tile.m as usize - 9;
            let problem = Problem::forward(1, rows + 5, 8, 51 * spec.tile.k as usize - 16).weight_layout(layout);
            let problem = with_operands(problem, &spec).output(spec.output).tail(Tail::Zero);
            let case = Case::new(problem, &[rows as i64], n as u64, Data::Integers).unwrap();
            let settings = Settings { policy: Policy::ALL[n % 4], seed: n as u64, ctas, ..Settings::default() };
            let mut memory = case.memory();
            if let Err(finding) = run(&kernel, case.contraction(), &mut memory, settings) {
                panic!("{case}\n{finding}");
            }
            case.check(&memory).unwrap_or_else(|wrong| panic!("{} on {case}, {settings}: {wrong}", spec.spec()));
        }
    }
}

/// A CTA that has helped with a tile of the second window of groups may take a number whose tile is in the first.
#[test]
fn a_cta_goes_back_to_a_window_that_it_left() {
    let spec = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s2_pingpong_tma_dynamic_streamk";
    let spec = ValidSpec::new(spec.parse().unwrap(), Arch::Sm90a).unwrap();
    let kernel = kernels::build(&spec);
    let sizes: Vec<i64> = [4 * 64, 1].into_iter().chain([0; 30]).chain([1]).collect();
    for seed in 0..24 {
        let rows = sizes.iter().sum::<i64>() as usize;
        let case = Case::new(Problem::forward(sizes.len(), rows, 8, 20 * 64), &sizes, seed, Data::Integers).unwrap();
        let settings = Settings { policy: Policy::Starve, seed, ctas: 4, ..Settings::default() };
        let mut memory = case.memory();
        if let Err(finding) = run(&kernel, case.contraction(), &mut memory, settings) {
            panic!("{case}\n{finding}");
        }
        case.check(&memory).unwrap_or_else(|wrong| panic!("{} on {case}, {settings}: {wrong}", spec.spec()));
    }
}

/// Groups that contradict the problem lead nowhere outside its memory.
#[test]
fn bad_sizes_stay_inside() {
    let bad: [&[i64]; 6] = [
        &[-5, 3, 900, 2],
        &[i64::MAX, i64::MAX, 1, 1],
        &[i64::MIN, 7, -1, 0],
        &[0, 0, 0, 0],
        &[9, 3, 20, 4],
        &[1 << 33, 1, 1, 1],
    ];
    let families = [Ragged::Rows, Ragged::Reduction].map(|r| [Arch::Sm80, Arch::Sm90a].map(|arch| (r, arch)));
    for (ragged, arch) in families.into_iter().flatten() {
        let mut shipped = catalogue::shipped_for(arch).into_iter();
        let spec = shipped.find(|s| s.ragged == ragged && s.arch == arch).unwrap();
        let kernel = kernels::build(&spec);
        for (n, values) in bad.iter().enumerate() {
            for ends in [false, true] {
                let case = Case::with_groups(&spec, values, ends, 40, n as u64);
                let mut memory = case.memory();
                if let Err(finding) = run(&kernel, case.contraction(), &mut memory, Settings::default()) {
                    panic!("{values:?} ends {ends}\n{finding}");
                }
                case.check(&memory).unwrap_or_else(|wrong| panic!("{values:?} ends {ends}: {wrong}"));
            }
        }
    }
}
