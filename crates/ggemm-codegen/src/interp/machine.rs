//! The machine: CTAs of warps, and the run from their start to what must hold at their end.

use std::collections::{HashMap, VecDeque};

use super::Statistics;
use super::agreement::agreements_of;
use super::barriers::{ClusterBarrier, Mbarrier, Named};
use super::bulk::Load;
use super::cluster::{Signal, Word};
use super::evaluate::LANES;
use super::finding::{Event, Finding, FindingKind};
use super::knowledge::{Knowledge, Participants};
use super::memory::Memory;
use super::observe::Observer;
use super::partial_sums::Saved;
use super::products::Pieces;
use super::schedule::{Dice, Policy, Settings};
use super::shared::SharedMemory;
use super::warp::Warp;
use crate::contraction::Contraction;
use crate::emit::cuda;
use crate::geometry::WARPS_OF_WARPGROUP;
use crate::ir::{EncodedMap, Kernel, ParamType, Stmt, StmtId};
use crate::launch::{Argument, Operand};

/// Statements between two words to the observer on the output.
const OBSERVED: u64 = 1 << 16;

/// Events of a CTA that a finding shows.
const HISTORY: usize = 24;

pub(super) struct Cta<'k> {
    pub(super) warps: Vec<Warp<'k>>,
    pub(super) shared: SharedMemory,
    /// Values that warps must agree on, by statement and visit, with how many warps have computed them.
    pub(super) agreements: HashMap<(StmtId, u64), (Vec<i64>, usize)>,
    pub(super) history: VecDeque<Event>,
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
    pub(super) params: Vec<i64>,
    pub(super) pointers: Vec<Option<Operand>>,
    pub(super) statistics: Statistics,
    /// For each expression, whether an agreement is inside.
    pub(super) has_agreement: Vec<bool>,
    pub(super) participants: Participants,
    pub(super) clusters: Vec<ClusterBarrier>,
    /// Arrivals from CTA to CTA.
    pub(super) signals: Vec<Signal>,
    /// Operations started.
    pub(super) operations: u64,
    /// Tensor maps, by parameter.
    pub(super) maps: Vec<Option<EncodedMap>>,
    /// Where operands of products lie in their tiles.
    pub(super) operand_pieces: Pieces,
    /// The workspace.
    pub(super) words: Vec<Word>,
    /// Sums in slots of device memory, of each warp that shares a tile.
    pub(super) saved: Vec<Option<Saved>>,
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
        problem: Option<&Contraction>,
        arguments: Vec<Argument>,
        memory: &'m mut Memory,
        settings: Settings,
        observer: &'m mut dyn Observer,
    ) -> Self {
        let warps = kernel.contract.threads as usize / LANES;
        let size = kernel.contract.cluster.max(1) as usize;
        let barriers = kernel.body.barriers.iter().map(|b| b.slots as usize).sum();
        let participants = Participants { ctas: size, warps, barriers };
        let ctas = settings.ctas_of(&kernel.contract);
        let slots = kernel.contract.partial_sums.map_or(0, |p| p.words as usize);
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
        let map_of = |(p, argument): (&crate::ir::Param, &Argument)| match (p.ty, argument, problem) {
            (ParamType::TensorMap(id), Argument::Pointer(operand), Some(problem)) => {
                let shape = match operand {
                    Operand::A => &problem.a,
                    Operand::B => &problem.b,
                    Operand::D => &problem.d,
                    _ => return None,
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
            operand_pieces: Pieces::new(),
            maps: kernel.contract.params.iter().zip(&arguments).map(map_of).collect(),
            words: vec![Word::default(); kernel.contract.workspace_bytes as usize / 4 + ctas * slots],
            saved: vec![None; ctas * slots * WARPS_OF_WARPGROUP as usize],
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
    pub(super) fn last_of(&self, cta: usize, warp: usize) -> StmtId {
        self.ctas[cta].history.iter().rev().find(|e| e.warp == warp).map_or(StmtId(0), |e| e.stmt)
    }

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
