//! The timeline in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open. A turn is written
//! as a microsecond.
//!
//! Process 1 holds the warps, 2 the slots of shared memory, 3 the mbarriers. Products on their way are asynchronous
//! slices beside their warp; an arrow leads from the arrival that ends a wait to the wait's end.

use serde_json::{Value, json};

use super::timeline::{Awaited, Kind, Timeline, Wait};

const WARPS: u32 = 1;
const MEMORY: u32 = 2;
const BARRIERS: u32 = 3;

/// The timeline as one JSON object.
pub fn write(timeline: &Timeline) -> String {
    let mut events = Vec::new();
    name(&mut events, WARPS, None, &format!("CTA {}: warps", timeline.cta));
    for lane in &timeline.lanes {
        let tid = lane.warp;
        name(&mut events, WARPS, Some(tid), &format!("warp {} ({})", lane.warp, lane.role));
        for span in &lane.spans {
            let args = json!({
                "statement": format!("#{}", span.stmt.0),
                "rust": format!("{}:{}", span.location.file, span.location.line),
            });
            let label = match span.kind {
                Kind::Scalar | Kind::Ready => span.kind.name(),
                Kind::Wait | Kind::Load | Kind::Multiply | Kind::Store => span.op,
            };
            events.push(slice((WARPS, tid), label, span.kind.name(), (span.start, span.end), args));
        }
        for (number, group) in lane.products.iter().enumerate() {
            let id = format!("{}.{number}", lane.warp);
            for (phase, at) in [("b", group.start), ("e", group.end)] {
                events.push(json!({
                    "ph": phase, "cat": "products", "id": id, "name": "products in flight",
                    "pid": WARPS, "tid": tid, "ts": at,
                }));
            }
        }
    }
    name(&mut events, MEMORY, None, "shared memory");
    let mut row = 0;
    for ring in &timeline.rings {
        for (slot, spans) in ring.slots.iter().enumerate() {
            name(&mut events, MEMORY, Some(row), &format!("{} [{slot}]", ring.name));
            for span in spans {
                let label = format!("{} ({})", span.state.name(), span.filling);
                let args = json!({ "filling": span.filling });
                events.push(slice((MEMORY, row), &label, span.state.name(), (span.start, span.end), args));
            }
            row += 1;
        }
    }
    name(&mut events, BARRIERS, None, "mbarriers");
    for (row, track) in timeline.barriers.iter().enumerate() {
        name(&mut events, BARRIERS, Some(row), &format!("{} [{}]", track.name, track.slot));
        for phase in &track.phases {
            let label = format!("phase {}", phase.phase);
            let args = json!({ "parity": phase.phase % 2 });
            events.push(slice((BARRIERS, row), &label, "phase", (phase.start, phase.end), args));
        }
    }
    for (id, wait) in timeline.waits.iter().enumerate() {
        events.extend(arrow(timeline, id, wait).into_iter().flatten());
    }
    let other = json!({
        "kernel": timeline.kernel,
        "problem": timeline.problem,
        "schedule": timeline.settings.to_string(),
        "unit": "1 us is a turn: every warp of the launch that can go on executes one statement, on average",
    });
    json!({ "traceEvents": events, "displayTimeUnit": "ns", "otherData": other }).to_string()
}

/// Names a process, or one of its tracks, and gives it its place.
fn name(events: &mut Vec<Value>, pid: u32, tid: Option<usize>, name: &str) {
    let (what, order) = match tid {
        None => ("process", pid as usize),
        Some(tid) => ("thread", tid),
    };
    let at = json!({ "ph": "M", "pid": pid, "tid": tid.unwrap_or(0) });
    for (kind, args) in [("name", json!({ "name": name })), ("sort_index", json!({ "sort_index": order }))] {
        let mut event = at.clone();
        event["name"] = format!("{what}_{kind}").into();
        event["args"] = args;
        events.push(event);
    }
}

fn slice((pid, tid): (u32, usize), name: &str, kind: &str, (start, end): (f64, f64), args: Value) -> Value {
    json!({
        "ph": "X", "pid": pid, "tid": tid, "name": name, "cat": kind, "ts": start, "dur": end - start, "args": args,
    })
}

/// From the arrival of a warp of this CTA to the end of the wait that it ended.
fn arrow(timeline: &Timeline, id: usize, wait: &Wait) -> Option<[Value; 2]> {
    let released = wait.released?;
    let from = released.warp_of(timeline.cta)?;
    let Awaited::Phase { name, slot, phase } = &wait.awaited else { return None };
    if wait.end <= wait.start {
        return None;
    }
    let label = format!("{name} [{slot}] phase {}", phase.unwrap_or(0));
    let end = |ph: &str, tid: usize, ts: f64| json!({ "ph": ph, "bp": "e", "cat": "arrival", "id": id, "name": label, "pid": WARPS, "tid": tid, "ts": ts });
    // An arrow ends inside a slice: a little before the wait does.
    let inside = wait.end - (wait.end - wait.start).min(1e-3) / 2.0;
    Some([end("s", from, released.caused), end("f", wait.warp, inside)])
}
