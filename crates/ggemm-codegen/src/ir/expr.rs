//! Pure scalar expressions, with their type and the scope in which they are uniform.

use std::fmt;

use super::stmt::{ParamId, VarId};

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Bool,
    /// 32-bit signed.
    I32,
    /// 32-bit unsigned: lane masks.
    U32,
    /// 64-bit signed: element offsets and whatever the device memory holds.
    I64,
}

/// The threads among which a value, or the path that control takes, is the same. Ordered from the narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One thread.
    Lane,
    /// 32 threads.
    Warp,
    /// Four consecutive warps.
    Warpgroup,
    /// The threads of a CTA.
    Cta,
    /// The threads of a cluster of CTAs.
    Cluster,
    /// All threads of the launch.
    Grid,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Scope::Lane => "lane",
            Scope::Warp => "warp",
            Scope::Warpgroup => "warpgroup",
            Scope::Cta => "CTA",
            Scope::Cluster => "cluster",
            Scope::Grid => "grid",
        })
    }
}

/// An expression's index in [`Expressions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub u32);

/// An expression: its form, type and scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The form.
    pub kind: ExprKind,
    /// The type.
    pub ty: Type,
    /// The threads among which the value is the same.
    pub scope: Scope,
}

/// The form of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExprKind {
    /// A constant; booleans are 0 and 1.
    Const(i64),
    /// A scalar parameter.
    Param(ParamId),
    /// A scalar variable.
    Var(VarId),
    /// A register that the hardware sets.
    Builtin(Builtin),
    /// Two operands.
    Binary(BinaryOp, ExprId, ExprId),
    /// Logical negation.
    Not(ExprId),
    /// The position of the lowest set bit of a lane mask that is not 0.
    FirstLane(ExprId),
    /// A conversion that keeps the value; where it does not fit, the kernel is wrong.
    Cast(ExprId),
    /// The second where the first holds, else the third.
    Select(ExprId, ExprId, ExprId),
    /// The operand, which all threads of the node's scope are known to have computed alike.
    Agree(ExprId),
}

/// A register that the hardware sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// The lane's index in its warp.
    Lane,
    /// The CTA's index in the grid.
    Cta,
    /// CTAs in the grid.
    CtaCount,
    /// The warp's index in its CTA.
    Warp,
    /// The warpgroup's index in its CTA.
    Warpgroup,
    /// The CTA's index in its cluster.
    ClusterRank,
    /// The cluster's index in the grid.
    Cluster,
    /// Clusters in the grid.
    ClusterCount,
}

/// An operation of two operands. Integers never overflow in a right kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    /// Quotient of non-negative integers.
    Div,
    /// Remainder of non-negative integers.
    Rem,
    /// Quotient of non-negative integers, rounded up, without overflow.
    CeilDiv,
    Min,
    Max,
    Lt,
    Le,
    Eq,
    And,
    Or,
    /// Exclusive or of the bits of non-negative integers.
    Xor,
}

impl BinaryOp {
    /// The operation on two values.
    pub fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            BinaryOp::Add => a.wrapping_add(b),
            BinaryOp::Sub => a.wrapping_sub(b),
            BinaryOp::Mul => a.wrapping_mul(b),
            BinaryOp::Div => a.checked_div(b).unwrap_or(0),
            BinaryOp::Rem => a.checked_rem(b).unwrap_or(0),
            BinaryOp::CeilDiv => a.checked_div(b).unwrap_or(0) + i64::from(a.checked_rem(b).unwrap_or(0) != 0),
            BinaryOp::Min => a.min(b),
            BinaryOp::Max => a.max(b),
            BinaryOp::Lt => i64::from(a < b),
            BinaryOp::Le => i64::from(a <= b),
            BinaryOp::Eq => i64::from(a == b),
            BinaryOp::And => a & b,
            BinaryOp::Or => a | b,
            BinaryOp::Xor => a ^ b,
        }
    }

    /// Whether the result is a boolean whatever the operands are.
    pub const fn compares(self) -> bool {
        matches!(self, BinaryOp::Lt | BinaryOp::Le | BinaryOp::Eq)
    }
}

/// The expressions of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Expressions {
    nodes: Vec<Node>,
}

impl std::ops::Index<ExprId> for Expressions {
    type Output = Node;

    fn index(&self, id: ExprId) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

impl Expressions {
    /// Number of expressions.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All expressions; operands come before what they are part of.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    fn push(&mut self, kind: ExprKind, ty: Type, scope: Scope) -> ExprId {
        let id = ExprId(self.nodes.len() as u32);
        self.nodes.push(Node { kind, ty, scope });
        id
    }

    /// A constant.
    pub fn constant(&mut self, ty: Type, value: i64) -> ExprId {
        self.push(ExprKind::Const(value), ty, Scope::Grid)
    }

