//! The timeline as a picture: a row for each warp, each slot of shared memory and each mbarrier, over one axis of turns.

use std::fmt::Write;

use super::timeline::{Kind, Lane, SlotState, Timeline};

const GUTTER: f64 = 190.0;
const PLOT: f64 = 1300.0;
const MARGIN: f64 = 16.0;
/// Height of a warp's row without the strip of its products.
const LANE: f64 = 11.0;
const STRIP: f64 = 4.0;
const SLOT: f64 = 13.0;
const BARRIER: f64 = 7.0;
/// Between groups of rows, and between sections.
const GROUP_GAP: f64 = 7.0;
const SECTION_GAP: f64 = 24.0;
/// Columns of the plot for which the longest kind of each is drawn.
const COLUMNS: usize = 1300;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const LINE: &str = "#e5e7eb";
const EMPTY: &str = "#f3f4f6";
const PRODUCTS: &str = "#86c99a";
const PARITY: [&str; 2] = ["#94a3b8", "#cbd5e1"];

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Load => "#2f6fb7",
        Kind::Multiply => "#1f8a4c",
        Kind::Store => "#d97a16",
        Kind::Wait => "#f0a6a1",
        Kind::Scalar => "#b3bbc6",
        Kind::Ready => "#dde2e8",
    }
}

fn slot_color(state: SlotState) -> &'static str {
    match state {
        SlotState::Filling => "#2f6fb7",
        SlotState::Full => "#a9c9ec",
        SlotState::Read => "#1f8a4c",
    }
}

/// The timeline as one SVG document.
pub fn write(timeline: &Timeline) -> String {
    let mut page = Page { body: String::new(), y: MARGIN, end: timeline.end.max(1.0) };
    page.heading(timeline);
    page.warps(timeline);
    page.rings(timeline);
    page.barriers(timeline);
    page.finish()
}

struct Page {
    body: String,
    /// Where the next row comes.
    y: f64,
    /// Turns of the axis.
    end: f64,
}

