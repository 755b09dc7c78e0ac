//! What the host puts into a kernel's parameters for a contraction: the one statement of it, for whoever launches.

use crate::contraction::Contraction;
use crate::ir::ParamRole;
use crate::problem::{GroupForm, IndexType};
use crate::spec::Ragged;

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// The first element of an operand.
    Pointer(Operand),
    /// An integer; booleans are 0 and 1.
    Integer(i64),
}

/// What a pointer parameter points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// A.
    A,
    /// B.
    B,
    /// D.
    D,
    /// The array of sizes or ends.
    Groups,
    /// Words that the launch finds at 0.
    Workspace,
}

/// The value that a parameter of this role takes for `problem`.
pub fn argument(role: ParamRole, problem: &Contraction) -> Argument {
    let c = problem;
    let merged = c.ragged == Ragged::Reduction && c.weight_shared;
    let size = |n: usize| Argument::Integer(n as i64);
    let flag = |on: bool| Argument::Integer(i64::from(on));
    match role {
        ParamRole::A => Argument::Pointer(Operand::A),
        ParamRole::B => Argument::Pointer(Operand::B),
        ParamRole::D => Argument::Pointer(Operand::D),
        ParamRole::Groups => Argument::Pointer(Operand::Groups),
        ParamRole::Workspace => Argument::Pointer(Operand::Workspace),
        ParamRole::GroupCount => size(c.groups),
        ParamRole::GroupsAreEnds => flag(c.group_form == GroupForm::Ends),
        ParamRole::GroupsAreI64 => flag(c.group_index == IndexType::I64),
        ParamRole::Rows => size(c.rows),
        ParamRole::Cols => size(c.cols),
        ParamRole::Reduction => size(c.reduction),
        ParamRole::ARowStride => size(c.a.row_stride),
        ParamRole::BRowStride => size(c.b.row_stride),
        ParamRole::BGroupStride => size(c.b.group_stride),
        ParamRole::DRowStride => size(c.d.row_stride),
        ParamRole::DGroupStride => size(c.d.group_stride),
        ParamRole::ZeroTail => flag(c.zero_tail),
        ParamRole::Accumulate => flag(c.accumulate),
        ParamRole::MergeGroups => flag(merged),
    }
}
