//! Scalar expressions, a lane at a time, with types that are held to their range.

use super::finding::FindingKind;
use crate::ir::{BinaryOp, Builtin, ExprId, ExprKind, Expressions, Type, VarId};

/// Lanes of a warp.
pub(super) const LANES: usize = 32;

/// What an expression may refer to.
pub(super) struct Environment<'a> {
    pub(super) exprs: &'a Expressions,
    /// Variables, each with its lanes.
    pub(super) vars: &'a [[i64; LANES]],
    /// Scalar parameters; pointers are 0.
    pub(super) params: &'a [i64],
    pub(super) cta: i64,
    pub(super) ctas: i64,
    pub(super) warp: i64,
    /// CTAs of a cluster.
    pub(super) cluster: i64,
}

impl Environment<'_> {
    pub(super) fn lane_value(&self, id: ExprId, lane: usize) -> Result<i64, FindingKind> {
        let node = &self.exprs[id];
        let value = match &node.kind {
            ExprKind::Const(v) => *v,
            ExprKind::Param(p) => self.params[p.0 as usize],
            ExprKind::Var(VarId(v)) => self.vars[*v as usize][lane],
            ExprKind::Builtin(Builtin::Lane) => lane as i64,
            ExprKind::Builtin(Builtin::Cta) => self.cta,
            ExprKind::Builtin(Builtin::CtaCount) => self.ctas,
            ExprKind::Builtin(Builtin::Warp) => self.warp,
            ExprKind::Builtin(Builtin::Warpgroup) => self.warp / 4,
            ExprKind::Builtin(Builtin::ClusterRank) => self.cta % self.cluster,
            ExprKind::Builtin(Builtin::Cluster) => self.cta / self.cluster,
            ExprKind::Builtin(Builtin::ClusterCount) => self.ctas / self.cluster,
            ExprKind::Binary(op, a, b) => {
                let a = self.lane_value(*a, lane)?;
                // As in the text, the right side of a decided `and` or `or` is not evaluated.
                match (op, a) {
                    (BinaryOp::And, 0) => 0,
                    (BinaryOp::Or, 1) => 1,
                    _ => binary(*op, a, self.lane_value(*b, lane)?)?,
                }
            }
            ExprKind::Not(a) => i64::from(self.lane_value(*a, lane)? == 0),
            ExprKind::FirstLane(a) => {
                let mask = self.lane_value(*a, lane)?;
                if mask == 0 {
                    return Err(FindingKind::Undefined { operation: "the first lane of an empty mask" });
                }
                i64::from(mask.trailing_zeros())
            }
            ExprKind::Cast(a) | ExprKind::Agree(a) => self.lane_value(*a, lane)?,
            ExprKind::Select(c, a, b) => {
                let chosen = if self.lane_value(*c, lane)? != 0 { a } else { b };
                self.lane_value(*chosen, lane)?
            }
        };
        let fits = match node.ty {
            Type::Bool => (0..=1).contains(&value),
            Type::I32 => i32::try_from(value).is_ok(),
            Type::U32 => u32::try_from(value).is_ok(),
            Type::I64 => true,
        };
        if fits { Ok(value) } else { Err(FindingKind::Overflow { value, ty: type_name(node.ty) }) }
    }

    /// The agreements inside an expression, with this warp's values, in order.
    pub(super) fn agreements(&self, id: ExprId, found: &mut Vec<i64>) -> Result<(), FindingKind> {
        match &self.exprs[id].kind {
            ExprKind::Agree(a) => found.push(self.lane_value(*a, 0)?),
            ExprKind::Binary(_, a, b) => {
                self.agreements(*a, found)?;
                self.agreements(*b, found)?;
            }
            ExprKind::Not(a) | ExprKind::FirstLane(a) | ExprKind::Cast(a) => self.agreements(*a, found)?,
            ExprKind::Select(c, a, b) => {
                for e in [c, a, b] {
                    self.agreements(*e, found)?;
                }
            }
            ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Var(_) | ExprKind::Builtin(_) => {}
        }
        Ok(())
    }
}

fn binary(op: BinaryOp, a: i64, b: i64) -> Result<i64, FindingKind> {
    if matches!(op, BinaryOp::Div | BinaryOp::Rem | BinaryOp::CeilDiv) && (a < 0 || b <= 0) {
        return Err(FindingKind::Undefined { operation: "a quotient of a negative number or by none" });
    }
    let exact = match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        _ => Some(op.apply(a, b)),
    };
    exact.ok_or(FindingKind::Overflow { value: a, ty: "int64" })
}

const fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::I32 => "int32",
        Type::U32 => "uint32",
        Type::I64 => "int64",
    }
}