impl Page {
    fn x(&self, turns: f64) -> f64 {
        GUTTER + turns / self.end * PLOT
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str, title: &str) {
        // Writing to a string does not fail.
        let _ = write!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{:.1}" height="{height:.1}" fill="{fill}""#,
            width.max(0.2)
        );
        let _ = match title {
            "" => writeln!(self.body, "/>"),
            title => writeln!(self.body, "><title>{}</title></rect>", escaped(title)),
        };
    }

    fn text(&mut self, (x, y): (f64, f64), (size, anchor, fill): (u32, &str, &str), text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{}</text>"#,
            escaped(text)
        );
    }

    fn heading(&mut self, t: &Timeline) {
        self.text((MARGIN, self.y + 12.0), (15, "start", INK), &t.kernel);
        let settings = t.settings;
        let run = format!(
            "CTA {} of {}, policy {}, seed {}; {}",
            t.cta,
            settings.ctas,
            settings.policy.name(),
            settings.seed,
            t.problem
        );
        self.text((MARGIN, self.y + 30.0), (11, "start", FAINT), &run);
        self.y += 40.0;
        let mut x = MARGIN;
        let swatches = Kind::ALL.map(|kind| (color(kind), kind.name().to_owned()));
        let in_flight = t.lanes.iter().any(|lane| !lane.products.is_empty());
        let products = in_flight.then(|| (PRODUCTS, "products in flight (strip)".to_owned()));
        let slots = SlotState::ALL.map(|state| (slot_color(state), format!("slot {}", state.name())));
        let phases = [(PARITY[0], "even phase".to_owned()), (PARITY[1], "odd phase".to_owned())];
        let phases = phases.into_iter().filter(|_| !t.barriers.is_empty());
        self.rect((x, self.y - 1.0), (1.5, 12.0), INK, "");
        self.text((x + 6.0, self.y + 9.0), (11, "start", INK), "a tile's sums begin");
        x += 126.0;
        for (fill, label) in swatches.into_iter().chain(products).chain(slots).chain(phases) {
            self.rect((x, self.y), (12.0, 10.0), fill, "");
            self.text((x + 16.0, self.y + 9.0), (11, "start", INK), &label);
            x += 30.0 + 5.7 * label.len() as f64;
        }
        self.y += 14.0;
    }

    fn section(&mut self, title: &str) {
        self.y += SECTION_GAP;
        let text = format!(r#"<tspan font-weight="bold">{}</tspan>"#, escaped(title));
        let (x, y) = (MARGIN, self.y - 7.0);
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" font-size="12" fill="{INK}">{text}</text>"#);
    }

    /// The name of a row, and of the group that it is the first of.
    fn label(&mut self, group: Option<&str>, row: &str, height: f64) {
        let base = self.y + height / 2.0 + 3.5;
        if let Some(group) = group {
            self.text((MARGIN, base), (11, "start", INK), group);
        }
        self.text((GUTTER - 6.0, base), (9, "end", FAINT), row);
    }

    fn warps(&mut self, t: &Timeline) {
        self.section("warps");
        let mut before: Option<&str> = None;
        for lane in &t.lanes {
            let first = before != Some(lane.role.as_str());
            if first && before.is_some() {
                self.y += GROUP_GAP;
            }
            before = Some(&lane.role);
            self.label(first.then_some(&lane.role), &format!("warp {}", lane.warp), LANE);
            self.rect((GUTTER, self.y), (PLOT, LANE), EMPTY, "");
            for (kind, from, to) in columns(lane, self.end) {
                let turns = |column: usize| column as f64 / COLUMNS as f64 * self.end;
                let (x, width) = (self.x(turns(from)), self.x(turns(to)) - self.x(turns(from)));
                let title = format!("{}, turns {:.0} to {:.0}", kind.name(), turns(from), turns(to));
                self.rect((x, self.y), (width, LANE), color(kind), &title);
            }
            let has_products = !lane.products.is_empty();
            for (start, end) in joined(lane.products.iter().map(|p| (p.start, p.end))) {
                let (x, width) = (self.x(start), self.x(end) - self.x(start));
                self.rect((x, self.y + LANE), (width, STRIP), PRODUCTS, "products in flight");
            }
            for start in &lane.tiles {
                self.rect((self.x(*start), self.y - 1.0), (1.5, LANE + 2.0), INK, "a tile's sums begin");
            }
            self.y += LANE + if has_products { STRIP } else { 0.0 } + 2.0;
        }
    }

    fn rings(&mut self, t: &Timeline) {
        if !t.rings.is_empty() {
            self.section("slots of shared memory, with the number of the filling");
        }
        for ring in &t.rings {
            for (slot, spans) in ring.slots.iter().enumerate() {
                self.label((slot == 0).then_some(&ring.name), &format!("slot {slot}"), SLOT);
                self.rect((GUTTER, self.y), (PLOT, SLOT), EMPTY, "");
                let mut labelled = None;
                for span in spans {
                    let (x, width) = (self.x(span.start), self.x(span.end) - self.x(span.start));
                    let title = format!(
                        "filling {}: {}, turns {:.1} to {:.1}",
                        span.filling,
                        span.state.name(),
                        span.start,
                        span.end
                    );
                    self.rect((x, self.y), (width, SLOT), slot_color(span.state), &title);
                    let number = span.filling.to_string();
                    let is_dark = span.state != SlotState::Full;
                    if is_dark && labelled != Some(span.filling) && width > 4.0 + 5.6 * number.len() as f64 {
                        labelled = Some(span.filling);
                        self.text((x + width / 2.0, self.y + 9.5), (9, "middle", "#ffffff"), &number);
                    }
                }
                self.y += SLOT + 2.0;
            }
            self.y += GROUP_GAP;
        }
    }

    fn barriers(&mut self, t: &Timeline) {
        if t.barriers.is_empty() {
            return;
        }
        self.section("mbarriers: a phase ends where the colour changes");
        let mut before: Option<&str> = None;
        for track in &t.barriers {
            let first = before != Some(track.name.as_str());
            if first && before.is_some() {
                self.y += GROUP_GAP - 2.0;
            }
            before = Some(&track.name);
            self.label(first.then_some(&track.name), &track.slot.to_string(), BARRIER);
            for phase in &track.phases {
                let (x, width) = (self.x(phase.start), self.x(phase.end) - self.x(phase.start));
                let title = format!("phase {}, turns {:.1} to {:.1}", phase.phase, phase.start, phase.end);
                self.rect((x, self.y), (width, BARRIER), PARITY[phase.phase as usize % 2], &title);
            }
            self.y += BARRIER + 2.0;
        }
    }

    /// The axis under and over all rows, and the document around them.
    fn finish(mut self) -> String {
        let (top, bottom) = (MARGIN + 58.0, self.y + 4.0);
        let (step, end) = (step(self.end), self.end);
        let mut grid = String::new();
        for turns in (0..).map(|n| f64::from(n) * step).take_while(|turns| *turns <= end) {
            let x = self.x(turns);
            let _ = writeln!(grid, r#"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{LINE}"/>"#);
            self.text((x, bottom + 13.0), (10, "middle", FAINT), &format!("{turns:.0}"));
        }
        let unit = "turns: in one, every warp that can go on executes one statement, on average";
        self.text((GUTTER + PLOT / 2.0, bottom + 30.0), (11, "middle", FAINT), unit);
        let (width, height) = (GUTTER + PLOT + 2.0 * MARGIN, bottom + 42.0);
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" "#,
                r#"viewBox="0 0 {width:.0} {height:.0}" font-family="Inter, Helvetica, Arial, sans-serif">"#,
                "\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{grid}{body}</svg>\n"
            ),
            width = width,
            height = height,
            grid = grid,
            body = self.body,
        )
    }
}

/// What a lane does most in each column of the plot, as runs of columns.
fn columns(lane: &Lane, end: f64) -> Vec<(Kind, usize, usize)> {
    let mut shares = vec![[0.0f64; Kind::ALL.len()]; COLUMNS];
    let scale = COLUMNS as f64 / end;
    for span in &lane.spans {
        let kind = Kind::ALL.iter().position(|k| *k == span.kind).unwrap_or(0);
        let (start, stop) = (span.start * scale, span.end * scale);
        let first = start.floor() as usize;
        for (column, share) in shares.iter_mut().enumerate().take(stop.ceil() as usize).skip(first) {
            let covered = stop.min(column as f64 + 1.0) - start.max(column as f64);
            share[kind] += covered.max(0.0);
        }
    }
    let mut runs: Vec<(Kind, usize, usize)> = Vec::new();
    for (column, share) in shares.iter().enumerate() {
        let most = Kind::ALL.into_iter().zip(share).max_by(|a, b| a.1.total_cmp(b.1));
        let Some((kind, share)) = most else { continue };
        if *share <= 0.0 {
            continue;
        }
        match runs.last_mut() {
            Some((last, _, to)) if *last == kind && *to == column => *to = column + 1,
            _ => runs.push((kind, column, column + 1)),
        }
    }
    runs
}

/// Stretches that overlap or touch, as one.
fn joined(stretches: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (start, end) in stretches {
        match all.last_mut() {
            Some((_, last)) if start <= *last => *last = last.max(end),
            _ => all.push((start, end)),
        }
    }
    all
}

/// A round number of turns between ticks: about a dozen of them.
fn step(end: f64) -> f64 {
    let rough = end / 12.0;
    let power = 10f64.powf(rough.log10().floor()).max(1.0);
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
