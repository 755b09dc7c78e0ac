//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.

use super::super::walk::{GroupsDivide, Strided, Walk};
use super::main_loop::{MainLoop, OperandWalk};
use super::parameters::Parameters;
use crate::dsl::{GlobalBlock, I64, KernelBuilder};
use crate::dtype::Dtype;
use crate::ir::ParamRole;
use crate::spec::{CopyPath, KernelSpec};

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let p = Parameters::declare(k, s);
    let d_group_stride = k.stride("d_group_stride", ParamRole::DGroupStride);
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let main_loop = MainLoop::declare(k, s);

    let col_tiles = k.let_("col_tiles", p.cols.ceil_div(s.tile.n));
    let row_tiles = k.let_("row_tiles_of_each", p.rows.ceil_div(s.tile.m));
    let walk = Walk {
        token_rows: p.reduction,
        spec: *s,
        col_tiles,
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    walk.each(k, &p.groups, &Strided { cluster: s.cluster }, |k, t| {
        let rows_left = k.let_("rows_left", p.rows - t.row);
        let cols_left = k.let_("cols_left", p.cols - t.col);
        let first_token = t.group_start.cast::<I64>();
        let a = OperandWalk {
            pointer: p.a,
            origin: first_token * p.a_row_stride + t.row.cast::<I64>(),
            row_stride: p.a_row_stride,
            major: s.a_major,
            side: rows_left,
        };
        let b = OperandWalk {
            pointer: p.b,
            origin: first_token * p.b_row_stride + t.col.cast::<I64>(),
            row_stride: p.b_row_stride,
            major: s.b_major,
            side: cols_left,
        };
        let sums = main_loop.run(k, &a, &b, t.group_rows);
        let row_of_d = t.row.cast::<I64>() * p.d_row_stride;
        let d = GlobalBlock {
            pointer: p.d,
            origin: t.group.cast::<I64>() * d_group_stride + row_of_d + t.col.cast::<I64>(),
            row_stride: p.d_row_stride,
            rows: Some(rows_left),
            cols: Some(cols_left),
        };
        k.store(sums, &d, accumulate, s.copy != CopyPath::Plain);
    });
}
