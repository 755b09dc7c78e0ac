//! What is printed of records.

use std::fmt::Write;
use std::time::Duration;

use ggemm_report::regret::{Choice, Distribution, choices};
use ggemm_report::{Change, Comparison, LaunchCost, Product, Race, Record, Row, Standing, Verdict};

use super::cases::label;
use crate::numbers;
use crate::table;

/// What a record has, below its head.
pub(super) fn rows(record: &Record) -> String {
    let lines = record.rows.iter().map(line);
    [head(record)].into_iter().chain(lines).map(|line| line + "\n").collect()
}

/// What stands above the lines.
pub(super) fn head(record: &Record) -> String {
    let head = head_of_machine(record);
    head + "\n" + &columns(["case", "operation", "time", "±", "TFLOP/s", "GB/s", "of floor", "", "variant"])
}

/// What was measured with, and on what.
pub(super) fn head_of_machine(record: &Record) -> String {
    let unknown = "unknown";
    let mut text = record.device.clone();
    if let Some(driver) = &record.driver {
        text += &format!(", driver {driver}");
    }
    let commit = record.commit.as_deref().map_or(unknown, |commit| commit.get(..12).unwrap_or(commit));
    text += &format!(", ggemm {} of commit {commit}; medians of {} rounds\n", record.ggemm, record.rounds);
    if let Some(card) = &record.card {
        text += &format!("{card}\n");
    }
    text
}

/// One row; lines come one at a time. Of several variants the chosen one is marked.
pub(super) fn line(row: &Row) -> String {
    let mark = match (row.chosen, row.by_model) {
        (true, _) => "*",
        (false, true) => "m",
        _ => "",
    };
    columns([
        &label(&row.subject),
        row.subject.operation().name(),
        &time(row.median_us),
        &format!("{:.1} %", 100.0 * row.deviation),
        &numbers::rate(row.tflops),
        &numbers::rate(row.gbytes_per_s),
        &row.of_floor().map_or_else(|| "-".to_owned(), |share| format!("{share:.2}")),
        mark,
        &row.variant,
    ])
}

/// Columns of fixed widths.
fn columns(cells: [&str; 9]) -> String {
    let [case, operation, time, scatter, tflops, gbytes, floor, mark, variant] = cells;
    let line = format!(
        "{case:<28} {operation:<9} {time:>9} {scatter:>7} {tflops:>8} {gbytes:>6} {floor:>8}  {mark:<1} {variant}"
    );
    line.trim_end().to_owned()
}

fn time(microseconds: f64) -> String {
    numbers::time(Duration::try_from_secs_f64(microseconds / 1e6).unwrap_or_default())
}

/// What stands below the lines.
pub(super) fn foot(record: &Record, races: &[Race]) -> String {
    let mut text = String::new();
    if record.rows.iter().any(|row| !row.chosen) {
        text += "* what a plan takes; m what it would take without a table, where that is another one\n";
    }
    if !record.rows.is_empty() && record.rows.iter().all(|row| row.floor_us.is_none()) {
        _ = writeln!(text, "no floor: what {} sustains is not known; --sustained says it", record.device);
    }
    if let Some(Standing { products, mean, worst }) = Standing::of(record, races) {
        let Product { row, peer } = &worst;
        _ = writeln!(
            text,
            "peers' stored results on this device: the fastest takes {mean:.2} times ggemm's time, in the geometric mean \
             over {products} products; at the worst {:.2} ({} {}, {})",
            worst.ratio(),
            label(&row.subject),
            row.subject.operation(),
            peer.peer
        );
    }
    if let Some(LaunchCost { launch_us, in_graph_us, plan_us }) = &record.launch {
        let first = record.rows.first().map_or_else(String::new, |row| format!("{}: ", label(&row.subject)));
        _ = writeln!(
            text,
            "{first}{launch_us:.2} us of the host a launch, {in_graph_us:.2} us of the GPU a launch in a graph, \
             {plan_us:.0} us of the host to plan"
        );
    }
    text
}

/// Regrets that are told of.
const WITHIN: [f64; 3] = [0.03, 0.08, 0.10];

