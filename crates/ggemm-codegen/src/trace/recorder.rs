//! Takes down what the machine tells of one CTA, and when.

use std::collections::{BTreeMap, VecDeque};

use crate::interp::{Actor, BarrierSlot, Cause, Observer, PhaseOf, StartedLoad, Subject, TileSlot};
use crate::ir::{Kernel, Location, Op, Quantize, Stmt, StmtId};

/// Times, in turns from the start.
pub(super) type Turns = f64;

/// What is known of one CTA's run.
pub(super) struct Recorder {
    pub(super) cta: usize,
    pub(super) now: Turns,
    pub(super) warps: Vec<WarpLog>,
    pub(super) slots: BTreeMap<TileSlot, Vec<Use>>,
    pub(super) phases: BTreeMap<BarrierSlot, Vec<EndedPhase>>,
    /// Where each bulk load that is on its way is filed.
    loads: BTreeMap<u64, UseIndex>,
    /// When each warp of the launch, of any CTA, began the statement that it is at.
    last: BTreeMap<Actor, Turns>,
}

/// One warp's statements, in their order.
#[derive(Default)]
pub(super) struct WarpLog {
    pub(super) statements: Vec<Executed>,
    pub(super) products: Vec<(Turns, Turns)>,
    /// When each tile's sums began.
    pub(super) tiles: Vec<Turns>,
    pub(super) ended: Option<Turns>,
    copies: Groups<UseIndex>,
    stores: Groups<UseIndex>,
    running: Groups<(Turns, [Option<UseIndex>; 2])>,
}

/// A statement that a warp executed.
pub(super) struct Executed {
    pub(super) start: Turns,
    pub(super) id: StmtId,
    pub(super) op: &'static str,
    pub(super) location: Location,
    pub(super) class: Class,
    pub(super) subject: Subject,
    /// When a wait was over.
    pub(super) resumed: Option<Turns>,
}

/// What a statement is, for whoever draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Blocks until others did something.
    Blocks,
    /// Waits for the warp's own asynchronous operations, which here it completes.
    Completes,
    Loads,
    Multiplies,
    Stores,
    Other,
}

impl Class {
    fn of(op: &Op) -> Class {
        match op {
            Op::Barrier
            | Op::Await { .. }
            | Op::NamedBarrier { wait: true, .. }
            | Op::ClusterWait
            | Op::AwaitWord(_) => Class::Blocks,
            Op::AwaitCopies { .. } | Op::AwaitProducts { .. } | Op::AwaitStores { .. } | Op::AwaitGrid => {
                Class::Completes
            }
            Op::CopyTile { .. }
            | Op::CommitCopies
            | Op::BeginStaging { .. }
            | Op::LoadStaging { .. }
            | Op::StoreStaging { .. }
            | Op::Quantize(Quantize::LoadPatch { .. }) => Class::Loads,
            Op::BulkLoad(_) | Op::CopyScales(_) => Class::Loads,
            Op::LoadMatrix { .. }
            | Op::Multiply { .. }
            | Op::Zero { .. }
            | Op::FenceProducts
            | Op::WarpgroupMultiply(_)
            | Op::LoadScales(_)
            | Op::ReadScales(_)
            | Op::Promote(_)
            | Op::ScaleSums(_)
            | Op::CommitProducts => Class::Multiplies,
            Op::StoreTile { .. }
            | Op::StoreFragment { .. }
            | Op::SendSums(_)
            | Op::AddSums(_)
            | Op::SaveSums(_)
            | Op::AddSaved(_)
            | Op::FenceProxy
            | Op::BulkStore(_)
            | Op::CommitStores => Class::Stores,
            Op::Rows(_) => Class::Stores,
            Op::Quantize(
                Quantize::StorePatch { .. } | Quantize::StoreScales { .. } | Quantize::StoreTransposed { .. },
            ) => Class::Stores,
            _ => Class::Other,
        }
    }
}

/// A stretch of time in which a slot is written or read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(super) fills: bool,
    pub(super) start: Turns,
    /// `None`: not over when the run was.
    pub(super) end: Option<Turns>,
}

type UseIndex = (TileSlot, usize);

/// The end of a phase.
pub(super) struct EndedPhase {
    pub(super) phase: u32,
    pub(super) at: Turns,
    pub(super) cause: Cause,
    /// When whoever caused it did: the start of its statement.
    pub(super) caused: Turns,
}

/// Asynchronous operations that complete by committed groups, oldest first.
struct Groups<T> {
    open: Vec<T>,
    committed: VecDeque<Vec<T>>,
}

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Groups { open: Vec::new(), committed: VecDeque::new() }
    }
}

impl<T> Groups<T> {
    fn commit(&mut self) {
        self.committed.push_back(std::mem::take(&mut self.open));
    }

    /// All but the last `pending` groups, which are complete.
    fn complete(&mut self, pending: u32) -> Vec<T> {
        let done = self.committed.len().saturating_sub(pending as usize);
        self.committed.drain(..done).flatten().collect()
    }
}

