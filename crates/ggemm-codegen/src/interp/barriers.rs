//! Barriers: mbarriers with their phases and bytes, named barriers, the cluster's.

use super::finding::{BarrierPlace, FindingKind};
use super::knowledge::{Knowledge, Participants};
use super::machine::{Machine, Step};
use super::observe::{Actor, Cause};
use super::scalars::lanes_of;
use super::shared::OperationId;
use super::warp::{Mask, State};
use crate::ir::{Arrive, BarrierId, BarrierRef, ExprId, Stmt, StmtId};

/// Named barriers of a CTA; the first is `__syncthreads`.
const NAMED: i64 = 16;
/// More bytes than a phase can count.
const MAX_BYTES: i64 = 1 << 20;

/// An mbarrier.
#[derive(Clone, Debug)]
pub(super) struct Mbarrier {
    /// Arrivals of a phase.
    expected: u32,
    /// Arrivals that the phase still waits for.
    missing: u32,
    /// Bytes that the phase still waits for; below 0 where more came than were expected so far.
    bytes: i64,
    /// Ended phases.
    pub(super) phase: u32,
    /// What those know who arrived in this phase.
    open: Knowledge,
    /// What all know who arrived in ended phases.
    pub(super) done: Knowledge,
    initialized: Option<Initialized>,
    /// The phase after the last one that any load counts in.
    pub(super) loaded_through: u32,
}

#[derive(Clone, Copy, Debug)]
struct Initialized {
    by: usize,
    interval: u32,
    fenced: bool,
}

impl Mbarrier {
    pub(super) fn new(participants: &Participants) -> Self {
        let nobody = Knowledge::none(participants);
        Mbarrier {
            expected: 0,
            missing: 0,
            bytes: 0,
            phase: 0,
            open: nobody.clone(),
            done: nobody,
            initialized: None,
            loaded_through: 0,
        }
    }

    /// Whether the phase with this parity has ended.
    pub(super) fn has_ended(&self, parity: u32) -> bool {
        self.phase % 2 != parity
    }

    /// Ends the phase if nothing is missing, and says whether it did.
    fn settle(&mut self, own: usize) -> bool {
        let ends = self.missing == 0 && self.bytes == 0;
        if ends {
            self.phase += 1;
            self.missing = self.expected;
            self.done.join(&self.open);
            self.done.clock[own] = self.phase;
            self.open.forget();
        }
        ends
    }

    /// Why nobody may use the barrier yet; `shared`: past the CTA or the generic proxy.
    fn unready(&self, known: &Knowledge, shared: bool) -> Option<&'static str> {
        match self.initialized {
            None => Some("nobody initialized it"),
            Some(i) if known.clock[i.by] < i.interval => Some("its initialization is not known here"),
            Some(i) if shared && !i.fenced => {
                Some("its initialization is not fenced for the cluster and the copy engine")
            }
            Some(_) => None,
        }
    }
}

/// A named barrier.
#[derive(Clone, Debug)]
pub(super) struct Named {
    arrived: u32,
    /// The threads that the first to arrive said complete it.
    threads: u32,
    open: Knowledge,
    waiting: Vec<usize>,
}

impl Named {
    pub(super) fn all(participants: &Participants) -> Vec<Named> {
        let one = Named { arrived: 0, threads: 0, open: Knowledge::none(participants), waiting: Vec::new() };
        vec![one; NAMED as usize]
    }
}

/// The barrier of a cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterBarrier {
    arrived: usize,
    pub(super) generation: u64,
    open: Knowledge,
    done: Knowledge,
}

impl ClusterBarrier {
    pub(super) fn new(participants: &Participants) -> Self {
        let nobody = Knowledge::none(participants);
        ClusterBarrier { arrived: 0, generation: 0, open: nobody.clone(), done: nobody }
    }
}

impl Machine<'_, '_> {
    /// The index in its CTA of the barrier that a lane means.
    pub(super) fn barrier_index(&self, cta: usize, warp: usize, at: &BarrierRef, lane: usize) -> Step<usize> {
        let slot = self.lane_value(cta, warp, at.slot, lane)?;
        let barrier = &self.kernel.body.barriers[at.barrier.0 as usize];
        match u32::try_from(slot) {
            Ok(slot) if slot < barrier.slots => Ok(self.first_slot(at.barrier) + slot as usize),
            _ => Err(FindingKind::NoSuchBarrier { barrier: barrier.name.clone(), slot, slots: barrier.slots }),
        }
    }

