//! `ggemm bench` where there is no GPU: times of the CPU, and reports of what a GPU's record says.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use common::{Ended, command, end, folder, ggemm, text};
use serde_json::{Value, json};

/// A record and a race of a GPU that does not exist.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/record.json");
const RACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/race.json");

/// What all variants took on layers that nothing was fitted to.
const HELD_OUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/results/nvidia-h100-held-out.json");

/// Runs `ggemm bench` on the CPU with the words of a line and a JSON file, which it returns.
fn measured(line: &str) -> (String, Value) {
    let folder = folder();
    let path = folder.path().join("record.json");
    let words = line.split_whitespace().chain(["--backend", "cpu", "--json", text(&path)]);
    let printed = ggemm(["bench", "--rounds", "3"].into_iter().chain(words)).passed();
    (printed, json_of(&path))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("the file is there")).expect("JSON")
}

fn from_record(words: &[&str]) -> Ended {
    ggemm(["bench", "--from", RECORD].iter().chain(words))
}

/// A copy of the record, changed.
fn changed(folder: &tempfile::TempDir, change: impl Fn(&mut Value)) -> std::path::PathBuf {
    let mut record = json_of(Path::new(RECORD));
    change(&mut record);
    let path = folder.path().join("changed.json");
    fs::write(&path, record.to_string()).expect("the folder is writable");
    path
}

/// Multiplies a row's times.
fn slow_down(row: &mut Value, factor: f64) {
    let times = |value: &Value| json!(value.as_f64().expect("a number") * factor);
    row["median_us"] = times(&row["median_us"]);
    for round in row["rounds_us"].as_array_mut().expect("a list") {
        *round = times(round);
    }
}

fn numbers<'a>(record: &'a Value, key: &'a str) -> impl Iterator<Item = f64> + 'a {
    record["rows"].as_array().expect("rows").iter().map(move |row| row[key].as_f64().expect("a number"))
}

#[test]
fn the_cpu_is_timed_and_recorded() {
    let (printed, record) = measured("--sizes 20,0,12 -n 24 -k 16 --output-dtype f32 --sustained 0.1,0.1,10");
    assert!(record["backend"] == "cpu" && record["device"].as_str().unwrap().starts_with("cpu ("), "{record}");
    let rows = record["rows"].as_array().unwrap();
    let operations: Vec<&Value> = rows.iter().map(|row| &row["operation"]).collect();
    assert_eq!(operations, ["forward", "grad_x", "grad_w"]);
    for row in rows {
        assert_eq!((&row["variant"], &row["chosen"], &row["output"]), (&json!("cpu"), &json!(true), &json!("f32")));
        assert_eq!((&row["spread"], &row["rounds_us"].as_array().unwrap().len()), (&json!("listed"), &3));
        let (time, rate) = (row["median_us"].as_f64().unwrap(), row["tflops"].as_f64().unwrap());
        assert!((rate * time * 1e6 / (2.0 * 32.0 * 24.0 * 16.0) - 1.0).abs() < 1e-9, "{row}");
    }
    // Two of three weights are read; x and y are of 32 rows; 10 GB/s.
    let floor = (2.0 * (32.0 * 16.0 + 2.0 * 24.0 * 16.0) + 4.0 * 32.0 * 24.0) / 10e3;
    assert!((numbers(&record, "floor_us").next().unwrap() - floor).abs() < 1e-9);
    assert_eq!(printed.lines().count(), 6, "{printed}");
    assert!(printed.lines().nth(3).unwrap().starts_with("layer "), "{printed}");
}

#[test]
fn quantized_operands_are_timed() {
    let (_, record) = measured("-g 2 -m 40 -n 128 -k 256 --quantize e4m3 --scaling row --fast-accumulation");
    let rows = record["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!((&row["operand"], &row["scaling"], &row["output"]), (&json!("e4m3"), &json!("row"), &json!("bf16")));
        assert_eq!(row["fast_accumulation"], json!(true), "{row}");
    }
    let layouts: Vec<&Value> = rows.iter().map(|row| &row["weight_layout"]).collect();
    assert_eq!(layouts, ["nk", "kn", "nk"], "weights lie along the reduction");
    assert_eq!(rows[2]["reduction_blocks"], json!(true));
}

