//! `cargo xtask report`: the README's table and the charts, from what was measured (`benches/results/*-peers.json`).

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ggemm_codegen::Operation;
use ggemm_report::Race;
use ggemm_report::chart::{Bars, Panel, page};

use crate::{Result, root};

#[derive(Args)]
pub(crate) struct Options {
    /// Change nothing, and fail where something would change
    #[arg(long)]
    pub(crate) check: bool,
}

const SUFFIX: &str = "-peers.json";
const START: &str = "<!-- race: cargo xtask report -->";
const END: &str = "<!-- /race -->";

/// Writes what is not as the results say.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut changes = Vec::new();
    let mut section = String::new();
    for (name, race) in races(&root().join("benches/results"))? {
        let chart = format!("docs/{name}.svg");
        section += &describe(&race, &chart);
        changes.push((root().join(&chart), draw(&race)?));
    }
    if section.is_empty() {
        section = "\nNo race is on record.\n".to_owned();
    }
    let readme = root().join("README.md");
    let text = fs::read_to_string(&readme)?;
    changes.push((readme, replace(&text, &section)?));
    for (path, text) in changes {
        if fs::read_to_string(&path).is_ok_and(|held| held == text) {
            continue;
        }
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if options.check {
            return Err(format!("{shown} is not what benches/results says: run `cargo xtask report`").into());
        }
        fs::write(&path, text)?;
        println!("wrote {shown}");
    }
    Ok(())
}

/// Every race on record, by the name of its file.
fn races(folder: &Path) -> Result<Vec<(String, Race)>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{}: {error}", folder.display()).into()),
    };
    paths.sort();
    let mut races = Vec::new();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(SUFFIX)) else {
            continue;
        };
        races.push((name.trim_end_matches(".json").to_owned(), Race::read(&path)?));
    }
    Ok(races)
}