    fn first_slot(&self, id: BarrierId) -> usize {
        self.kernel.body.barriers[..id.0 as usize].iter().map(|b| b.slots as usize).sum()
    }

    /// The name of a barrier for reports.
    pub(super) fn barrier_place(&self, cta: usize, index: usize) -> BarrierPlace {
        let mut slot = index;
        for b in &self.kernel.body.barriers {
            if slot < b.slots as usize {
                return BarrierPlace {
                    cta,
                    barrier: b.name.clone(),
                    slot,
                    phase: self.ctas[cta].barriers[index].phase,
                };
            }
            slot -= b.slots as usize;
        }
        BarrierPlace { cta, barrier: String::new(), slot, phase: 0 }
    }

    pub(super) fn init_barrier(&mut self, cta: usize, warp: usize, id: BarrierId) {
        let barrier = &self.kernel.body.barriers[id.0 as usize];
        let (first, by) = (self.first_slot(id), self.participant(cta, warp));
        let interval = self.known(cta, warp).clock[by];
        for b in &mut self.ctas[cta].barriers[first..first + barrier.slots as usize] {
            (b.expected, b.missing, b.bytes) = (barrier.arrivals, barrier.arrivals, 0);
            b.initialized = Some(Initialized { by, interval, fenced: false });
        }
    }

    pub(super) fn fence_barrier_init(&mut self, cta: usize, warp: usize) {
        let by = self.participant(cta, warp);
        for b in &mut self.ctas[cta].barriers {
            if let Some(initialized) = b.initialized.as_mut().filter(|i| i.by == by) {
                initialized.fenced = true;
            }
        }
    }

    /// Checks that a warp may use a barrier, its own CTA's or another's.
    pub(super) fn check_ready(&self, known: &Knowledge, cta: usize, index: usize, shared: bool) -> Step {
        match self.ctas[cta].barriers[index].unready(known, shared) {
            Some(why) => Err(FindingKind::BarrierNotReady { at: self.barrier_place(cta, index), why }),
            None => Ok(()),
        }
    }

    pub(super) fn arrive(&mut self, cta: usize, warp: usize, stmt: &Stmt, arrive: &Arrive, mask: Mask) -> Step {
        for lane in lanes_of(mask) {
            let index = self.barrier_index(cta, warp, &arrive.at, lane)?;
            let bytes = arrive.bytes.map_or(Ok(0), |e| self.lane_value(cta, warp, e, lane))?;
            let target = match arrive.rank {
                None => cta,
                Some(rank) => {
                    let rank = self.lane_value(cta, warp, rank, lane)?;
                    self.peer(cta, rank)?
                }
            };
            let known = self.known(cta, warp).clone();
            if target != cta {
                self.signal(cta, warp, stmt, target)?;
            }
            self.check_ready(&known, target, index, target != cta)?;
            let place = self.barrier_place(target, index);
            self.note(cta, warp, stmt, format!(" {place}"));
            let own = self.barrier_participant(target, index);
            let barrier = &mut self.ctas[target].barriers[index];
            if barrier.missing == 0 {
                let (arrived, expected) = (barrier.expected + 1, barrier.expected);
                return Err(FindingKind::ArrivalMismatch { at: place, arrived, expected });
            }
            barrier.bytes += bytes;
            barrier.missing -= 1;
            if barrier.bytes.abs() >= MAX_BYTES || (barrier.missing == 0 && barrier.bytes < 0) {
                return Err(FindingKind::ByteMismatch { at: place, excess: -barrier.bytes });
            }
            barrier.open.join(&known);
            if barrier.settle(own) {
                self.tell_phase_ended(target, index, Cause::Arrival(Actor { cta, warp }));
            }
        }
        self.release(cta, warp);
        Ok(())
    }

    /// Bytes that the load with this number, of phase `phase`, brings.
    pub(super) fn count_bytes(
        &mut self,
        cta: usize,
        index: usize,
        phase: u32,
        bytes: i64,
        operation: OperationId,
    ) -> Step {
        let own = self.barrier_participant(cta, index);
        let barrier = &mut self.ctas[cta].barriers[index];
        barrier.bytes -= bytes;
        if barrier.phase != phase || (barrier.missing == 0 && barrier.bytes < 0) {
            let excess = if barrier.phase == phase { -barrier.bytes } else { bytes };
            let place = self.barrier_place(cta, index);
            return Err(FindingKind::ByteMismatch { at: BarrierPlace { phase, ..place }, excess });
        }
        if barrier.settle(own) {
            self.tell_phase_ended(cta, index, Cause::Bytes { operation });
        }
        Ok(())
    }

