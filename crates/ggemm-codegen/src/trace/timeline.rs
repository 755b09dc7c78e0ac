//! The timeline: who did what when, in the order of warps, slots and barriers.

use std::collections::BTreeMap;

use super::recorder::{Class, Executed, Recorder, Turns, Use, WarpLog};
use crate::interp::{Actor, BarrierSlot, Cause, Settings, TileSlot};
use crate::ir::{Block, Body, Kernel, Location, Op, SharedId, StmtId};

/// What one CTA did. Times are in turns from the start of the run.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The kernel's name.
    pub kernel: String,
    /// The problem, in words.
    pub problem: String,
    /// The CTA's index in the grid.
    pub cta: usize,
    /// The schedule and the number of CTAs.
    pub settings: Settings,
    /// When the last warp ended.
    pub end: f64,
    /// The CTA's warps.
    pub lanes: Vec<Lane>,
    /// Its slots of shared memory.
    pub rings: Vec<Ring>,
    /// Its mbarriers, all slots of all of them.
    pub barriers: Vec<BarrierTrack>,
    /// Waits for others, by warp and time.
    pub waits: Vec<Wait>,
}

/// A warp.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its index in the CTA.
    pub warp: usize,
    /// The role that it plays.
    pub role: String,
    /// What it did, without gaps until it ended.
    pub spans: Vec<Span>,
    /// Its products on their way, in the order in which they were started. They overlap.
    pub products: Vec<ProductGroup>,
    /// When it began each tile's sums.
    pub tiles: Vec<f64>,
}

/// A statement of a warp, or several scalar ones in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// What it is.
    pub kind: Kind,
    /// The statement, or the first of them.
    pub stmt: StmtId,
    /// Its name.
    pub op: &'static str,
    /// The Rust line that wrote it.
    pub location: Location,
}

/// What a warp does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Scalars, control, arrivals.
    Scalar,
    /// Waits for others, or for its own asynchronous operations.
    Wait,
    /// Copies, or starts loads.
    Load,
    /// Reads operands and multiplies, or starts products.
    Multiply,
    /// Rounds, stores, or starts stores.
    Store,
    /// Could go on, and the policy lets others go first.
    Ready,
}

impl Kind {
    /// All, in the order of legends.
    pub const ALL: [Kind; 6] = [Kind::Load, Kind::Multiply, Kind::Store, Kind::Wait, Kind::Scalar, Kind::Ready];

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Scalar => "scalar",
            Kind::Wait => "wait",
            Kind::Load => "load",
            Kind::Multiply => "multiply",
            Kind::Store => "store",
            Kind::Ready => "ready",
        }
    }
}

/// Products of a warp that were waited for together: they own their accumulator meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProductGroup {
    /// When the first was started.
    pub start: f64,
    /// When they were waited for.
    pub end: f64,
}

/// Shared tiles that are filled and read together, and what each slot of them holds.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The tiles' names.
    pub name: String,
    /// By slot, the stretches in which it is not empty.
    pub slots: Vec<Vec<SlotSpan>>,
}

/// A stretch of a slot's life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlotSpan {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// What it is.
    pub state: SlotState,
    /// How manieth filling of the ring it is, from 0.
    pub filling: usize,
}

/// What a slot holds. Where no span is, nothing that anybody will read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Loads or stores are under way to it.
    Filling,
    /// It is full and nobody has read it yet.
    Full,
    /// It is read, from the first reading to the end of the last.
    Read,
}

impl SlotState {
    /// All, in their order.
    pub const ALL: [SlotState; 3] = [SlotState::Filling, SlotState::Full, SlotState::Read];

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            SlotState::Filling => "filling",
            SlotState::Full => "full",
            SlotState::Read => "being read",
        }
    }
}

