//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::groups::Groups;
use super::super::walk::{GroupsDivide, Tile, Walk};
use super::roles::{Family, Roles, Stage};
use crate::descriptor::WGMMA_M;
use crate::dsl::{Cta, Expr, Grid, I32, KernelBuilder, Map, Slot};
use crate::ir::{ParamRole, TensorMap};
use crate::spec::{KernelSpec, Major};

/// Parameters of the family.
struct RaggedRows<'k> {
    a: Map,
    b: Map,
    d: Map,
    groups: Groups<'k>,
    reduction: Expr<'k, I32, Grid>,
    walk: Walk<'k>,
    b_major: Major,
    /// CTAs that share A's tile, and the rows of it that each loads.
    cluster: u32,
    share: u32,
}

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let panel = 128 / s.operand.size_bytes();
    let share = s.tile.m / s.cluster;
    let (b_rows, b_cols) = match s.b_major {
        Major::K => (s.tile.n, s.tile.k),
        Major::Mn => (s.tile.k, panel),
    };
    let d_cols = 128 / s.output.size_bytes();
    let a = k.tensor_map("a", TensorMap::ragged(s.operand, share, s.tile.k), ParamRole::A);
    let b = k.tensor_map("b", TensorMap::matrix(s.operand, b_rows, b_cols, true), ParamRole::B);
    let d = k.tensor_map("d", TensorMap::ragged(s.output, WGMMA_M, d_cols), ParamRole::D);
    let groups = Groups::declare(k);
    let rows = k.count("rows", ParamRole::Rows);
    let cols = k.count("cols", ParamRole::Cols);
    let reduction = k.count("reduction", ParamRole::Reduction);
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let roles = Roles::declare(k, s);
    let walk = Walk {
        token_rows: rows,
        tile_m: s.tile.m,
        tile_n: s.tile.n,
        cluster: s.cluster,
        col_tiles: k.let_("col_tiles", cols.ceil_div(s.tile.n * s.cluster)),
        groups_divide: GroupsDivide::Rows { visit_tail: zero_tail },
    };
    let family = RaggedRows { a, b, d, groups, reduction, walk, b_major: s.b_major, cluster: s.cluster, share };
    roles.write(k, &family);
}

impl<'k> Family<'k> for RaggedRows<'k> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.groups)
    }

    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = tile.group.equals(self.groups.count).select::<I32, _, _, _>(0, self.reduction);
        k.let_("reduction_of_tile", reduction)
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        if self.cluster > 1 {
            let part = k.cluster_rank() * self.share;
            let at = k.ragged(stage.offset, tile.row + part, tile.group_start, tile.group_rows);
            k.bulk_load_multicast(self.a, &at, &stage.a.from_row(part), stage.full, (1 << self.cluster) - 1);
        } else {
            let at = k.ragged(stage.offset, tile.row, tile.group_start, tile.group_rows);
            k.bulk_load(self.a, &at, &stage.a, stage.full);
        }
        let (offset, col, group) = (stage.offset.coordinate(), tile.col.coordinate(), tile.group.coordinate());
        let at = match self.b_major {
            Major::K => [offset, col, group],
            Major::Mn => [col, offset, group],
        };
        k.bulk_load(self.b, &at, &stage.b, stage.full);
    }

    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: [Expr<'k, I32, Cta>; 2]) {
        let at = k.ragged(tile.col + col, tile.row + row, tile.group_start, tile.group_rows);
        k.bulk_store(panel, self.d, &at);
    }
}
