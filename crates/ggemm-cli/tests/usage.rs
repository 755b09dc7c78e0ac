//! Flags that contradict each other or mean nothing, and what help looks like.

mod common;

use common::{ggemm, line};

#[track_caller]
fn refused(flags: &str) -> String {
    line(flags).refused()
}

#[test]
fn contradictions_are_refused() {
    insta::assert_snapshot!(refused("run --sizes 1,2 --groups 3"), @"--sizes lists 2 groups and --groups says 3: drop --groups, or list 3 sizes");
    insta::assert_snapshot!(refused("run --sizes 1,2 --rows 4"), @"--sizes sums to 3 and --rows says 4: drop --rows, or declare the other 1 rows as a tail with --tail 1");
    insta::assert_snapshot!(refused("run --sizes 1,2 --router zipf"), @"the argument '--sizes <ROWS,…>' cannot be used with '--router <ROUTER>'");
    insta::assert_snapshot!(refused("run --rows 3 --tail 4"), @"--tail 4 is more than --rows 3, which counts the tail's rows too: give at most 3");
    insta::assert_snapshot!(refused("run --tail-policy zero"), @"--tail-policy is about rows past the last group, and there are none: add --tail ROWS");
    insta::assert_snapshot!(refused("run --accumulate"), @"--accumulate adds grad_w to an f32 output, and the output is bf16: add --output-dtype f32");
    insta::assert_snapshot!(refused("run --accumulate --output-dtype f32 --ops forward"), @"--accumulate is about grad_w, which --ops leaves out: add it, or drop --accumulate");
    insta::assert_snapshot!(refused("run --exact --no-check"), @"the argument '--exact' cannot be used with '--no-check'");
    insta::assert_snapshot!(refused("run --exact --input file"), @"the argument '--exact' cannot be used with '--input <FILE>'");
    insta::assert_snapshot!(refused("run --tail 3 --input file"), @"the argument '--tail <ROWS>' cannot be used with '--input <FILE>'");
    insta::assert_snapshot!(refused("run --x-name hidden"), @r#"
    the following required arguments were not provided:
      --input <FILE>
    "#);
    insta::assert_snapshot!(refused("list --names --json"), @"the argument '--names' cannot be used with '--json'");
    insta::assert_snapshot!(refused("list --op forward --groups 3"), @r#"
    the following required arguments were not provided:
      --rows <M>
      --n <N>
      --k <K>
    "#);
}

#[test]
fn values_that_mean_nothing_are_refused() {
    insta::assert_snapshot!(refused("run --sizes 4,-1"), @"invalid value '4,-1' for '--sizes <ROWS,…>': the size of group 1 is `-1`: expected a whole number of rows, at least 0");
    insta::assert_snapshot!(refused("run --sizes 4,,1"), @"invalid value '4,,1' for '--sizes <ROWS,…>': the size of group 1 is ``: expected a whole number of rows, at least 0");
    insta::assert_snapshot!(refused("run --sizes 1e3"), @"invalid value '1e3' for '--sizes <ROWS,…>': the size of group 0 is `1e3`: expected a whole number of rows, at least 0");
    insta::assert_snapshot!(ggemm(["run", "--sizes", ""]).refused(), @"invalid value '' for '--sizes <ROWS,…>': no group is listed: give the rows of each group, such as 1024,1024,2048,2048");
    insta::assert_snapshot!(refused("run -n -5"), @"invalid value '-5' for '--n <N>': expected a whole number, at least 0");
    insta::assert_snapshot!(refused("run -k 1.5"), @"invalid value '1.5' for '--k <K>': expected a whole number, at least 0");
    insta::assert_snapshot!(refused("run --groups 0"), @"G = 0: a grouped product has at least one group, though any group may be empty");
    insta::assert_snapshot!(refused("run --repeat 0"), @"invalid value '0' for '--repeat <RUNS>': 0 is not in 1..=4294967295");
    insta::assert_snapshot!(refused("run --dtype f64"), @r#"
    invalid value 'f64' for '--dtype <DTYPE>'
      [possible values: bf16, f16, f32]
    "#);
    insta::assert_snapshot!(refused("run --tf32"), @"allow_tf32 is set for operands of bf16, which are multiplied as they are: leave it unset, or use f32");
    insta::assert_snapshot!(refused("run --ops forwards"), @r#"
    invalid value 'forwards' for '--ops <OP,…>'
      [possible values: forward, grad_x, grad_w]

      tip: a similar value exists: 'forward'
    "#);
    insta::assert_snapshot!(refused("run --router zip"), @r#"
    invalid value 'zip' for '--router <ROUTER>'
      [possible values: balanced, uniform, zipf, one-hot, ragged]

      tip: a similar value exists: 'zipf'
    "#);
    insta::assert_snapshot!(refused("run --backend gpu"), @r#"
    invalid value 'gpu' for '--backend <BACKEND>'
      [possible values: auto, cpu, cuda, interpret]

      tip: a similar value exists: 'cpu'
    "#);
    insta::assert_snapshot!(refused("run --sizes 3 -n 3000000000"), @"N = 3000000000 is past 2147482624, the largest dimension: split the problem");
    insta::assert_snapshot!(refused("run --sizes 3 -n 4 -k 4 --x-row-stride 3"), @"the row stride of x is 3, shorter than its rows of 4: give at least 4");
    insta::assert_snapshot!(refused("run --sizes 3,3 -n 4 -k 4 --weights per-expert --w-group-stride 15"), @"the group stride of w is 15, shorter than one group's 16 elements: give at least 16, or declare one weight shared by all groups");
    insta::assert_snapshot!(refused("run --exact --rows 1048576 -n 1 -k 1"), @"--exact: the reduction of grad_w has 1048576 terms, and sums of small integers are exact in f32 up to 1048575: make it shorter, or leave grad_w out with --ops");
    insta::assert_snapshot!(refused("run --sizes 3 -n 4 -k 4 --w-group-stride 15"), @"--w-group-stride is about one weight for each group, and all share one: add --weights per-expert");
    insta::assert_snapshot!(refused("--colour red"), @"unexpected argument '--colour' found");
    insta::assert_snapshot!(refused("runn"), @r#"
    unrecognized subcommand 'runn'

      tip: a similar subcommand exists: 'run'
    "#);
}

#[test]
fn a_problem_past_all_memory_is_refused_before_it_is_made() {
    let text = refused("run --rows 2000000000 -n 100000 -k 100000");
    assert!(text.starts_with("the problem takes about "), "{text}");
    assert!(text.ends_with(" are free: ask for less, or for fewer --ops"), "{text}");
}

#[test]
fn help_reads_well() {
    for (name, words) in [
        ("ggemm", &["--help"][..]),
        ("run", &["run", "-h"][..]),
        ("run_long", &["run", "--help"][..]),
        ("emit", &["emit", "--help"][..]),
        ("list", &["list", "-h"][..]),
        ("trace", &["trace", "--help"][..]),
        ("tune", &["tune", "--help"][..]),
        ("bench", &["bench", "--help"][..]),
        ("verify", &["verify", "--help"][..]),
        ("doctor", &["doctor", "--help"][..]),
        ("cache", &["cache", "--help"][..]),
        ("cache_list", &["cache", "list", "--help"][..]),
        ("cache_warm", &["cache", "warm", "-h"][..]),
        ("cache_prune", &["cache", "prune", "--help"][..]),
        ("completions", &["completions", "--help"][..]),
    ] {
        insta::assert_snapshot!(format!("help_{name}"), ggemm(words).passed());
    }
}
