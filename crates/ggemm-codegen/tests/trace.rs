//! Timelines hold what the run was: in order, without contradictions, and the same for a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ggemm_codegen::interp::{Observer, Policy, Settings, run, run_observed};
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::trace::{Awaited, Example, Kind, SlotState, Timeline, TraceError, chrome, record, svg};
use ggemm_codegen::{Arch, KernelSpec, ValidSpec, kernels};
use serde_json::Value;

const MULTISTAGE: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_32x64x32_w2x2_s3_multistage_cpasync";
const PLAIN: &str = "ggemm_rows_ak_bn_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain";
const PINGPONG: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s4_pingpong_tma";
const CLUSTER: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x64x64_w4x1_s3_pingpong_tma_c2x1";
const DYNAMIC: &str = "ggemm_reduction_am_bn_bf16_f32_f32_sm90a_128x64x64_w8x1_s3_cooperative_tma_dynamic";
const ALL: [&str; 5] = [MULTISTAGE, PLAIN, PINGPONG, CLUSTER, DYNAMIC];

fn spec(name: &str) -> ValidSpec {
    let spec: KernelSpec = name.parse().expect("a spec's name");
    let valid = Arch::ALL.into_iter().find_map(|target| ValidSpec::new(spec, target).ok());
    valid.unwrap_or_else(|| panic!("{name}: {:?}", ValidSpec::new(spec, spec.arch)))
}

fn traced(name: &str, settings: Settings, cta: usize) -> Timeline {
    let spec = spec(name);
    let kernel = kernels::build(&spec);
    let case = Example::default().case(&spec, &kernel.contract).expect("an example that the variant computes");
    record(&kernel, &case, settings, cta).expect("a run without findings")
}

/// A timeline of every kind of variant under every policy.
fn every_way() -> &'static [(&'static str, Settings, Timeline)] {
    static TRACED: LazyLock<Vec<(&str, Settings, Timeline)>> = LazyLock::new(|| {
        let under = |name: &'static str, (seed, policy)| {
            let burst = if seed == 0 { 12 } else { 1 };
            let settings = Settings { policy, seed, burst, ..Settings::default() };
            (name, settings, traced(name, settings, 1))
        };
        ALL.into_iter().flat_map(|name| (0..).zip(Policy::ALL).map(move |schedule| under(name, schedule))).collect()
    });
    &TRACED
}

/// Stretches that follow one another.
fn in_order(stretches: impl IntoIterator<Item = (f64, f64)>) -> bool {
    let mut last = 0.0;
    stretches.into_iter().all(|(start, end)| {
        let fits = last <= start && start <= end;
        last = end;
        fits
    })
}

#[test]
fn timelines_do_not_contradict_themselves() {
    for (name, settings, t) in every_way() {
        let at = format!("{name}, {settings}");
        for lane in &t.lanes {
            assert!(in_order(lane.spans.iter().map(|s| (s.start, s.end))), "{at}, warp {}", lane.warp);
            let gapless = lane.spans.windows(2).all(|pair| pair[0].end == pair[1].start);
            assert!(gapless && lane.spans.last().unwrap().end <= t.end, "{at}, warp {}", lane.warp);
            assert!(lane.products.iter().all(|p| p.start < p.end));
        }
        for (slot, spans) in t.rings.iter().flat_map(|ring| ring.slots.iter().enumerate()) {
            assert!(in_order(spans.iter().map(|s| (s.start, s.end))), "{at}, slot {slot}");
            // Of each filling, what comes first is the filling itself, then it is full, then read.
            let place = |state| SlotState::ALL.iter().position(|s| *s == state).unwrap();
            for pair in spans.windows(2).filter(|pair| pair[0].filling == pair[1].filling) {
                assert!(place(pair[0].state) < place(pair[1].state), "{at}, slot {slot}");
            }
            assert!(spans.is_sorted_by_key(|s| s.filling), "{at}, slot {slot}");
        }
        for track in &t.barriers {
            assert!(in_order(track.phases.iter().map(|p| (p.start, p.end))), "{at}, {}", track.name);
            assert!(track.phases.iter().zip(0..).all(|(p, number)| p.phase == number), "{at}, {}", track.name);
        }
    }
}