/// The README's paragraph and table of one race.
fn describe(race: &Race, chart: &str) -> String {
    let mut text = String::new();
    let versions: Vec<String> = race
        .versions
        .iter()
        .filter(|(name, _)| *name != Race::OWN && race.rows.iter().any(|row| row.peer == **name))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let commit = race.commit.as_deref().map_or("an unknown commit", |commit| commit.get(..12).unwrap_or(commit));
    let driver = race.driver.as_deref().unwrap_or("unknown");
    _ = writeln!(
        text,
        "\n{}, driver {driver}, ggemm of {commit}, beside {}; bf16, medians of {} rounds in which the peers took turns. \
         Each cell: ggemm's TFLOP/s, and the time of the fastest peer over ggemm's (above 1, ggemm is faster).\n",
        race.device,
        versions.join(", "),
        race.rounds
    );
    text +=
        "| layer | G | M | N | K | forward | grad_x | grad_w |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for case in race.cases() {
        _ = write!(text, "| {} | {} | {} | {} | {} |", case.case, case.groups, case.m, case.n, case.k);
        for operation in Operation::ALL {
            let cell = race.best(&case.case, operation).map_or_else(String::new, |(own, peer)| {
                format!("{:.0}, {:.2} {}", own.tflops, peer.microseconds / own.microseconds, peer.peer)
            });
            _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let mut ratios = Vec::new();
    for case in race.cases() {
        ratios.extend(Operation::ALL.into_iter().filter_map(|operation| {
            let (own, peer) = race.best(&case.case, operation)?;
            Some((peer.microseconds / own.microseconds).ln())
        }));
    }
    if !ratios.is_empty() {
        let mean = (ratios.iter().sum::<f64>() / ratios.len() as f64).exp();
        _ = writeln!(text, "\nGeometric mean over the {} products: {mean:.2}. [Chart]({chart}).", ratios.len());
    }
    let host = |name: &str| race.host_microseconds.get(name).copied();
    if let (Some(own), Some(torch)) = (host("ggemm.torch.grouped_mm"), host("torch._grouped_mm")) {
        _ = writeln!(
            text,
            "A call costs the host {own:.1} µs from Python (`ggemm.torch.grouped_mm`), `torch._grouped_mm` {torch:.1} µs."
        );
    }
    text
}

/// `text` with `section` between the markers.
fn replace(text: &str, section: &str) -> Result<String> {
    let missing = |marker: &str| format!("README.md has no line `{marker}`");
    let (before, rest) = text.split_once(START).ok_or_else(|| missing(START))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{START}\n{section}\n{END}{after}"))
}

/// TFLOP/s of every peer on every layer, a panel for each operation.
fn draw(race: &Race) -> Result<String> {
    let panel = |operation: Operation| {
        let layers: Vec<&str> = race
            .cases()
            .iter()
            .map(|case| case.case.as_str())
            .filter(|case| race.rows.iter().any(|row| row.case == *case && row.operation == operation))
            .collect();
        let value = |case: &str, peer: &str| Some(race.row(case, operation, peer)?.tflops);
        let series = race
            .peers()
            .into_iter()
            .map(|peer| (peer.to_owned(), layers.iter().map(|case| value(case, peer)).collect()));
        let caption = format!("{operation}, TFLOP/s on {}", race.device);
        let labels = layers.iter().map(|case| (*case).to_owned()).collect();
        (!layers.is_empty()).then(|| Panel::Bars(Bars { caption, labels, series: series.collect() }))
    };
    let panels: Vec<Panel> = Operation::ALL.into_iter().filter_map(panel).collect();
    Ok(page(&panels)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = r#"{
        "schema": 1, "device": "a GPU", "driver": "1.2", "cuda": "13.0", "commit": "0123456789abcdef",
        "versions": {"ggemm": "0.1.0", "quack": "1", "torch": "2.11"}, "rounds": 5,
        "host_microseconds": {"ggemm.torch.grouped_mm": 11.04, "torch._grouped_mm": 14.62},
        "rows": [
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 8, "n": 16, "k": 32,
             "peer": "ggemm", "microseconds": 10.0, "tflops": 100.0},
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 8, "n": 16, "k": 32,
             "peer": "torch", "microseconds": 20.0, "tflops": 50.0},
            {"case": "a", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 8, "n": 16, "k": 32,
             "peer": "triton", "microseconds": 15.0, "tflops": 66.0},
            {"case": "b", "operation": "grad_w", "dtype": "bfloat16", "groups": 4, "m": 8, "n": 16, "k": 32,
             "peer": "ggemm", "microseconds": 8.0, "tflops": 125.0}
        ]
    }"#;

    fn race() -> Race {
        Race::parse(RESULTS).unwrap()
    }

    #[test]
    fn a_table_holds_what_was_measured() {
        let text = describe(&race(), "docs/x.svg");
        assert!(text.contains("a GPU, driver 1.2, ggemm of 0123456789ab, beside torch 2.11; bf16"), "{text}");
        assert!(text.contains("| a | 4 | 8 | 16 | 32 | 100, 1.50 triton |  |  |\n"), "{text}");
        assert!(text.contains("| b | 4 | 8 | 16 | 32 |  |  |  |\n"), "{text}");
        assert!(text.contains("over the 1 products: 1.50. [Chart](docs/x.svg)."), "{text}");
        assert!(text.contains("the host 11.0 µs") && text.contains("14.6 µs"), "{text}");
    }

    #[test]
    fn a_chart_has_a_bar_for_each_time() {
        let svg = draw(&race()).unwrap();
        for colour in ["#005AB5", "#E69F00", "#8C8C8C"] {
            assert!(svg.contains(colour), "{colour}");
        }
        assert!(svg.starts_with("<svg") && svg.contains("triton") && svg.contains("grad_w, TFLOP/s on a GPU"));
        assert_eq!(svg, draw(&race()).unwrap());
    }

    #[test]
    fn only_the_marked_part_changes() {
        let text = replace(&format!("before\n{START}\nold\n{END}\nafter\n"), "new\n").unwrap();
        assert_eq!(text, format!("before\n{START}\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&text, "new\n").unwrap(), text);
        assert!(replace("no markers", "new").unwrap_err().to_string().contains(START));
    }
}
