//! Clusters and the grid: peers, signals to them, words that all count with, grids that came before.

use super::finding::{Finding, FindingKind};
use super::knowledge::Knowledge;
use super::machine::{Machine, Step};
use super::scalars::lanes_of;
use super::shared::{OperationId, PIECE};
use super::warp::{LANES, Mask};
use crate::ir::{AtomicScope, FetchAdd, MemoryOrder, Op, ParamId, Quantize, Stmt, StmtId, TileRef, VarId};

/// An arrival at a barrier of another CTA, which must still be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signal {
    pub(super) from: (usize, usize),
    pub(super) target: usize,
    pub(super) stmt: StmtId,
    /// The sender's interval.
    pub(super) interval: u32,
}

/// A word of the workspace.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) value: i64,
    /// What those knew who released it to the whole device, with their clusters.
    pub(super) released: Vec<(usize, Knowledge)>,
    /// The CTA that used it first.
    first_user: Option<usize>,
    /// Who used it last.
    last_use: Option<Use>,
}

/// A use of a word.
#[derive(Clone, Copy, Debug)]
struct Use {
    cta: usize,
    warp: usize,
    stmt: StmtId,
    pointer: ParamId,
}

impl Machine<'_, '_> {
    pub(super) fn known(&self, cta: usize, warp: usize) -> &Knowledge {
        &self.ctas[cta].warps[warp].known
    }

    /// What the warp did so far is released: what follows is a new interval.
    pub(super) fn release(&mut self, cta: usize, warp: usize) {
        let own = self.participant(cta, warp);
        self.ctas[cta].warps[warp].known.clock[own] += 1;
    }

    /// What others released to the whole device is known from here on.
    pub(super) fn acquire(&mut self, cta: usize, warp: usize, released: &[(usize, Knowledge)]) {
        let own = self.cluster_of(cta);
        let known = &mut self.ctas[cta].warps[warp].known;
        for (cluster, other) in released {
            if *cluster == own { known.join(other) } else { known.learn_apart(own, (*cluster, other)) }
        }
    }

    pub(super) fn next_operation(&mut self) -> OperationId {
        self.operations += 1;
        self.operations
    }

    pub(super) fn cluster_of(&self, cta: usize) -> usize {
        cta / self.participants.ctas
    }

    pub(super) fn rank(&self, cta: usize) -> usize {
        cta % self.participants.ctas
    }

    pub(super) fn participant(&self, cta: usize, warp: usize) -> usize {
        self.participants.warp(self.rank(cta), warp)
    }

    pub(super) fn barrier_participant(&self, cta: usize, barrier: usize) -> usize {
        self.participants.barrier(self.rank(cta), barrier)
    }

    /// The CTA of this rank in the cluster.
    pub(super) fn peer(&self, cta: usize, rank: i64) -> Step<usize> {
        let size = self.participants.ctas;
        match usize::try_from(rank) {
            Ok(rank) if rank < size => Ok(cta / size * size + rank),
            _ => Err(FindingKind::NoSuchRank { rank, size }),
        }
    }

    /// A signal to another CTA, which may not be gone; at the end it is known whether it could have been.
    pub(super) fn signal(&mut self, cta: usize, warp: usize, stmt: &Stmt, target: usize) -> Step {
        if self.ctas[target].gone.is_some() {
            return Err(FindingKind::CtaGone { rank: self.rank(target), what: "an arrival goes to" });
        }
        let interval = self.known(cta, warp).clock[self.participant(cta, warp)];
        let signal = Signal { from: (cta, warp), target, stmt: stmt.id, interval };
        // Of a warp's signals to a CTA, the last decides.
        match self.signals.iter_mut().find(|s| s.from == signal.from && s.target == target) {
            Some(last) => *last = signal,
            None => self.signals.push(signal),
        }
        Ok(())
    }

    /// A signal whose target did not have to outlive it.
    pub(super) fn unheard(&self) -> Option<(Signal, FindingKind)> {
        self.signals.iter().find_map(|s| {
            let sender = self.participant(s.from.0, s.from.1);
            let knows = self.ctas[s.target].gone.as_ref().is_some_and(|known| known.clock[sender] >= s.interval);
            let kind = FindingKind::CtaGone { rank: self.rank(s.target), what: "an arrival may go to" };
            (!knows).then_some((*s, kind))
        })
    }

    /// Words that are not as the next launch wants them.
    pub(super) fn check_workspace(&self) -> Result<(), Box<Finding>> {
        for (index, Word { value, last_use, .. }) in self.words.iter().enumerate() {
            if let (Some(Use { cta, warp, stmt, pointer }), true) = (*last_use, *value != 0) {
                let index = index - self.first_word(pointer);
                let operand = self.kernel.contract.params[pointer.0 as usize].name.clone();
                return Err(self.finding(
                    cta,
                    warp,
                    stmt,
                    FindingKind::WorkspaceLeft { operand, index, value: *value },
                ));
            }
        }
        Ok(())
    }

