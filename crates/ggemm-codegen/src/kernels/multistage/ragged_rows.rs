//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::operands::Operands;
use super::super::parameters::Parameters;
use super::super::scales::ScaleParameters;
use super::super::walk::{GroupsDivide, Strided, Tiling, Walk};
use super::main_loop::MainLoop;
use crate::dsl::{I32, KernelBuilder};
use crate::ir::ParamRole;
use crate::spec::{CopyPath, KernelSpec};

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let p = Parameters::declare(k, s);
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let scales = ScaleParameters::declare(k, s, p.extents);
    let main_loop = MainLoop::declare(k, s);

    let e = p.extents;
    let col_tiles = k.let_("col_tiles", e.cols.ceil_div(s.tile.n));
    let walk = Walk {
        token_rows: e.rows,
        tiling: Tiling::of(s),
        col_tiles,
        groups_divide: GroupsDivide::Rows { visit_tail: Some(zero_tail), merge: None },
    };
    walk.each(k, &e.groups, &Strided { clusters: false }, |k, t| {
        let operands = Operands::of(k, s, &p, t);
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = t.group.equals(e.groups.count).select::<I32, _, _, _>(0, e.reduction);
        let reduction = k.let_("reduction_of_tile", reduction);
        let scales = scales.map(|scales| scales.of(k, t, reduction));
        let sums = main_loop.run(k, &operands.a, &operands.b, scales.as_ref(), reduction);
        k.store(sums, &operands.d, None, s.copy != CopyPath::Plain);
    });
}
