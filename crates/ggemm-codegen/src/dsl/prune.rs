//! Leaves out values that nothing uses, so that what several kernels share may name more than each of them needs.

use std::collections::HashSet;

use crate::ir::{Block, Body, ExprId, ExprKind, Op, VarId};

/// Removes named values, shuffles and ballots whose result nothing reads, until none is left.
pub(super) fn unused_values(body: &mut Body) {
    loop {
        let read = variables_read(body);
        let mut removed = false;
        retain(&mut body.block, &mut |op| {
            let unused = match op {
                Op::Let { var, .. } => !body.vars[var.0 as usize].mutable && !read.contains(var),
                Op::Shuffle { var, .. } | Op::Ballot { var, .. } => !read.contains(var),
                _ => false,
            };
            removed |= unused;
            !unused
        });
        if !removed {
            return;
        }
    }
}

fn retain(block: &mut Block, keep: &mut impl FnMut(&Op) -> bool) {
    block.0.retain(|s| keep(&s.op));
    for stmt in &mut block.0 {
        for inner in stmt.op.blocks_mut() {
            retain(inner, keep);
        }
    }
}

/// The variables that some statement's expressions read.
fn variables_read(body: &Body) -> HashSet<VarId> {
    let mut pending: Vec<ExprId> = Vec::new();
    body.for_each_stmt(|s| pending.extend(s.op.expressions()));
    let (mut seen, mut read) = (HashSet::new(), HashSet::new());
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        match &body.exprs[id].kind {
            ExprKind::Var(var) => _ = read.insert(*var),
            ExprKind::Binary(_, a, b) => pending.extend([a, b]),
            ExprKind::Not(a) | ExprKind::FirstLane(a) | ExprKind::Cast(a) | ExprKind::Agree(a) => pending.push(*a),
            ExprKind::Select(c, a, b) => pending.extend([c, a, b]),
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Builtin(_) => {}
        }
    }
    read
}
