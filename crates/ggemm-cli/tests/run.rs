//! `ggemm run` on problems made of flags.

mod common;

use common::{command, ggemm, line, report};
use serde_json::Value;

/// The seed's problem, with nothing said: the facts that its log shows, and exit code 0.
#[test]
fn the_default_run_passes_and_tells_all() {
    let ended = ggemm::<&str>([]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for fact in [
        "G = 4, M = 6144, N = 512, K = 256",
        "bf16 operands, f32 sums, bf16 outputs",
        "[6144, 256] = [M, K]",
        "[512, 256] = [N, K], one for all groups",
        "1024, 1024, 2048, 2048 (listed)",
        "random, normal, seed 0",
        "forward   y[r] = x[r] · w_gᵀ   y [6144, 512] bf16",
        "grad_x    dx[r] = dy[r] · w_g   dx [6144, 256] bf16",
        "grad_w    dw_g = Σ dy[r]ᵀ x[r]   dw [512, 256] bf16",
        "/3145728 (0.00%), in the reference 0/3145728 (0.00%)",
        "/1572864 (0.00%), in the reference 0/1572864 (0.00%)",
        "/131072 (0.00%), in the reference 0/131072 (0.00%)",
        "half an ulp of bf16 + 256 · 2⁻²⁴ · Σ|x||w|",
        "half an ulp of bf16 + 6144 · 2⁻²⁴ · Σ|dy||x|",
        "PASS: 3 of 3 operations match the f64 reference",
    ] {
        assert!(ended.stdout.contains(fact), "{fact:?} is missing from\n{}", ended.stdout);
    }
}

/// The look of a report, whole. Integers, so that every machine prints the same; times and the machine are masked.
#[test]
fn a_report_reads_well() {
    let text = line("run --backend cpu --sizes 2,0,3 --tail 1 -n 5 -k 4 --weights per-expert --exact").passed();
    let mut masked = String::new();
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let is_row = ["forward", "grad_x", "grad_w"].contains(&word) && line.ends_with("pass");
        match word {
            "time" | "rate" | "device" => {
                masked += &format!("{}…\n", &line[..line.find(word).unwrap_or(0) + word.len()])
            }
            // The width of its columns is that of the times.
            "operation" => masked += &(line.split_whitespace().collect::<Vec<_>>().join("  ") + "\n"),
            _ if is_row => masked += &format!("{word} … pass\n"),
            _ => masked += &format!("{}\n", line.trim_end()),
        }
    }
    insta::assert_snapshot!(masked);
}

/// Operands of fp8, by either kind of scales: within the bound of what was quantized, and exact where that can be.
#[test]
fn quantized_operands_pass() {
    let problem = "run --sizes 130,0,41 --tail 3 -n 70 -k 140 --weights per-expert --weight-layout kn";
    let text = line(&format!("{problem} --quantize e4m3 --scaling row")).passed();
    for fact in [
        "e4m3 operands with row scales, quantized from bf16, f32 sums, bf16 outputs",
        "half an ulp of bf16 + (140 + 2) · 2⁻²⁴ · Σ|x||w|",
        "PASS: 3 of 3 operations match the f64 reference",
    ] {
        assert!(text.contains(fact), "{fact:?} is missing from\n{text}");
    }
    let text = line(&format!("{problem} --quantize e5m2 --output-dtype f32 --accumulate")).passed();
    assert!(text.contains("e5m2 operands with block scales") && text.contains("(rows of the group + 3)"), "{text}");
    let text = line(&format!("{problem} --quantize e4m3 --exact")).passed();
    assert!(text.contains("equal to the exact sum, to the bit"), "{text}");
    let report = report("--sizes 9,4 -n 24 -k 40 --quantize e5m2");
    assert_eq!(report["problem"]["fp8"], serde_json::json!({ "format": "e5m2", "scaling": "block" }));
}

/// f32 is multiplied as it is on the host, and by kernels as TF32 where that is allowed.
#[test]
fn f32_operands_pass() {
    let problem = "run --sizes 5,0,9 -n 21 -k 24 --weights per-expert --dtype f32";
    for (flags, bound) in [
        ("--backend cpu", "half an ulp of f32 + 2 · 24 · 2⁻²⁴ · Σ|x||w|"),
        ("--backend interpret --tf32", "24 · 2⁻²⁴ · Σ|x||w| + (2⁻¹⁰ + 2⁻²²) · Σ|x||w|"),
        ("--backend interpret --tf32 --weight-layout kn --output-dtype bf16", "half an ulp of bf16"),
    ] {
        let text = line(&format!("{problem} {flags}")).passed();
        for fact in ["f32 operands, f32 sums", bound, "PASS: 3 of 3 operations match the f64 reference"] {
            assert!(text.contains(fact), "{fact:?} is missing from\n{text}");
        }
    }
    let text = line(&format!("{problem} --backend interpret --tf32 --exact")).passed();
    assert!(text.contains("equal to the exact sum, to the bit"), "{text}");
    let ended = line(&format!("{problem} --backend interpret"));
    assert!(ended.code == Some(2) && ended.stderr.contains("(--tf32, allow_tf32=True)"), "{ended:?}");
}

