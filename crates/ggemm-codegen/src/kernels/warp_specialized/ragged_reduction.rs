//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.

use super::super::groups::Groups;
use super::super::parameters::{Extents, Parameters};
use super::super::walk::{GroupsDivide, Tile, Tiling, Walk};
use super::by_copy_engine::{ByCopyEngine, Mapped, Maps};
use super::by_threads::{Addressed, ByThreads};
use super::roles::{Family, Roles, Stage, Transport};
use super::share::Share;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Cta, Expr, Grid, I32, KernelBuilder, Map, Slot};
use crate::dtype::Dtype;
use crate::ir::{ParamRole, TensorMap};
use crate::spec::{CopyPath, KernelSpec};

/// Parameters of the family; `T` says where operands are.
struct RaggedReduction<'k, T> {
    tensors: T,
    groups: Groups<'k>,
    accumulate: Option<Expr<'k, Bool, Grid>>,
    walk: Walk<'k>,
}

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.copy {
        CopyPath::Plain => {
            let parameters = Parameters::declare(k, s);
            write_with::<_, ByThreads>(k, s, parameters, parameters.extents);
        }
        CopyPath::Tma | CopyPath::CpAsync => {
            let maps = declare_maps(k, s);
            let extents = Extents::declare(k);
            write_with::<_, ByCopyEngine>(k, s, maps, extents);
        }
    }
}

fn write_with<'k, T, M>(k: &mut KernelBuilder<'k>, s: &KernelSpec, tensors: T, extents: Extents<'k>)
where
    RaggedReduction<'k, T>: Family<'k>,
    M: Transport<'k, RaggedReduction<'k, T>>,
{
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let roles = Roles::<M>::declare(k, s);
    let row_tiles = k.let_("row_tiles_of_each", extents.rows.ceil_div(s.tile.m * s.cluster.m));
    let walk = Walk {
        token_rows: extents.reduction,
        tiling: Tiling::of(s),
        col_tiles: k.let_("col_tiles", extents.cols.ceil_div(s.tile.n * s.cluster.n)),
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    roles.write(k, &RaggedReduction { tensors, groups: extents.groups, accumulate, walk });
}

fn declare_maps(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Maps {
    let panel = 128 / s.operand.size_bytes();
    let (a_share, b_share) = (Share::of(s.tile.k, s.cluster.n), Share::of(s.tile.k, s.cluster.m));
    let d_cols = 128 / s.output.size_bytes();
    Maps {
        a: k.tensor_map("a", TensorMap::ragged(s.operand, a_share.rows, panel), ParamRole::A),
        b: k.tensor_map("b", TensorMap::ragged(s.operand, b_share.rows, panel), ParamRole::B),
        d: k.tensor_map("d", TensorMap::matrix(s.output, WGMMA_M, d_cols, true), ParamRole::D),
        a_share,
        b_share,
    }
}

impl<'k, T> Family<'k> for RaggedReduction<'k, T> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.groups)
    }

    fn reduction(&self, _k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        tile.group_rows
    }
}

impl<'k> Mapped<'k> for RaggedReduction<'k, Maps> {
    fn maps(&self) -> [Map; 3] {
        self.tensors.all()
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let Maps { a, b, a_share, b_share, .. } = &self.tensors;
        let (start, rows) = (tile.group_start, tile.group_rows);
        let operands = [(a_share, *a, &stage.a, tile.row), (b_share, *b, &stage.b, tile.col)];
        for (share, map, slot, col) in operands {
            share.load(k, (map, slot), stage, |k, part| k.ragged(col, stage.offset + part, start, rows));
        }
    }

    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: [Expr<'k, I32, Cta>; 2]) {
        let at = [(tile.col + col).coordinate(), (tile.row + row).coordinate(), tile.group.coordinate()];
        let d = self.tensors.d;
        match self.accumulate {
            None => k.bulk_store(panel, d, &at),
            Some(accumulate) => k.when_else(accumulate, |k| k.bulk_add(panel, d, &at), |k| k.bulk_store(panel, d, &at)),
        }
    }
}

impl<'k> Addressed<'k> for RaggedReduction<'k, Parameters<'k>> {
    fn parameters(&self) -> &Parameters<'k> {
        &self.tensors
    }

    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>> {
        self.accumulate
    }
}