impl Recorder {
    pub(super) fn new(kernel: &Kernel, cta: usize) -> Self {
        let warps = (0..kernel.contract.threads / 32).map(|_| WarpLog::default()).collect();
        Recorder {
            cta,
            now: 0.0,
            warps,
            slots: BTreeMap::new(),
            phases: BTreeMap::new(),
            loads: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    fn file(&mut self, slot: TileSlot, fills: bool, start: Turns, end: Option<Turns>) -> UseIndex {
        let uses = self.slots.entry(slot).or_default();
        uses.push(Use { fills, start, end });
        (slot, uses.len() - 1)
    }

    fn close(&mut self, (slot, index): UseIndex) {
        let now = self.now;
        if let Some(open) = self.slots.get_mut(&slot).and_then(|uses| uses.get_mut(index)) {
            open.end = Some(now);
        }
    }

    /// What a statement of the CTA does to slots and to the warp's groups; it began at `start` and is over now.
    fn effects(&mut self, warp: usize, op: &Op, subject: &Subject, start: Turns) {
        let now = self.now;
        let [first, second] = subject.tiles;
        match op {
            Op::CopyTile { .. } => {
                if let Some(slot) = first {
                    let filling = self.file(slot, true, start, None);
                    self.warps[warp].copies.open.push(filling);
                }
            }
            Op::CommitCopies => self.warps[warp].copies.commit(),
            Op::AwaitCopies { pending } => {
                let landed = self.warps[warp].copies.complete(*pending);
                landed.into_iter().for_each(|filling| self.close(filling));
            }
            Op::StoreStaging { .. } | Op::StoreFragment { .. } | Op::WriteWord { .. } => {
                if let Some(slot) = first {
                    self.file(slot, true, start, Some(now));
                }
            }
            Op::LoadMatrix { .. } | Op::ReadWord { .. } | Op::AddSums(_) | Op::ReadScales(_) => {
                if let Some(slot) = first {
                    self.file(slot, false, start, Some(now));
                }
            }
            Op::Zero { .. } => self.warps[warp].tiles.push(start),
            Op::WarpgroupMultiply(_) => {
                let reads = [first, second].map(|slot| slot.map(|slot| self.file(slot, false, start, None)));
                self.warps[warp].running.open.push((start, reads));
            }
            Op::CommitProducts => self.warps[warp].running.commit(),
            Op::AwaitProducts { pending, .. } => {
                let done = self.warps[warp].running.complete(*pending);
                if let Some((first, _)) = done.first() {
                    self.warps[warp].products.push((*first, now));
                }
                done.into_iter().flat_map(|(_, reads)| reads).flatten().for_each(|read| self.close(read));
            }
            Op::BulkStore(_) => {
                if let Some(slot) = first {
                    let reading = self.file(slot, false, start, None);
                    self.warps[warp].stores.open.push(reading);
                }
            }
            Op::CommitStores => self.warps[warp].stores.commit(),
            Op::AwaitStores { pending, .. } => {
                let read = self.warps[warp].stores.complete(*pending);
                read.into_iter().for_each(|reading| self.close(reading));
            }
            _ => {}
        }
    }
}

impl Observer for Recorder {
    fn follows(&self) -> bool {
        true
    }

    fn statement(&mut self, by: Actor, stmt: &Stmt, subject: &Subject, able: usize) {
        // A remark takes no time.
        if matches!(stmt.op, Op::Comment(_)) {
            return;
        }
        let start = self.now;
        self.now += 1.0 / able.max(1) as Turns;
        self.last.insert(by, start);
        if by.cta != self.cta {
            return;
        }
        self.warps[by.warp].statements.push(Executed {
            start,
            id: stmt.id,
            op: stmt.op.name(),
            location: stmt.location,
            class: Class::of(&stmt.op),
            subject: *subject,
            resumed: None,
        });
        self.effects(by.warp, &stmt.op, subject, start);
    }

    fn resumed(&mut self, who: Actor) {
        if who.cta == self.cta
            && let Some(wait) = self.warps[who.warp].statements.last_mut()
        {
            wait.resumed = Some(self.now);
        }
    }

    fn ended(&mut self, who: Actor) {
        if who.cta == self.cta {
            self.warps[who.warp].ended = Some(self.now);
        }
    }

    fn load_started(&mut self, load: &StartedLoad) {
        if load.cta == self.cta {
            let filling = self.file(load.to, true, self.now, None);
            self.loads.insert(load.operation, filling);
        }
    }

    fn load_landed(&mut self, operation: u64) {
        if let Some(filling) = self.loads.remove(&operation) {
            self.close(filling);
        }
    }

    fn phase_ended(&mut self, at: PhaseOf, phase: u32, cause: Cause) {
        if at.cta != self.cta {
            return;
        }
        let caused = match cause {
            Cause::Arrival(actor) => self.last.get(&actor).copied().unwrap_or(self.now),
            Cause::Bytes { .. } => self.now,
        };
        self.phases.entry(at.barrier).or_default().push(EndedPhase { phase, at: self.now, cause, caused });
    }
}
