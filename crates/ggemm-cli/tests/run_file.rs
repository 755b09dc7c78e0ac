//! `ggemm run --input`: files as checkpoints and other programs make them.

mod common;

use std::path::Path;

use common::{Tensor, folder, ggemm, integers, read, text, write};

const M: usize = 7;
const N: usize = 5;
const K: usize = 6;
const G: usize = 3;

/// Runs a file on the CPU with some more flags.
fn run(path: &Path, output: Option<&Path>, flags: &str) -> common::Ended {
    let mut args = vec!["run", "--backend", "cpu", "--repeat", "1", "--input", text(path)];
    if let Some(output) = output {
        args.extend(["--output", text(output)]);
    }
    args.extend(flags.split_whitespace());
    ggemm(args)
}

/// y, dx and dw by their definitions, for tokens in any order and weights [G, N, K].
fn expected(x: &[f32], w: &[f32], dy: &[f32], experts: &[usize]) -> [Vec<f32>; 3] {
    let (mut y, mut dx, mut dw) = (vec![0.0; M * N], vec![0.0; M * K], vec![0.0; G * N * K]);
    for (token, &g) in experts.iter().enumerate() {
        for n in 0..N {
            for k in 0..K {
                let (xv, dyv, at) = (x[token * K + k], dy[token * N + n], (g * N + n) * K + k);
                y[token * N + n] += xv * w[at];
                dx[token * K + k] += dyv * w[at];
                dw[at] += dyv * xv;
            }
        }
    }
    [y, dx, dw]
}

/// The values of the three operands, small integers.
fn operands() -> [Vec<f32>; 3] {
    [integers(M * K, 1), integers(G * N * K, 2), integers(M * N, 3)]
}

#[track_caller]
fn holds(path: &Path, [y, dx, dw]: [Vec<f32>; 3]) {
    assert_eq!(read(path, "y"), (vec![M, N], y));
    assert_eq!(read(path, "dx"), (vec![M, K], dx));
    assert_eq!(read(path, "dw"), (vec![G, N, K], dw));
}

#[test]
fn sorted_tokens_with_sizes() {
    let folder = folder();
    let [x, w, dy] = operands();
    for index in ["i32", "i64"] {
        let sizes =
            if index == "i32" { Tensor::i32("m_sizes", &[4, 0, 3]) } else { Tensor::i64("m_sizes", &[4, 0, 3]) };
        let input = write(
            &folder,
            "in.safetensors",
            &[
                Tensor::bf16("x", &[M, K], x.clone()),
                Tensor::bf16("w", &[G, N, K], w.clone()),
                Tensor::bf16("dy", &[M, N], dy.clone()),
                sizes,
                Tensor::f32("unrelated.weight", &[2, 2], [1.0; 4]),
            ],
        );
        let output = folder.path().join("out.safetensors");
        let text = run(&input, Some(&output), "").passed();
        assert!(text.contains("PASS: 3 of 3"), "{text}");
        assert!(text.contains("4, 0, 3 (`m_sizes`)"), "{text}");
        holds(&output, expected(&x, &w, &dy, &[0, 0, 0, 0, 2, 2, 2]));
    }
    // Nothing but the two files is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn unsorted_tokens_come_back_in_their_order() {
    let folder = folder();
    let [x, w, dy] = operands();
    let experts = [2, 0, 2, 1, 0, 0, 2];
    let input = write(
        &folder,
        "in.safetensors",
        &[
            Tensor::f16("x", &[M, K], x.clone()),
            Tensor::f16("w", &[G, N, K], w.clone()),
            Tensor::f16("dy", &[M, N], dy.clone()),
            Tensor::i64("expert_ids", &experts.map(|e| e as i64)),
        ],
    );
    let output = folder.path().join("out.safetensors");
    let text = run(&input, Some(&output), "--output-dtype f32").passed();
    for fact in ["3, 1, 3 (counted from `expert_ids`)", "tokens were sorted by `expert_ids`", "of the file)", "wrote "]
    {
        assert!(text.contains(fact), "{fact} is missing from {text}");
    }
    holds(&output, expected(&x, &w, &dy, &experts));
    assert_eq!(read(&output, "m_sizes"), (vec![G], vec![3.0, 1.0, 3.0]));
}

#[test]
fn weights_in_the_other_order_and_under_other_names() {
    let folder = folder();
    let [x, w, dy] = operands();
    let transposed: Vec<f32> = (0..G * K * N)
        .map(|i| {
            let (g, k, n) = (i / (K * N), i / N % K, i % N);
            w[(g * N + n) * K + k]
        })
        .collect();
    let input = write(
        &folder,
        "in.safetensors",
        &[
            Tensor::bf16("hidden", &[M, K], x.clone()),
            Tensor::bf16("experts.up", &[G, K, N], transposed),
            Tensor::bf16("hidden.grad", &[M, N], dy.clone()),
            Tensor::i32("offs", &[4, 4, 7]),
        ],
    );
    let output = folder.path().join("out.safetensors");
    let names = "--x-name hidden --w-name experts.up --dy-name hidden.grad --sizes-name offs --group-form ends";
    run(&input, Some(&output), names).passed();
    let [y, dx, dw] = expected(&x, &w, &dy, &[0, 0, 0, 0, 2, 2, 2]);
    assert_eq!(read(&output, "y"), (vec![M, N], y));
    assert_eq!(read(&output, "dx"), (vec![M, K], dx));
    let dw_transposed: Vec<f32> = (0..G * K * N)
        .map(|i| {
            let (g, k, n) = (i / (K * N), i / N % K, i % N);
            dw[(g * N + n) * K + k]
        })
        .collect();
    assert_eq!(read(&output, "dw"), (vec![G, K, N], dw_transposed));
    assert_eq!(read(&output, "m_sizes"), (vec![G], vec![4.0, 0.0, 3.0]));
}

