//! A record as a page of charts.

use ggemm_codegen::Operation;

use crate::chart::{Bars, Lines, MOST_SERIES, Panel, Scale, page};
use crate::error::ReportError;
use crate::race::Race;
use crate::record::{Axis, Point, Record, Row, Subject};

/// What a plan takes: its speed beside that of the peers who raced on the same device, its share of the floor, and the
/// sweeps of M and of skew. As SVG.
///
/// # Errors
/// [`ReportError::Chart`].
pub fn picture(record: &Record, races: &[Race]) -> Result<String, ReportError> {
    let rows = record.taken();
    let (swept, still): (Vec<&Row>, Vec<&Row>) = rows.into_iter().partition(|row| row.subject.sweep.is_some());
    let beside: Vec<&Race> = races.iter().filter(|race| race.is_beside(record)).collect();
    let mut panels = Vec::new();
    for operation in Operation::ALL {
        let rows: Vec<&Row> = still.iter().copied().filter(|row| row.subject.operation() == operation).collect();
        if !rows.is_empty() {
            panels.push(Panel::Bars(speeds(record, operation, &rows, &beside)));
        }
    }
    panels.extend(shares(record, &still).map(Panel::Bars));
    panels.extend(sweeps(record, &swept, Axis::M).map(Panel::Lines));
    panels.extend(sweeps(record, &swept, Axis::Skew).map(Panel::Lines));
    page(&panels)
}

/// TFLOP/s of ggemm and of its peers.
fn speeds(record: &Record, operation: Operation, rows: &[&Row], races: &[&Race]) -> Bars {
    let mut series = vec![("ggemm".to_owned(), rows.iter().map(|row| Some(row.tflops)).collect())];
    let of = |subject: &Subject, peer: &str| {
        let times = races.iter().flat_map(|race| race.of(subject)).filter(|row| row.peer == peer);
        times.map(|row| row.tflops).reduce(f64::max)
    };
    let mut peers: Vec<&str> = Vec::new();
    for peer in races.iter().flat_map(|race| race.peers()) {
        if !peers.contains(&peer) && rows.iter().any(|row| of(&row.subject, peer).is_some()) {
            peers.push(peer);
        }
    }
    for peer in &peers {
        series.push(((*peer).to_owned(), rows.iter().map(|row| of(&row.subject, peer)).collect()));
    }
    let stored = if peers.is_empty() { "" } else { ", beside peers' stored results" };
    let caption = format!("{operation}, TFLOP/s on {}{stored}", record.device);
    Bars { caption, labels: rows.iter().map(|row| row.subject.case.clone()).collect(), series }
}

/// The floor over the time, in percent, where it is known.
fn shares(record: &Record, rows: &[&Row]) -> Option<Bars> {
    let mut labels: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| row.floor_us.is_some()) {
        if !labels.contains(&row.subject.case) {
            labels.push(row.subject.case.clone());
        }
    }
    let share = |case: &String, operation: Operation| {
        let row = rows.iter().find(|row| row.subject.case == *case && row.subject.operation() == operation)?;
        row.of_floor().map(|share| 100.0 * share)
    };
    let operations = Operation::ALL.into_iter().filter(|op| rows.iter().any(|row| row.subject.operation() == *op));
    let series =
        operations.map(|operation| (operation.to_string(), labels.iter().map(|case| share(case, operation)).collect()));
    let caption = format!("share of the floor on {}, %", record.device);
    (!labels.is_empty()).then(|| Bars { caption, series: series.collect(), labels: labels.clone() })
}

/// Time over an axis, a panel for so many series as have a colour each.
fn sweeps(record: &Record, rows: &[&Row], axis: Axis) -> impl Iterator<Item = Lines> {
    let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let Some(Point { at, .. }) = row.subject.sweep.filter(|point| point.axis == axis) else { continue };
        let name = format!("{} {}", row.subject.case, row.subject.operation());
        let point = (at, row.median_us);
        match series.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => series.push((name, vec![point])),
        }
    }
    for (_, points) in &mut series {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let (below, across, up) = match axis {
        Axis::M => ("M, rows of all groups", Scale::Log2, Scale::Log2),
        Axis::Skew => ("skew: group i has rows in proportion to 1 / i to this power", Scale::Linear, Scale::Linear),
    };
    let what = if axis == Axis::M { "M" } else { "skew" };
    let caption = format!("time against {what} on {}, microseconds", record.device);
    let panels: Vec<Lines> = series
        .chunks(MOST_SERIES)
        .map(|series| Lines { caption: caption.clone(), below: below.to_owned(), across, up, series: series.to_vec() })
        .collect();
    panels.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::tests::RESULTS;
    use crate::record::tests::{record, row};

    fn captions(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let large = |node: &roxmltree::Node<'_, '_>| {
            let size = node.attribute("font-size").and_then(|size| size.parse::<f64>().ok());
            node.has_tag_name("text") && size.is_some_and(|size| size > 12.0)
        };
        document.descendants().filter(large).filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
    }

    #[test]
    fn a_page_has_what_was_measured() {
        let mut rows = vec![row("a", "v", &[12.0]), row("b <&>", "v", &[13.0])];
        for (axis, at) in [(Axis::M, 64.0), (Axis::M, 128.0), (Axis::Skew, 0.0), (Axis::Skew, 1.0)] {
            let mut swept = row("a", "v", &[10.0 + at]);
            swept.subject.sweep = Some(Point { axis, at });
            rows.push(swept);
        }
        let race = Race::parse(RESULTS).unwrap();
        let svg = picture(&record(rows.clone()), std::slice::from_ref(&race)).unwrap();
        assert_eq!(
            captions(&svg),
            [
                "forward, TFLOP/s on a GPU, beside peers' stored results",
                "share of the floor on a GPU, %",
                "time against M on a GPU, microseconds",
                "time against skew on a GPU, microseconds",
            ]
        );
        for text in ["torch", "quack", "b &lt;&amp;&gt;"] {
            assert!(svg.contains(text), "{text}");
        }
        // On another device nobody raced.
        let elsewhere = Record { device: "another".into(), ..record(rows) };
        let svg = picture(&elsewhere, &[race]).unwrap();
        assert!(!svg.contains("torch") && captions(&svg)[0] == "forward, TFLOP/s on another", "{:?}", captions(&svg));
    }

    #[test]
    fn nothing_is_an_empty_page() {
        roxmltree::Document::parse(&picture(&record(Vec::new()), &[]).unwrap()).unwrap();
    }
}
