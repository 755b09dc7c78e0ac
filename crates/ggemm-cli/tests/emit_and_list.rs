//! `ggemm emit` and `ggemm list`.

mod common;

use std::process::Stdio;

use common::{command, folder, ggemm, line};
use ggemm_codegen::explain::explain;
use ggemm_codegen::{Arch, KernelSpec, ValidSpec, catalogue, cost, generate};
use serde_json::Value;

const NAME: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk";

#[test]
fn emit_prints_the_text_of_the_generator() {
    let text = line(&format!("emit {NAME}")).passed();
    let spec: KernelSpec = NAME.parse().unwrap();
    assert_eq!(text, generate(&ValidSpec::new(spec, Arch::Sm80).unwrap()).source());
    assert!(text.contains(NAME));
    assert_eq!(text, line(&format!("emit {NAME} --target sm_90a")).passed());
}

#[test]
fn emit_prints_the_contract() {
    let json: Value = serde_json::from_str(&line(&format!("emit {NAME} --contract")).passed()).unwrap();
    assert_eq!((json["name"].as_str(), json["threads"].as_u64()), (Some(NAME), Some(128)));
}

/// The explanation is that of the generator, and its totals are the contract's.
#[test]
fn emit_explains() {
    let json = line(&format!("emit {NAME} --explain --json")).passed();
    let mut json: Value = serde_json::from_str(&json).unwrap();
    let contract: Value = serde_json::from_str(&line(&format!("emit {NAME} --contract")).passed()).unwrap();
    assert_eq!(json["threads"], contract["threads"]);
    assert_eq!(json["shared"]["bytes"], contract["shared_bytes"]);
    assert_eq!(json["registers"]["estimate"], contract["registers"]);
    // What the compiler says, or why it does not.
    let fields = json.as_object_mut().unwrap();
    let (compiled, reason) = (fields.remove("compiled").unwrap(), fields.remove("not_compiled").unwrap());
    assert_ne!(compiled.is_null(), reason.is_null());
    let spec: KernelSpec = NAME.parse().unwrap();
    let expected = explain(&ValidSpec::new(spec, Arch::Sm80).unwrap());
    assert_eq!(json, serde_json::to_value(expected).unwrap());

    let text = line(&format!("emit {NAME} --explain")).passed();
    assert!(text.starts_with(&format!("{NAME} on sm_80\n")));
    for heading in ["role", "shared memory", "bank conflicts", "device memory", "products", "intensity"] {
        assert!(text.lines().any(|line| line.starts_with(heading)), "{heading}: {text}");
    }
    assert!(!text.contains("copy engine"), "nothing is left to it here");
    assert!(line(&format!("emit {NAME} --explain --contract")).refused().contains("cannot be used with"));
    assert!(line(&format!("emit {NAME} --json")).refused().contains("--explain"));
}

/// The compiler's own figures stand beside the estimate.
#[test]
#[cfg(unix)]
fn emit_explains_what_the_compiler_says() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let nvcc = folder.path().join("nvcc");
    let script = "#!/bin/sh
