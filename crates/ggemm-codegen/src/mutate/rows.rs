//! Faults in statements about rows that start anywhere.

use super::MutationKind;
use super::plant::Planter;
use crate::ir::{ExprId, GlobalTile, Op, Rows};

/// The slot of the shared tile that a statement names.
pub(super) fn slots_of(step: &mut Rows) -> Vec<&mut ExprId> {
    match step {
        Rows::Realign { .. } => Vec::new(),
        Rows::StorePanel { from, .. } => vec![&mut from.slot],
    }
}

/// The expressions that a statement evaluates, with what they are to it.
pub(super) fn uses(step: &mut Rows) -> Vec<(&'static str, &mut ExprId)> {
    let (bounded, copy) = match step {
        Rows::Realign { from, to } => (from, Some(to)),
        Rows::StorePanel { to, .. } => (to, None),
    };
    let GlobalTile { origin, row_stride, rows, cols, .. } = bounded;
    let mut all = vec![("origin", origin), ("row stride", row_stride)];
    all.extend(rows.as_mut().map(|e| ("rows", e)));
    all.extend(cols.as_mut().map(|e| ("cols", e)));
    if let Some(GlobalTile { origin, row_stride, .. }) = copy {
        all.extend([("copy's origin", origin), ("copy's row stride", row_stride)]);
    }
    all
}

impl Planter<'_> {
    /// Bounds and additions.
    pub(super) fn rows(&mut self, mut step: Rows) {
        self.bounds(*step.bounded_mut());
        let Rows::StorePanel { accumulate: Some(flag), .. } = step else { return };
        let set = |op: &mut Op, new| {
            if let Op::Rows(Rows::StorePanel { accumulate, .. }) = op {
                *accumulate = new;
            }
        };
        self.plant_op(MutationKind::Accumulate, "accumulate: negated".into(), |k, op| {
            set(op, Some(k.body.exprs.not(flag)));
        });
        self.plant_op(MutationKind::Accumulate, "accumulate: never".into(), |_, op| set(op, None));
    }
}
