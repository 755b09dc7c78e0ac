//! The parameters that kernels share.

use super::groups::Groups;
use super::operands::Destination;
use crate::dsl::{Expr, Grid, I32, I64, KernelBuilder, Pointer};
use crate::ir::ParamRole;
use crate::spec::{KernelSpec, Ragged};

/// The groups and the extents of the product; see [`ParamRole`] for what the host puts there.
#[derive(Clone, Copy)]
pub(super) struct Extents<'k> {
    pub(super) groups: Groups<'k>,
    pub(super) rows: Expr<'k, I32, Grid>,
    pub(super) cols: Expr<'k, I32, Grid>,
    pub(super) reduction: Expr<'k, I32, Grid>,
}

impl<'k> Extents<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>) -> Self {
        Extents {
            groups: Groups::declare(k),
            rows: k.count("rows", ParamRole::Rows),
            cols: k.count("cols", ParamRole::Cols),
            reduction: k.count("reduction", ParamRole::Reduction),
        }
    }
}

/// The same, and where operands are, for threads that address them.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'k> {
    pub(super) a: Pointer,
    pub(super) b: Pointer,
    pub(super) d: Pointer,
    pub(super) extents: Extents<'k>,
    pub(super) a_row_stride: Expr<'k, I64, Grid>,
    pub(super) b_row_stride: Expr<'k, I64, Grid>,
    pub(super) d_row_stride: Expr<'k, I64, Grid>,
    /// Of the operand that each group has for itself: B where groups divide the rows, else D.
    pub(super) group_stride: Expr<'k, I64, Grid>,
}

impl<'k> Parameters<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec) -> Self {
        let (name, role) = match s.ragged {
            Ragged::Rows => ("b_group_stride", ParamRole::BGroupStride),
            Ragged::Reduction => ("d_group_stride", ParamRole::DGroupStride),
        };
        Parameters {
            a: k.input("a", s.operand, ParamRole::A),
            b: k.input("b", s.b_operand, ParamRole::B),
            d: k.output("d", s.output, ParamRole::D),
            extents: Extents::declare(k),
            a_row_stride: k.stride("a_row_stride", ParamRole::ARowStride),
            b_row_stride: k.stride("b_row_stride", ParamRole::BRowStride),
            d_row_stride: k.stride("d_row_stride", ParamRole::DRowStride),
            group_stride: k.stride(name, role),
        }
    }

    /// D of them.
    pub(super) fn destination(&self, ragged: Ragged) -> Destination<'k> {
        Destination {
            pointer: self.d,
            extents: self.extents,
            row_stride: self.d_row_stride,
            group_stride: (ragged == Ragged::Reduction).then_some(self.group_stride),
        }
    }
}
