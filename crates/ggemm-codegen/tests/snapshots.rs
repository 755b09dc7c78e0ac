//! The emitted text, for reading: one kernel of each family and feature, as a real `.cu` file under `snapshots/`
//! (`cargo insta review` or `INSTA_UPDATE=always` accepts a change that was read).

use ggemm_codegen::{Arch, Generated, KernelSpec, ValidSpec, generate};

/// A family and the feature that its text shows.
const SHOWN: [&str; 22] = [
    "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk",
    "ggemm_rows_ak_bn_bf16_f32_bf16_sm80_128x256x64_w2x4_s3_multistage_cpasync",
    "ggemm_rows_ak_bk_f16_f32_f32_sm80_32x128x64_w1x4_s4_multistage_cpasync",
    "ggemm_rows_ak_bk_bf16_f32_f16_sm80_64x64x32_w2x2_s2_multistage_plain",
    "ggemm_reduction_am_bn_bf16_f32_f32_sm80_128x128x64_w2x2_s3_multistage_cpasync",
    "ggemm_reduction_am_bn_f16_f32_f16_sm80_64x64x32_w2x2_s2_multistage_plain",
    "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma",
    "ggemm_reduction_am_bn_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma_c2x1",
    "ggemm_reduction_am_bn_bf16_f32_f32_sm90a_128x256x64_w8x1_s4_cooperative_tma_dynamic",
    "ggemm_rows_ak_bn_bf16_f32_bf16_sm90a_128x128x64_w8x1_s6_cooperative_plain",
    "ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm90a_128x256x128_w8x1_s4_cooperative_tma_dynamic_block_promoted",
    "ggemm_reduction_ak_bk_e4m3_f32_f32_sm90a_192x128x128_w12x1_s4_cooperative_tma_dynamic_block_promoted",
    "ggemm_reduction_ak_bk_e4m3_f32_f32_sm90a_128x256x128_w8x1_s4_cooperative_tma_dynamic_row",
    "ggemm_rows_ak_bk_e5m2xe4m3_f32_bf16_sm89_128x128x128_w2x4_s3_multistage_cpasync_block_promoted",
    "ggemm_reduction_ak_bk_e4m3_f32_f32_sm89_64x64x128_w2x2_s3_multistage_cpasync_row",
    "ggemm_rows_ak_bn_f32_f32_f32_sm80_32x128x32_w1x4_s4_multistage_cpasync",
    "ggemm_reduction_am_bn_f32_f32_bf16_sm80_64x64x16_w2x2_s2_multistage_plain",
    "ggemm_rows_ak_bn_bf16_f32_f32_sm90a_64x128x64_w1x4_s6_pingpong_tma_swapped",
    "ggemm_reduction_am_bn_bf16_f32_f32_sm90a_64x128x64_w4x1_s7_pingpong_tma_split2",
    "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x256x64_w8x1_s4_cooperative_tma_dynamic_streamk",
    "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s4_pingpong_tma_dynamic_dthreads",
    "ggemm_reduction_am_bn_f16_f32_f32_sm90a_64x64x64_w4x1_s8_pingpong_tma_dthreads",
];

fn generated(name: &str) -> Generated {
    let spec: KernelSpec = name.parse().expect("a spec's name");
    generate(&ValidSpec::new(spec, Arch::Sm90a).expect("legal on sm_90a"))
}

#[test]
fn emitted_kernels() {
    for name in SHOWN {
        let text = generated(name).source();
        // insta prints no lines for binary snapshots.
        let path = format!("{}/tests/snapshots/{name}.snap.cu", env!("CARGO_MANIFEST_DIR"));
        let shown = std::fs::read_to_string(path).unwrap_or_default();
        if let Some((n, (a, b))) = shown.lines().zip(text.lines()).enumerate().find(|(_, (a, b))| a != b) {
            eprintln!("{name}.cu differs from line {} on:\n- {a}\n+ {b}", n + 1);
        }
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_binary_snapshot!(&format!("{name}.cu"), text.into_bytes());
        });
    }
}

