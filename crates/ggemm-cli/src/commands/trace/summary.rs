//! A timeline in a few lines: what each role does with its turns.

use ggemm_codegen::trace::{Kind, Lane, Timeline};

use crate::table;

/// What is printed of a timeline.
pub(super) fn text(timeline: &Timeline) -> String {
    let headings = ["role", "warps", "turns"].into_iter().chain(Kind::ALL.map(Kind::name));
    let mut table = table::table(headings, 1..3 + Kind::ALL.len());
    for (role, lanes) in roles(&timeline.lanes) {
        let length = |lane: &Lane| lane.spans.last().map_or(0.0, |last| last.end - lane.spans[0].start);
        let total: f64 = lanes.iter().copied().map(length).sum();
        let turns = lanes.iter().copied().map(length).fold(0.0, f64::max);
        let mut row = vec![role.to_owned(), lanes.len().to_string(), format!("{turns:.0}")];
        row.extend(Kind::ALL.map(|kind| {
            let spans = lanes.iter().flat_map(|lane| &lane.spans).filter(|span| span.kind == kind);
            let part = spans.fold(0.0, |sum, span| sum + span.end - span.start);
            format!("{:.0}%", 100.0 * part / total.max(f64::MIN_POSITIVE))
        }));
        table.add_row(row);
    }
    let (cta, settings) = (timeline.cta, timeline.settings);
    format!("CTA {cta} of {}\n{settings}\n\n{}\n", timeline.problem, table::text(&table))
}

/// Lanes by role, in the order in which roles come first.
fn roles(lanes: &[Lane]) -> Vec<(&str, Vec<&Lane>)> {
    let mut roles: Vec<(&str, Vec<&Lane>)> = Vec::new();
    for lane in lanes {
        match roles.iter_mut().find(|(role, _)| *role == lane.role) {
            Some((_, of_role)) => of_role.push(lane),
            None => roles.push((&lane.role, vec![lane])),
        }
    }
    roles
}
