//! Files that cannot be run: every one is refused with a message that names what is wrong.

mod common;

use std::path::Path;

use common::{Tensor, file_bytes, folder, ggemm, integers, text, write};

/// Tensors of a small file that runs.
fn good() -> Vec<Tensor> {
    vec![
        Tensor::bf16("x", &[4, 6], integers(24, 1)),
        Tensor::bf16("w", &[2, 5, 6], integers(60, 2)),
        Tensor::i32("m_sizes", &[1, 3]),
    ]
}

/// The refusal of a file, with its path as `FILE`.
#[track_caller]
fn refusal_of(path: &Path, flags: &str) -> String {
    let mut args = vec!["run", "--backend", "cpu", "--input", text(path)];
    args.extend(flags.split_whitespace());
    ggemm(args).refused().replace(text(path), "FILE")
}

/// The refusal of these bytes.
#[track_caller]
fn bytes(bytes: &[u8]) -> String {
    let folder = folder();
    let path = folder.path().join("input.safetensors");
    std::fs::write(&path, bytes).expect("the folder is writable");
    refusal_of(&path, "")
}

/// The refusal of a file of these tensors.
#[track_caller]
fn tensors(tensors: &[Tensor], flags: &str) -> String {
    let folder = folder();
    refusal_of(&write(&folder, "input.safetensors", tensors), flags)
}

/// The good file with some tensors in the place of its own of the same name.
fn with(others: Vec<Tensor>) -> Vec<Tensor> {
    let mut all: Vec<Tensor> = good().into_iter().filter(|t| others.iter().all(|o| o.name != t.name)).collect();
    all.extend(others);
    all
}

/// The good file without a tensor.
fn without(name: &str) -> Vec<Tensor> {
    good().into_iter().filter(|t| t.name != name).collect()
}

/// A header with the bytes of tensors after it.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// Whatever a file is cut to, it is refused, and in one of four ways.
#[test]
fn truncation_is_noticed_at_every_byte() {
    let whole = file_bytes(&good());
    let folder = folder();
    let path = folder.path().join("input.safetensors");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    // Every boundary and its neighbours; each call takes a process.
    let cuts = [0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, header + 20, whole.len() - 1];
    for cut in cuts {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let refusal = refusal_of(&path, "");
        let expected = if cut < 8 {
            format!("FILE has {cut} bytes: a safetensors file starts with the 8-byte length of its header")
        } else if cut < header {
            let (size, follow) = (header - 8, cut - 8);
            format!(
                "FILE says that its header has {size} bytes, and {follow} follow: it is truncated, or no safetensors file"
            )
        } else {
            let (described, follow) = (whole.len() - header, cut - header);
            format!(
                "the header of FILE describes {described} bytes of tensors, and {follow} follow it: the file is truncated"
            )
        };
        assert_eq!(refusal, expected, "cut at {cut}");
    }
}

#[test]
fn corrupt_headers_are_named() {
    let mut appended = file_bytes(&good());
    appended.extend(b"more");
    insta::assert_snapshot!(bytes(&appended), @"the header of FILE describes 176 bytes of tensors, and 180 follow it: something was appended to the file");
    insta::assert_snapshot!(bytes(b"PK\x03\x04 this is a zip file, not a safetensors file"), @"FILE says that its header has 7595448452415441744 bytes, and 39 follow: it is truncated, or no safetensors file");
    insta::assert_snapshot!(bytes(&with_header("{\"x\": ", 0)), @"the header of FILE is not valid: EOF while parsing a value at line 1 column 6");
    insta::assert_snapshot!(bytes(&with_header("[1, 2]", 0)), @"the header of FILE is not valid: invalid type: sequence, expected struct HashMetadata at line 1 column 0");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF17\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2)), @"the header of FILE is not valid: unknown variant `BF17`, expected one of `BOOL`, `F4`, `F6_E2M3`, `F6_E3M2`, `U8`, `I8`, `F8_E5M2`, `F8_E4M3`, `F8_E8M0`, `F8_E4M3FNUZ`, `F8_E5M2FNUZ`, `I16`, `U16`, `F16`, `BF16`, `I32`, `U32`, `F32`, `C64`, `F64`, `I64`, `U64` at line 1 column 55");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2)), @"the header of FILE is not valid: invalid shape, data type, or offset for tensor");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}", 4)), @"the header of FILE is not valid: invalid offset for tensor `x`");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF16\",\"shape\":[-1],\"data_offsets\":[0,2]}}", 2)), @"the header of FILE is not valid: invalid value: integer `-1`, expected usize at line 1 column 56");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF16\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,2]}}", 2)), @"the header of FILE is not valid: overflow computing buffer size from shape and/or element type");
    insta::assert_snapshot!(bytes(&with_header("{\"x\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]},\"w\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[1,3]}}", 3)), @"the header of FILE is not valid: invalid offset for tensor `w`");
    insta::assert_snapshot!(bytes(&with_header("{}", 0)), @"FILE has no tensor `x` (name another with --x-name); it has none");
    let invalid_text = [&7_u64.to_le_bytes()[..], b"{\"\xff\":1}"].concat();
    insta::assert_snapshot!(bytes(&invalid_text), @"the header of FILE is not valid: invalid unicode code point at line 1 column 3");
}