#[test]
fn contracts() {
    for name in [SHOWN[0], SHOWN[4], SHOWN[8]] {
        let contract = generated(name).contract;
        insta::with_settings!({ snapshot_suffix => name, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("contract", serde_json::to_string_pretty(&contract).unwrap());
        });
    }
}

/// Every line range belongs to the statement whose text stands there.
#[test]
fn lines_belong_to_their_statements() {
    for name in SHOWN {
        let spec = ValidSpec::new(name.parse().unwrap(), Arch::Sm90a).unwrap();
        let kernel = ggemm_codegen::kernels::build(&spec);
        let emitted = ggemm_codegen::emit::cuda::emit(&kernel);
        let text = emitted.text();
        let lines: Vec<&str> = text.lines().collect();
        let mut barriers = 0;
        kernel.body.for_each_stmt(|s| {
            let (_, first, last) = *emitted.lines.iter().find(|l| l.0 == s.id).expect("every statement has lines");
            let own = &lines[first as usize - 1..last as usize];
            if s.op.name() == "barrier" {
                barriers += 1;
                assert_eq!(own.iter().map(|l| l.trim()).collect::<Vec<_>>(), ["__syncthreads();"]);
            }
            if s.op.name() == "load_matrix" {
                assert!(own.iter().any(|l| l.contains("ldmatrix_x4") || l.contains("load_word")), "{own:?}");
            }
        });
        assert_eq!(barriers, text.matches("__syncthreads();").count());
    }
}

/// The text is a function of the spec, to the byte.
#[test]
fn emission_is_deterministic() {
    for name in SHOWN {
        assert_eq!(generated(name).source(), generated(name).source());
    }
}

#[test]
fn spec_errors_name_the_part_and_the_remedy() {
    let errors: Vec<String> = [
        "",
        "gemm_rows",
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x64_w2x2_s3_multistage_cpasync",
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm70_128x128x64_w2x2_s3_multistage_cpasync",
        "ggemm_rows_ak_bk_fp4_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync",
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x064_w2x2_s3_multistage_cpasync",
        "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk_more",
    ]
    .iter()
    .map(|n| n.parse::<KernelSpec>().unwrap_err())
    .map(|e| format!("{}: {}, expected {}", if e.name.is_empty() { "(empty)" } else { &e.name }, e.found, e.expected))
    .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn violations_name_rule_values_and_remedy() {
    let base: KernelSpec = SHOWN[0].parse().unwrap();
    let broken = [
        (KernelSpec { stages: 9, ..base }, Arch::Sm80),
        (KernelSpec { stages: 3, tile: ggemm_codegen::Tile { m: 128, n: 256, k: 64 }, ..base }, Arch::Sm89),
        (KernelSpec { tile: ggemm_codegen::Tile { m: 100, ..base.tile }, ..base }, Arch::Sm80),
        (KernelSpec { tile: ggemm_codegen::Tile { k: 48, ..base.tile }, ..base }, Arch::Sm80),
        (KernelSpec { copy: ggemm_codegen::CopyPath::Plain, ..base }, Arch::Sm80),
        (KernelSpec { ragged: ggemm_codegen::Ragged::Reduction, ..base }, Arch::Sm80),
    ];
    let texts: Vec<String> = broken
        .into_iter()
        .map(|(spec, target)| {
            let violations = ValidSpec::new(spec, target).unwrap_err();
            violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"));
}

/// Every variant that ships, with what it takes.
#[test]
fn shipped_variants() {
    let lines: Vec<String> = ggemm_codegen::catalogue::shipped()
        .into_iter()
        .map(|spec| {
            let legal: Vec<&str> =
                Arch::ALL.into_iter().filter(|t| ValidSpec::new(spec, *t).is_ok()).map(Arch::name).collect();
            let shared = ggemm_codegen::geometry::shared_bytes(&spec);
            format!(
                "{spec}: {} threads, {shared} bytes shared, {}",
                ggemm_codegen::geometry::threads(&spec),
                legal.join(" ")
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