/// Kernels read every operand along its reduction: copies are laid out for them, whatever the weight's own layout is.
#[test]
fn kernels_multiply_quantized_operands() {
    let problem =
        "run --backend interpret --sizes 130,0,41 --tail 3 -n 80 -k 144 --weights per-expert --weight-layout kn";
    for how in ["e4m3 --exact", "e4m3 --scaling row --fast-accumulation", "e4m3 --output-dtype bf16"] {
        let text = line(&format!("{problem} --quantize {how}")).passed();
        assert!(text.contains("PASS: 3 of 3 operations match the f64 reference"), "{how}:\n{text}");
    }
    let ended = line("run --backend interpret --quantize e4m3 -k 140");
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("multiples of 16 bytes, or use bf16 or f16 operands"), "{}", ended.stderr);
}

#[test]
fn the_json_report_is_consistent() {
    let report = report("--sizes 3,0,9,4 --tail 2 -n 24 -k 40 --weights per-expert --repeat 3 --seed 11");
    let problem = &report["problem"];
    assert_eq!(problem["sizes"], serde_json::json!([3, 0, 9, 4]));
    assert_eq!((&problem["groups"], &problem["m"], &problem["tail"]), (&4.into(), &18.into(), &2.into()));
    assert_eq!((&problem["n"], &problem["k"], &problem["seed"]), (&24.into(), &40.into(), &11.into()));
    assert_eq!(problem["w"], serde_json::json!([4, 24, 40]));
    assert_eq!(report["device"]["kind"], "cpu");
    assert_eq!(report["passed"], true);
    let operations = report["operations"].as_array().unwrap();
    let names: Vec<&str> = operations.iter().filter_map(|o| o["operation"].as_str()).collect();
    assert_eq!(names, ["forward", "grad_x", "grad_w"]);
    for operation in operations {
        assert_eq!(operation["passed"], true);
        let elements: u64 = operation["shape"].as_array().unwrap().iter().filter_map(Value::as_u64).product();
        let check = &operation["check"];
        assert_eq!(check["elements"].as_u64(), Some(elements));
        let number = |value: &Value| value.as_f64().unwrap();
        let largest = &check["largest"];
        let difference = (number(&largest["computed"]) - number(&largest["reference"])).abs();
        assert!((difference - number(&check["max_abs"])).abs() <= 1e-6 * difference, "{check}");
        let worst = &check["worst"];
        let difference = (number(&worst["computed"]) - number(&worst["reference"])).abs();
        assert!(difference <= number(&worst["bound"]) && difference <= number(&check["max_abs"]) * 1.000_001);
        assert!(check["zeros"].as_u64() >= check["reference_zeros"].as_u64());
        let time = &operation["time"];
        assert_eq!(time["runs"], 3);
        let (median, min, max) =
            (number(&time["median_seconds"]), number(&time["min_seconds"]), number(&time["max_seconds"]));
        assert!(0.0 < min && min <= median && median <= max);
        let flops = 2.0 * 16.0 * 24.0 * 40.0;
        assert!((number(&time["tflops"]) / (flops / median / 1e12) - 1.0).abs() < 1e-6);
    }
    // The tail and the empty group's matrix are zeros in output and reference alike.
    assert_eq!(operations[0]["check"]["reference_zeros"].as_u64(), Some(2 * 24));
    assert_eq!(operations[2]["check"]["reference_zeros"].as_u64(), Some(24 * 40));
}

/// Every form that a flag can ask for, exact and within the bound.
#[test]
fn every_form_passes() {
    let forms = [
        "--sizes 5 -n 1 -k 1",
        "--sizes 0,0 -n 3 -k 2",
        "--sizes 4,3 -n 0 -k 5",
        "--sizes 4,3 -n 5 -k 0",
        "--router balanced --groups 7 --rows 40 -n 9 -k 11 --weights per-expert",
        "--router uniform --groups 7 --rows 40 -n 9 -k 11 --weights per-expert --weight-layout kn",
        "--router zipf --groups 7 --rows 40 -n 9 -k 11 --weight-layout kn",
        "--router one-hot --groups 7 --rows 40 -n 9 -k 11 --tail 4",
        "--router ragged --groups 7 --rows 40 -n 9 -k 11 --tail 4 --tail-policy untouched --weights per-expert",
        "--groups 4096 --rows 300 -n 3 -k 2 --weights per-expert",
        "--sizes 4,3 -n 17 -k 15 --group-form ends --group-index i64 --weights per-expert",
        "--sizes 4,3 -n 17 -k 15 --x-row-stride 20 --y-row-stride 18 --w-row-stride 16",
        "--sizes 4,3 -n 17 -k 15 --weights per-expert --w-row-stride 16 --w-group-stride 300",
        "--sizes 4,3 -n 17 -k 15 --dtype f16",
        "--sizes 4,3 -n 17 -k 15 --dtype f16 --output-dtype bf16",
        "--sizes 4,3 -n 17 -k 15 --output-dtype f32 --accumulate",
        "--sizes 4,0,3 -n 17 -k 15 --output-dtype f32 --accumulate --weights per-expert",
    ];
    for form in forms {
        for values in ["", "--exact"] {
            let report = report(&format!("{form} {values} --repeat 1"));
            assert_eq!(report["passed"], true, "{form} {values}: {report:#}");
        }
    }
}