#[test]
fn files_that_are_none_are_named() {
    let folder = folder();
    insta::assert_snapshot!(refusal_of(&folder.path().join("no-such-file"), ""), @"FILE cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(refusal_of(folder.path(), ""), @"FILE cannot be read: is a directory");
}

#[test]
fn missing_tensors_are_named_with_those_that_are_there() {
    insta::assert_snapshot!(tensors(&without("x"), ""), @"FILE has no tensor `x` (name another with --x-name); it has `m_sizes` I32 [2], `w` BF16 [2, 5, 6]");
    insta::assert_snapshot!(tensors(&without("w"), ""), @"FILE has no tensor `w` (name another with --w-name); it has `m_sizes` I32 [2], `x` BF16 [4, 6]");
    insta::assert_snapshot!(tensors(&without("m_sizes"), ""), @"FILE has neither `m_sizes` nor `expert_ids`: name a tensor of sizes with --sizes-name or one of expert ids with --ids-name, or give --sizes or --router; it has `w` BF16 [2, 5, 6], `x` BF16 [4, 6]");
    insta::assert_snapshot!(tensors(&good(), "--x-name hidden"), @"FILE has no tensor `hidden` (name another with --x-name); it has `m_sizes` I32 [2], `w` BF16 [2, 5, 6], `x` BF16 [4, 6]");
    insta::assert_snapshot!(tensors(&good(), "--dy-name grad"), @"FILE has no tensor `grad` (name another with --dy-name); it has `m_sizes` I32 [2], `w` BF16 [2, 5, 6], `x` BF16 [4, 6]");
    let mut many: Vec<Tensor> = without("x");
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l.x", "m"];
    many.extend(names.map(|name| Tensor::bf16(name, &[1], [1.0])));
    insta::assert_snapshot!(tensors(&many, ""), @"FILE has no tensor `x` (name another with --x-name); it has `a` BF16 [1], `b` BF16 [1], `c` BF16 [1], `d` BF16 [1], `e` BF16 [1], `f` BF16 [1], `g` BF16 [1], `h` BF16 [1], `i` BF16 [1], `j` BF16 [1], `k` BF16 [1], `m` BF16 [1] and 3 more");
}

#[test]
fn types_that_do_not_fit_are_named() {
    insta::assert_snapshot!(tensors(&with(vec![Tensor::f32("x", &[4, 6], [0.0; 24])]), ""), @"`x` holds F32 and `w` BF16: both operands have one type");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::i32("x", &[1, 2])]), ""), @"`x` holds I32, and BF16, F16 or F32 is needed: convert it first");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::f16("w", &[2, 5, 6], [0.0; 60])]), ""), @"`x` holds BF16 and `w` F16: both operands have one type");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::f32("m_sizes", &[2], [1.0, 3.0])]), ""), @"`m_sizes` holds F32, and I32 or I64 is needed: convert it first");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::f16("dy", &[4, 5], [1.0; 20])]), ""), @"`x` holds BF16 and `dy` F16: both operands have one type");
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    insta::assert_snapshot!(tensors(&with(vec![Tensor::bf16("x", &[24], [0.0; 24])]), ""), @"`x` has shape [24], and [M, K] is needed");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::bf16("w", &[2, 5, 7], [0.0; 70])]), ""), @"`w` has shape [2, 5, 7], and none of its last two dimensions is K = 6 of `x` [4, 6]");
    insta::assert_snapshot!(tensors(&good(), "--weight-layout kn"), @"`w` has shape [2, 5, 6], which is not [G, K, N] with K = 6 of `x` [4, 6]: it is --weight-layout nk");
    insta::assert_snapshot!(tensors(&good(), "--weights shared"), @"--weights says shared, and `w` [2, 5, 6] of the file makes it per-expert: drop the flag or give another file");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::bf16("dy", &[4, 6], [0.0; 24])]), ""), @"`dy` has shape [4, 6], and [M, N] = [4, 5] is needed: `x` has 4 rows and `w` makes N = 5");
    insta::assert_snapshot!(tensors(&with(vec![Tensor::i32("m_sizes", &[1, 2, 1])]), ""), @"`m_sizes` has shape [3], and [G] = [2] is needed: `w` has 2 experts");
    let mut ids = without("m_sizes");
    ids.push(Tensor::i32("expert_ids", &[0, 1, 1]));
    insta::assert_snapshot!(tensors(&ids, ""), @"`expert_ids` has shape [3], and [M] = [4] is needed: `x` has 4 rows");
    for (flags, text) in [
        ("--rows 5", "--rows says 5, and `x` of the file makes it 4: drop the flag or give another file"),
        ("-n 6", "-n says 6, and `w` of the file makes it 5: drop the flag or give another file"),
        ("-k 5", "-k says 5, and `x` of the file makes it 6: drop the flag or give another file"),
        ("--groups 3", "--groups says 3, and `w` of the file makes it 2: drop the flag or give another file"),
        ("--dtype f16", "--dtype says f16, and `x` of the file makes it bf16: drop the flag or give another file"),
    ] {
        assert_eq!(tensors(&good(), flags), text);
    }
}

