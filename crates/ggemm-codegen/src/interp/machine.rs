//! The machine: CTAs of warps, stepped statement by statement.

use std::collections::{HashMap, VecDeque};

use super::Statistics;
use super::barriers::{ClusterBarrier, Mbarrier, Named};
use super::bulk::Load;
use super::cluster::{Signal, Word};
use super::evaluate::{Environment, LANES};
use super::finding::{Event, Finding, FindingKind};
use super::knowledge::{Knowledge, Participants};
use super::memory::Memory;
use super::observe::{Actor, Observer};
use super::schedule::{Dice, Policy, Settings};
use super::shared::SharedMemory;
use super::warp::{ALL_LANES, Frame, Mask, Repeat, State, Warp};
use crate::contraction::Contraction;
use crate::emit::cuda;
use crate::ir::{EncodedMap, ExprId, ExprKind, Kernel, Op, ParamType, ShuffleFrom, Stmt, StmtId, VarId};
use crate::launch::{Argument, Operand, argument};

/// Statements between two words to the observer on the output.
const OBSERVED: u64 = 1 << 16;

/// Events of a CTA that a finding shows.
const HISTORY: usize = 24;

pub(super) struct Cta<'k> {
    pub(super) warps: Vec<Warp<'k>>,
    pub(super) shared: SharedMemory,
    /// Values that warps must agree on, by statement and visit, with how many warps have computed them.
    agreements: HashMap<(StmtId, u64), (Vec<i64>, usize)>,
    history: VecDeque<Event>,
    /// The CTA's mbarriers, all slots of all of them.
    pub(super) barriers: Vec<Mbarrier>,
    pub(super) named: Vec<Named>,
    /// Loads on their way into this CTA.
    pub(super) loads: Vec<Load>,
    /// What its warps knew together when the last of them ended.
    pub(super) gone: Option<Knowledge>,
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
    pub(super) participants: Participants,
    pub(super) clusters: Vec<ClusterBarrier>,
    /// Arrivals from CTA to CTA.
    pub(super) signals: Vec<Signal>,
    /// Operations started.
    pub(super) operations: u64,
    /// Tensor maps, by parameter.
    pub(super) maps: Vec<Option<EncodedMap>>,
    /// The workspace.
    pub(super) words: Vec<Word>,
    pub(super) observer: &'m mut dyn Observer,
    /// Whether the observer wants to know of every statement.
    pub(super) follows: bool,
    /// Warps that could make a step when the last was picked.
    pub(super) able: usize,
}

/// Why a step could not be made, before it is known where.
pub(super) type Step<T = ()> = Result<T, FindingKind>;

