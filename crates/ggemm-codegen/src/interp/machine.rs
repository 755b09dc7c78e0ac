//! The machine: CTAs of warps, stepped statement by statement.

use std::collections::{HashMap, VecDeque};

use super::Statistics;
use super::evaluate::{Environment, LANES};
use super::finding::{Event, Finding, FindingKind};
use super::memory::Memory;
use super::schedule::{Dice, Policy, Settings};
use super::shared::SharedMemory;
use super::warp::{ALL_LANES, Frame, Mask, Repeat, State, Warp};
use crate::contraction::Contraction;
use crate::emit::cuda;
use crate::ir::{ExprId, ExprKind, Kernel, Op, ShuffleFrom, Stmt, StmtId, VarId};
use crate::launch::{Argument, Operand, argument};

/// Statements between two calls of the observer.
const OBSERVED: u64 = 1 << 16;

/// Events of a CTA that a finding shows.
const HISTORY: usize = 24;

pub(super) struct Cta<'k> {
    pub(super) warps: Vec<Warp<'k>>,
    pub(super) shared: SharedMemory,
    /// Values that warps must agree on, by statement and visit, with how many warps have computed them.
    agreements: HashMap<(StmtId, u64), (Vec<i64>, usize)>,
    history: VecDeque<Event>,
    pub(super) next_copy: u64,
}

pub(super) struct Machine<'k, 'm> {
    pub(super) kernel: &'k Kernel,
    pub(super) memory: &'m mut Memory,
    pub(super) settings: Settings,
    pub(super) dice: Dice,
    pub(super) ctas: Vec<Cta<'k>>,
    params: Vec<i64>,
    pub(super) pointers: Vec<Option<Operand>>,
    pub(super) statistics: Statistics,
    /// For each expression, whether an agreement is inside.
    has_agreement: Vec<bool>,
}

/// Why a step could not be made, before it is known where.
pub(super) type Step<T = ()> = Result<T, FindingKind>;

impl<'k, 'm> Machine<'k, 'm> {
    pub(super) fn new(kernel: &'k Kernel, problem: &Contraction, memory: &'m mut Memory, settings: Settings) -> Self {
        let arguments: Vec<Argument> = kernel.contract.params.iter().map(|p| argument(p.role, problem)).collect();
        let warps = kernel.contract.threads as usize / LANES;
        let cta = || Cta {
            warps: (0..warps).map(|w| Warp::new(&kernel.body, w, warps)).collect(),
            shared: SharedMemory::new(kernel.contract.shared_bytes, warps),
            agreements: HashMap::new(),
            history: VecDeque::new(),
            next_copy: 0,
        };
        Machine {
            kernel,
            memory,
            settings,
            dice: Dice::new(settings.seed),
            ctas: (0..settings.ctas.max(1)).map(|_| cta()).collect(),
            params: arguments.iter().map(|a| if let Argument::Integer(v) = a { *v } else { 0 }).collect(),
            pointers: arguments.iter().map(|a| if let Argument::Pointer(p) = a { Some(*p) } else { None }).collect(),
            statistics: Statistics::default(),
            has_agreement: agreements_of(kernel),
        }
    }

    /// `observe` is called now and then with the elements of the output that have been written.
    pub(super) fn run(mut self, observe: &dyn Fn(usize)) -> Result<Statistics, Box<Finding>> {
        let mut observed = 0;
        while let Some((cta, warp)) = self.pick() {
            if self.statistics.statements >= observed + OBSERVED {
                observed = self.statistics.statements;
                observe(self.memory.d.written());
            }
            let burst = match self.settings.policy {
                Policy::Eager | Policy::Late => usize::MAX,
                Policy::Random | Policy::Starve => 1 + self.dice.below(12),
            };
            for _ in 0..burst {
                if self.ctas[cta].warps[warp].state != State::Ready {
                    break;
                }
                self.step(cta, warp)?;
            }
            self.land_some(cta);
            self.meet(cta)?;
        }
        Ok(self.statistics)
    }