    pub(super) fn fetch_add(&mut self, cta: usize, warp: usize, stmt: StmtId, f: &FetchAdd, mask: Mask) -> Step {
        let guard = self.mask_of(cta, warp, f.guard, mask)?;
        let mut values = [0; LANES];
        for lane in lanes_of(guard) {
            let index = self.lane_value(cta, warp, f.index, lane)?;
            let amount = self.lane_value(cta, warp, f.amount, lane)?;
            let first_word = self.first_word(f.pointer);
            let len = self.words.len() - first_word;
            let operand = self.kernel.contract.params[f.pointer.0 as usize].name.clone();
            let size = self.participants.ctas;
            let ordered = f.order == MemoryOrder::AcquireRelease && f.scope == AtomicScope::Gpu;
            let (cluster, known) = (self.cluster_of(cta), self.known(cta, warp).clone());
            let Some(word) = usize::try_from(index).ok().and_then(|i| self.words.get_mut(first_word + i)) else {
                return Err(FindingKind::OutOfBounds { access: "adds to", operand, index, len });
            };
            let first = *word.first_user.get_or_insert(cta);
            let apart = match f.scope {
                AtomicScope::Cta => first != cta,
                AtomicScope::Cluster => first / size != cta / size,
                AtomicScope::Gpu => false,
            };
            if apart {
                return Err(FindingKind::NarrowAtomic { operand, index });
            }
            values[lane] = word.value;
            word.value += amount;
            let released = ordered.then(|| word.released.clone());
            if ordered {
                word.released.push((cluster, known));
            }
            word.last_use = Some(Use { cta, warp, stmt, pointer: f.pointer });
            if let Some(released) = released {
                self.acquire(cta, warp, &released);
                self.release(cta, warp);
            }
        }
        self.assign(cta, warp, f.var, values, mask);
        Ok(())
    }

    pub(super) fn write_word(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        to: &TileRef,
        value: crate::ir::ExprId,
        mask: Mask,
    ) -> Step {
        let tile = self.tile(cta, warp, to)?;
        for lane in lanes_of(mask) {
            let value = self.lane_value(cta, warp, value, lane)? as i32;
            let mut bytes = [0; PIECE as usize];
            bytes[..4].copy_from_slice(&value.to_le_bytes());
            let c = &mut self.ctas[cta];
            c.shared.write(tile.address(0), bytes, warp, &c.warps[warp].known, tile.place(0))?;
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    pub(super) fn read_word(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        var: VarId,
        from: &TileRef,
        mask: Mask,
    ) -> Step {
        let tile = self.tile(cta, warp, from)?;
        let c = &mut self.ctas[cta];
        let bytes = c.shared.read(tile.address(0), warp, &c.warps[warp].known, tile.place(0))?;
        let value = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.assign(cta, warp, var, [i64::from(value); LANES], mask);
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Where grids may overlap, memory is touched only after the wait for those before.
    pub(super) fn check_grid(&self, cta: usize, warp: usize, op: &Op) -> Step {
        let touches = matches!(
            op,
            Op::LoadIndex { .. }
                | Op::CopyTile { .. }
                | Op::LoadStaging { .. }
                | Op::StoreTile { .. }
                | Op::LoadScales(_)
                | Op::CopyScales(_)
                | Op::Quantize(Quantize::LoadPatch { .. })
                | Op::Rows(_)
                | Op::BulkLoad(_)
                | Op::BulkStore(_)
                | Op::FetchAdd(_)
                | Op::SaveSums(_)
                | Op::AddSaved(_)
                | Op::AwaitWord(_)
        );
        if touches
            && self.kernel.contract.dependent_launch
            && self.known(cta, warp).clock[self.participants.grid()] == 0
        {
            return Err(FindingKind::GridNotAwaited);
        }
        Ok(())
    }

    pub(super) fn await_grid(&mut self, cta: usize, warp: usize) {
        let grid = self.participants.grid();
        self.ctas[cta].warps[warp].known.clock[grid] = 1;
    }

    /// Orders the warp's ordinary writes so far before the async proxy.
    pub(super) fn fence_proxy(&mut self, cta: usize, warp: usize) {
        let own = self.participant(cta, warp);
        let known = &mut self.ctas[cta].warps[warp].known;
        known.fenced[own] = known.clock[own];
        known.clock[own] += 1;
    }
}
