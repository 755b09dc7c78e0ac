//! `cargo xtask report`: the README's table and the charts, from what was measured (`benches/results/*-peers.json`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use plotters::prelude::*;
use serde::Deserialize;

use crate::{Result, root};

#[derive(Args)]
pub(crate) struct Options {
    /// Change nothing, and fail where something would change
    #[arg(long)]
    pub(crate) check: bool,
}

/// The version of the files that this reads; `benches/peers/race.py` writes it.
const SCHEMA: u32 = 1;

const SUFFIX: &str = "-peers.json";
const START: &str = "<!-- race: cargo xtask report -->";
const END: &str = "<!-- /race -->";
const OPERATIONS: [&str; 3] = ["forward", "grad_x", "grad_w"];
const OWN: &str = "ggemm";

/// One race.
#[derive(Debug, Deserialize)]
struct Race {
    schema: u32,
    device: String,
    driver: Option<String>,
    commit: Option<String>,
    versions: BTreeMap<String, String>,
    rounds: u32,
    rows: Vec<Row>,
    #[serde(default)]
    host_microseconds: BTreeMap<String, f64>,
}

/// One peer's time on one problem.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    case: String,
    operation: String,
    groups: u64,
    m: u64,
    n: u64,
    k: u64,
    peer: String,
    microseconds: f64,
    tflops: f64,
}

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
        let race = read(&fs::read_to_string(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        races.push((name.trim_end_matches(".json").to_owned(), race));
    }
    Ok(races)
}

fn read(text: &str) -> Result<Race> {
    let race: Race = serde_json::from_str(text)?;
    if race.schema != SCHEMA {
        return Err(format!("it is of schema {}, and {SCHEMA} is read: race anew", race.schema).into());
    }
    if let Some(row) = race.rows.iter().find(|row| !(row.microseconds > 0.0 && row.tflops > 0.0)) {
        return Err(format!("{} {} of {} took {} us", row.case, row.operation, row.peer, row.microseconds).into());
    }
    Ok(race)
}

/// The cases in the order of the race, each with its first row.
fn cases(race: &Race) -> Vec<&Row> {
    let mut cases: Vec<&Row> = Vec::new();
    for row in &race.rows {
        if cases.iter().all(|case| case.case != row.case) {
            cases.push(row);
        }
    }
    cases
}

/// ggemm's time of one product, and the fastest peer's.
fn best<'a>(race: &'a Race, case: &str, operation: &str) -> Option<(&'a Row, &'a Row)> {
    let rows = || race.rows.iter().filter(|row| row.case == case && row.operation == operation);
    let own = rows().find(|row| row.peer == OWN)?;
    let peer = rows().filter(|row| row.peer != OWN).min_by(|a, b| a.microseconds.total_cmp(&b.microseconds))?;
    Some((own, peer))
}