impl<'k, 'm> Machine<'k, 'm> {
    pub(super) fn new(
        kernel: &'k Kernel,
        problem: &Contraction,
        memory: &'m mut Memory,
        settings: Settings,
        observer: &'m mut dyn Observer,
    ) -> Self {
        let arguments: Vec<Argument> = kernel.contract.params.iter().map(|p| argument(p.role, problem)).collect();
        let warps = kernel.contract.threads as usize / LANES;
        let size = kernel.contract.cluster.max(1) as usize;
        let barriers = kernel.body.barriers.iter().map(|b| b.slots as usize).sum();
        let participants = Participants { ctas: size, warps, barriers };
        let ctas = settings.ctas_of(&kernel.contract);
        let cta = |index: usize| Cta {
            warps: (0..warps)
                .map(|w| Warp::new(&kernel.body, Knowledge::of_warp(&participants, participants.warp(index % size, w))))
                .collect(),
            shared: SharedMemory::new(kernel.contract.shared_bytes, warps, index % size, size * warps),
            agreements: HashMap::new(),
            history: VecDeque::new(),
            barriers: vec![Mbarrier::new(&participants); barriers],
            named: Named::all(&participants),
            loads: Vec::new(),
            gone: None,
        };
        let map_of = |p: &crate::ir::Param| match (p.ty, argument(p.role, problem)) {
            (ParamType::TensorMap(id), Argument::Pointer(operand)) => {
                let shape = match operand {
                    Operand::A => &problem.a,
                    Operand::B => &problem.b,
                    Operand::D => &problem.d,
                    Operand::Groups | Operand::Workspace => return None,
                };
                kernel.contract.tensor_maps.get(id.0 as usize).map(|map| map.encode(shape))
            }
            _ => None,
        };
        Machine {
            kernel,
            memory,
            settings,
            dice: Dice::new(settings.seed),
            ctas: (0..ctas).map(cta).collect(),
            params: arguments.iter().map(|a| if let Argument::Integer(v) = a { *v } else { 0 }).collect(),
            pointers: arguments.iter().map(|a| if let Argument::Pointer(p) = a { Some(*p) } else { None }).collect(),
            statistics: Statistics::default(),
            has_agreement: agreements_of(kernel),
            participants,
            clusters: vec![ClusterBarrier::new(&participants); ctas / size],
            signals: Vec::new(),
            operations: 0,
            maps: kernel.contract.params.iter().map(map_of).collect(),
            words: vec![Word::default(); kernel.contract.workspace_bytes as usize / 4],
            follows: observer.follows(),
            observer,
            able: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Statistics, Box<Finding>> {
        let mut observed = 0;
        loop {
            let Some((cta, warp)) = self.pick() else {
                if self.ctas.iter().all(|c| c.gone.is_some()) {
                    break;
                }
                self.land_one_or_give_up()?;
                continue;
            };
            if self.statistics.statements >= observed + OBSERVED {
                observed = self.statistics.statements;
                self.observer.written(self.memory.d.written());
            }
            let burst = match self.settings.policy {
                Policy::Eager | Policy::Late => usize::MAX,
                Policy::Random | Policy::Starve => 1 + self.dice.below(self.settings.burst),
            };
            for _ in 0..burst {
                if !self.can_go_on(cta, warp) {
                    break;
                }
                self.go_on(cta, warp);
                self.step(cta, warp)?;
            }
            self.land_some(cta)?;
            self.meet(cta)?;
        }
        self.finish()?;
        Ok(self.statistics)
    }

    /// Whether a warp can make a step.
    fn can_go_on(&self, cta: usize, warp: usize) -> bool {
        let c = &self.ctas[cta];
        let w = &c.warps[warp];
        match w.state {
            State::Ready => true,
            State::AtPhase { barrier, parity, .. } => c.barriers[barrier].has_ended(parity),
            State::AtCluster(_) => w.cluster_generation != Some(self.clusters[self.cluster_of(cta)].generation),
            State::AtBarrier(_) | State::AtNamed { .. } | State::Done => false,
        }
    }

    /// The next warp to run; `None` when none can.
    fn pick(&mut self) -> Option<(usize, usize)> {
        let ready: Vec<(usize, usize)> = (0..self.ctas.len())
            .flat_map(|c| (0..self.ctas[c].warps.len()).map(move |w| (c, w)))
            .filter(|(c, w)| self.can_go_on(*c, *w))
            .collect();
        self.able = ready.len();
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

    /// Lets random parts of a CTA's asynchronous operations happen.
    fn land_some(&mut self, index: usize) -> Result<(), Box<Finding>> {
        if !matches!(self.settings.policy, Policy::Random | Policy::Starve) {
            return Ok(());
        }
        let cta = &mut self.ctas[index];
        // Now and then a random share of one warp's pieces, from a single one to all.
        let chosen = self.dice.below(4 * cta.warps.len());
        if let Some(warp) = cta.warps.get_mut(chosen) {
            let share = 1 + self.dice.below(8);
            for piece in warp.in_flight().filter(|p| !p.landed) {
                if self.dice.below(share) == 0 {
                    cta.shared.land(piece.address, piece.bytes);
                    piece.landed = true;
                    self.statistics.landed += 1;
                }
            }
            let running: usize = warp.products.iter().map(Vec::len).sum::<usize>() + warp.products_open.len();
            let stores = warp.stores.len() + warp.stores_open.len();
            if running > 0 {
                let count = self.dice.below(running + 1);
                self.progress_products(index, chosen, count);
            }
            if stores > 0 {
                let progress = self.progress_some_store(index, chosen);
                progress.map_err(|kind| self.finding(index, chosen, StmtId(0), kind))?;
            }
        }
        let loads = self.ctas[index].loads.len();
        if loads > 0 && self.dice.below(2) == 0 {
            let (load, count) = (self.dice.below(loads), 1 + self.dice.below(2048));
            self.land(index, load, count)?;
        }
        Ok(())
    }

    /// Lets pieces of a load land; what is wrong with that is wrong with the load.
    fn land(&mut self, cta: usize, load: usize, count: usize) -> Result<(), Box<Finding>> {
        let (issuer, stmt) = (self.ctas[cta].loads[load].issuer, self.ctas[cta].loads[load].stmt);
        self.land_load(cta, load, count).map_err(|kind| self.finding(issuer.0, issuer.1, stmt, kind))
    }

    /// Nobody can go on: a load lands, or all are stuck for good.
    fn land_one_or_give_up(&mut self) -> Result<(), Box<Finding>> {
        let loads: Vec<(usize, usize)> =
            (0..self.ctas.len()).flat_map(|c| (0..self.ctas[c].loads.len()).map(move |l| (c, l))).collect();
        if !loads.is_empty() {
            let (cta, load) = loads[self.dice.below(loads.len())];
            return self.land(cta, load, usize::MAX);
        }
        let stuck: Vec<(usize, usize)> = (0..self.ctas.len())
            .flat_map(|c| (0..self.ctas[c].warps.len()).map(move |w| (c, w)))
            .filter(|(c, w)| self.ctas[*c].warps[*w].state != State::Done)
            .collect();
        let (cta, warp) = stuck.first().copied().unwrap_or((0, 0));
        let starved = stuck.iter().find_map(|(c, w)| self.starved_of_bytes(*c, *w).map(|kind| (*c, *w, kind)));
        let (cta, warp, kind) = starved.unwrap_or_else(|| {
            let waiting: Vec<String> = stuck.iter().filter_map(|(c, w)| self.describe(*c, *w)).collect();
            (cta, warp, FindingKind::Deadlock { waiting: waiting.join("; ") })
        });
        let at = match self.ctas[cta].warps[warp].state {
            State::AtBarrier(stmt)
            | State::AtCluster(stmt)
            | State::AtPhase { stmt, .. }
            | State::AtNamed { stmt, .. } => stmt,
            State::Ready | State::Done => StmtId(0),
        };
        Err(self.finding(cta, warp, at, kind))
    }

    /// What must hold when all have ended.
    fn finish(&mut self) -> Result<(), Box<Finding>> {
        let warps = self.participants.warps;
        for (cta, warp) in (0..self.ctas.len()).flat_map(|c| (0..warps).map(move |w| (c, w))) {
            let last = self.last_of(cta, warp);
            self.finish_stores(cta, warp).map_err(|kind| self.finding(cta, warp, last, kind))?;
        }
        for cta in 0..self.ctas.len() {
            let complete = self.check_phases_complete(cta);
            complete.map_err(|kind| self.finding(cta, 0, self.last_of(cta, 0), kind))?;
        }
        if let Some((signal, kind)) = self.unheard() {
            return Err(self.finding(signal.from.0, signal.from.1, signal.stmt, kind));
        }
        self.check_workspace()
    }

    /// The last statement of note that a warp executed.
    fn last_of(&self, cta: usize, warp: usize) -> StmtId {
        self.ctas[cta].history.iter().rev().find(|e| e.warp == warp).map_or(StmtId(0), |e| e.stmt)
    }

    /// Opens the CTA's barrier if all its warps are there; notices a CTA in which some never will be.
    fn meet(&mut self, index: usize) -> Result<(), Box<Finding>> {
        let cta = &mut self.ctas[index];
        let settled = |w: &Warp<'_>| matches!(w.state, State::AtBarrier(_) | State::Done);
        if !cta.warps.iter().all(settled) || cta.warps.iter().all(|w| w.state == State::Done) {
            return Ok(());
        }
        let first = cta.warps[0].state;
        if !cta.warps.iter().all(|w| matches!(w.state, State::AtBarrier(_)) && w.state == first) {
            let waiting: Vec<String> = (0..cta.warps.len()).filter_map(|w| self.describe(index, w)).collect();
            let states = self.ctas[index].warps.iter().map(|w| w.state);
            let at = states.clone().find_map(|s| if let State::AtBarrier(id) = s { Some(id) } else { None });
            let warp = states.clone().position(|s| s != State::Done).unwrap_or(0);
            let kind = FindingKind::Deadlock { waiting: waiting.join(", ") };
            return Err(self.finding(index, warp, at.unwrap_or(StmtId(0)), kind));
        }
        let mut together = cta.warps[0].known.clone();
        cta.warps.iter().for_each(|w| together.join(&w.known));
        let first = self.rank(index) * self.participants.warps;
        for (w, warp) in self.ctas[index].warps.iter_mut().enumerate() {
            warp.known.clock.clone_from(&together.clock);
            warp.known.fenced.clone_from(&together.fenced);
            warp.known.clock[first + w] += 1;
            warp.state = State::Ready;
        }
        (0..self.participants.warps).for_each(|warp| self.tell_resumed(index, warp));
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
        if self.follows {
            self.tell(cta, warp, stmt, mask);
        }
        self.execute(cta, warp, stmt, mask).map_err(|kind| self.finding(cta, warp, stmt.id, kind))
    }

    fn end(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let w = &mut self.ctas[cta].warps[warp];
        w.state = State::Done;
        if self.follows {
            self.observer.ended(Actor { cta, warp });
        }
        let w = &mut self.ctas[cta].warps[warp];
        let pieces = w.in_flight().count();
        let products = w.products.iter().map(Vec::len).sum::<usize>() + w.products_open.len();
        let stores = w.stores.iter().flatten().chain(&w.stores_open).filter(|s| s.may_read()).count();
        let left = if pieces > 0 {
            Some(FindingKind::LeftInFlight { pieces })
        } else if products > 0 {
            Some(FindingKind::LeftRunning { operation: "its products", count: products })
        } else if stores > 0 {
            Some(FindingKind::LeftRunning { operation: "its bulk stores", count: stores })
        } else {
            None
        };
        if let Some(kind) = left {
            return Err(self.finding(cta, warp, self.last_of(cta, warp), kind));
        }
        self.settle_cluster(self.cluster_of(cta));
        if self.ctas[cta].warps.iter().all(|w| w.state == State::Done) {
            self.end_cta(cta, warp)?;
        }
        Ok(())
    }

    /// The CTA's shared memory goes: nothing may come to it any more.
    fn end_cta(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let mut known = Knowledge::none(&self.participants);
        self.ctas[cta].warps.iter().for_each(|w| known.join(&w.known));
        let unseen =
            |b: &usize| known.clock[self.barrier_participant(cta, *b)] < self.ctas[cta].barriers[*b].loaded_through;
        let count = (0..self.participants.barriers).filter(unseen).count();
        self.ctas[cta].gone = Some(known);
        if count > 0 {
            let kind = FindingKind::LeftRunning { operation: "the barriers that bulk loads count on", count };
            return Err(self.finding(cta, warp, self.last_of(cta, warp), kind));
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
        self.check_grid(cta, warp, &stmt.op)?;
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
            Op::BeginStaging { fragment, from } => self.begin_staging(cta, warp, *fragment, from)?,
            Op::LoadStaging { to, pieces } => self.load_staging(cta, warp, *to, pieces)?,
            Op::StoreStaging { from, to, pieces } => self.store_staging(cta, warp, stmt, (*from, pieces), to)?,
            Op::Zero { fragment } => {
                self.touch(cta, warp, *fragment)?;
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
            Op::Role(role) => {
                if (role.first_warp..role.first_warp + role.warps).contains(&(warp as u32)) {
                    let frame = Frame { block: &role.body, next: 0, mask, repeat: Repeat::No };
                    self.ctas[cta].warps[warp].frames.push(frame);
                }
            }
            Op::Elect { body } => {
                let lane = mask & mask.wrapping_neg();
                let frame = Frame { block: body, next: 0, mask: lane, repeat: Repeat::No };
                self.ctas[cta].warps[warp].frames.push(frame);
            }
            Op::InitBarrier { barrier } => self.init_barrier(cta, warp, *barrier),
            Op::FenceBarrierInit => self.fence_barrier_init(cta, warp),
            Op::Arrive(arrive) => self.arrive(cta, warp, stmt, arrive, mask)?,
            Op::Await { at, parity } => self.await_phase(cta, warp, stmt, at, *parity, mask)?,
            Op::NamedBarrier { id, threads, wait } => self.named_barrier(cta, warp, stmt, (*id, *threads, *wait))?,
            Op::ClusterArrive => self.cluster_arrive(cta, warp, stmt)?,
            Op::ClusterWait => self.cluster_wait(cta, warp, stmt)?,
            Op::BulkLoad(load) => self.bulk_load(cta, warp, stmt, load, mask)?,
            Op::BulkStore(store) => self.bulk_store(cta, warp, stmt, store, mask)?,
            Op::CommitStores => {
                let w = &mut self.ctas[cta].warps[warp];
                let group = std::mem::take(&mut w.stores_open);
                w.stores.push_back(group);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitStores { pending, reads } => {
                self.await_stores(cta, warp, *pending as usize, *reads)?;
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::FenceProducts => self.fence_products(cta, warp),
            Op::WarpgroupMultiply(product) => self.warpgroup_multiply(cta, warp, stmt, product)?,
            Op::CommitProducts => {
                self.commit_products(cta, warp);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitProducts { pending } => {
                self.await_products(cta, warp, *pending as usize);
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::FenceProxy => self.fence_proxy(cta, warp),
            Op::StoreFragment { from, to, row, col, block, transposed } => {
                self.store_fragment(cta, warp, stmt, *from, to, (*row, *block), *col, *transposed)?;
            }
            Op::WriteWord { to, value } => self.write_word(cta, warp, stmt, to, *value, mask)?,
            Op::ReadWord { var, from } => self.read_word(cta, warp, stmt, *var, from, mask)?,
            Op::FetchAdd(add) => self.fetch_add(cta, warp, stmt.id, add, mask)?,
            Op::AwaitGrid => self.await_grid(cta, warp),
            // What a prefetch brings and who starts early changes no result.
            Op::PrefetchMap { .. } | Op::LaunchDependents => {}
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
            warp: warp as i64,
            cluster: self.participants.ctas as i64,
        }
    }

    /// A lane's value.
    pub(super) fn lane_value(&self, cta: usize, warp: usize, id: ExprId, lane: usize) -> Step<i64> {
        self.environment(cta, warp).lane_value(id, lane)
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

    pub(super) fn mask_of(&self, cta: usize, warp: usize, id: ExprId, mask: Mask) -> Step<Mask> {
        let values = self.lanes(cta, warp, id, mask)?;
        Ok(lanes_of(mask).filter(|l| values[*l] != 0).fold(0, |m, l| m | 1 << l))
    }

    pub(super) fn assign(&mut self, cta: usize, warp: usize, var: VarId, values: [i64; LANES], mask: Mask) {
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

    pub(super) fn finding(&self, cta: usize, warp: usize, id: StmtId, kind: FindingKind) -> Box<Finding> {
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
        Op::CopyTile { from, .. } | Op::BeginStaging { from, .. } => [Some(from.origin), from.rows, from.cols],
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