    /// A scalar parameter.
    pub fn param(&mut self, ty: Type, param: ParamId) -> ExprId {
        self.push(ExprKind::Param(param), ty, Scope::Grid)
    }

    /// A scalar variable.
    pub fn var(&mut self, ty: Type, scope: Scope, var: VarId) -> ExprId {
        self.push(ExprKind::Var(var), ty, scope)
    }

    /// A hardware register.
    pub fn builtin(&mut self, builtin: Builtin) -> ExprId {
        let scope = match builtin {
            Builtin::Lane => Scope::Lane,
            Builtin::Cta => Scope::Cta,
            Builtin::CtaCount | Builtin::ClusterCount => Scope::Grid,
            Builtin::Warp => Scope::Warp,
            Builtin::Warpgroup => Scope::Warpgroup,
            Builtin::ClusterRank => Scope::Cta,
            Builtin::Cluster => Scope::Cluster,
        };
        self.push(ExprKind::Builtin(builtin), Type::I32, scope)
    }

    /// The value of an expression, given those of its leaves.
    ///
    /// # Errors
    /// The leaf that `leaf` knows no value of.
    pub fn evaluate(&self, id: ExprId, leaf: &impl Fn(&ExprKind) -> Option<i64>) -> Result<i64, ExprKind> {
        let value = |id| self.evaluate(id, leaf);
        match &self[id].kind {
            ExprKind::Const(value) => Ok(*value),
            ExprKind::Binary(op, a, b) => Ok(op.apply(value(*a)?, value(*b)?)),
            ExprKind::Not(a) => Ok(i64::from(value(*a)? == 0)),
            ExprKind::FirstLane(a) => Ok(i64::from(value(*a)?.trailing_zeros())),
            ExprKind::Cast(a) | ExprKind::Agree(a) => value(*a),
            ExprKind::Select(c, a, b) => value(if value(*c)? != 0 { *a } else { *b }),
            kind => leaf(kind).ok_or_else(|| kind.clone()),
        }
    }

    /// The value of an expression that is a constant.
    pub fn as_constant(&self, id: ExprId) -> Option<i64> {
        match self[id].kind {
            ExprKind::Const(value) => Some(value),
            _ => None,
        }
    }

    /// A binary operation, folded where an operand makes it trivial, so that emitted text has no `+ 0` and no `* 1`.
    pub fn binary(&mut self, op: BinaryOp, a: ExprId, b: ExprId) -> ExprId {
        let ty = if op.compares() { Type::Bool } else { self[a].ty };
        match (op, self.as_constant(a), self.as_constant(b)) {
            (_, Some(x), Some(y)) => return self.constant(ty, op.apply(x, y)),
            (BinaryOp::Add | BinaryOp::Sub, _, Some(0))
            | (BinaryOp::Mul | BinaryOp::Div | BinaryOp::CeilDiv, _, Some(1)) => {
                return a;
            }
            (BinaryOp::And, _, Some(1)) => return a,
            (BinaryOp::Add, Some(0), _) | (BinaryOp::Mul, Some(1), _) => return b,
            (BinaryOp::Mul, Some(0), _) | (BinaryOp::Mul, _, Some(0)) | (BinaryOp::Rem, _, Some(1)) => {
                return self.constant(ty, 0);
            }
            _ => {}
        }
        let scope = self[a].scope.min(self[b].scope);
        self.push(ExprKind::Binary(op, a, b), ty, scope)
    }

    /// Logical negation.
    pub fn not(&mut self, a: ExprId) -> ExprId {
        let scope = self[a].scope;
        self.push(ExprKind::Not(a), Type::Bool, scope)
    }

    /// The lowest set lane of a mask.
    pub fn first_lane(&mut self, mask: ExprId) -> ExprId {
        let scope = self[mask].scope;
        self.push(ExprKind::FirstLane(mask), Type::I32, scope)
    }

    /// A conversion to `ty`.
    pub fn cast(&mut self, ty: Type, a: ExprId) -> ExprId {
        if self[a].ty == ty {
            return a;
        }
        if let Some(value) = self.as_constant(a) {
            return self.constant(ty, value);
        }
        let scope = self[a].scope;
        self.push(ExprKind::Cast(a), ty, scope)
    }

    /// `a` where `condition` holds, else `b`.
    pub fn select(&mut self, condition: ExprId, a: ExprId, b: ExprId) -> ExprId {
        let scope = self[condition].scope.min(self[a].scope).min(self[b].scope);
        let ty = self[a].ty;
        self.push(ExprKind::Select(condition, a, b), ty, scope)
    }

    /// The same value, known to be the same in all of `scope`.
    pub fn agree(&mut self, scope: Scope, a: ExprId) -> ExprId {
        let ty = self[a].ty;
        self.push(ExprKind::Agree(a), ty, scope)
    }
}