/// A wait ends when what it waits for has come, not before; whoever waited for nothing did not wait.
#[test]
fn waits_end_with_what_they_wait_for() {
    for (name, settings, t) in every_way() {
        let mut released = 0;
        for wait in &t.waits {
            assert!(wait.start <= wait.end, "{name}, {settings}: {wait:?}");
            match (&wait.awaited, &wait.released) {
                (Awaited::Phase { phase: Some(phase), name: barrier, slot }, Some(by)) => {
                    released += 1;
                    assert!(wait.end >= by.at && by.at >= by.caused, "{name}, {settings}: {wait:?}");
                    let track = t.barriers.iter().find(|b| (&b.name, b.slot) == (barrier, *slot)).unwrap();
                    assert_eq!(track.phases[*phase as usize].end, by.at, "{name}, {settings}: {wait:?}");
                }
                (Awaited::Phase { phase: None, .. }, None) => assert_eq!(wait.start, wait.end),
                (Awaited::Phase { .. }, _) => panic!("{name}, {settings}: {wait:?}"),
                (Awaited::Cta | Awaited::Cluster | Awaited::Named(_), by) => assert!(by.is_none()),
            }
        }
        assert_eq!(released > 0, !t.barriers.is_empty(), "{name}");
    }
}

/// All warps leave a barrier of the CTA when the last has come.
#[test]
fn meetings_end_for_all_at_once() {
    let t = traced(MULTISTAGE, Settings::default(), 0);
    let meetings = |warp: usize| t.waits.iter().filter(move |w| w.warp == warp && w.awaited == Awaited::Cta);
    let count = meetings(0).count();
    assert!(count > 20);
    for nth in 0..count {
        let all: Vec<_> = (0..t.lanes.len()).map(|warp| meetings(warp).nth(nth).unwrap()).collect();
        let last = all.iter().map(|w| w.start).fold(0.0, f64::max);
        assert!(all.iter().all(|w| w.end == all[0].end && w.end > last), "meeting {nth}");
    }
}

/// Eight tiles (1 + 1 + 2 along the rows, two along the columns) of six blocks each, all on one CTA; each block fills a
/// slot once, and every filling is read.
#[test]
fn every_block_fills_a_slot_and_is_read() {
    for name in [MULTISTAGE, PLAIN, PINGPONG] {
        let t = traced(name, Settings { ctas: 1, burst: 1, ..Settings::default() }, 0);
        let operands = &t.rings[0];
        let (mut fillings, mut read) = (BTreeSet::new(), BTreeSet::new());
        for span in operands.slots.iter().flatten() {
            fillings.insert(span.filling);
            if span.state == SlotState::Read {
                read.insert(span.filling);
            }
        }
        assert_eq!((fillings.len(), &fillings), (48, &read), "{name}");
        let consumers: Vec<_> = t.lanes.iter().filter(|lane| !lane.tiles.is_empty()).collect();
        let each = if name == PINGPONG { 4 } else { 8 };
        assert!(consumers.iter().all(|lane| lane.tiles.len() == each), "{name}");
        assert_eq!(consumers.len(), if name == PINGPONG { 8 } else { 4 }, "{name}");
    }
}

/// Two CTAs share the tiles of a counter; two of a cluster load for each other.
#[test]
fn every_cta_has_its_share() {
    for name in [DYNAMIC, CLUSTER] {
        let settings = Settings { burst: 1, ..Settings::default() };
        let tiles = [0, 1].map(|cta| {
            let t = traced(name, settings, cta);
            let first_of_each = t.lanes.iter().step_by(4).filter(|lane| !lane.tiles.is_empty());
            let tiles: usize = first_of_each.map(|lane| lane.tiles.len()).sum();
            // Both warpgroups are at the same tile, or each has its own.
            if name == DYNAMIC { tiles / 2 } else { tiles }
        });
        assert!(tiles.iter().all(|count| *count >= 2), "{name}: {tiles:?}");
        // 5 groups of two tiles; clusters of two along the rows are at 1 + 1 + 2 pairs of tiles, two along the columns.
        assert_eq!(tiles.iter().sum::<usize>(), if name == DYNAMIC { 10 } else { 16 }, "{name}: {tiles:?}");
    }
}

#[test]
fn a_seed_gives_one_timeline() {
    for name in [MULTISTAGE, DYNAMIC] {
        let write = |seed| {
            let t = traced(name, Settings { seed, burst: 1, ..Settings::default() }, 0);
            (svg::write(&t), chrome::write(&t))
        };
        assert_eq!(write(5), write(5));
        assert_ne!(write(5).0, write(6).0);
    }
}

/// Follows a run and keeps nothing.
struct Follower;

impl Observer for Follower {
    fn follows(&self) -> bool {
        true
    }
}

#[test]
fn whoever_follows_changes_nothing() {
    for name in [MULTISTAGE, CLUSTER] {
        let spec = spec(name);
        let kernel: Kernel = kernels::build(&spec);
        let case = Example::default().case(&spec, &kernel.contract).unwrap();
        let (mut alone, mut followed) = (case.memory(), case.memory());
        let statistics = run(&kernel, case.contraction(), &mut alone, Settings::default()).unwrap();
        let same =
            run_observed(&kernel, case.contraction(), &mut followed, Settings::default(), &mut Follower).unwrap();
        assert_eq!(statistics, same);
        assert_eq!(alone.d.bits(), followed.d.bits());
        case.check(&followed).unwrap();
    }
}