#[test]
fn groups_that_do_not_fit_are_named() {
    let sizes = |sizes: &[i32]| with(vec![Tensor::i32("m_sizes", sizes)]);
    insta::assert_snapshot!(tensors(&sizes(&[1, 4]), ""), @"group 1 ends at row 5, past M = 4: the groups own at most M rows");
    insta::assert_snapshot!(tensors(&sizes(&[1, 2]), ""), @"the last group, 1, ends at row 3 of M = 4, and no tail was declared: declare Tail::Zero or Tail::Untouched, or pass GroupForm::Ends if these are ends (here: --tail-policy zero or untouched, or --group-form ends)");
    insta::assert_snapshot!(tensors(&sizes(&[-1, 5]), ""), @"the size of group 0 is -1: sizes are at least 0");
    insta::assert_snapshot!(tensors(&sizes(&[4, 3]), "--group-form ends"), @"the end of group 1 is 3, before 4 where it starts: ends never decrease (pass GroupForm::Sizes if these are sizes) (here: --group-form sizes)");
    let ids = |ids: &[i32]| {
        let mut all = without("m_sizes");
        all.push(Tensor::i32("expert_ids", ids));
        all
    };
    insta::assert_snapshot!(tensors(&ids(&[0, 1, 2, 1]), ""), @"`expert_ids` says expert 2 for token 2, and there are 2: ids are 0 to 1");
    insta::assert_snapshot!(tensors(&ids(&[0, -1, 1, 1]), ""), @"`expert_ids` says expert -1 for token 1, and there are 2: ids are 0 to 1");
    let mut shared = ids(&[0, i32::MAX, 1, 1]);
    shared.retain(|t| t.name != "w");
    shared.push(Tensor::bf16("w", &[5, 6], integers(30, 2)));
    insta::assert_snapshot!(tensors(&shared, ""), @"`expert_ids` has expert ids up to 2147483647: say how many experts there are with --groups");
    let mut both = good();
    both.push(Tensor::i32("expert_ids", &[0, 1, 1, 1]));
    insta::assert_snapshot!(tensors(&both, ""), @"FILE has both `m_sizes` and `expert_ids`: say which to use with --sizes-name or --ids-name");
    insta::assert_snapshot!(tensors(&good(), "--sizes 1,3"), @"FILE has `m_sizes`, and --sizes is given too: drop the flag");
    insta::assert_snapshot!(tensors(&good(), "--router zipf"), @"FILE has `m_sizes`, and --router is given too: drop the flag");
    insta::assert_snapshot!(tensors(&without("m_sizes"), "--sizes 1,1,2"), @"--sizes lists 3 groups and `w` of the file has 2 experts: list 2 sizes");
    insta::assert_snapshot!(tensors(&without("m_sizes"), "--sizes 1,1"), @"the last group, 1, ends at row 2 of M = 4, and no tail was declared: declare Tail::Zero or Tail::Untouched, or pass GroupForm::Ends if these are ends (here: --tail-policy zero or untouched, or --group-form ends)");
}
