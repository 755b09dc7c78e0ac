//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.

use super::super::groups::Groups;
use super::super::walk::{GroupsDivide, Tile, Walk};
use super::roles::{Family, Roles, Stage};
use super::share::Share;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Cta, Expr, Grid, I32, KernelBuilder, Map, Slot};
use crate::dtype::Dtype;
use crate::ir::{ParamRole, TensorMap};
use crate::spec::KernelSpec;

/// Parameters of the family.
struct RaggedReduction<'k> {
    a: Map,
    b: Map,
    d: Map,
    groups: Groups<'k>,
    accumulate: Option<Expr<'k, Bool, Grid>>,
    walk: Walk<'k>,
    a_share: Share,
    b_share: Share,
}

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let panel = 128 / s.operand.size_bytes();
    let (a_share, b_share) = (Share::of(s.tile.k, s.cluster.n), Share::of(s.tile.k, s.cluster.m));
    let d_cols = 128 / s.output.size_bytes();
    let a = k.tensor_map("a", TensorMap::ragged(s.operand, a_share.rows, panel), ParamRole::A);
    let b = k.tensor_map("b", TensorMap::ragged(s.operand, b_share.rows, panel), ParamRole::B);
    let d = k.tensor_map("d", TensorMap::matrix(s.output, WGMMA_M, d_cols, true), ParamRole::D);
    let groups = Groups::declare(k);
    let rows = k.count("rows", ParamRole::Rows);
    let cols = k.count("cols", ParamRole::Cols);
    let token_rows = k.count("reduction", ParamRole::Reduction);
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let roles = Roles::declare(k, s);
    let row_tiles = k.let_("row_tiles_of_each", rows.ceil_div(s.tile.m * s.cluster.m));
    let walk = Walk {
        token_rows,
        spec: *s,
        col_tiles: k.let_("col_tiles", cols.ceil_div(s.tile.n * s.cluster.n)),
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    roles.write(k, &RaggedReduction { a, b, d, groups, accumulate, walk, a_share, b_share });
}

impl<'k> Family<'k> for RaggedReduction<'k> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.groups)
    }

    fn maps(&self) -> [Map; 3] {
        [self.a, self.b, self.d]
    }

    fn reduction(&self, _k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        tile.group_rows
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let (start, rows) = (tile.group_start, tile.group_rows);
        let operands = [(self.a_share, self.a, &stage.a, tile.row), (self.b_share, self.b, &stage.b, tile.col)];
        for (share, map, slot, col) in operands {
            share.load(k, (map, slot), stage, |k, part| k.ragged(col, stage.offset + part, start, rows));
        }
    }

    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: [Expr<'k, I32, Cta>; 2]) {
        let at = [(tile.col + col).coordinate(), (tile.row + row).coordinate(), tile.group.coordinate()];
        match self.accumulate {
            None => k.bulk_store(panel, self.d, &at),
            Some(accumulate) => {
                k.when_else(accumulate, |k| k.bulk_add(panel, self.d, &at), |k| k.bulk_store(panel, self.d, &at))
            }
        }
    }
}
