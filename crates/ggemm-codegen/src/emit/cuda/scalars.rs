//! Scalar expressions as C++, with no more parentheses than needed.

use super::writer::Writer;
use crate::ir::{BinaryOp, Builtin, ExprId, ExprKind, Type};

pub(super) const fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::I32 => "int",
        Type::U32 => "uint32",
        Type::I64 => "int64",
    }
}

/// Binding strength, as in C++: higher binds tighter.
const SELECT: u8 = 0;
const PRIMARY: u8 = 10;

const fn strength(op: BinaryOp) -> (u8, &'static str) {
    match op {
        BinaryOp::Or => (1, "||"),
        BinaryOp::And => (2, "&&"),
        BinaryOp::Xor => (3, "^"),
        BinaryOp::Eq => (4, "=="),
        BinaryOp::Lt => (5, "<"),
        BinaryOp::Le => (5, "<="),
        BinaryOp::Add => (6, "+"),
        BinaryOp::Sub => (6, "-"),
        BinaryOp::Mul => (7, "*"),
        BinaryOp::Div => (7, "/"),
        BinaryOp::Rem => (7, "%"),
        BinaryOp::Min => (PRIMARY, "min_of"),
        BinaryOp::Max => (PRIMARY, "max_of"),
        BinaryOp::CeilDiv => (PRIMARY, "ceil_div"),
    }
}

impl Writer<'_> {
    /// An expression as text.
    pub(super) fn text(&self, id: ExprId) -> String {
        self.bound(id, SELECT)
    }

    /// An expression as an operand of a product.
    pub(super) fn factor(&self, id: ExprId) -> String {
        self.bound(id, 7)
    }

    /// An expression as an operand of a sum.
    pub(super) fn summand(&self, id: ExprId) -> String {
        self.bound(id, 6)
    }

    /// An expression as an operand of something that binds with `outer`.
    fn bound(&self, id: ExprId, outer: u8) -> String {
        let (strength, text) = self.with_strength(id);
        if strength < outer { format!("({text})") } else { text }
    }

    fn with_strength(&self, id: ExprId) -> (u8, String) {
        let node = &self.exprs[id];
        match &node.kind {
            ExprKind::Const(v) => (
                if *v < 0 { 8 } else { PRIMARY },
                match node.ty {
                    Type::Bool => (*v != 0).to_string(),
                    Type::I64 => format!("{v}LL"),
                    Type::I32 => v.to_string(),
                    Type::U32 => format!("{v}u"),
                },
            ),
            ExprKind::Param(p) => (PRIMARY, self.kernel.contract.params[p.0 as usize].name.clone()),
            ExprKind::Var(v) => (PRIMARY, self.name_of(*v).to_owned()),
            ExprKind::Builtin(b) => (
                PRIMARY,
                match b {
                    Builtin::Lane => "lane".to_owned(),
                    Builtin::Cta => "int(blockIdx.x)".to_owned(),
                    Builtin::CtaCount => "int(gridDim.x)".to_owned(),
                    Builtin::Warp => "warp".to_owned(),
                    Builtin::Warpgroup => "warpgroup".to_owned(),
                    Builtin::ClusterRank => "cluster_rank()".to_owned(),
                    Builtin::Cluster => "cluster_index()".to_owned(),
                    Builtin::ClusterCount => "cluster_count()".to_owned(),
                },
            ),
            ExprKind::Binary(op, a, b) => self.binary(*op, *a, *b),
            ExprKind::Not(a) => self.negation(*a),
            ExprKind::FirstLane(a) => (PRIMARY, format!("first_lane({})", self.text(*a))),
            ExprKind::Cast(a) => (PRIMARY, format!("{}({})", type_name(node.ty), self.text(*a))),
            ExprKind::Select(c, a, b) => {
                let text = format!("{} ? {} : {}", self.bound(*c, 1), self.bound(*a, 1), self.bound(*b, SELECT));
                (SELECT, text)
            }
            ExprKind::Agree(a) => self.with_strength(*a),
        }
    }

    fn binary(&self, op: BinaryOp, a: ExprId, b: ExprId) -> (u8, String) {
        let (s, sign) = strength(op);
        if s == PRIMARY {
            return (PRIMARY, format!("{sign}({}, {})", self.text(a), self.text(b)));
        }
        // a - (b + c), a / (b * c), (a * b) % c: the right operand of an equal keeps its parentheses, unless both are
        // the same associative operation.
        let same = matches!(self.exprs[b].kind, ExprKind::Binary(inner, ..) if inner == op)
            && matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
        let right = if same { s } else { s + 1 };
        // Readers (and compilers) stumble over a ^ b + c and a || b && c.
        let careful = |id: ExprId, least: u8| match (op, &self.exprs[id].kind) {
            (BinaryOp::Xor, ExprKind::Binary(inner, ..)) if *inner != BinaryOp::Xor => self.bound(id, 7),
            (BinaryOp::Or, ExprKind::Binary(BinaryOp::And, ..)) => self.bound(id, PRIMARY),
            _ => self.bound(id, least),
        };
        (s, format!("{} {sign} {}", careful(a, s), careful(b, right)))
    }

    fn negation(&self, a: ExprId) -> (u8, String) {
        let opposite = match self.exprs[a].kind {
            ExprKind::Binary(BinaryOp::Lt, x, y) => Some((x, ">=", y, 5)),
            ExprKind::Binary(BinaryOp::Le, x, y) => Some((x, ">", y, 5)),
            ExprKind::Binary(BinaryOp::Eq, x, y) => Some((x, "!=", y, 4)),
            _ => None,
        };
        match opposite {
            Some((x, sign, y, s)) => (s, format!("{} {sign} {}", self.bound(x, s), self.bound(y, s + 1))),
            None => (8, format!("!{}", self.bound(a, 9))),
        }
    }
}