    /// The next warp to run; `None` when all are done.
    fn pick(&mut self) -> Option<(usize, usize)> {
        let ready: Vec<(usize, usize)> = self
            .ctas
            .iter()
            .enumerate()
            .flat_map(|(c, cta)| cta.warps.iter().enumerate().map(move |(w, warp)| (c, w, warp.state)))
            .filter(|(_, _, state)| *state == State::Ready)
            .map(|(c, w, _)| (c, w))
            .collect();
        let favoured: Vec<(usize, usize)> = match self.settings.policy {
            Policy::Starve => {
                let starved = self.settings.seed as usize % self.ctas[0].warps.len().max(1);
                ready.iter().copied().filter(|(_, w)| *w != starved).collect()
            }
            Policy::Eager | Policy::Late => ready.first().copied().into_iter().collect(),
            Policy::Random => Vec::new(),
        };
        let from = if favoured.is_empty() { &ready } else { &favoured };
        if from.is_empty() { None } else { Some(from[self.dice.below(from.len())]) }
    }

    /// Lets random pieces of a CTA's copies land.
    fn land_some(&mut self, cta: usize) {
        if !matches!(self.settings.policy, Policy::Random | Policy::Starve) {
            return;
        }
        let cta = &mut self.ctas[cta];
        // Now and then a random share of one warp's pieces, from a single one to all.
        let chosen = self.dice.below(4 * cta.warps.len());
        let Some(warp) = cta.warps.get_mut(chosen) else { return };
        let share = 1 + self.dice.below(8);
        for piece in warp.in_flight().filter(|p| !p.landed) {
            if self.dice.below(share) == 0 {
                cta.shared.land(piece.address, piece.bytes);
                piece.landed = true;
                self.statistics.landed += 1;
            }
        }
    }

    /// Opens the CTA's barrier if all its warps are there; notices a CTA in which none can go on.
    fn meet(&mut self, index: usize) -> Result<(), Box<Finding>> {
        let cta = &mut self.ctas[index];
        if cta.warps.iter().any(|w| w.state == State::Ready) || cta.warps.iter().all(|w| w.state == State::Done) {
            return Ok(());
        }
        let states: Vec<State> = cta.warps.iter().map(|w| w.state).collect();
        let together = states.iter().all(|s| matches!(s, State::AtBarrier(_)) && *s == states[0]);
        if !together {
            let waiting = describe(&states);
            let at = states.iter().find_map(|s| if let State::AtBarrier(id) = s { Some(*id) } else { None });
            let warp = states.iter().position(|s| *s != State::Done).unwrap_or(0);
            return Err(self.finding(index, warp, at.unwrap_or(StmtId(0)), FindingKind::Deadlock { waiting }));
        }
        let joined = (0..cta.warps.len())
            .map(|w| cta.warps.iter().map(|other| other.clock[w]).max().unwrap_or(0))
            .collect::<Vec<u32>>();
        for (w, warp) in cta.warps.iter_mut().enumerate() {
            warp.clock.clone_from(&joined);
            warp.clock[w] += 1;
            warp.state = State::Ready;
        }
        self.statistics.barriers += 1;
        Ok(())
    }

    /// Executes one statement of a warp, or leaves a block.
    fn step(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let frames = &mut self.ctas[cta].warps[warp].frames;
        let Some(frame) = frames.last_mut() else {
            return self.end(cta, warp);
        };
        let Some(stmt) = frame.block.0.get(frame.next) else {
            self.leave_block(cta, warp);
            return Ok(());
        };
        frame.next += 1;
        let mask = frame.mask;
        self.statistics.statements += 1;
        if self.statistics.statements > self.settings.limit {
            let limit = self.settings.limit;
            return Err(self.finding(cta, warp, stmt.id, FindingKind::Endless { limit }));
        }
        self.execute(cta, warp, stmt, mask).map_err(|kind| self.finding(cta, warp, stmt.id, kind))
    }