    /// So many threads whose copies have all landed arrive.
    pub(super) fn count_arrivals(&mut self, cta: usize, index: usize, arrivals: u32, operation: OperationId) -> Step {
        let own = self.barrier_participant(cta, index);
        let barrier = &mut self.ctas[cta].barriers[index];
        let Some(missing) = barrier.missing.checked_sub(arrivals) else {
            let (arrived, expected) = (barrier.expected - barrier.missing + arrivals, barrier.expected);
            return Err(FindingKind::ArrivalMismatch { at: self.barrier_place(cta, index), arrived, expected });
        };
        barrier.missing = missing;
        if missing == 0 && barrier.bytes < 0 {
            let excess = -barrier.bytes;
            return Err(FindingKind::ByteMismatch { at: self.barrier_place(cta, index), excess });
        }
        if barrier.settle(own) {
            self.tell_phase_ended(cta, index, Cause::Bytes { operation });
        }
        Ok(())
    }

    /// Waits for the end of a phase; the warp may find out long after.
    pub(super) fn await_phase(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        at: &BarrierRef,
        parity: ExprId,
        mask: Mask,
    ) -> Step {
        let Some(lane) = lanes_of(mask).next() else { return Ok(()) };
        let index = self.barrier_index(cta, warp, at, lane)?;
        let parity = self.lane_value(cta, warp, parity, lane)?;
        if !(0..=1).contains(&parity) {
            return Err(FindingKind::Undefined { operation: "a parity other than 0 and 1" });
        }
        let known = self.known(cta, warp).clone();
        self.check_ready(&known, cta, index, false)?;
        let place = self.barrier_place(cta, index);
        self.note(cta, warp, stmt, format!(" {place} parity {parity}"));
        self.ctas[cta].warps[warp].state = State::AtPhase { stmt: stmt.id, barrier: index, parity: parity as u32 };
        Ok(())
    }

    /// Goes on if what the warp waits for has come.
    pub(super) fn go_on(&mut self, cta: usize, warp: usize) {
        let cluster = self.cluster_of(cta);
        if let State::AtWord { word, .. } = self.ctas[cta].warps[warp].state {
            let released = self.words[word].released.clone();
            self.acquire(cta, warp, &released);
        }
        let c = &mut self.ctas[cta];
        let w = &mut c.warps[warp];
        match w.state {
            State::AtWord { .. } => {}
            State::AtPhase { barrier, .. } => w.known.join(&c.barriers[barrier].done),
            State::AtCluster(_) => {
                w.known.join(&self.clusters[cluster].done);
                w.cluster_generation = None;
            }
            _ => return,
        }
        w.state = State::Ready;
        self.tell_resumed(cta, warp);
    }

    pub(super) fn named_barrier(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        (id, threads, wait): (ExprId, u32, bool),
    ) -> Step {
        let id = self.uniform(cta, warp, id)?;
        if !(1..NAMED).contains(&id) {
            return Err(FindingKind::NoSuchNamedBarrier { id });
        }
        self.note(cta, warp, stmt, format!(" {id}"));
        let own = self.participant(cta, warp);
        let c = &mut self.ctas[cta];
        let named = &mut c.named[id as usize];
        if named.arrived == 0 {
            named.threads = threads;
        }
        named.arrived += 32;
        if named.threads != threads || named.arrived > threads {
            let arrived = named.arrived;
            return Err(FindingKind::NamedBarrierMismatch { id, arrived, expected: named.threads, asked: threads });
        }
        named.open.join(&c.warps[warp].known);
        c.warps[warp].known.clock[own] += 1;
        if wait {
            named.waiting.push(warp);
            c.warps[warp].state = State::AtNamed { stmt: stmt.id, id: id as u32 };
        }
        if named.arrived == threads {
            let waiting = std::mem::take(&mut named.waiting);
            for &w in &waiting {
                c.warps[w].known.join(&named.open);
                c.warps[w].state = State::Ready;
            }
            named.arrived = 0;
            named.open.forget();
            waiting.into_iter().for_each(|w| self.tell_resumed(cta, w));
        }
        Ok(())
    }