if [ \"$1\" = --version ]; then echo 'Cuda compilation tools, release 9.9, V9.9.9'; exit; fi
printf '\\177ELF' > out.cubin
echo 'ptxas info    : Function properties for k'
echo '    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads'
echo 'ptxas info    : Used 77 registers, used 1 barriers'
";
    std::fs::write(&nvcc, script).unwrap();
    std::fs::set_permissions(&nvcc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let explained = |flags: &[&str]| {
        let mut command = command();
        command.env("GGEMM_NVCC", &nvcc).env("GGEMM_CACHE_DIR", folder.path().join("cache"));
        let output = command.args(["emit", NAME, "--explain"]).args(flags).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let json: Value = serde_json::from_str(&explained(&["--json"])).unwrap();
    let compiled = &json["compiled"];
    let number = |key: &str| compiled[key].as_u64().unwrap();
    assert_eq!(compiled["compiler"], "nvcc 9.9.9");
    assert_eq!([number("registers"), number("stack_bytes")], [77, 16]);
    assert_eq!([number("spill_store_bytes"), number("spill_load_bytes")], [8, 4]);
    let mut command = command();
    let absent = command.env("GGEMM_NVCC", folder.path().join("absent")).args(["emit", NAME, "--explain"]).output();
    let absent = String::from_utf8(absent.unwrap().stdout).unwrap();
    assert!(absent.contains("not compiled: no working nvcc; looked at: ") && absent.contains("absent"), "{absent}");
    let text = explained(&[]);
    assert!(text.contains("77 registers, 12 bytes spilled, 16 bytes of stack (nvcc 9.9.9)"), "{text}");
}

#[test]
fn emit_writes_a_file() {
    let folder = folder();
    let path = folder.path().join("kernel.cu");
    assert_eq!(ggemm(["emit", NAME, "-o", path.to_str().unwrap()]).passed(), "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), line(&format!("emit {NAME}")).passed());
    let text = ggemm(["emit", NAME, "-o", folder.path().join("no/kernel.cu").to_str().unwrap()]).refused();
    assert!(text.contains("kernel.cu cannot be written: there is no folder "), "{text}");
}

#[test]
fn wrong_specs_are_explained() {
    insta::assert_snapshot!(line(&format!("emit {}", NAME.replace("128x128", "128x129"))).refused(), @r#"
    ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x129x64_w2x2_s3_multistage_cpasync_evenk is not legal on sm_80:
      warp-tile: tile n is 129, no multiple of 16 for each of its 2 warps; nearest: 128
    The nearest that ship:
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bn_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bk_f16_f32_f16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
    "#);
    insta::assert_snapshot!(line(&format!("emit {}", NAME.replace("bf16_f32", "bf17_f32"))).refused(), @r#"
    `ggemm_rows_ak_bk_bf17_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk` is not a spec name: it has `bf17`, expected the operands' type (as in ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk; `ggemm list` prints all that ship)
    The nearest that ship:
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bn_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bk_f16_f32_f16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
    "#);
    insta::assert_snapshot!(line(&format!("emit {}", NAME.replace("s3", "s9"))).refused(), @r#"
    ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s9_multistage_cpasync_evenk is not legal on sm_80:
      stages: 9 stages of CpAsync copies; nearest: 8
    The nearest that ship:
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bn_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x32_w2x2_s6_multistage_cpasync_evenk
    "#);
    insta::assert_snapshot!(line(&format!("emit {} --target sm_89", NAME.replace("128x128", "128x256").replace("w2x2", "w2x4"))).refused(), @r#"
    ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x256x64_w2x4_s3_multistage_cpasync_evenk is not legal on sm_89:
      shared-memory: 3 stages take 147456 bytes, sm_89 grants 101376; nearest: 2
    The nearest that ship:
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x256x32_w2x4_s4_multistage_cpasync_evenk
      ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
      ggemm_rows_ak_bn_bf16_f32_bf16_sm80_128x256x32_w2x4_s4_multistage_cpasync_evenk
    "#);
    insta::assert_snapshot!(line("emit forward").refused(), @"`forward` is not a spec name: it has `forward`, expected the prefix `ggemm` (as in ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk; `ggemm list` prints all that ship)");
    insta::assert_snapshot!(ggemm(["emit", ""]).refused(), @"`` is not a spec name: it ends or has an empty part, expected the prefix `ggemm` (as in ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk; `ggemm list` prints all that ship)");
    insta::assert_snapshot!(line(&format!("emit {NAME} --target sm_70")).refused(), @r#"
    invalid value 'sm_70' for '--target <TARGET>'
      [possible values: sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a]

      tip: a similar value exists: 'sm_80'
    "#);
    insta::assert_snapshot!(line("emit").refused(), @r#"
    the following required arguments were not provided:
      <SPEC>
    "#);
}

#[test]
fn list_shows_every_variant_with_what_it_takes() {
    let text = line("list").passed();
    for spec in catalogue::shipped() {
        assert!(text.contains(&spec.to_string()), "{spec}");
    }
    for arch in Arch::ALL {
        assert!(text.contains(arch.name()));
        let listed = line(&format!("list --arch {arch} --names")).passed();
        let expected: Vec<String> = catalogue::shipped_for(arch).iter().map(|s| s.spec().to_string()).collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    }
    let row = text.lines().find(|line| line.starts_with(NAME)).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..4], [NAME, "128", "96.0", "KiB"]);
    let spec: KernelSpec = NAME.parse().unwrap();
    let contract = generate(&ValidSpec::new(spec, Arch::Sm80).unwrap()).contract;
    assert_eq!(words[4], contract.registers.to_string());
    let resident = Arch::ALL.map(|arch| match catalogue::for_target(spec, arch) {
        Some(_) => cost::ctas_per_sm(&contract, &arch.limits()).to_string(),
        None => "-".to_owned(),
    });
    assert_eq!(words[5..], resident);
}

#[test]
fn list_prints_json() {
    let json: Value = serde_json::from_str(&line("list --json").passed()).unwrap();
    let variants = json.as_array().unwrap();
    assert_eq!(variants.len(), catalogue::shipped().len());
    for variant in variants {
        let name = variant["name"].as_str().unwrap();
        let spec: KernelSpec = serde_json::from_value(variant["spec"].clone()).unwrap();
        assert_eq!(spec.to_string(), name);
        assert!(!variant["targets"].as_array().unwrap().is_empty());
    }
}

#[test]
fn list_ranks_for_a_problem() {
    let text = line("list --op grad_w -g 8 -m 4096 -n 1024 -k 512 --arch sm_80 --json").passed();
    let json: Value = serde_json::from_str(&text).unwrap();
    let times: Vec<f64> = json.as_array().unwrap().iter().filter_map(|r| r["predicted_seconds"].as_f64()).collect();
    assert!(times.len() > 3 && times.is_sorted() && times[0] > 0.0, "{times:?}");
    assert!(json.as_array().unwrap().iter().all(|r| r["name"].as_str().unwrap().starts_with("ggemm_reduction_")));
    let fp8 =
        line("list --op grad_x -g 8 -m 4096 -n 1024 -k 512 --quantize e4m3 --scaling row --fast-accumulation --names");
    let fp8 = fp8.passed();
    assert!(fp8.lines().count() > 1 && fp8.lines().all(|name| name.contains("_e4m3_f32_bf16_")), "{fp8}");
    let nothing = line("list --quantize e4m3").refused();
    assert!(nothing.ends_with("ranked for: add --op, -g, -m, -n and -k"), "{nothing}");
    // Rows that are no multiple of 16 bytes: plain variants, and one that takes copies of operands and whose threads write.
    let odd = line("list --op forward -g 8 -m 4096 -n 1023 -k 511 --names").passed();
    assert_eq!(odd.lines().count(), 3);
    assert!(odd.lines().all(|name| name.contains("_plain") || name.ends_with("_dthreads")), "{odd}");
    let table = line("list --op forward -g 8 -m 4096 -n 1024 -k 512").passed();
    assert!(
        table.starts_with("forward bf16->bf16 G=8 M=4096 N=1024 K=512 w=[G,N,K] sizes:i32 on sm_90a, dense rows\n")
    );
}

/// A reader that has seen enough, such as `head`, is no error.
#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = command().arg("list").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]));
}

/// Kernels that quantize have text and contract too; they are listed apart, and only where they run.
#[test]
fn kernels_that_quantize_are_listed_and_emitted() {
    let names = line("list --quantizers").passed();
    assert_eq!(names.lines().count(), ggemm_codegen::QuantizeSpec::all().count());
    assert_eq!(line("list --quantizers --arch sm_80").passed(), "");
    let name = names.lines().last().expect("some ship");
    let text = line(&format!("emit {name} --target sm_90a")).passed();
    assert!(text.contains(&format!("{name}(\n")), "{text}");
    let contract = line(&format!("emit {name} --contract")).passed();
    assert!(contract.contains(&format!("\"name\": \"{name}\"")) && contract.contains("\"scales\""), "{contract}");
    let refused = line(&format!("emit {name} --target sm_80")).refused();
    assert!(
        refused.ends_with("converts to fp8, which sm_80 has no instruction for: sm_89 and later have one"),
        "{refused}"
    );
    let refused = line(&format!("emit {name} --explain")).refused();
    assert!(
        refused.ends_with("is no product, and only products are explained: print its text or its --contract"),
        "{refused}"
    );
}