#[test]
fn a_shared_square_weight_without_dy() {
    let folder = folder();
    let input = write(
        &folder,
        "in.safetensors",
        &[
            Tensor::bf16("x", &[M, K], integers(M * K, 1)),
            Tensor::bf16("w", &[K, K], integers(K * K, 2)),
            Tensor::i32("expert_ids", &[2, 0, 2, 1, 0, 0, 2]),
        ],
    );
    let output = folder.path().join("out.safetensors");
    let text = run(&input, Some(&output), "").passed();
    for fact in [
        "`w` is square: read as [N, K] (take --weight-layout kn where it is [K, N])",
        "the file has no `dy`: dy is random, normal, seed 0",
        "G = 3 is the largest of `expert_ids` and one (say otherwise with --groups)",
    ] {
        assert!(text.contains(fact), "{fact} is missing from {text}");
    }
    // What was random is written too: the output with x and w makes the same problem again.
    assert_eq!(read(&output, "dy").0, [M, K]);
    assert!(run(&input, None, "--groups 9").passed().contains("3, 1, 3, 0, 0, 0, 0, 0, 0"));
    assert!(!run(&input, None, "--weight-layout kn").passed().contains("square"));
}

#[test]
fn groups_may_come_from_flags() {
    let folder = folder();
    let input = write(
        &folder,
        "in.safetensors",
        &[Tensor::bf16("x", &[M, K], integers(M * K, 1)), Tensor::bf16("w", &[G, N, K], integers(G * N * K, 2))],
    );
    assert!(run(&input, None, "--sizes 1,2,4").passed().contains("1, 2, 4 (listed)"));
    assert!(run(&input, None, "--router zipf").passed().contains("(router zipf, seed 0)"));
    let text = run(&input, None, "--sizes 1,2,1 --tail-policy untouched").passed();
    assert!(text.contains("rows past the last group: 3, left as they are"), "{text}");
}

/// NaN and infinities go where IEEE sends them, in their group alone.
#[test]
fn values_that_are_not_finite_are_no_errors() {
    let folder = folder();
    let [mut x, w, dy] = operands();
    x[0] = f32::NAN;
    x[K * 5 + 1] = f32::INFINITY;
    let input = write(
        &folder,
        "in.safetensors",
        &[
            Tensor::bf16("x", &[M, K], x),
            Tensor::bf16("w", &[G, N, K], w),
            Tensor::bf16("dy", &[M, N], dy),
            Tensor::i32("m_sizes", &[4, 0, 3]),
        ],
    );
    assert!(run(&input, None, "").passed().contains("PASS: 3 of 3"));
    let json: serde_json::Value = serde_json::from_str(&run(&input, None, "--json").passed()).unwrap();
    assert_eq!(json["passed"], true);
}

/// What a run writes is what a run reads: the same problem, the same bits.
#[test]
fn an_output_is_an_input() {
    let folder = folder();
    let (first, second) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    let flags = "run --backend cpu --sizes 5,0,9 -n 12 -k 20 --weights per-expert --seed 5 --x-row-stride 24 --output";
    let mut args: Vec<&str> = flags.split_whitespace().collect();
    args.push(text(&first));
    ggemm(args).passed();
    run(&first, Some(&second), "").passed();
    for name in ["y", "dx", "dw", "m_sizes"] {
        assert_eq!(read(&first, name), read(&second, name), "{name}");
    }
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let folder = folder();
    let kept = folder.path().join("kept.safetensors");
    std::fs::write(&kept, "what was there").unwrap();
    let bad = folder.path().join("bad.safetensors");
    std::fs::write(&bad, "no header").unwrap();
    assert_eq!(run(&bad, Some(&kept), "").code, Some(2));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "what was there");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);

    let input = write(
        &folder,
        "in.safetensors",
        &[
            Tensor::bf16("x", &[M, K], integers(M * K, 1)),
            Tensor::bf16("w", &[G, N, K], integers(G * N * K, 2)),
            Tensor::i32("m_sizes", &[4, 0, 3]),
        ],
    );
    let text = run(&input, Some(&input), "").refused();
    assert!(text.starts_with("--output and --input are one file, "), "{text}");
    let text = run(&input, Some(&folder.path().join("no/such/folder/out")), "").refused();
    assert!(text.contains("out cannot be written: there is no folder "), "{text}");
    let text = run(&input, Some(folder.path()), "").refused();
    assert!(text.ends_with("cannot be written: is a directory"), "{text}");
}
