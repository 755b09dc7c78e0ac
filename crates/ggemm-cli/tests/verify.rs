//! `ggemm verify`, in the interpreter: what needs a GPU is refused here with the reason.

mod common;

use common::{folder, ggemm, line};
use ggemm_codegen::{Dtype, QuantizeSpec};
use serde_json::Value;

const NAME: &str = "ggemm_rows_ak_bn_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain";

fn report(flags: &str) -> Value {
    serde_json::from_str(&line(&format!("verify --interpret --json {flags}")).passed()).expect("JSON")
}

#[test]
fn variants_are_verified_and_counted() {
    let report = report("--variant ggemm_*_plain --cases 2 --arch sm_80");
    let variants = report["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 27);
    for variant in variants {
        let name = variant["variant"].as_str().unwrap();
        assert!(name.starts_with("ggemm_") && name.ends_with("_plain"), "{name}");
        assert_eq!(
            (&variant["cases"], &variant["exact_cases"], &variant["verdict"]),
            (&2.into(), &2.into(), &"pass".into())
        );
        let worst = variant["worst_of_bound"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&worst), "{variant}");
    }
    assert_eq!((&report["passed"], &report["arch"], &report["seed"]), (&true.into(), &"sm_80".into(), &1.into()));
}

/// Kernels that quantize are verified by the same command, where they run.
#[test]
fn kernels_that_quantize_are_verified() {
    let report = report("--variant ggemm_quantize_f16_e5m2_* --cases 1");
    let variants = report["variants"].as_array().unwrap();
    let is_meant = |spec: &QuantizeSpec| spec.source() == Dtype::F16 && spec.format() == Dtype::E5m2;
    assert_eq!(variants.len(), QuantizeSpec::all().filter(is_meant).count());
    assert!(variants.iter().all(|v| v["verdict"] == "pass" && v["exact_cases"] == 1), "{report}");
    let name = "ggemm_quantize_f16_e5m2_block_rows_sm89";
    let text = line(&format!("verify --interpret --arch sm_80 --variant {name}")).refused();
    assert!(text.contains("no variant that ships for sm_80 has such a name"), "{text}");
}

/// Case i of seed S is the one case of seed S + i.
#[test]
fn a_case_replays_alone() {
    let worst =
        |flags: &str| report(&format!("--variant {NAME} {flags}"))["variants"][0]["worst_of_bound"].as_f64().unwrap();
    let alone = (5..9).map(|seed| worst(&format!("--cases 1 --seed {seed}")));
    assert_eq!(worst("--cases 4 --seed 5"), alone.fold(0.0, f64::max));
}

#[test]
fn the_table_names_seed_and_verdicts() {
    let text = line(&format!("verify --interpret --variant {NAME} --cases 3 --seed 40")).passed();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "1 variants for sm_90a, 3 random problems each from seed 40");
    assert_eq!(lines[1], "on the interpreter, as for sm_90a");
    assert!(lines[3].starts_with("variant ") && lines[4].starts_with(NAME) && lines[4].ends_with("pass"), "{text}");
    assert!(text.contains("\nPASS: 1 variants, 3 problems each from seed 40, in "), "{text}");
}

/// What does not ship is made for the occasion.
#[test]
fn a_legal_spec_need_not_ship() {
    let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_16x64x64_w1x4_s2_pingpong_tma_swapped";
    let text = line(&format!("verify --interpret --variant {name} --cases 2")).passed();
    assert!(text.contains("\nPASS: 1 variants, 2 problems each"), "{text}");
}

#[test]
fn names_of_nothing_are_refused() {
    let refused = |flags: &str| line(&format!("verify --interpret {flags}")).refused();
    let text = refused("--variant *_nothing");
    assert_eq!(
        text,
        "--variant *_nothing: no variant that ships for sm_90a has such a name: `ggemm list --arch sm_90a --names` prints all"
    );
    let text = refused(&format!("--variant {NAME}s"));
    assert!(
        text.contains("is not a spec name") && text.contains(&format!("The nearest that ship:\n  {NAME}")),
        "{text}"
    );
    let text = refused(&format!("--variant {}", NAME.replace("64x64x32", "72x64x32")));
    assert!(text.contains("is not legal on sm_90a") && text.contains("warp-tile"), "{text}");
    let text = line("verify --variant *_nothing").refused();
    assert!(text.starts_with("--variant *_nothing: "), "a wrong name shows with or without a GPU: {text}");
}

#[test]
fn flags_that_contradict_are_refused() {
    let text = line("verify --interpret --attest file.json").refused();
    assert_eq!(text, "the argument '--interpret' cannot be used with '--attest <FILE>'");
    assert!(line("verify --arch sm_80").refused().contains("--interpret"));
    assert!(line("verify --date 2026-01-01").refused().contains("--attest <FILE>"));
    assert!(line("verify --interpret --cases 0").refused().contains("0 is not in 1..=1000000"));
    let text = line("verify --attest file.json --date 2026-02-30").refused();
    assert!(text.contains("`2026-02-30` is no date: expected a day of the calendar such as 2026-01-31"), "{text}");
}

/// Without a GPU nothing can be attested, and no file appears.
#[test]
fn a_missing_gpu_is_named() {
    let folder = folder();
    let path = folder.path().join("attestation.json");
    let ended = ggemm(["verify", "--variant", NAME, "--cases", "1", "--attest", path.to_str().unwrap()]);
    let text = ended.refused();
    // With a GPU it is the program without machine code that is refused.
    let without_gpu = text.starts_with("verify needs a GPU: ") && text.ends_with(" (or add --interpret)");
    assert!(without_gpu || text.starts_with("--attest: this program "), "{text}");
    assert!(!path.exists());
}