/// The README's paragraph and table of one race.
fn describe(race: &Race, chart: &str) -> String {
    let mut text = String::new();
    let versions: Vec<String> = race
        .versions
        .iter()
        .filter(|(name, _)| *name != OWN && race.rows.iter().any(|row| row.peer == **name))
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
    for case in cases(race) {
        _ = write!(text, "| {} | {} | {} | {} | {} |", case.case, case.groups, case.m, case.n, case.k);
        for operation in OPERATIONS {
            let cell = best(race, &case.case, operation).map_or_else(String::new, |(own, peer)| {
                format!("{:.0}, {:.2} {}", own.tflops, peer.microseconds / own.microseconds, peer.peer)
            });
            _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let mut ratios = Vec::new();
    for case in cases(race) {
        ratios.extend(OPERATIONS.iter().filter_map(|operation| {
            let (own, peer) = best(race, &case.case, operation)?;
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

/// Colours that people who confuse red and green tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(230, 159, 0),
    RGBColor(140, 140, 140),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(90, 60, 20),
];

/// TFLOP/s of every peer on every layer, a panel for each operation.
fn draw(race: &Race) -> Result<String> {
    let mut peers: Vec<&str> = Vec::new();
    for row in &race.rows {
        if !peers.contains(&row.peer.as_str()) {
            peers.push(&row.peer);
        }
    }
    let panels: Vec<&str> =
        OPERATIONS.into_iter().filter(|operation| race.rows.iter().any(|row| row.operation == *operation)).collect();
    let widest = cases(race).len().max(1);
    let width = u32::try_from(60 + (widest + 1) * (peers.len() * 11 + 24).max(96)).unwrap_or(u32::MAX).max(760);
    let height = 290 * u32::try_from(panels.len().max(1)).unwrap_or(1);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        for (panel, operation) in area.split_evenly((panels.len().max(1), 1)).iter().zip(&panels) {
            let layers: Vec<&Row> = cases(race)
                .into_iter()
                .filter(|case| race.rows.iter().any(|row| row.case == case.case && row.operation == *operation))
                .collect();
            let rows = || race.rows.iter().filter(|row| row.operation == *operation);
            let most = rows().map(|row| row.tflops).fold(1.0, f64::max) * 1.1;
            let mut chart = ChartBuilder::on(panel)
                .caption(format!("{operation}, TFLOP/s on {}", race.device), ("sans-serif", 16))
                .margin(8)
                .x_label_area_size(34)
                .y_label_area_size(46)
                .build_cartesian_2d(0.0..(layers.len() + 1) as f64, 0.0..most)?;
            // The names of the peers stand in a column of their own, behind the last layer.
            let label = |at: &f64| {
                let centre = at.fract() > 0.4 && at.fract() < 0.6;
                let layer = layers.get(*at as usize).filter(|_| centre);
                layer.map_or_else(String::new, |layer| layer.case.clone())
            };
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(layers.len() * 2 + 3)
                .x_label_formatter(&label)
                .x_label_style(("sans-serif", 11))
                .y_labels(6)
                .y_label_formatter(&|value| format!("{value:.0}"))
                .light_line_style(WHITE)
                .draw()?;
            let bar = 0.84 / peers.len().max(1) as f64;
            for (number, peer) in peers.iter().enumerate() {
                let colour = COLOURS[number % COLOURS.len()];
                let bars = layers.iter().enumerate().filter_map(|(at, layer)| {
                    let row = rows().find(|row| row.case == layer.case && row.peer == *peer)?;
                    let left = at as f64 + 0.08 + bar * number as f64;
                    Some(Rectangle::new([(left, 0.0), (left + bar * 0.92, row.tflops)], colour.filled()))
                });
                chart
                    .draw_series(bars)?
                    .label(*peer)
                    .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour.filled()));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.85))
                .label_font(("sans-serif", 11))
                .draw()?;
        }
        area.present()?;
    }
    Ok(svg)
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

    #[test]
    fn a_table_holds_what_was_measured() {
        let text = describe(&read(RESULTS).unwrap(), "docs/x.svg");
        assert!(text.contains("a GPU, driver 1.2, ggemm of 0123456789ab, beside torch 2.11; bf16"), "{text}");
        assert!(text.contains("| a | 4 | 8 | 16 | 32 | 100, 1.50 triton |  |  |\n"), "{text}");
        assert!(text.contains("| b | 4 | 8 | 16 | 32 |  |  |  |\n"), "{text}");
        assert!(text.contains("over the 1 products: 1.50. [Chart](docs/x.svg)."), "{text}");
        assert!(text.contains("the host 11.0 µs") && text.contains("14.6 µs"), "{text}");
    }

    #[test]
    fn a_chart_has_a_bar_for_each_time() {
        let svg = draw(&read(RESULTS).unwrap()).unwrap();
        for colour in ["#005AB5", "#E69F00", "#8C8C8C"] {
            assert!(svg.contains(colour), "{colour}");
        }
        assert!(svg.starts_with("<svg") && svg.contains("triton") && svg.contains("grad_w, TFLOP/s on a GPU"));
        assert_eq!(svg, draw(&read(RESULTS).unwrap()).unwrap());
    }

    #[test]
    fn only_the_marked_part_changes() {
        let text = replace(&format!("before\n{START}\nold\n{END}\nafter\n"), "new\n").unwrap();
        assert_eq!(text, format!("before\n{START}\nnew\n\n{END}\nafter\n"));
        assert_eq!(replace(&text, "new\n").unwrap(), text);
        assert!(replace("no markers", "new").unwrap_err().to_string().contains(START));
    }

    #[test]
    fn results_of_another_kind_are_refused() {
        let error = read(&RESULTS.replace(r#""schema": 1"#, r#""schema": 9"#)).unwrap_err().to_string();
        assert_eq!(error, "it is of schema 9, and 1 is read: race anew");
        let error = read(&RESULTS.replace("15.0", "0.0")).unwrap_err().to_string();
        assert_eq!(error, "a forward of triton took 0 us");
    }
}
