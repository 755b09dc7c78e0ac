//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.

use super::super::operands::Operands;
use super::super::parameters::Parameters;
use super::super::scales::ScaleParameters;
use super::super::walk::{GroupsDivide, Strided, Tiling, Walk};
use super::main_loop::MainLoop;
use crate::dsl::KernelBuilder;
use crate::dtype::Dtype;
use crate::ir::ParamRole;
use crate::spec::{CopyPath, KernelSpec};

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let p = Parameters::declare(k, s);
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let scales = ScaleParameters::declare(k, s, p.extents);
    let main_loop = MainLoop::declare(k, s);

    let e = p.extents;
    let col_tiles = k.let_("col_tiles", e.cols.ceil_div(s.tile.n));
    let row_tiles = k.let_("row_tiles_of_each", e.rows.ceil_div(s.tile.m));
    let walk = Walk {
        token_rows: e.reduction,
        tiling: Tiling::of(s),
        col_tiles,
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    walk.each(k, &e.groups, &Strided { clusters: false }, |k, t| {
        let operands = Operands::of(k, s, &p, t);
        let scales = scales.map(|scales| scales.of(k, t, t.group_rows));
        let sums = main_loop.run(k, &operands.a, &operands.b, scales.as_ref(), t.group_rows);
        k.store(sums, &operands.d, accumulate, s.copy != CopyPath::Plain);
    });
}