/// One mbarrier.
#[derive(Clone, Debug)]
pub struct BarrierTrack {
    /// Its name.
    pub name: String,
    /// Which of its slots.
    pub slot: u32,
    /// Its phases, without gaps; the last may not have ended.
    pub phases: Vec<PhaseSpan>,
}

/// A phase of an mbarrier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseSpan {
    /// When it begins.
    pub start: f64,
    /// When it ends.
    pub end: f64,
    /// Its number, from 0.
    pub phase: u32,
}

/// A wait for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The warp that waits.
    pub warp: usize,
    /// When it begins to.
    pub start: f64,
    /// When it is over.
    pub end: f64,
    /// What it waits for.
    pub awaited: Awaited,
    /// What ended it; `None` for meetings of warps, and where nothing was to be waited for.
    pub released: Option<Released>,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// All warps of the CTA.
    Cta,
    /// All threads of the cluster.
    Cluster,
    /// The named barrier with this number.
    Named(i64),
    /// The end of a phase of an mbarrier; `None`: one before the first.
    Phase {
        /// The barrier's name.
        name: String,
        /// Its slot.
        slot: u32,
        /// The phase.
        phase: Option<u32>,
    },
}

/// The end of a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Released {
    /// When the phase ended.
    pub at: f64,
    /// When the statement began that ended it; for bytes of a load, when they landed.
    pub caused: f64,
    /// The arrival or the load that completed it.
    pub cause: Cause,
}

impl Released {
    /// The warp of this CTA that ended it.
    pub fn warp_of(&self, cta: usize) -> Option<usize> {
        match self.cause {
            Cause::Arrival(Actor { cta: of, warp }) if of == cta => Some(warp),
            Cause::Arrival(_) | Cause::Bytes { .. } => None,
        }
    }
}

pub(super) fn assemble(kernel: &Kernel, problem: String, settings: Settings, recorder: Recorder) -> Timeline {
    let end = recorder.warps.iter().filter_map(|warp| warp.ended).fold(0.0, Turns::max);
    let mut waits = Vec::new();
    let lanes = recorder
        .warps
        .iter()
        .enumerate()
        .map(|(warp, log)| Lane {
            warp,
            role: role_of(&kernel.body.block, warp as u32).unwrap_or("all warps").to_owned(),
            spans: spans(kernel, &recorder, warp, log, &mut waits),
            tiles: log.tiles.clone(),
            products: log.products.iter().map(|(start, end)| ProductGroup { start: *start, end: *end }).collect(),
        })
        .collect();
    Timeline {
        kernel: kernel.contract.name.clone(),
        problem,
        cta: recorder.cta,
        settings,
        end,
        lanes,
        rings: rings(kernel, &recorder.slots, end),
        barriers: barriers(kernel, &recorder, end),
        waits,
    }
}

/// The innermost role of a warp.
fn role_of(block: &Block, warp: u32) -> Option<&str> {
    block.0.iter().find_map(|stmt| match &stmt.op {
        Op::Role(role) if (role.first_warp..role.first_warp + role.warps).contains(&warp) => {
            Some(role_of(&role.body, warp).unwrap_or(&role.name))
        }
        _ => None,
    })
}

/// Turns that a statement takes at most: of warps that all can go on, one in some thousands comes later to its next.
const LONGEST: Turns = 8.0;

