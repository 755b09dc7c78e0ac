//! The parameters of kernels that quantize; see [`ParamRole`] and [`QuantizeRole`] for what the host puts there.

use super::super::groups::Groups;
use super::spec::QuantizeSpec;
use crate::dsl::{Bool, Expr, Grid, I32, I64, KernelBuilder, Pointer};
use crate::dtype::Dtype;
use crate::ir::{ParamRole, QuantizeRole, SharedBy};
use crate::scaling::Scaling;

/// What is quantized, and how.
pub(super) struct Parameters<'k> {
    pub(super) source: Pointer,
    pub(super) extent: Extent<'k>,
    pub(super) rows: Expr<'k, I32, Grid>,
    pub(super) cols: Expr<'k, I32, Grid>,
    pub(super) powers_of_two: Expr<'k, Bool, Grid>,
    pub(super) aligned: Expr<'k, Bool, Grid>,
    pub(super) copies: Vec<CopyParameters<'k>>,
}

/// What the source consists of.
#[derive(Clone, Copy)]
pub(super) enum Extent<'k> {
    /// So many matrices of `rows`, one after another.
    Matrices(Expr<'k, I32, Grid>),
    /// Groups that divide its rows.
    Groups {
        groups: Groups<'k>,
        /// All groups are one.
        merge: Expr<'k, Bool, Grid>,
    },
}

/// Where a copy and its scales lie.
#[derive(Clone, Copy)]
pub(super) struct CopyParameters<'k> {
    pub(super) elements: Pointer,
    pub(super) row_stride: Expr<'k, I64, Grid>,
    /// Between matrices.
    pub(super) group_stride: Option<Expr<'k, I64, Grid>>,
    pub(super) scales: Pointer,
    /// Between groups or matrices that have scales of their own.
    pub(super) scale_group_stride: Option<Expr<'k, I64, Grid>>,
    /// Between rows, or blocks of rows, that have scales of their own.
    pub(super) scale_row_stride: Option<Expr<'k, I64, Grid>>,
    /// Between blocks of columns whose scales are not neighbours.
    pub(super) scale_col_stride: Option<Expr<'k, I64, Grid>>,
}

impl<'k> Parameters<'k> {
    pub(super) fn declare(k: &mut KernelBuilder<'k>, s: &QuantizeSpec) -> Self {
        use QuantizeRole::{Aligned, Matrices, PowersOfTwo, Source};
        let source = k.input("source", s.source(), ParamRole::Quantize(Source));
        let extent = if s.form().ragged {
            let groups = Groups::declare(k);
            Extent::Groups { groups, merge: k.flag("merge_groups", ParamRole::MergeGroups) }
        } else {
            Extent::Matrices(k.count("matrices", ParamRole::Quantize(Matrices)))
        };
        Parameters {
            source,
            extent,
            rows: k.count("rows", ParamRole::Rows),
            cols: k.count("cols", ParamRole::Cols),
            powers_of_two: k.flag("powers_of_two", ParamRole::Quantize(PowersOfTwo)),
            aligned: k.flag("aligned", ParamRole::Quantize(Aligned)),
            copies: (0..).zip(s.copies()).map(|(i, copy)| CopyParameters::declare(k, s, i, copy.by)).collect(),
        }
    }
}

impl<'k> CopyParameters<'k> {
    fn declare(k: &mut KernelBuilder<'k>, s: &QuantizeSpec, number: u8, by: SharedBy) -> Self {
        use QuantizeRole::{
            Elements, GroupStride, RowStride, ScaleColStride, ScaleGroupStride, ScaleRowStride, Scales,
        };
        let form = s.form();
        let name = |of: &str| if number == 0 { of.to_owned() } else { format!("second_{of}") };
        let role = ParamRole::Quantize;
        let by_block = form.scaling == Scaling::Block;
        CopyParameters {
            elements: k.output(&name("copy"), s.format(), role(Elements(number))),
            row_stride: k.stride(&name("row_stride"), role(RowStride(number))),
            group_stride: (!form.ragged).then(|| k.stride(&name("group_stride"), role(GroupStride(number)))),
            scales: k.output(&name("scales"), Dtype::F32, role(Scales(number))),
            // Blocks of rows are numbered through all groups, and so are rows.
            scale_group_stride: (!form.ragged || !by_block)
                .then(|| k.stride(&name("scale_group_stride"), role(ScaleGroupStride(number)))),
            scale_row_stride: (by == SharedBy::Row || by_block)
                .then(|| k.stride(&name("scale_row_stride"), role(ScaleRowStride(number)))),
            scale_col_stride: (by == SharedBy::Block)
                .then(|| k.stride(&name("scale_col_stride"), role(ScaleColStride(number)))),
        }
    }
}
