//! `ggemm tune` where there is no GPU: what it would do, and what it refuses.

mod common;

use std::fs;

use common::{command, folder, ggemm, line};
use serde_json::Value;

const CONFIG: &str = r#"{
    "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_experts": 128, "num_experts_per_tok": 8, "torch_dtype": "bfloat16"
}"#;

fn dry_run(words: &[&str]) -> Vec<Value> {
    let text = ggemm(["tune", "--dry-run", "--json"].iter().chain(words)).passed();
    serde_json::from_str(&text).expect("JSON")
}

fn extents(planned: &Value) -> [u64; 4] {
    ["groups", "m", "n", "k"].map(|key| planned["problem"][key].as_u64().expect("a number"))
}

#[test]
fn a_models_file_becomes_its_layers() {
    let folder = folder();
    fs::write(folder.path().join("config.json"), CONFIG).unwrap();
    let path = folder.path().to_str().unwrap();
    let planned = dry_run(&["--model", path, "--tokens", "64,8192", "--ops", "forward", "--arch", "sm_90a"]);
    let found: Vec<[u64; 4]> = planned.iter().map(extents).collect();
    assert_eq!(
        found,
        [[128, 512, 1536, 2048], [128, 512, 2048, 768], [128, 65536, 1536, 2048], [128, 65536, 2048, 768]]
    );
    for problem in &planned {
        let candidates = problem["candidates"].as_array().unwrap();
        let times: Vec<f64> = candidates.iter().map(|c| c["predicted_microseconds"].as_f64().unwrap()).collect();
        assert!(times.len() > 1 && times.is_sorted() && times[times.len() - 1] <= 2.0 * times[0], "{times:?}");
        assert_eq!((&problem["routing"], &problem["arch"]), (&"skewed".into(), &"sm_90a".into()));
    }
    let shared = dry_run(&["--model", path, "--tokens", "64", "--expert-parallel", "8"]);
    assert_eq!((shared.len(), extents(&shared[0])[0]), (6, 16));
}

#[test]
fn flags_and_suites_make_the_problems_that_they_say() {
    let planned = dry_run(&["--sizes", "10,0,30", "-n", "64", "-k", "128", "--dtype", "f16", "--accumulate"]);
    assert_eq!(planned.len(), 3);
    assert!(planned.iter().all(|problem| extents(problem) == [3, 40, 64, 128]));
    let outputs: Vec<&Value> = planned.iter().map(|problem| &problem["problem"]["output"]).collect();
    assert_eq!(outputs, ["f16", "f16", "f32"]);
    assert_eq!(planned[2]["problem"]["accumulate"], true);

    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/gpu/suite.json");
    let planned = dry_run(&["--suite", suite, "--ops", "grad_w"]);
    assert_eq!(planned.len(), 12, "decoding has no grad_w");
    let balanced = planned.iter().find(|problem| problem["label"] == "dsv3-up-balanced grad_w").unwrap();
    assert_eq!(balanced["routing"], "even");
}

#[test]
fn a_dry_run_reads_well() {
    let text = line("tune --dry-run -g 8 -m 4096 -n 1536 -k 2048 --ops forward --within 1.2 --arch sm_90a").passed();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("problem ") && lines[0].ends_with("predicted"), "{text}");
    let words: Vec<&str> = lines[1].split_whitespace().take(7).collect();
    assert_eq!(words, ["layer", "forward", "8", "4096", "1536", "2048", "skewed"]);
    assert!(lines[lines.len() - 1].ends_with(" variants of 1 problems would be timed on sm_90a"), "{text}");
}

#[test]
fn without_a_gpu_it_says_what_it_needs() {
    let words = "tune -g 8 -m 4096 -n 1536 -k 2048".split_whitespace();
    let output = command().args(words).env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: tuning needs the GPU that it is for: "), "{text}");
    assert!(text.contains("(or add --dry-run, which prints what would be timed)"), "{text}");
}

#[test]
fn what_cannot_be_tuned_is_refused_with_the_remedy() {
    let folder = folder();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let refused = |words: &[&str]| ggemm(["tune", "--dry-run"].iter().chain(words)).refused();
    let dense = file("dense.json", r#"{ "hidden_size": 8, "intermediate_size": 16 }"#);
    let text = refused(&["--model", &dense, "--tokens", "8"]);
    assert!(text.starts_with("--model: the model's config.json has no number of experts: looked for "), "{text}");
    let model = file("config.json", CONFIG);
    assert_eq!(
        refused(&["--model", &model, "--tokens", "8", "--expert-parallel", "3"]),
        "--model: 128 experts do not divide among 3 GPUs: give a divisor of 128"
    );
    let decode = file(
        "decode.json",
        r#"{ "cases": [{ "name": "a", "groups": 2, "m": 2, "n": 8, "k": 8, "operations": ["forward"] }] }"#,
    );
    assert_eq!(
        refused(&["--suite", &decode, "--ops", "grad_x"]),
        "nothing is left to do: the suite has no case with one of these --ops"
    );
    assert!(refused(&["--suite", &dense]).starts_with("--suite: it is no suite: "));
    assert!(refused(&["--suite", "no/such/file"]).starts_with("--suite: the suite no/such/file cannot be read: "));
    assert!(refused(&[]).contains("required arguments were not provided"));
    assert!(refused(&["--groups", "8"]).contains("--rows <M>"));
    assert!(refused(&["--model", &model]).contains("--tokens"));
    assert!(
        refused(&["--sizes", "1", "-n", "8", "-k", "8", "--within", "0.5"]).contains("expected a number, at least 1")
    );
    assert!(line("tune -g 2 -m 8 -n 8 -k 8 --arch sm_80").refused().contains("--dry-run"));
}