#[test]
fn traces_are_in_the_trace_event_format() {
    for name in [MULTISTAGE, PINGPONG] {
        let t = traced(name, Settings { burst: 1, ..Settings::default() }, 0);
        let json: Value = serde_json::from_str(&chrome::write(&t)).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let of = |ph: &'static str| events.iter().filter(move |e| e["ph"] == ph);
        let number = |e: &Value, key: &str| e[key].as_f64().unwrap();
        let track = |e: &Value| (e["pid"].as_u64().unwrap(), e["tid"].as_u64().unwrap());
        let mut tracks: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
        for e in of("X") {
            assert!(number(e, "dur") > 0.0, "{e}");
            tracks.entry(track(e)).or_default().push((number(e, "ts"), number(e, "ts") + number(e, "dur")));
        }
        for (at, slices) in &tracks {
            // A start and a length add up to the next start but for the last bit.
            let apart = slices.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-6);
            assert!(apart, "{name}: track {at:?}");
        }
        let names: BTreeSet<_> = of("M").filter(|e| e["name"] == "thread_name").map(track).collect();
        assert!(tracks.keys().all(|at| names.contains(at)), "{name}: a track without a name");
        // Arrows begin and end in slices of their tracks, and lead forward.
        let inside = |e: &Value| {
            let ts = number(e, "ts");
            tracks[&track(e)].iter().any(|(start, end)| (*start..=*end).contains(&ts))
        };
        for (begin, end) in of("s").zip(of("f")) {
            assert_eq!((&begin["id"], &begin["name"]), (&end["id"], &end["name"]));
            assert!(number(begin, "ts") <= number(end, "ts") && inside(begin) && inside(end), "{begin} {end}");
        }
        assert_eq!((of("s").count() > 10, of("s").count()), (name == PINGPONG, of("f").count()));
        assert_eq!(of("b").count(), of("e").count());
        assert_eq!(of("b").count() > 0, name == PINGPONG);
    }
}

#[test]
fn pictures_are_well_formed_and_whole() {
    for name in [MULTISTAGE, PINGPONG] {
        let t = traced(name, Settings { burst: 1, ..Settings::default() }, 0);
        let text = svg::write(&t);
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        let number = |node: roxmltree::Node<'_, '_>, key: &str| node.attribute(key).unwrap().parse::<f64>().unwrap();
        let (width, height) = (number(root, "width"), number(root, "height"));
        let mut drawn = BTreeSet::new();
        for rect in document.descendants().filter(|n| n.has_tag_name("rect") && n.attribute("x").is_some()) {
            let (x, y) = (number(rect, "x"), number(rect, "y"));
            let (right, bottom) = (x + number(rect, "width"), y + number(rect, "height"));
            assert!(x >= 0.0 && y >= 0.0 && right <= width && bottom <= height, "{name}: outside at {x}, {y}");
            drawn.insert(rect.attribute("fill").unwrap());
        }
        let texts: Vec<&str> = document.descendants().filter_map(|n| n.text()).collect();
        let labels: Vec<&str> =
            t.lanes.iter().map(|l| l.role.as_str()).chain(t.rings.iter().map(|r| &*r.name)).collect();
        assert!(labels.iter().all(|label| texts.contains(label)), "{name}: {labels:?}");
        assert!(Kind::ALL.iter().all(|kind| texts.contains(&kind.name())), "{name}: the legend");
        assert!(drawn.len() >= 8, "{name}: {drawn:?}");
    }
}

#[test]
fn what_cannot_be_traced_is_explained() {
    let (spec, even) = (spec(PINGPONG), spec(&format!("{MULTISTAGE}_evenk")));
    let kernel = kernels::build(&spec);
    let example = |n, k| Example { n: Some(n), k: Some(k), ..Example::default() };
    let case = example(64, 64).case(&spec, &kernel.contract).unwrap();
    let error = record(&kernel, &case, Settings::default(), 2).unwrap_err();
    assert!(matches!(error, TraceError::NoCta { cta: 2, ctas: 2 }), "{error}");
    let settings = Settings { limit: 100, ..Settings::default() };
    assert!(matches!(record(&kernel, &case, settings, 0).unwrap_err(), TraceError::Finding(_)));
    let refused = |e: &Example, spec: &ValidSpec| e.case(spec, &kernels::build(spec).contract).unwrap_err().to_string();
    assert!(refused(&example(64, 63), &spec).contains("rows are aligned to 2 bytes and the variant needs 16"));
    assert!(refused(&example(64, 72), &even).contains("whole blocks of 32 and 72 is none"));
    assert!(refused(&example(1 << 20, 1 << 20), &spec).contains("an example at most 16777216"));
    let huge = Example { sizes: Some(vec![usize::MAX, usize::MAX]), ..Example::default() };
    assert!(!refused(&huge, &spec).is_empty());
}