/// A warp's statements as spans; its waits are filed with the others'.
fn spans(kernel: &Kernel, recorder: &Recorder, warp: usize, log: &WarpLog, waits: &mut Vec<Wait>) -> Vec<Span> {
    let last = log.ended.unwrap_or(recorder.now);
    let mut spans: Vec<Span> = Vec::new();
    let mut push = |span: Span| {
        let taken = if span.kind == Kind::Wait { span.end } else { span.end.min(span.start + LONGEST) };
        for part in [Span { end: taken, ..span }, Span { start: taken, kind: Kind::Ready, ..span }] {
            match spans.last_mut() {
                _ if part.end <= part.start => {}
                Some(before) if (before.kind, part.kind) == (Kind::Scalar, Kind::Scalar) => before.end = part.end,
                _ => spans.push(part),
            }
        }
    };
    for (index, s) in log.statements.iter().enumerate() {
        let end = log.statements.get(index + 1).map_or(last, |next| next.start);
        let span = |kind, start, end| Span { start, end, kind, stmt: s.id, op: s.op, location: s.location };
        match s.class {
            Class::Other => push(span(Kind::Scalar, s.start, end)),
            // Here such a wait is over at once: what it waits for is done then.
            Class::Completes => {
                let over = end.min(s.start + LONGEST);
                push(span(Kind::Wait, s.start, over));
                push(span(Kind::Ready, over, end));
            }
            Class::Loads => push(span(Kind::Load, s.start, end)),
            Class::Multiplies => push(span(Kind::Multiply, s.start, end)),
            Class::Stores => push(span(Kind::Store, s.start, end)),
            Class::Blocks => {
                let wait = wait(kernel, recorder, warp, s, end);
                push(span(Kind::Wait, s.start, wait.end));
                push(span(Kind::Scalar, wait.end, end));
                waits.push(wait);
            }
        }
    }
    spans
}

/// A statement that blocks, until `next`, when the warp's next statement begins.
fn wait(kernel: &Kernel, recorder: &Recorder, warp: usize, s: &Executed, next: Turns) -> Wait {
    let resumed = s.resumed.unwrap_or(next).min(next);
    let (awaited, released) = match (s.subject.barrier, s.subject.named) {
        (Some(at), _) => {
            let phase = s.subject.phase;
            let ended = recorder.phases.get(&at).and_then(|all| all.iter().find(|ended| Some(ended.phase) == phase));
            let released = ended.map(|e| Released { at: e.at, caused: e.caused, cause: e.cause });
            (Awaited::Phase { name: name_of(&kernel.body, at), slot: at.slot, phase }, released)
        }
        (None, Some(id)) => (Awaited::Named(id), None),
        (None, None) if s.op == Op::ClusterWait.name() => (Awaited::Cluster, None),
        (None, None) => (Awaited::Cta, None),
    };
    // What was there before costs no wait; a warp that could go on and is not picked does not wait any more.
    let over = match (&awaited, released) {
        (Awaited::Phase { .. }, Some(released)) => released.at,
        (Awaited::Phase { .. }, None) => s.start,
        _ => resumed,
    };
    Wait { warp, start: s.start, end: over.clamp(s.start, resumed.max(s.start)), awaited, released }
}

fn name_of(body: &Body, at: BarrierSlot) -> String {
    body.barriers.get(at.barrier.0 as usize).map_or_else(String::new, |b| b.name.clone())
}

/// Tiles of one statement of a kind and with equally many slots are one ring.
fn rings(kernel: &Kernel, slots: &BTreeMap<TileSlot, Vec<Use>>, end: Turns) -> Vec<Ring> {
    let mut kinds: BTreeMap<SharedId, &'static str> = BTreeMap::new();
    kernel.body.for_each_stmt(|stmt| {
        let (tile, kind) = match &stmt.op {
            Op::CopyTile { to, .. } | Op::StoreStaging { to, .. } => (to.tile, "operands"),
            Op::BulkLoad(load) => (load.to.tile, "operands"),
            Op::StoreFragment { to, .. } => (to.tile, "output"),
            Op::CopyScales(copy) => (copy.to.tile, "operands"),
            Op::SendSums(send) => (send.to.tile, "sums"),
            _ => return,
        };
        kinds.insert(tile, kind);
    });
    let mut members: Vec<((&str, u32), Vec<SharedId>)> = Vec::new();
    for (id, kind) in kinds {
        let key = (kind, kernel.body.shared[id.0 as usize].slots);
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, tiles)) => tiles.push(id),
            None => members.push((key, vec![id])),
        }
    }
    members
        .into_iter()
        .map(|((_, count), tiles)| {
            let names: Vec<&str> = tiles.iter().map(|id| kernel.body.shared[id.0 as usize].name.as_str()).collect();
            let mut by_slot: Vec<Vec<SlotSpan>> = (0..count)
                .map(|slot| {
                    let uses = tiles.iter().filter_map(|tile| slots.get(&TileSlot { tile: *tile, slot })).flatten();
                    life(uses.copied().collect(), end)
                })
                .collect();
            number(&mut by_slot);
            Ring { name: names.join(" + "), slots: by_slot }
        })
        .collect()
}

