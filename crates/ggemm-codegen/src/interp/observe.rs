//! Who watches a run: what warps, loads and barriers do, told as it happens.
//!
//! The machine asks once, before it starts, whether its observer follows the run. Where it does not, nothing that is
//! only told is computed.

use super::machine::Machine;
use super::scalars::lanes_of;
use super::warp::Mask;
use crate::ir::{AddSums, BarrierId, BarrierRef, Op, ReadScales, SharedId, Stmt, StmtId, TileRef};

/// What a run tells of itself. Every method does nothing unless it is written anew.
pub trait Observer {
    /// Called now and then with the elements of the output that have been written.
    fn written(&mut self, _elements: usize) {}

    /// Whether it wants to be told all the rest. Asked once, before the run.
    fn follows(&self) -> bool {
        false
    }

    /// A warp executes a statement, at a moment at which `able` warps of the launch can execute one.
    fn statement(&mut self, _by: Actor, _stmt: &Stmt, _subject: &Subject, _able: usize) {}

    /// A warp that waited goes on.
    fn resumed(&mut self, _who: Actor) {}

    /// A warp has ended.
    fn ended(&mut self, _who: Actor) {}

    /// A bulk load is on its way.
    fn load_started(&mut self, _load: &StartedLoad) {}

    /// The last piece of a bulk load has landed.
    fn load_landed(&mut self, _operation: u64) {}

    /// A phase of an mbarrier has ended; the first is phase 0.
    fn phase_ended(&mut self, _at: PhaseOf, _phase: u32, _cause: Cause) {}
}

/// Nobody watches.
impl Observer for () {}

/// A warp of the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Actor {
    /// Its CTA's index in the grid.
    pub cta: usize,
    /// Its index in the CTA.
    pub warp: usize,
}

/// One tile of a shared tile's slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileSlot {
    /// The tiles.
    pub tile: SharedId,
    /// Which of them.
    pub slot: u32,
}

/// One of a kernel's mbarriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BarrierSlot {
    /// The barriers.
    pub barrier: BarrierId,
    /// Which of them.
    pub slot: u32,
}

/// The mbarrier of one CTA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhaseOf {
    /// The CTA's index in the grid.
    pub cta: usize,
    /// The barrier.
    pub barrier: BarrierSlot,
}

/// What a statement is about, its operands evaluated for the first lane that executes it. What cannot be evaluated is
/// left out: the statement itself is then a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The shared tiles that it reads or writes.
    pub tiles: [Option<TileSlot>; 2],
    /// The mbarrier that it uses.
    pub barrier: Option<BarrierSlot>,
    /// The phase whose end it waits for; `None` too where that lies before the first.
    pub phase: Option<u32>,
    /// The named barrier.
    pub named: Option<i64>,
}

/// A bulk load on its way into one CTA; a multicast is one into each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartedLoad {
    /// Its number, unique in the launch.
    pub operation: u64,
    /// Who asked for it.
    pub issuer: Actor,
    /// The statement that did.
    pub stmt: StmtId,
    /// The CTA whose shared memory it goes to.
    pub cta: usize,
    /// Where it goes.
    pub to: TileSlot,
    /// Where its bytes count.
    pub barrier: BarrierSlot,
    /// Its bytes.
    pub bytes: u32,
}

/// What completed a phase of an mbarrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A warp's arrival.
    Arrival(Actor),
    /// Bytes of a bulk load.
    Bytes {
        /// The load's number.
        operation: u64,
    },
}

impl Machine<'_, '_> {
    /// Tells of a statement that is about to be executed.
    pub(super) fn tell(&mut self, cta: usize, warp: usize, stmt: &Stmt, mask: Mask) {
        let subject = self.subject(cta, warp, &stmt.op, mask);
        self.observer.statement(Actor { cta, warp }, stmt, &subject, self.able);
    }

    pub(super) fn tell_resumed(&mut self, cta: usize, warp: usize) {
        if self.follows {
            self.observer.resumed(Actor { cta, warp });
        }
    }

    /// Tells of the phase of a barrier that has just ended.
    pub(super) fn tell_phase_ended(&mut self, cta: usize, index: usize, cause: Cause) {
        if self.follows {
            let phase = self.ctas[cta].barriers[index].phase - 1;
            self.observer.phase_ended(PhaseOf { cta, barrier: self.barrier_slot(index) }, phase, cause);
        }
    }

    /// The barrier with this index in its CTA.
    pub(super) fn barrier_slot(&self, index: usize) -> BarrierSlot {
        let mut slot = index as u32;
        for (barrier, b) in (0..).map(BarrierId).zip(&self.kernel.body.barriers) {
            if slot < b.slots {
                return BarrierSlot { barrier, slot };
            }
            slot -= b.slots;
        }
        BarrierSlot { barrier: BarrierId(self.kernel.body.barriers.len() as u32), slot }
    }

    fn subject(&self, cta: usize, warp: usize, op: &Op, mask: Mask) -> Subject {
        let tile = |t: &TileRef| {
            let slot = self.uniform(cta, warp, t.slot).ok().and_then(|slot| u32::try_from(slot).ok())?;
            Some(TileSlot { tile: t.tile, slot })
        };
        let lane = lanes_of(mask).next().unwrap_or(0);
        let barrier = |at: &BarrierRef| self.barrier_index(cta, warp, at, lane).ok();
        let about = |tiles| Subject { tiles, ..Subject::default() };
        match op {
            Op::CopyTile { to, .. }
            | Op::StoreStaging { to, .. }
            | Op::StoreFragment { to, .. }
            | Op::WriteWord { to, .. } => about([tile(to), None]),
            Op::LoadMatrix { from, .. }
            | Op::ReadWord { from, .. }
            | Op::AddSums(AddSums { from, .. })
            | Op::ReadScales(ReadScales { from, .. }) => about([tile(from), None]),
            Op::BulkStore(store) => about([tile(&store.from), None]),
            Op::Quantize(step) => about([step.tile().and_then(tile), None]),
            Op::Rows(step) => about([step.tile().and_then(tile), None]),
            Op::WarpgroupMultiply(p) => about([tile(&p.a), tile(&p.b)]),
            Op::BulkLoad(load) => {
                let at = barrier(&load.at).map(|index| self.barrier_slot(index));
                Subject { tiles: [tile(&load.to), None], barrier: at, ..Subject::default() }
            }
            Op::CopyScales(copy) => {
                let at = barrier(&copy.at).map(|index| self.barrier_slot(index));
                Subject { tiles: [tile(&copy.to), None], barrier: at, ..Subject::default() }
            }
            Op::Arrive(arrive) => {
                let at = barrier(&arrive.at).map(|index| self.barrier_slot(index));
                Subject { barrier: at, ..Subject::default() }
            }
            Op::Await { at, parity } => {
                let Some(index) = barrier(at) else { return Subject::default() };
                let phase = self.ctas[cta].barriers[index].phase;
                let awaited = match self.lane_value(cta, warp, *parity, lane) {
                    Ok(parity) if i64::from(phase % 2) == parity => Some(phase),
                    Ok(_) => phase.checked_sub(1),
                    Err(_) => None,
                };
                Subject { barrier: Some(self.barrier_slot(index)), phase: awaited, ..Subject::default() }
            }
            Op::NamedBarrier { id, .. } => Subject { named: self.uniform(cta, warp, *id).ok(), ..Subject::default() },
            _ => Subject::default(),
        }
    }
}
