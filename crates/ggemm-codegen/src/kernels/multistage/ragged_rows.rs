//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::walk::{GroupsDivide, Strided, Walk};
use super::main_loop::{MainLoop, OperandWalk};
use super::parameters::Parameters;
use crate::dsl::{GlobalBlock, I32, I64, KernelBuilder};
use crate::ir::ParamRole;
use crate::spec::{CopyPath, KernelSpec, Major};

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let p = Parameters::declare(k, s);
    let b_group_stride = k.stride("b_group_stride", ParamRole::BGroupStride);
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let main_loop = MainLoop::declare(k, s);

    let col_tiles = k.let_("col_tiles", p.cols.ceil_div(s.tile.n));
    let walk =
        Walk { token_rows: p.rows, spec: *s, col_tiles, groups_divide: GroupsDivide::Rows { visit_tail: zero_tail } };
    walk.each(k, &p.groups, &Strided { cluster: s.cluster }, |k, t| {
        let rows_left = k.let_("rows_left", t.group_rows - t.row);
        let cols_left = k.let_("cols_left", p.cols - t.col);
        let first_row = k.let_("first_row", (t.group_start + t.row).cast::<I64>());
        let a = OperandWalk {
            pointer: p.a,
            origin: first_row * p.a_row_stride,
            row_stride: p.a_row_stride,
            major: s.a_major,
            side: rows_left,
        };
        let group_of_b = t.group.cast::<I64>() * b_group_stride;
        let b = OperandWalk {
            pointer: p.b,
            origin: match s.b_major {
                Major::K => group_of_b + t.col.cast::<I64>() * p.b_row_stride,
                Major::Mn => group_of_b + t.col.cast::<I64>(),
            },
            row_stride: p.b_row_stride,
            major: s.b_major,
            side: cols_left,
        };
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = t.group.equals(p.groups.count).select::<I32, _, _, _>(0, p.reduction);
        let reduction = k.let_("reduction_of_tile", reduction);
        let sums = main_loop.run(k, &a, &b, reduction);
        let d = GlobalBlock {
            pointer: p.d,
            origin: first_row * p.d_row_stride + t.col.cast::<I64>(),
            row_stride: p.d_row_stride,
            rows: Some(rows_left),
            cols: Some(cols_left),
        };
        k.store(sums, &d, None, s.copy != CopyPath::Plain);
    });
}
