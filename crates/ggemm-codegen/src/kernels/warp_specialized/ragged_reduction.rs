//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.

use super::super::groups::Groups;
use super::super::walk::{GroupsDivide, Tile, Walk};
use super::addresses::Addresses;
use super::by_copy_engine::{ByCopyEngine, Mapped, Maps};
use super::by_threads::{Addressed, ByThreads};
use super::roles::{Family, Roles, Stage, Transport};
use super::share::Share;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Cta, Expr, GlobalBlock, Grid, I32, I64, KernelBuilder, Map, Slot};
use crate::dtype::Dtype;
use crate::ir::{ParamRole, TensorMap};
use crate::spec::{CopyPath, KernelSpec};

/// Parameters of the family; `T` says where operands are.
struct RaggedReduction<'k, T> {
    tensors: T,
    groups: Groups<'k>,
    rows: Expr<'k, I32, Grid>,
    cols: Expr<'k, I32, Grid>,
    accumulate: Option<Expr<'k, Bool, Grid>>,
    walk: Walk<'k>,
}

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.copy {
        CopyPath::Plain => {
            let addresses = Addresses::declare(k, s);
            write_with::<_, ByThreads>(k, s, addresses);
        }
        CopyPath::Tma | CopyPath::CpAsync => {
            let maps = declare_maps(k, s);
            write_with::<_, ByCopyEngine>(k, s, maps);
        }
    }
}

fn write_with<'k, T, M>(k: &mut KernelBuilder<'k>, s: &KernelSpec, tensors: T)
where
    RaggedReduction<'k, T>: Family<'k>,
    M: Transport<'k, RaggedReduction<'k, T>>,
{
    let groups = Groups::declare(k);
    let rows = k.count("rows", ParamRole::Rows);
    let cols = k.count("cols", ParamRole::Cols);
    let token_rows = k.count("reduction", ParamRole::Reduction);
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let roles = Roles::<M>::declare(k, s);
    let row_tiles = k.let_("row_tiles_of_each", rows.ceil_div(s.tile.m * s.cluster.m));
    let walk = Walk {
        token_rows,
        spec: *s,
        col_tiles: k.let_("col_tiles", cols.ceil_div(s.tile.n * s.cluster.n)),
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    roles.write(k, &RaggedReduction { tensors, groups, rows, cols, accumulate, walk });
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

impl<'k> RaggedReduction<'k, Addresses<'k>> {
    /// How many rows and columns of D a tile still has.
    fn left(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> [Expr<'k, I32, Cta>; 2] {
        [k.let_("rows_left", self.rows - tile.row), k.let_("cols_left", self.cols - tile.col)]
    }
}

impl<'k> Addressed<'k> for RaggedReduction<'k, Addresses<'k>> {
    fn operands(
        &self,
        k: &mut KernelBuilder<'k>,
        tile: &Tile<'k>,
        offset: Expr<'k, I32, Cta>,
        left: Expr<'k, I32, Cta>,
    ) -> [GlobalBlock<'k>; 2] {
        let t = self.tensors;
        let first_token = k.let_("first_token", (tile.group_start + offset).cast::<I64>());
        let [rows_left, cols_left] = self.left(k, tile);
        let sides = [(t.a, t.a_row_stride, tile.row, rows_left), (t.b, t.b_row_stride, tile.col, cols_left)];
        sides.map(|(pointer, row_stride, first, cols)| GlobalBlock {
            pointer,
            origin: first_token * row_stride + first.cast::<I64>(),
            row_stride,
            rows: Some(left),
            cols: Some(cols),
        })
    }

    fn result(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> (GlobalBlock<'k>, Option<Expr<'k, Bool, Grid>>) {
        let t = self.tensors;
        let [rows_left, cols_left] = self.left(k, tile);
        let within = tile.row.cast::<I64>() * t.d_row_stride + tile.col.cast::<I64>();
        let d = GlobalBlock {
            pointer: t.d,
            origin: tile.group.cast::<I64>() * t.group_stride + within,
            row_stride: t.d_row_stride,
            rows: Some(rows_left),
            cols: Some(cols_left),
        };
        (d, self.accumulate)
    }
}