#[test]
fn sweeps_go_along_their_axis() {
    let (printed, record) = measured("-g 4 -m 32 -n 8 -k 8 --ops forward --sweep m --points 4,16,64");
    assert_eq!(numbers(&record, "m").collect::<Vec<f64>>(), [4.0, 16.0, 64.0]);
    assert_eq!(record["rows"][1]["sweep"], json!({ "axis": "m", "at": 16.0 }));
    assert!(printed.contains("\nlayer M=16 "), "{printed}");

    let (_, record) = measured("-g 4 -m 32 -n 8 -k 8 --ops forward,grad_w --sweep skew --points 0,1.5");
    let spreads: Vec<&Value> = record["rows"].as_array().unwrap().iter().map(|row| &row["spread"]).collect();
    assert_eq!(spreads, ["zipf 0", "zipf 0", "zipf 1.5", "zipf 1.5"]);

    let folder = folder();
    let config = folder.path().join("config.json");
    let model = r#"{ "model_type": "small", "hidden_size": 16, "moe_intermediate_size": 8, "num_experts": 4,
                     "num_experts_per_tok": 2, "torch_dtype": "float16" }"#;
    fs::write(&config, model).unwrap();
    let (_, record) = measured(&format!("--model {} --tokens 2,8 --ops forward --sweep m", text(&config)));
    let named: Vec<_> = record["rows"].as_array().unwrap().iter().map(|row| (&row["case"], &row["m"])).collect();
    let (up, down) = (json!("small up"), json!("small down"));
    assert_eq!(named, [(&up, &json!(4)), (&down, &json!(4)), (&up, &json!(16)), (&down, &json!(16))]);
    assert!(record["rows"].as_array().unwrap().iter().all(|row| row["operand"] == "f16"));
}

#[test]
fn a_report_reads_well() {
    insta::assert_snapshot!(from_record(&["--peers", RACE]).passed());
}

#[test]
fn a_picture_is_well_formed_and_has_the_peers() {
    let folder = folder();
    let path = folder.path().join("report.svg");
    let draw = |words: &[&str]| {
        from_record(&["--svg", text(&path)].iter().chain(words).copied().collect::<Vec<_>>()).passed();
        fs::read_to_string(&path).unwrap()
    };
    let svg = draw(&["--peers", RACE]);
    let document = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    for text in [
        "forward, TFLOP/s on a made-up GPU, beside peers' stored results",
        "grad_w, TFLOP/s on a made-up GPU, beside peers' stored results",
        "share of the floor on a made-up GPU, %",
        "time against M on a made-up GPU, microseconds",
        "time against skew on a made-up GPU, microseconds",
        "torch",
        "decode",
        "up forward",
    ] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    // Nobody whose race is built in ran on it.
    assert!(!draw(&[]).contains("torch"));
}

