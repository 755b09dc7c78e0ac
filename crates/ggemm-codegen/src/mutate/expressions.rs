//! Faults in expressions: one node is changed for one use, everything else keeps what it means.

use std::collections::HashMap;

use super::MutationKind;
use crate::ir::{BinaryOp, ExprId, ExprKind, Expressions, Kernel, Node, Type};

/// The nodes of an expression, each once.
pub(super) fn nodes(exprs: &Expressions, root: ExprId) -> Vec<ExprId> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for id in operands(&exprs[found[next]]) {
            if !found.contains(&id) {
                found.push(id);
            }
        }
        next += 1;
    }
    found
}

/// The node that `node` is a direct part of, inside `root`.
pub(super) fn parent(exprs: &Expressions, root: ExprId, node: ExprId) -> Option<ExprId> {
    nodes(exprs, root).into_iter().find(|id| operands(&exprs[*id]).contains(&node))
}

fn operands(node: &Node) -> Vec<ExprId> {
    match node.kind {
        ExprKind::Binary(_, a, b) => vec![a, b],
        ExprKind::Not(a) | ExprKind::FirstLane(a) | ExprKind::Cast(a) | ExprKind::Agree(a) => vec![a],
        ExprKind::Select(c, a, b) => vec![c, a, b],
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Var(_) | ExprKind::Builtin(_) => Vec::new(),
    }
}

/// What can be wrong with one node: the kind of fault and the faulty node, appended to `exprs`.
pub(super) fn faults(exprs: &mut Expressions, id: ExprId) -> Vec<(MutationKind, ExprId)> {
    let Node { kind, ty, .. } = exprs[id].clone();
    match kind {
        ExprKind::Const(v) if ty == Type::Bool => vec![(MutationKind::Constant, exprs.constant(ty, 1 - v))],
        ExprKind::Const(v) => [1, -1].map(|by| (MutationKind::Constant, exprs.constant(ty, v + by))).into(),
        ExprKind::Binary(op, a, b) => {
            let (fault, other) = match op {
                BinaryOp::Lt => (MutationKind::Comparison, BinaryOp::Le),
                BinaryOp::Le => (MutationKind::Comparison, BinaryOp::Lt),
                BinaryOp::Min => (MutationKind::MinMax, BinaryOp::Max),
                BinaryOp::Max => (MutationKind::MinMax, BinaryOp::Min),
                BinaryOp::Add => (MutationKind::AddSub, BinaryOp::Sub),
                BinaryOp::Sub => (MutationKind::AddSub, BinaryOp::Add),
                BinaryOp::And => (MutationKind::Logic, BinaryOp::Or),
                BinaryOp::Or => (MutationKind::Logic, BinaryOp::And),
                BinaryOp::Div => (MutationKind::Division, BinaryOp::CeilDiv),
                BinaryOp::CeilDiv => (MutationKind::Division, BinaryOp::Div),
                BinaryOp::Eq => {
                    let negated = exprs.not(id);
                    return vec![(MutationKind::Comparison, negated)];
                }
                BinaryOp::Rem => return vec![(MutationKind::Division, a)],
                BinaryOp::Mul => return vec![(MutationKind::AddSub, exprs.binary(BinaryOp::Add, a, b))],
                BinaryOp::Xor => return vec![(MutationKind::Logic, a)],
            };
            vec![(fault, exprs.binary(other, a, b))]
        }
        ExprKind::Not(a) => vec![(MutationKind::Logic, a)],
        ExprKind::Select(c, a, b) => vec![(MutationKind::SwapArms, exprs.select(c, b, a))],
        ExprKind::FirstLane(_)
        | ExprKind::Cast(_)
        | ExprKind::Agree(_)
        | ExprKind::Param(_)
        | ExprKind::Var(_)
        | ExprKind::Builtin(_) => Vec::new(),
    }
}

/// The expression with `from` replaced by `to`; what does not hold `from` is shared.
pub(super) fn replace(exprs: &mut Expressions, root: ExprId, from: ExprId, to: ExprId) -> ExprId {
    rebuild(exprs, root, &mut HashMap::from([(from, to)]))
}

fn rebuild(exprs: &mut Expressions, id: ExprId, done: &mut HashMap<ExprId, ExprId>) -> ExprId {
    if let Some(new) = done.get(&id) {
        return *new;
    }
    let Node { kind, ty, scope } = exprs[id].clone();
    let mut of = |exprs: &mut Expressions, id| rebuild(exprs, id, done);
    let new = match kind {
        ExprKind::Binary(op, a, b) => {
            let (x, y) = (of(exprs, a), of(exprs, b));
            if (x, y) == (a, b) { id } else { exprs.binary(op, x, y) }
        }
        ExprKind::Not(a) => {
            let x = of(exprs, a);
            if x == a { id } else { exprs.not(x) }
        }
        ExprKind::FirstLane(a) => {
            let x = of(exprs, a);
            if x == a { id } else { exprs.first_lane(x) }
        }
        ExprKind::Cast(a) => {
            let x = of(exprs, a);
            if x == a { id } else { exprs.cast(ty, x) }
        }
        ExprKind::Agree(a) => {
            let x = of(exprs, a);
            if x == a { id } else { exprs.agree(scope, x) }
        }
        ExprKind::Select(c, a, b) => {
            let (z, x, y) = (of(exprs, c), of(exprs, a), of(exprs, b));
            if (z, x, y) == (c, a, b) { id } else { exprs.select(z, x, y) }
        }
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Var(_) | ExprKind::Builtin(_) => id,
    };
    done.insert(id, new);
    new
}

/// An expression in the kernel's own names.
pub(super) fn text(kernel: &Kernel, id: ExprId) -> String {
    let of = |id: &ExprId| text(kernel, *id);
    match &kernel.body.exprs[id].kind {
        ExprKind::Const(v) => v.to_string(),
        ExprKind::Param(p) => kernel.contract.params[p.0 as usize].name.clone(),
        ExprKind::Var(v) => kernel.body.vars[v.0 as usize].name.clone(),
        ExprKind::Builtin(b) => format!("{b:?}").to_lowercase(),
        ExprKind::Binary(op, a, b) => {
            let symbol = match op {
                BinaryOp::Add => "+",
                BinaryOp::Sub => "-",
                BinaryOp::Mul => "*",
                BinaryOp::Div => "/",
                BinaryOp::Rem => "%",
                BinaryOp::Lt => "<",
                BinaryOp::Le => "<=",
                BinaryOp::Eq => "==",
                BinaryOp::And => "&",
                BinaryOp::Or => "|",
                BinaryOp::Xor => "^",
                BinaryOp::CeilDiv => return format!("ceil_div({}, {})", of(a), of(b)),
                BinaryOp::Min => return format!("min({}, {})", of(a), of(b)),
                BinaryOp::Max => return format!("max({}, {})", of(a), of(b)),
            };
            format!("({} {symbol} {})", of(a), of(b))
        }
        ExprKind::Not(a) => format!("!{}", of(a)),
        ExprKind::FirstLane(a) => format!("first_lane({})", of(a)),
        ExprKind::Cast(a) | ExprKind::Agree(a) => of(a),
        ExprKind::Select(c, a, b) => format!("({} ? {} : {})", of(c), of(a), of(b)),
    }
}