#[test]
fn operations_are_chosen_once_and_in_order() {
    let report = report("--sizes 2,1 -n 3 -k 4 --ops grad_w,forward,grad_w");
    let names: Vec<&str> =
        report["operations"].as_array().unwrap().iter().filter_map(|o| o["operation"].as_str()).collect();
    assert_eq!(names, ["forward", "grad_w"]);
}

#[test]
fn a_seed_is_a_problem() {
    let worst = |seed: u32| {
        let report = report(&format!("--router zipf -g 5 -m 60 -n 8 -k 8 --seed {seed} --repeat 1"));
        (report["problem"]["sizes"].clone(), report["operations"][0]["check"]["worst"].clone())
    };
    assert_eq!(worst(1), worst(1));
    assert_ne!(worst(1), worst(2));
}

#[test]
fn nothing_is_claimed_of_what_is_not_checked() {
    let report = report("--sizes 2,1 -n 3 -k 4 --no-check");
    assert_eq!(report["passed"], Value::Null);
    assert_eq!(report["operations"][0]["check"], Value::Null);
    let text = line("run --backend cpu --sizes 2,1 -n 3 -k 4 --no-check").passed();
    assert!(text.ends_with("NOT CHECKED: timed forward, grad_x, grad_w\n"), "{text}");
}

#[test]
fn a_missing_gpu_is_an_error_only_where_one_is_demanded() {
    let ended = line("run --backend cuda --sizes 2,1 -n 3 -k 4");
    if ended.code == Some(0) {
        return; // This machine has one.
    }
    let text = ended.refused();
    assert!(text.starts_with("--backend cuda: ") && text.ends_with("(or take --backend cpu)"), "{text}");
    assert_eq!(line("run --sizes 2,1 -n 3 -k 4").code, Some(0));
}

#[test]
fn the_log_says_what_was_planned() {
    let args = ["run", "--backend", "cpu", "--sizes", "2,1", "-n", "3", "-k", "4", "--ops", "forward"];
    let output = command().args(args).env("GGEMM_LOG", "info").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("planned") && log.contains("forward"), "{log}");
    let output = command().args(args).env("GGEMM_LOG", "=loud=").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: GGEMM_LOG is `=loud=`: "), "{text}");
}

#[test]
fn kernels_run_in_the_interpreter() {
    let text = line("run --backend interpret --json --exact").passed();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["device"]["interpreted"], true);
    assert_eq!(report["problem"]["sizes"], serde_json::json!([48, 0, 129, 79]));
    assert_eq!(report["passed"], true);
    for operation in report["operations"].as_array().unwrap() {
        let variant = operation["variant"].as_str().unwrap();
        assert!(variant.starts_with("ggemm_"), "{variant}");
        assert!(operation["why"].as_str().unwrap().starts_with("interpreted for sm_90a: "), "{operation}");
        assert_eq!((&operation["time"]["runs"], &operation["time"]["tflops"]), (&1.into(), &Value::Null));
    }
    let text = line("run --backend interpret --arch sm_80 --sizes 3,5 -n 8 -k 8 --repeat 2").passed();
    assert!(text.contains("cpu, interpreting kernels for sm_80, "), "{text}");
    assert!(
        text.contains("it is slow, and times no kernel") && text.contains(" in the interpreter, median of 2 runs"),
        "{text}"
    );
    assert!(!text.contains("rate "), "{text}");
}

#[test]
fn a_variant_is_pinned() {
    let name = "ggemm_rows_ak_bn_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain";
    let ops = |flags: &str| -> Vec<String> {
        let text =
            line(&format!("run --backend interpret --json --sizes 3,5 -n 7 -k 9 --variant {name} {flags}")).passed();
        let report: Value = serde_json::from_str(&text).unwrap();
        let operations = report["operations"].as_array().unwrap().clone();
        assert!(operations.iter().all(|operation| operation["variant"] == name), "{text}");
        operations.iter().map(|operation| operation["operation"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ops(""), ["grad_x"]);
    assert_eq!(ops("--weight-layout kn"), ["forward"]);
    let refused = |flags: &str| line(&format!("run --sizes 3,5 -n 7 -k 9 {flags}")).refused();
    let text = refused(&format!("--backend interpret --variant {name} --ops forward"));
    assert_eq!(
        text,
        format!("--variant {name} computes grad_x, which --ops leaves out: drop --ops, or name another variant")
    );
    let text = refused(&format!("--backend cpu --variant {name}"));
    assert!(text.ends_with("the device is the CPU: remove the pin or plan on a GPU"), "{text}");
    let text = refused("--backend interpret --variant ggemm_rows");
    assert!(text.starts_with("`ggemm_rows` is not a spec name"), "{text}");
    let text = refused("--arch sm_80");
    assert_eq!(text, "--arch is about --backend interpret: add that, or drop --arch");
}
