//! The parameters of kernels that realign; see [`RealignRole`] for what the host puts there.

use super::super::groups::Groups;
use super::spec::RealignSpec;
use crate::dsl::{Bool, Expr, Grid, I32, I64, KernelBuilder, Pointer};
use crate::ir::{ParamRole, RealignRole};

/// What is copied, and where to.
pub(super) struct Parameters<'k> {
    pub(super) source: Pointer,
    pub(super) copy: Pointer,
    pub(super) groups: Groups<'k>,
    /// Each group has a matrix, which is not copied where the group has no rows.
    pub(super) skip_empty: Expr<'k, Bool, Grid>,
    pub(super) matrices: Expr<'k, I32, Grid>,
    pub(super) rows: Expr<'k, I32, Grid>,
    pub(super) cols: Expr<'k, I32, Grid>,
    pub(super) source_row_stride: Expr<'k, I64, Grid>,
    pub(super) source_group_stride: Expr<'k, I64, Grid>,
    pub(super) copy_row_stride: Expr<'k, I64, Grid>,
    pub(super) copy_group_stride: Expr<'k, I64, Grid>,
}

impl<'k> Parameters<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &RealignSpec) -> Self {
        use RealignRole::{
            Copy, CopyGroupStride, CopyRowStride, Matrices, SkipEmpty, Source, SourceGroupStride, SourceRowStride,
        };
        let role = ParamRole::Realign;
        Parameters {
            source: k.input("source", s.element(), role(Source)),
            copy: k.output("copy", s.element(), role(Copy)),
            groups: Groups::declare(k),
            skip_empty: k.flag("skip_empty", role(SkipEmpty)),
            matrices: k.count("matrices", role(Matrices)),
            rows: k.count("rows", ParamRole::Rows),
            cols: k.count("cols", ParamRole::Cols),
            source_row_stride: k.stride("source_row_stride", role(SourceRowStride)),
            source_group_stride: k.stride("source_group_stride", role(SourceGroupStride)),
            copy_row_stride: k.stride("copy_row_stride", role(CopyRowStride)),
            copy_group_stride: k.stride("copy_group_stride", role(CopyGroupStride)),
        }
    }
}
