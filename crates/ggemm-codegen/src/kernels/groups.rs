//! The array of group sizes or ends, which only the device reads.

use crate::dsl::{Bool, Expr, Grid, I32, KernelBuilder, Pointer};
use crate::ir::ParamRole;

/// The array's parameters; see [`ParamRole`] for what the host puts there.
#[derive(Clone, Copy)]
pub(super) struct Groups<'k> {
    pub(super) array: Pointer,
    pub(super) count: Expr<'k, I32, Grid>,
    pub(super) are_ends: Expr<'k, Bool, Grid>,
    pub(super) are_i64: Expr<'k, Bool, Grid>,
}

impl<'k> Groups<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>) -> Self {
        Groups {
            array: k.indices("groups", ParamRole::Groups),
            count: k.count("group_count", ParamRole::GroupCount),
            are_ends: k.flag("groups_are_ends", ParamRole::GroupsAreEnds),
            are_i64: k.flag("groups_are_i64", ParamRole::GroupsAreI64),
        }
    }
}
