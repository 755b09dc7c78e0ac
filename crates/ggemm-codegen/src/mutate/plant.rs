//! The faults that can be planted at one statement.

use super::expressions;
use super::hopper;
use super::site::{self, Site};
use super::{Mutant, MutationKind, quantize, rows};
use crate::ir::{BinaryOp, ExprId, GlobalTile, Kernel, Op, ShuffleFrom, Stmt, StmtId, Type};

/// Plants into copies of one kernel at one place.
pub(super) struct Planter<'a> {
    pub(super) kernel: &'a Kernel,
    site: &'a Site,
    pub(super) stmt: &'a Stmt,
    index: usize,
    found: Vec<Mutant>,
}

/// Every fault of the statement at `site`.
pub(super) fn faults(kernel: &Kernel, site: &Site) -> Vec<Mutant> {
    let index = site.path.last().map_or(0, |p| p.0);
    let Some(stmt) = site::block(&kernel.body.block, &site.path).and_then(|b| b.0.get(index)) else {
        return Vec::new();
    };
    let mut planter = Planter { kernel, site, stmt, index, found: Vec::new() };
    planter.structure();
    planter.operands();
    planter.expressions();
    planter.found
}

impl Planter<'_> {
    /// A mutant that `edit` makes of a copy, given the block that holds the statement.
    pub(super) fn plant(&mut self, kind: MutationKind, description: String, edit: impl FnOnce(&mut Vec<Stmt>, usize)) {
        let mut kernel = self.kernel.clone();
        if let Some(block) = site::block_mut(&mut kernel.body.block, &self.site.path) {
            edit(&mut block.0, self.index);
            self.push(kind, description, kernel);
        }
    }

    /// A mutant whose statement does something else; `make` may append expressions.
    pub(super) fn plant_op(
        &mut self,
        kind: MutationKind,
        description: String,
        make: impl FnOnce(&mut Kernel, &mut Op),
    ) {
        let mut kernel = self.kernel.clone();
        let mut op = self.stmt.op.clone();
        make(&mut kernel, &mut op);
        if let Some(block) = site::block_mut(&mut kernel.body.block, &self.site.path) {
            block.0[self.index].op = op;
            self.push(kind, description, kernel);
        }
    }

    pub(super) fn push(&mut self, kind: MutationKind, description: String, kernel: Kernel) {
        let (stmt, location, site) = (self.stmt.id, self.stmt.location, self.site.name.clone());
        self.found.push(Mutant { stmt, location, site, kind, description, kernel });
    }

    /// Statements dropped, doubled or moved.
    fn structure(&mut self) {
        let name = self.stmt.op.name();
        let (drops, doubles, moves) = match self.stmt.op {
            Op::Barrier | Op::CommitCopies | Op::AwaitCopies { .. } => (true, false, true),
            Op::Multiply { .. } | Op::StoreTile { .. } | Op::Rows(_) => (true, true, false),
            Op::CopyTile { .. }
            | Op::LoadMatrix { .. }
            | Op::Zero { .. }
            | Op::StoreStaging { .. }
            | Op::BeginStaging { .. }
            | Op::LoadStaging { .. }
            | Op::Break { .. }
            | Op::Assign { .. } => (true, false, false),
            ref op if quantize::is_dropped(op) => (true, false, false),
            ref op => hopper::structure(op),
        };
        if drops {
            self.plant(MutationKind::Drop, format!("{name} is left out"), |block, at| drop(block.remove(at)));
        }
        if doubles {
            let id = StmtId(1 + last_id(self.kernel));
            self.plant(MutationKind::Duplicate, format!("{name} is done twice"), |block, at| {
                let again = Stmt { id, ..block[at].clone() };
                block.insert(at, again);
            });
        }
        // Past what touches no memory nothing changes: the statement moves before the last one that may.
        let earlier = site::block(&self.kernel.body.block, &self.site.path).and_then(|b| {
            b.0[..self.index].iter().rposition(|s| !matches!(s.op, Op::Comment(_) | Op::Let { .. } | Op::Assign { .. }))
        });
        if let (true, Some(earlier)) = (moves, earlier) {
            let description = format!("{name} comes before what is done before it");
            self.plant(MutationKind::Reorder, description, |block, at| {
                let moved = block.remove(at);
                block.insert(earlier, moved);
            });
        }
    }

    /// What a statement is about, beside expressions in general.
    fn operands(&mut self) {
        match self.stmt.op {
            Op::AwaitCopies { pending } => {
                let description = format!("pending: {pending} becomes {}", pending + 1);
                self.plant_op(MutationKind::WeakenWait, description, |_, op| {
                    if let Op::AwaitCopies { pending } = op {
                        *pending += 1;
                    }
                });
            }
            Op::If { .. } => {
                for (value, word) in [(1, "true"), (0, "false")] {
                    self.plant_op(MutationKind::ForceBranch, format!("the condition is always {word}"), |k, op| {
                        if let Op::If { condition, .. } = op {
                            *condition = k.body.exprs.constant(Type::Bool, value);
                        }
                    });
                }
            }
            Op::For { end, .. } => self.shifted(MutationKind::LoopEnd, "end", end, |op, new| {
                if let Op::For { end, .. } = op {
                    *end = new;
                }
            }),
            Op::LoadIndex { wide, .. } => {
                self.plant_op(MutationKind::Guard, "guard: always holds".into(), |k, op| {
                    if let Op::LoadIndex { guard, .. } = op {
                        *guard = k.body.exprs.constant(Type::Bool, 1);
                    }
                });
                self.plant_op(MutationKind::Width, "wide: negated".into(), |k, op| {
                    if let Op::LoadIndex { wide: w, .. } = op {
                        *w = k.body.exprs.not(wide);
                    }
                });
            }
            Op::Shuffle { from, .. } => self.shuffle(from),
            Op::Ballot { predicate, .. } => {
                self.plant_op(MutationKind::Predicate, "predicate: negated".into(), |k, op| {
                    if let Op::Ballot { predicate: p, .. } = op {
                        *p = k.body.exprs.not(predicate);
                    }
                });
            }
            Op::CopyTile { from, .. } | Op::BeginStaging { from, .. } => self.bounds(from),
            Op::StoreTile { to, accumulate, .. } => {
                self.bounds(to);
                self.store(accumulate);
            }
            Op::Rows(step) => self.rows(step),
            Op::Quantize(ref step) => {
                if let Some(block) = step.clone().block_mut() {
                    self.bounds(*block);
                }
            }
            _ => {}
        }
        self.matrices();
        self.hopper();
        self.slots();
    }

    /// Two mutants of an integer: one more and one less.
    pub(super) fn shifted(&mut self, kind: MutationKind, what: &str, old: ExprId, set: impl Fn(&mut Op, ExprId)) {
        for (op, sign) in [(BinaryOp::Add, "+"), (BinaryOp::Sub, "-")] {
            let description = format!("{what}: {} {sign} 1", expressions::text(self.kernel, old));
            self.plant_op(kind, description, |k, stmt| {
                let one = k.body.exprs.constant(k.body.exprs[old].ty, 1);
                let new = k.body.exprs.binary(op, old, one);
                set(stmt, new);
            });
        }
    }

    fn shuffle(&mut self, from: ShuffleFrom) {
        let set = |op: &mut Op, new| {
            if let Op::Shuffle { from, .. } = op {
                *from = new;
            }
        };
        match from {
            ShuffleFrom::Below(distance) => {
                for new in [distance + 1, distance - 1] {
                    let description = format!("distance: {distance} becomes {new}");
                    self.plant_op(MutationKind::Shuffle, description, |_, op| set(op, ShuffleFrom::Below(new)));
                }
            }
            ShuffleFrom::Lane(lane) => {
                self.shifted(MutationKind::Shuffle, "lane", lane, |op, new| set(op, ShuffleFrom::Lane(new)));
            }
        }
    }

    pub(super) fn bounds(&mut self, block: GlobalTile) {
        for (what, rows, bound) in [("rows", true, block.rows), ("cols", false, block.cols)] {
            let Some(bound) = bound else { continue };
            let set = move |op: &mut Op, new| {
                if let Some(block) = block_of(op) {
                    *(if rows { &mut block.rows } else { &mut block.cols }) = new;
                }
            };
            self.plant_op(MutationKind::DropBound, format!("{what}: no bound"), |_, op| set(op, None));
            self.shifted(MutationKind::ShiftBound, what, bound, |op, new| set(op, Some(new)));
        }
    }

    fn store(&mut self, accumulate: Option<ExprId>) {
        self.plant_op(MutationKind::Pairing, "paired: negated".into(), |_, op| {
            if let Op::StoreTile { paired, .. } = op {
                *paired = !*paired;
            }
        });
        let Some(flag) = accumulate else { return };
        self.plant_op(MutationKind::Accumulate, "accumulate: negated".into(), |k, op| {
            if let Op::StoreTile { accumulate, .. } = op {
                *accumulate = Some(k.body.exprs.not(flag));
            }
        });
        self.plant_op(MutationKind::Accumulate, "accumulate: never".into(), |_, op| {
            if let Op::StoreTile { accumulate, .. } = op {
                *accumulate = None;
            }
        });
    }

    /// Matrix loads and products: how the tile is read, which step, which registers.
    fn matrices(&mut self) {
        let other = |k: &mut Kernel, set| {
            let one = k.body.exprs.constant(Type::I32, 1);
            k.body.exprs.binary(BinaryOp::Sub, one, set)
        };
        match self.stmt.op {
            Op::LoadMatrix { step, to_slot, .. } => {
                self.plant_op(MutationKind::Transpose, "transposed: negated".into(), |_, op| {
                    if let Op::LoadMatrix { transposed, .. } = op {
                        *transposed = !*transposed;
                    }
                });
                self.shifted(MutationKind::Step, "step", step, |op, new| {
                    if let Op::LoadMatrix { step, .. } = op {
                        *step = new;
                    }
                });
                self.plant_op(MutationKind::RegisterSet, "set: the other".into(), |k, op| {
                    if let Op::LoadMatrix { to_slot: s, .. } = op {
                        *s = other(k, to_slot);
                    }
                });
            }
            Op::Multiply { slot, .. } => {
                self.plant_op(MutationKind::RegisterSet, "set: the other".into(), |k, op| {
                    if let Op::Multiply { slot: s, .. } = op {
                        *s = other(k, slot);
                    }
                });
            }
            _ => {}
        }
    }

    /// The slots of shared tiles and barriers.
    fn slots(&mut self) {
        let mut op = self.stmt.op.clone();
        let slots: Vec<ExprId> = slots_of(&mut op).into_iter().map(|slot| *slot).collect();
        for (which, slot) in slots.into_iter().enumerate() {
            let set = move |op: &mut Op, new| {
                if let Some(slot) = slots_of(op).into_iter().nth(which) {
                    *slot = new;
                }
            };
            if self.kernel.body.exprs.as_constant(slot) != Some(0) {
                let description = format!("slot: {} becomes 0", expressions::text(self.kernel, slot));
                self.plant_op(MutationKind::Slot, description, |k, op| set(op, k.body.exprs.constant(Type::I32, 0)));
            }
            self.shifted(MutationKind::Slot, "slot", slot, set);
        }
    }

    /// Every node of every expression that the statement uses, one at a time.
    fn expressions(&mut self) {
        let mut op = self.stmt.op.clone();
        let roots: Vec<(&'static str, ExprId)> = uses(&mut op).into_iter().map(|(what, id)| (what, *id)).collect();
        for (use_index, (what, root)) in roots.into_iter().enumerate() {
            for node in expressions::nodes(&self.kernel.body.exprs, root) {
                // Shifted already, as what it is.
                if node == root && matches!(what, "end" | "step") {
                    continue;
                }
                let count = expressions::faults(&mut self.kernel.body.exprs.clone(), node).len();
                for fault in 0..count {
                    let mut kernel = self.kernel.clone();
                    let (kind, new) = expressions::faults(&mut kernel.body.exprs, node).swap_remove(fault);
                    let replaced = expressions::replace(&mut kernel.body.exprs, root, node, new);
                    let (old, now) = (expressions::text(&kernel, node), expressions::text(&kernel, new));
                    let around = expressions::parent(&kernel.body.exprs, root, node);
                    let whole = around.map_or_else(String::new, |p| format!(" in {}", expressions::text(&kernel, p)));
                    let description = format!("{what}: {old} becomes {now}{whole}");
                    let mut op = self.stmt.op.clone();
                    if let Some((_, id)) = uses(&mut op).into_iter().nth(use_index) {
                        *id = replaced;
                    }
                    if let Some(block) = site::block_mut(&mut kernel.body.block, &self.site.path) {
                        block.0[self.index].op = op;
                        self.push(kind, description, kernel);
                    }
                }
            }
        }
    }
}