    pub(super) fn cluster_arrive(&mut self, cta: usize, warp: usize, stmt: &Stmt) -> Step {
        self.note(cta, warp, stmt, String::new());
        let cluster = self.cluster_of(cta);
        let w = &mut self.ctas[cta].warps[warp];
        if w.cluster_generation.is_some() {
            return Err(FindingKind::ClusterBarrierOrder { what: "arrives a second time without a wait" });
        }
        let barrier = &mut self.clusters[cluster];
        w.cluster_generation = Some(barrier.generation);
        barrier.open.join(&w.known);
        barrier.arrived += 1;
        self.release(cta, warp);
        self.settle_cluster(cluster);
        Ok(())
    }

    pub(super) fn cluster_wait(&mut self, cta: usize, warp: usize, stmt: &Stmt) -> Step {
        self.note(cta, warp, stmt, String::new());
        let w = &mut self.ctas[cta].warps[warp];
        if w.cluster_generation.is_none() {
            return Err(FindingKind::ClusterBarrierOrder { what: "waits without having arrived" });
        }
        w.state = State::AtCluster(stmt.id);
        Ok(())
    }

    /// Ends the cluster barrier's generation when all who still run have arrived.
    pub(super) fn settle_cluster(&mut self, cluster: usize) {
        let size = self.participants.ctas;
        let running = self.ctas[cluster * size..(cluster + 1) * size]
            .iter()
            .flat_map(|c| &c.warps)
            .filter(|w| w.state != State::Done)
            .count();
        let barrier = &mut self.clusters[cluster];
        if barrier.arrived > 0 && barrier.arrived >= running {
            barrier.generation += 1;
            barrier.arrived = 0;
            barrier.done.join(&barrier.open);
            barrier.open.forget();
            self.statistics.barriers += 1;
        }
    }

    /// What a blocked warp waits for, in words.
    pub(super) fn describe(&self, cta: usize, warp: usize) -> Option<String> {
        let place = |id: StmtId| format!("(#{})", id.0);
        match self.ctas[cta].warps[warp].state {
            State::Ready => None,
            State::Done => Some(format!("warp {warp} has ended")),
            State::AtBarrier(id) => Some(format!("warp {warp} waits for all warps at the barrier #{}", id.0)),
            State::AtPhase { stmt, barrier, parity } => {
                let b = &self.ctas[cta].barriers[barrier];
                let at = self.barrier_place(cta, barrier);
                let (came, of) = (b.expected - b.missing, b.expected);
                Some(format!(
                    "CTA {cta} warp {warp} waits for a phase of parity {parity} of {at} {}: {came} of {of} arrivals, {} bytes missing",
                    place(stmt),
                    b.bytes
                ))
            }
            State::AtNamed { stmt, id } => {
                let n = &self.ctas[cta].named[id as usize];
                let (came, of) = (n.arrived, n.threads);
                Some(format!(
                    "CTA {cta} warp {warp} waits at the named barrier {id} {}: {came} of {of} threads",
                    place(stmt)
                ))
            }
            State::AtWord { stmt, value, .. } => {
                Some(format!("CTA {cta} warp {warp} waits for a word to be {value} {}", place(stmt)))
            }
            State::AtCluster(stmt) => Some(format!("CTA {cta} warp {warp} waits for its cluster {}", place(stmt))),
        }
    }

    /// A blocked warp whose barrier has all arrivals and lacks bytes that nobody will bring: not a deadlock of waits,
    /// but a count that is wrong.
    pub(super) fn starved_of_bytes(&self, cta: usize, warp: usize) -> Option<FindingKind> {
        let State::AtPhase { barrier, .. } = self.ctas[cta].warps[warp].state else { return None };
        let b = &self.ctas[cta].barriers[barrier];
        let at = self.barrier_place(cta, barrier);
        (b.missing == 0 && b.bytes > 0).then_some(FindingKind::ByteMismatch { at, excess: -b.bytes })
    }

    /// Barriers of a CTA that were left in the middle of a phase.
    pub(super) fn check_phases_complete(&self, cta: usize) -> Step {
        for (index, b) in self.ctas[cta].barriers.iter().enumerate() {
            let at = || self.barrier_place(cta, index);
            if b.missing != b.expected {
                let (arrived, expected) = (b.expected - b.missing, b.expected);
                return Err(FindingKind::ArrivalMismatch { at: at(), arrived, expected });
            }
            if b.bytes != 0 {
                return Err(FindingKind::ByteMismatch { at: at(), excess: -b.bytes });
            }
        }
        Ok(())
    }
}