    fn end(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let w = &mut self.ctas[cta].warps[warp];
        w.state = State::Done;
        let pieces = w.in_flight().count();
        if pieces > 0 {
            let last = self.ctas[cta].history.iter().rev().find(|e| e.warp == warp).map_or(StmtId(0), |e| e.stmt);
            return Err(self.finding(cta, warp, last, FindingKind::LeftInFlight { pieces }));
        }
        Ok(())
    }

    fn leave_block(&mut self, cta: usize, warp: usize) {
        let w = &mut self.ctas[cta].warps[warp];
        let Some(frame) = w.frames.last_mut() else { return };
        match &mut frame.repeat {
            Repeat::Counted { var, next, end } if *next < *end => {
                w.vars[var.0 as usize] = [*next; LANES];
                *next += 1;
                frame.next = 0;
            }
            Repeat::Forever => frame.next = 0,
            Repeat::No | Repeat::Counted { .. } => {
                w.frames.pop();
            }
        }
    }

    fn execute(&mut self, cta: usize, warp: usize, stmt: &'k Stmt, mask: Mask) -> Step {
        self.check_agreements(cta, warp, stmt)?;
        match &stmt.op {
            Op::Comment(_) => {}
            Op::Let { var, value } | Op::Assign { var, value } => {
                let value = self.lanes(cta, warp, *value, mask)?;
                self.assign(cta, warp, *var, value, mask);
            }
            Op::If { condition, then, otherwise } => {
                let holds = self.mask_of(cta, warp, *condition, mask)?;
                // Both paths where lanes differ; the other path is executed after the first.
                for (block, lanes) in [(otherwise, mask & !holds), (then, holds)] {
                    if lanes != 0 && !block.0.is_empty() {
                        let frame = Frame { block, next: 0, mask: lanes, repeat: Repeat::No };
                        self.ctas[cta].warps[warp].frames.push(frame);
                    }
                }
            }
            Op::For { var, end, body, .. } => {
                let end = self.uniform(cta, warp, *end)?;
                if end > 0 {
                    let w = &mut self.ctas[cta].warps[warp];
                    w.vars[var.0 as usize] = [0; LANES];
                    let repeat = Repeat::Counted { var: *var, next: 1, end };
                    w.frames.push(Frame { block: body, next: 0, mask, repeat });
                }
            }
            Op::Loop { body } => {
                let frame = Frame { block: body, next: 0, mask, repeat: Repeat::Forever };
                self.ctas[cta].warps[warp].frames.push(frame);
            }
            Op::Break { condition } => {
                if self.uniform(cta, warp, *condition)? != 0 {
                    let frames = &mut self.ctas[cta].warps[warp].frames;
                    while let Some(frame) = frames.pop() {
                        if matches!(frame.repeat, Repeat::Forever) {
                            break;
                        }
                    }
                }
            }
            Op::LoadIndex { var, pointer, index, wide, guard } => {
                let guard = self.mask_of(cta, warp, *guard, mask)?;
                let index = self.lanes(cta, warp, *index, guard)?;
                if guard != 0 {
                    self.check_width(*pointer, self.uniform(cta, warp, *wide)? != 0)?;
                }
                let mut values = [0; LANES];
                for lane in lanes_of(guard) {
                    values[lane] = self.read_global(*pointer, index[lane])? as i64;
                }
                self.assign(cta, warp, *var, values, mask);
            }
            Op::Shuffle { var, value, from } => {
                let offered = self.lanes(cta, warp, *value, ALL_LANES)?;
                let values = match from {
                    ShuffleFrom::Below(distance) => {
                        let distance = *distance as usize;
                        std::array::from_fn(|l| if l >= distance { offered[l - distance] } else { offered[l] })
                    }
                    ShuffleFrom::Lane(lane) => {
                        let lane = self.uniform(cta, warp, *lane)?;
                        [offered[lane.rem_euclid(LANES as i64) as usize]; LANES]
                    }
                };
                self.assign(cta, warp, *var, values, ALL_LANES);
            }
            Op::Ballot { var, predicate } => {
                let holds = self.mask_of(cta, warp, *predicate, ALL_LANES)?;
                self.assign(cta, warp, *var, [i64::from(holds); LANES], ALL_LANES);
            }
            Op::Barrier => {
                self.note(cta, warp, stmt, String::new());
                self.ctas[cta].warps[warp].state = State::AtBarrier(stmt.id);
            }
            Op::CopyTile { from, to, map } => self.copy_tile(cta, warp, stmt, from, to, map)?,
            Op::CommitCopies => {
                let w = &mut self.ctas[cta].warps[warp];
                let group = std::mem::take(&mut w.open);
                w.groups.push_back(group);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitCopies { pending } => {
                self.await_copies(cta, warp, *pending as usize);
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::LoadStaging { to, from } => self.load_staging(cta, warp, *to, from)?,
            Op::StoreStaging { from, to } => self.store_staging(cta, warp, stmt, *from, to)?,
            Op::Zero { fragment } => {
                let registers = &mut self.ctas[cta].warps[warp].registers[fragment.0 as usize];
                registers.values.iter_mut().for_each(|slot| slot.fill(0.0));
                registers.filled.fill(true);
            }
            Op::LoadMatrix { to, to_slot, from, step, transposed } => {
                self.load_matrix(cta, warp, stmt, (*to, *to_slot), from, *step, *transposed)?;
            }
            Op::Multiply { accumulator, a, b, slot } => self.multiply(cta, warp, *accumulator, *a, *b, *slot)?,
            Op::StoreTile { from, to, accumulate, paired } => {
                self.store_tile(cta, warp, *from, to, *accumulate, *paired)?;
            }
        }
        Ok(())
    }

    // ---- scalars ----

    fn environment(&self, cta: usize, warp: usize) -> Environment<'_> {
        Environment {
            exprs: &self.kernel.body.exprs,
            vars: &self.ctas[cta].warps[warp].vars,
            params: &self.params,
            cta: cta as i64,
            ctas: self.ctas.len() as i64,
        }
    }

    /// A value that is the same in all lanes.
    pub(super) fn uniform(&self, cta: usize, warp: usize, id: ExprId) -> Step<i64> {
        self.environment(cta, warp).lane_value(id, 0)
    }

    /// A value of each lane of `mask`; the others get 0.
    fn lanes(&self, cta: usize, warp: usize, id: ExprId, mask: Mask) -> Step<[i64; LANES]> {
        let env = self.environment(cta, warp);
        if self.kernel.body.exprs[id].scope >= crate::ir::Scope::Warp {
            return Ok([env.lane_value(id, 0)?; LANES]);
        }
        let mut values = [0; LANES];
        for lane in lanes_of(mask) {
            values[lane] = env.lane_value(id, lane)?;
        }
        Ok(values)
    }

    fn mask_of(&self, cta: usize, warp: usize, id: ExprId, mask: Mask) -> Step<Mask> {
        let values = self.lanes(cta, warp, id, mask)?;
        Ok(lanes_of(mask).filter(|l| values[*l] != 0).fold(0, |m, l| m | 1 << l))
    }

    fn assign(&mut self, cta: usize, warp: usize, var: VarId, values: [i64; LANES], mask: Mask) {
        let target = &mut self.ctas[cta].warps[warp].vars[var.0 as usize];
        for lane in lanes_of(mask) {
            target[lane] = values[lane];
        }
    }

    /// Holds what a warp computed against what the others of its CTA did at the same visit of the statement.
    fn check_agreements(&mut self, cta: usize, warp: usize, stmt: &Stmt) -> Step {
        let mut values = Vec::new();
        for id in expressions_of(&stmt.op).into_iter().flatten() {
            if self.has_agreement[id.0 as usize] {
                self.environment(cta, warp).agreements(id, &mut values)?;
            }
        }
        if values.is_empty() {
            return Ok(());
        }
        let cta = &mut self.ctas[cta];
        let visit = cta.warps[warp].visits.entry(stmt.id).or_insert(0);
        *visit += 1;
        let key = (stmt.id, *visit);
        let warps = cta.warps.len();
        let (agreed, seen) = cta.agreements.entry(key).or_insert_with(|| (values.clone(), 0));
        if let Some((value, other)) = values.iter().zip(agreed.iter()).find(|(a, b)| a != b) {
            return Err(FindingKind::Disagreement { value: *value, other: *other });
        }
        *seen += 1;
        if *seen == warps {
            cta.agreements.remove(&key);
        }
        Ok(())
    }

    // ---- reports ----

    pub(super) fn note(&mut self, cta: usize, warp: usize, stmt: &Stmt, detail: String) {
        let history = &mut self.ctas[cta].history;
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Event { cta, warp, stmt: stmt.id, what: format!("{}{detail}", stmt.op.name()) });
    }