/// The slots of shared tiles and barriers that a statement names.
fn slots_of(op: &mut Op) -> Vec<&mut ExprId> {
    match op {
        Op::CopyTile { to: tile, .. } | Op::StoreStaging { to: tile, .. } | Op::LoadMatrix { from: tile, .. } => {
            vec![&mut tile.slot]
        }
        Op::Quantize(step) => quantize::slots_of(step),
        Op::Rows(step) => rows::slots_of(step),
        op => hopper::slots_of(op),
    }
}

fn block_of(op: &mut Op) -> Option<&mut GlobalTile> {
    match op {
        Op::CopyTile { from: block, .. } | Op::BeginStaging { from: block, .. } | Op::StoreTile { to: block, .. } => {
            Some(block)
        }
        Op::Quantize(step) => step.block_mut(),
        Op::Rows(step) => Some(step.bounded_mut()),
        _ => None,
    }
}

/// The expressions that a statement evaluates, with what they are to it.
///
/// Slots have faults of their own.
fn uses(op: &mut Op) -> Vec<(&'static str, &mut ExprId)> {
    match op {
        Op::Let { value, .. } | Op::Assign { value, .. } => vec![("value", value)],
        Op::If { condition, .. } | Op::Break { condition } => vec![("condition", condition)],
        Op::For { end, .. } => vec![("end", end)],
        Op::LoadIndex { index, guard, .. } => vec![("index", index), ("guard", guard)],
        Op::Shuffle { value, .. } => vec![("value", value)],
        Op::Ballot { predicate, .. } => vec![("predicate", predicate)],
        Op::LoadMatrix { to_slot, step, .. } => vec![("set", to_slot), ("step", step)],
        Op::Multiply { slot, .. } => vec![("set", slot)],
        Op::CopyTile { from: block, .. } | Op::BeginStaging { from: block, .. } | Op::StoreTile { to: block, .. } => {
            let GlobalTile { origin, row_stride, rows, cols, .. } = block;
            let mut all = vec![("origin", origin), ("row stride", row_stride)];
            all.extend(rows.as_mut().map(|e| ("rows", e)));
            all.extend(cols.as_mut().map(|e| ("cols", e)));
            all
        }
        Op::Quantize(step) => quantize::uses(step),
        Op::Rows(step) => rows::uses(step),
        op => hopper::uses(op),
    }
}

fn last_id(kernel: &Kernel) -> u32 {
    let mut last = 0;
    kernel.body.for_each_stmt(|s| last = last.max(s.id.0));
    last
}