/// What a slot holds, from all that is done to it. A filling begins with the first write after a read.
fn life(mut uses: Vec<Use>, end: Turns) -> Vec<SlotSpan> {
    uses.sort_by(|a, b| a.start.total_cmp(&b.start));
    /// A filling: when writes began and ended, and when reads did.
    #[derive(Default)]
    struct Filling {
        written: Option<(Turns, Turns)>,
        read: Option<(Turns, Turns)>,
    }
    let mut fillings: Vec<Filling> = Vec::new();
    let grow = |range: &mut Option<(Turns, Turns)>, u: &Use| {
        let until = u.end.unwrap_or(end);
        let (first, last) = range.get_or_insert((u.start, until));
        (*first, *last) = (first.min(u.start), last.max(until));
    };
    for u in &uses {
        if u.fills && fillings.last().is_none_or(|f| f.read.is_some()) {
            fillings.push(Filling::default());
        }
        if let Some(filling) = fillings.last_mut() {
            grow(if u.fills { &mut filling.written } else { &mut filling.read }, u);
        }
    }
    let mut spans = Vec::new();
    for (number, filling) in fillings.into_iter().enumerate() {
        let Some((start, full)) = filling.written else { continue };
        let (first, last) = filling.read.unwrap_or((end, end));
        for (start, end, state) in
            [(start, full, SlotState::Filling), (full, first, SlotState::Full), (first, last, SlotState::Read)]
        {
            if end > start {
                spans.push(SlotSpan { start, end, state, filling: number });
            }
        }
    }
    spans
}

/// Numbers the fillings of all slots, so far counted by slot, in the order in which they began.
fn number(slots: &mut [Vec<SlotSpan>]) {
    let mut begun: BTreeMap<(usize, usize), Turns> = BTreeMap::new();
    for (slot, spans) in slots.iter().enumerate() {
        for span in spans {
            begun.entry((slot, span.filling)).or_insert(span.start);
        }
    }
    let mut order: Vec<((usize, usize), Turns)> = begun.into_iter().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let numbers: BTreeMap<(usize, usize), usize> = order.into_iter().map(|(key, _)| key).zip(0..).collect();
    for (slot, spans) in slots.iter_mut().enumerate() {
        spans.iter_mut().for_each(|span| span.filling = numbers[&(slot, span.filling)]);
    }
}

fn barriers(kernel: &Kernel, recorder: &Recorder, end: Turns) -> Vec<BarrierTrack> {
    let slots = (0..).map(crate::ir::BarrierId).zip(&kernel.body.barriers);
    slots
        .flat_map(|(barrier, b)| (0..b.slots).map(move |slot| (BarrierSlot { barrier, slot }, b)))
        .map(|(at, b)| {
            let ended = recorder.phases.get(&at).map_or(&[][..], Vec::as_slice);
            let mut phases = Vec::with_capacity(ended.len() + 1);
            let mut start = 0.0;
            for phase in ended {
                phases.push(PhaseSpan { start, end: phase.at, phase: phase.phase });
                start = phase.at;
            }
            if end > start {
                phases.push(PhaseSpan { start, end, phase: ended.len() as u32 });
            }
            BarrierTrack { name: b.name.clone(), slot: at.slot, phases }
        })
        .collect()
}
