//! `ggemm trace`: the files that it writes, and what it refuses. What they hold is tested with the timeline itself.

mod common;

use common::{command, folder, line, text};
use serde_json::Value;

const NAME: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x128x64_w4x1_s8_pingpong_tma";
const EVEN: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_64x128x64_w2x2_s4_multistage_cpasync_evenk";

#[test]
fn a_name_alone_makes_a_picture_and_a_trace() {
    let folder = folder();
    let output = command().args(["trace", NAME]).current_dir(folder.path()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    for role in ["consumer 0", "consumer 1", "finder", "loader"] {
        assert!(stdout.lines().any(|line| line.starts_with(role)), "{stdout}");
    }
    let read = |ending: &str| std::fs::read_to_string(folder.path().join(format!("{NAME}.{ending}"))).unwrap();
    assert!(read("svg").starts_with("<svg ") && read("svg").contains(NAME));
    let json: Value = serde_json::from_str(&read("trace.json")).unwrap();
    assert_eq!(json["otherData"]["kernel"], NAME);
    assert!(json["traceEvents"].as_array().unwrap().len() > 1000);
}

#[test]
fn only_what_is_asked_for_is_written() {
    let folder = folder();
    let trace = |file: &str, flags: &str| {
        let path = folder.path().join(file);
        line(&format!("trace {NAME} --svg {} {flags}", text(&path))).passed();
        std::fs::read_to_string(path).unwrap()
    };
    let first = trace("first.svg", "--sizes 70,3 -n 128 -k 192");
    assert_eq!(first, trace("again.svg", "--sizes 70,3 -n 128 -k 192"));
    assert!(first.contains("with groups [70, 3]") && first.contains("N=128 K=192"));
    let other = trace("other.svg", "--sizes 70,3 -n 128 -k 192 --cta 1 --policy late --seed 4");
    assert!(other.contains("CTA 1 of 2, policy late, seed 4"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no trace was asked for");
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let folder = folder();
    let refused = |flags: &str| {
        let output = command().args(flags.split_whitespace()).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{stderr}");
        stderr.lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(refused(&format!("trace {NAME} --cta 7")), @"error: CTA 7 of a launch of 2: they are counted from 0");
    insta::assert_snapshot!(refused(&format!("trace {NAME} -n 100")), @"error: forward bf16->bf16 G=4 M=222 N=100 K=384 w=[G,N,K] sizes:i32: rows are aligned to 8 bytes and the variant needs 16: take an n and a k that are multiples of 8, or a variant that ends in `plain`");
    insta::assert_snapshot!(refused(&format!("trace {EVEN} -k 104")), @"error: forward bf16->bf16 G=4 M=222 N=256 K=104 w=[G,N,K] sizes:i32: the variant takes reductions of whole blocks of 64 and 104 is none: take a k that is a multiple of it, or the variant without `evenk`");
    insta::assert_snapshot!(refused(&format!("trace {NAME} -n 100000 -k 100000")), @"error: forward bf16->bf16 G=4 M=222 N=100000 K=100000 w=[G,N,K] sizes:i32 has 40044400000 elements, and an example at most 16777216: give fewer rows, or a smaller n or k");
    insta::assert_snapshot!(refused(&format!("trace {NAME} --policy soon")), @"error: invalid value 'soon' for '--policy <POLICY>'");
    assert!(refused("trace forward").contains("is not a spec name"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a refused call writes nothing");
}