#[test]
fn a_slowdown_is_told_of_and_ends_with_1() {
    let folder = folder();
    // What was faster in every third row, on a card that was slower by 2 %.
    let old = changed(&folder, |record| {
        for (index, row) in record["rows"].as_array_mut().unwrap().iter_mut().enumerate() {
            slow_down(row, if index % 6 == 3 { 1.02 / 1.1 } else { 1.02 });
        }
        let rows = record["rows"].as_array_mut().unwrap();
        rows.remove(7);
    });
    let ended = from_record(&["--compare", text(&old)]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    let part = ended.stdout.split("\n\n").last().unwrap().replace(text(folder.path()), "FOLDER");
    insta::assert_snapshot!(part);

    let same = from_record(&["--compare", RECORD]);
    assert_eq!(same.code, Some(0));
    assert!(same.stdout.ends_with("0 slower, 0 faster, 22 the same within the noise; 0 only here, 0 only there\n"));
}

#[test]
fn parts_of_a_record_are_one() {
    let folder = folder();
    let half = changed(&folder, |record| record["rows"].as_array_mut().unwrap().truncate(5));
    let both = folder.path().join("both.json");
    let files = format!("{},{}", text(&half), text(&half));
    ggemm(["bench", "--from", &files, "--json", text(&both)]).passed();
    assert_eq!(json_of(&both)["rows"].as_array().unwrap().len(), 10);
    let other = changed(&folder, |record| record["driver"] = json!("9"));
    let refused = ggemm(["bench", "--from", &format!("{RECORD},{}", text(&other))]).refused();
    assert_eq!(refused, "records can be read as one where their driver is one: 1.2.3 and 9");
}

/// What `--choose` says at last, of a file: by what was chosen, and the summary.
fn judged(file: &str, more: &[&str]) -> String {
    let printed = ggemm(["bench", "--from", file, "--choose"].iter().chain(more)).passed();
    let first = printed.lines().find(|line| line.starts_with("chosen anew ")).expect("it says how it chose");
    let summary = printed.split("\n\n").last().expect("a summary");
    format!("{first}\n{summary}")
}

/// A change of the cost model, or of how tables correct it, moves these figures: they are to be better afterwards, or to be
/// as good with fewer reasons (docs/tuning.md, "Hopper's cost model"). Nothing may be fitted to the held-out layers.
#[test]
fn choices_are_as_good_as_on_record() {
    insta::assert_snapshot!("choices_on_held_out_layers", judged(HELD_OUT, &[]));
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../ggemm-runtime/tables/nvidia-h100-80gb-hbm3.jsonl");
    insta::assert_snapshot!("choices_on_the_tables_own_layers", judged(table, &["--table", table]));
}

#[test]
fn choosing_anew_marks_the_record_and_says_what_it_cannot_tell() {
    let folder = folder();
    let marked = folder.path().join("marked.json");
    ggemm(["bench", "--from", HELD_OUT, "--choose", "--json", text(&marked)]).passed();
    let marked = json_of(&marked);
    let rows = marked["rows"].as_array().unwrap();
    let products: HashSet<String> = rows.iter().map(|row| format!("{} {}", row["case"], row["operation"])).collect();
    let count = |mark: &str| rows.iter().filter(|row| row[mark] == true).count();
    assert_eq!((count("chosen"), count("by_model")), (products.len(), products.len()));
    assert!(numbers(&marked, "predicted_us").all(|predicted| predicted > 0.0));
    // A GPU of which no table has anything, and variants of which the one that would be taken is none.
    let printed = from_record(&["--choose"]).passed();
    assert!(printed.contains("\nchosen anew by the cost model: the table has nothing of this GPU"), "{printed}");
    assert!(printed.contains(" was not timed\n"), "{printed}");
    let missing = folder.path().join("missing.jsonl");
    let empty = folder.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    for (table, why) in [(&missing, "does not exist: name a table"), (&empty, "has measurements of 0 machines")] {
        assert!(ggemm(["bench", "--from", text(table), "--choose"]).refused().contains(why));
    }
    let refused = ggemm(["bench", "--from", RECORD, "--choose", "--table", text(&missing)]).refused();
    assert!(refused.contains("does not exist: name a table"), "{refused}");
    for layer in ["--suite", "--sizes=8"] {
        assert!(ggemm(["bench", layer, "--choose"]).refused().contains("cannot be used with"), "{layer}");
    }
    assert!(ggemm(["bench", "--choose"]).refused().contains("--from"));
}

#[test]
fn a_stopped_run_goes_on_where_it_ended() {
    let folder = folder();
    let path = folder.path().join("record.json");
    let layer = "bench --backend cpu --rounds 1 -g 2 -m 8 -n 8 -k 8 --json";
    let run = |more: &str| ggemm(layer.split_whitespace().chain([text(&path)]).chain(more.split_whitespace())).passed();
    run("--ops forward,grad_w");
    let mut begun = json_of(&path);
    // Times that nothing measures.
    begun["rows"][1]["median_us"] = json!(123_456.0);
    fs::write(&path, begun.to_string()).unwrap();
    let printed = run("--resume");
    let record = json_of(&path);
    let operations: Vec<&Value> = record["rows"].as_array().unwrap().iter().map(|row| &row["operation"]).collect();
    assert_eq!(operations, ["forward", "grad_w", "grad_x"]);
    assert_eq!(numbers(&record, "median_us").nth(1), Some(123_456.0));
    assert!(printed.contains(" 123 ms "), "{printed}");
    run("--ops forward");
    assert_eq!(json_of(&path)["rows"].as_array().unwrap().len(), 1, "without --resume it begins anew");
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_remedy() {
    let refused = |line: &str| {
        let words = ["bench"].into_iter().chain(line.split_whitespace());
        end(command().args(words).env("CUDA_VISIBLE_DEVICES", "")).refused()
    };
    let layer = "-g 2 -m 8 -n 8 -k 8";
    assert!(
        refused("--suite --backend interpret").starts_with("--backend interpret: the interpreter counts statements")
    );
    assert!(refused("--suite --backend cuda").starts_with("--backend cuda: "));
    for flag in ["--all", "--launch-cost", "--variant ggemm_*"] {
        let message = refused(&format!("{layer} {flag}"));
        let name = flag.split(' ').next().unwrap();
        let expected = format!("{name} is about a GPU's kernels, and this would run on the CPU");
        assert!(message.starts_with(&expected) && message.ends_with(&format!(": drop {name}")), "{message}");
    }
    assert!(
        refused("--suite --only qwen4-up").starts_with("--only: the suite has no case qwen4-up; it has seed-small, ")
    );
    assert!(refused("--suite no/such").starts_with("--suite: the suite no/such cannot be read: "));
    assert_eq!(
        refused(&format!("{layer} --sweep m --points 8,1.5")),
        "--points: 1.5 is no number of rows: give whole numbers, at least 1"
    );
    assert_eq!(
        refused(&format!("{layer} --sweep skew --points=-1")),
        "--points: -1 is no skew: give numbers, at least 0"
    );
    assert!(refused(&format!("{layer} --sustained 700")).contains("expected three numbers above 0"));
    assert!(refused("").contains("required arguments were not provided"));
    assert!(refused("--sizes 3 -n 8 -k 8 --sweep m").contains("cannot be used with"));
    assert!(refused(&format!("--from {RECORD} --all")).contains("cannot be used with"));
    assert!(refused(&format!("--from {RACE}")).ends_with("it is of schema 1, and 2 is read: measure anew"));
    let message = refused(&format!("--from {RECORD} --compare {RECORD} --json {RECORD}"));
    assert!(message.starts_with("--json would overwrite ") && message.ends_with("give another file"), "{message}");
    assert!(refused(&format!("{layer} --json no/such/folder/x.json")).contains("there is no folder no/such/folder"));
}
