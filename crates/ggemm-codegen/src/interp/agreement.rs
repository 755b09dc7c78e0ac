//! Values that the warps of a CTA are said to compute alike.

use super::finding::FindingKind;
use super::machine::{Machine, Step};
use crate::ir::{ExprId, ExprKind, Kernel, Op, Rows, Stmt};

impl Machine<'_, '_> {
    /// Holds what a warp computed against what the others of its CTA did at the same visit of the statement.
    pub(super) fn check_agreements(&mut self, cta: usize, warp: usize, stmt: &Stmt) -> Step {
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
}

/// The expressions that a statement evaluates itself.
fn expressions_of(op: &Op) -> [Option<ExprId>; 3] {
    match op {
        Op::Let { value, .. } | Op::Assign { value, .. } => [Some(*value), None, None],
        Op::If { condition, .. } | Op::Break { condition } => [Some(*condition), None, None],
        Op::For { end, .. } => [Some(*end), None, None],
        Op::CopyTile { from, .. } | Op::BeginStaging { from, .. } => [Some(from.origin), from.rows, from.cols],
        Op::StoreTile { to, .. } => [Some(to.origin), to.rows, to.cols],
        Op::Rows(Rows::Realign { from: block, .. } | Rows::StorePanel { to: block, .. }) => {
            [Some(block.origin), block.rows, block.cols]
        }
        _ => [None; 3],
    }
}

/// For each expression of a kernel, whether an agreement is inside.
pub(super) fn agreements_of(kernel: &Kernel) -> Vec<bool> {
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