/// What better choices would have saved; nothing where no problem had a choice.
pub(super) fn regrets(record: &Record) -> String {
    let mut chosen = choices(record, |row| row.chosen);
    let by_model = choices(record, |row| row.by_model);
    if chosen.is_empty() && by_model.is_empty() {
        return String::new();
    }
    chosen.sort_by(|a, b| b.regret().total_cmp(&a.regret()));
    let mut rows =
        table::table(["case", "operation", "timed", "taken", "best", "lost", "the best variant"], [2, 3, 4, 5]);
    for Choice { timed, taken, best } in &chosen {
        let lost = taken.median_us / best.median_us - 1.0;
        rows.add_row([
            label(&taken.subject),
            taken.subject.operation().to_string(),
            timed.to_string(),
            time(taken.median_us),
            time(best.median_us),
            format!("{:.1} %", 100.0 * lost),
            if lost > 0.0 { best.variant.clone() } else { "the same".to_owned() },
        ]);
    }
    let headings = ["lost beside the best of all timed", "problems", "median", "90th", "95th", "most"];
    let within = WITHIN.map(|within| format!("within {:.0} %", 100.0 * within));
    let mut summary = table::table(headings.into_iter().chain(within.iter().map(String::as_str)), 1..9);
    for (name, choices) in [("what a plan takes", &chosen), ("without a table", &by_model)] {
        let Some(regrets) = Distribution::of(choices) else { continue };
        let percent = |part: f64| format!("{:.1} %", 100.0 * part);
        let mut cells = vec![name.to_owned(), regrets.count().to_string()];
        cells.extend([0.5, 0.9, 0.95, 1.0].map(|part| percent(regrets.percentile(part))));
        cells.extend(WITHIN.map(|within| percent(regrets.within(within))));
        summary.add_row(cells);
    }
    format!("{}\n{}", table::text(&rows), table::text(&summary))
}

/// What has changed.
pub(super) fn comparison(comparison: &Comparison<'_>, old: &Record, new: &Record, name: &str) -> String {
    let mut text = format!("beside {name}: {}\n", head_of(old));
    if old.device != new.device || old.driver != new.driver || old.backend != new.backend {
        _ = writeln!(text, "that was another machine ({}): times differ for that alone", head_of(new));
    }
    let count = |verdict| comparison.changes.iter().filter(|change| change.verdict() == verdict).count();
    let mut changed: Vec<&Change<'_>> =
        comparison.changes.iter().filter(|change| change.verdict() != Verdict::Same).collect();
    changed.sort_by(|a, b| b.change.total_cmp(&a.change));
    if !changed.is_empty() {
        let mut rows = table::table(["", "case", "operation", "was", "is", "change", "noise", "variant"], [3, 4, 5, 6]);
        for change in changed {
            let Change { old, new, .. } = change;
            let same = old.variant == new.variant;
            rows.add_row([
                if change.verdict() == Verdict::Slower { "SLOWER".to_owned() } else { "faster".to_owned() },
                label(&new.subject),
                new.subject.operation().to_string(),
                time(old.median_us),
                time(new.median_us),
                format!("{:+.1} %", 100.0 * change.change),
                format!("±{:.1} %", 100.0 * change.noise),
                if same { new.variant.clone() } else { format!("{}, was {}", new.variant, old.variant) },
            ]);
        }
        text += &table::text(&rows);
    }
    if comparison.shift != 0.0 {
        let shift = format!("{:+.1} %", 100.0 * comparison.shift);
        _ = match comparison.overall() {
            Verdict::Same => {
                writeln!(
                    text,
                    "most rows moved by {shift}, as cards do by themselves; changes are beside that, or by themselves where that is less"
                )
            }
            Verdict::Slower => {
                writeln!(text, "SLOWER: most rows moved by {shift}, which is more than cards do by themselves")
            }
            Verdict::Faster => {
                writeln!(text, "faster: most rows moved by {shift}, which is more than cards do by themselves")
            }
        };
    }
    let (slower, faster, same) = (count(Verdict::Slower), count(Verdict::Faster), count(Verdict::Same));
    _ = writeln!(
        text,
        "{slower} slower, {faster} faster, {same} the same within the noise; {} only here, {} only there",
        comparison.added.len(),
        comparison.gone.len()
    );
    text
}

fn head_of(record: &Record) -> String {
    let driver = record.driver.as_deref().map_or_else(String::new, |driver| format!(", driver {driver}"));
    let commit = record.commit.as_deref().map_or("unknown", |commit| commit.get(..12).unwrap_or(commit));
    format!("{}{driver}, ggemm {} of commit {commit}", record.device, record.ggemm)
}