    fn finding(&self, cta: usize, warp: usize, id: StmtId, kind: FindingKind) -> Box<Finding> {
        let mut found = None;
        self.kernel.body.for_each_stmt(|s| {
            if s.id == id {
                found = Some((s.op.name(), s.location));
            }
        });
        let (statement, location) = found.unwrap_or(("end", crate::ir::Location { file: "", line: 0 }));
        let lines = cuda::emit(self.kernel).lines.into_iter().find(|l| l.0 == id).map(|l| (l.1, l.2));
        Box::new(Finding {
            kind,
            kernel: self.kernel.contract.name.clone(),
            cta,
            warp,
            stmt: id,
            statement,
            location,
            lines,
            settings: self.settings,
            history: self.ctas[cta].history.iter().cloned().collect(),
        })
    }
}

/// The lanes of a mask.
pub(super) fn lanes_of(mask: Mask) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |l| mask >> l & 1 == 1)
}

/// The expressions that a statement evaluates itself.
fn expressions_of(op: &Op) -> [Option<ExprId>; 3] {
    match op {
        Op::Let { value, .. } | Op::Assign { value, .. } => [Some(*value), None, None],
        Op::If { condition, .. } | Op::Break { condition } => [Some(*condition), None, None],
        Op::For { end, .. } => [Some(*end), None, None],
        Op::CopyTile { from, .. } | Op::LoadStaging { from, .. } => [Some(from.origin), from.rows, from.cols],
        Op::StoreTile { to, .. } => [Some(to.origin), to.rows, to.cols],
        _ => [None; 3],
    }
}

fn agreements_of(kernel: &Kernel) -> Vec<bool> {
    let exprs = &kernel.body.exprs;
    let mut has = Vec::with_capacity(exprs.len());
    // Operands come before what they are part of.
    for node in exprs.iter() {
        let of = |id: &ExprId| has.get(id.0 as usize).copied().unwrap_or(false);
        let inside = match &node.kind {
            ExprKind::Agree(_) => true,
            ExprKind::Binary(_, a, b) => of(a) || of(b),
            ExprKind::Not(a) | ExprKind::FirstLane(a) | ExprKind::Cast(a) => of(a),
            ExprKind::Select(c, a, b) => of(c) || of(a) || of(b),
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Var(_) | ExprKind::Builtin(_) => false,
        };
        has.push(inside);
    }
    has
}

fn describe(states: &[State]) -> String {
    let parts: Vec<String> = states
        .iter()
        .enumerate()
        .map(|(w, s)| match s {
            State::Ready => format!("warp {w} could go on"),
            State::AtBarrier(id) => format!("warp {w} waits for all warps at the barrier #{}", id.0),
            State::Done => format!("warp {w} has ended"),
        })
        .collect();
    parts.join(", ")
}
