//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::groups::Groups;
use super::super::walk::{GroupsDivide, Tile, Walk};
use super::roles::{Family, Roles, Stage};
use super::share::Share;
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
    a_share: Share,
    b_share: Share,
}

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    let panel = 128 / s.operand.size_bytes();
    let a_share = Share::of(s.tile.m, s.cluster.n);
    let (b_rows, b_cols) = match s.b_major {
        Major::K => (s.tile.n, s.tile.k),
        Major::Mn => (s.tile.k, panel),
    };
    let b_share = Share::of(b_rows, s.cluster.m);
    let d_cols = 128 / s.output.size_bytes();
    let a = k.tensor_map("a", TensorMap::ragged(s.operand, a_share.rows, s.tile.k), ParamRole::A);
    let b = k.tensor_map("b", TensorMap::matrix(s.operand, b_share.rows, b_cols, true), ParamRole::B);
    let d = k.tensor_map("d", TensorMap::ragged(s.output, WGMMA_M, d_cols), ParamRole::D);
    let groups = Groups::declare(k);
    let rows = k.count("rows", ParamRole::Rows);
    let cols = k.count("cols", ParamRole::Cols);
    let reduction = k.count("reduction", ParamRole::Reduction);
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let roles = Roles::declare(k, s);
    let walk = Walk {
        token_rows: rows,
        spec: *s,
        col_tiles: k.let_("col_tiles", cols.ceil_div(s.tile.n * s.cluster.n)),
        groups_divide: GroupsDivide::Rows { visit_tail: zero_tail },
    };
    roles.write(k, &RaggedRows { a, b, d, groups, reduction, walk, b_major: s.b_major, a_share, b_share });
}

impl<'k> Family<'k> for RaggedRows<'k> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.groups)
    }

    fn maps(&self) -> [Map; 3] {
        [self.a, self.b, self.d]
    }

    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = tile.group.equals(self.groups.count).select::<I32, _, _, _>(0, self.reduction);
        k.let_("reduction_of_tile", reduction)
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        self.a_share.load(k, (self.a, &stage.a), stage, |k, part| {
            k.ragged(stage.offset, tile.row + part, tile.group_start, tile.group_rows)
        });
        self.b_share.load(k, (self.b, &stage.b), stage, |_, part| match self.b_major {
            Major::K => [stage.offset.coordinate(), (tile.col + part).coordinate(), tile.group.coordinate()],
            Major::Mn => [tile.col.coordinate(), (stage.offset + part).coordinate(), tile.group.coordinate()],
        });
    }

    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: [Expr<'k, I32, Cta>; 2]) {
        let at = k.ragged(tile.col + col, tile.row + row, tile.group_start, tile.group_rows);
        k.bulk_store(panel, self.d, &at);
    }
}
