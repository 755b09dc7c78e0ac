//! The parameters of kernels whose threads move tiles.

use crate::dsl::{Expr, Grid, I64, KernelBuilder, Pointer};
use crate::ir::ParamRole;
use crate::spec::{KernelSpec, Ragged};

/// Where operands are, and how far apart their rows and groups.
#[derive(Clone, Copy)]
pub(super) struct Addresses<'k> {
    pub(super) a: Pointer,
    pub(super) b: Pointer,
    pub(super) d: Pointer,
    pub(super) a_row_stride: Expr<'k, I64, Grid>,
    pub(super) b_row_stride: Expr<'k, I64, Grid>,
    pub(super) d_row_stride: Expr<'k, I64, Grid>,
    /// Of the operand that each group has for itself: B where groups divide the rows, else D.
    pub(super) group_stride: Expr<'k, I64, Grid>,
}

impl<'k> Addresses<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec) -> Self {
        let (name, role) = match s.ragged {
            Ragged::Rows => ("b_group_stride", ParamRole::BGroupStride),
            Ragged::Reduction => ("d_group_stride", ParamRole::DGroupStride),
        };
        Addresses {
            a: k.input("a", s.operand, ParamRole::A),
            b: k.input("b", s.operand, ParamRole::B),
            d: k.output("d", s.output, ParamRole::D),
            a_row_stride: k.stride("a_row_stride", ParamRole::ARowStride),
            b_row_stride: k.stride("b_row_stride", ParamRole::BRowStride),
            d_row_stride: k.stride("d_row_stride", ParamRole::DRowStride),
            group_stride: k.stride(name, role),
        }
    }
}
