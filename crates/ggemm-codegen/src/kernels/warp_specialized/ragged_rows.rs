//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::groups::Groups;
use super::super::walk::{GroupsDivide, Tile, Walk};
use super::addresses::Addresses;
use super::by_copy_engine::{ByCopyEngine, Mapped, Maps};
use super::by_threads::{Addressed, ByThreads};
use super::roles::{Family, Roles, Stage, Transport};
use super::share::Share;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Cta, Expr, GlobalBlock, Grid, I32, I64, KernelBuilder, Map, Slot};
use crate::ir::{ParamRole, TensorMap};
use crate::spec::{CopyPath, KernelSpec, Major};

/// Parameters of the family; `T` says where operands are.
struct RaggedRows<'k, T> {
    tensors: T,
    groups: Groups<'k>,
    cols: Expr<'k, I32, Grid>,
    reduction: Expr<'k, I32, Grid>,
    walk: Walk<'k>,
    b_major: Major,
}

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
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
    RaggedRows<'k, T>: Family<'k>,
    M: Transport<'k, RaggedRows<'k, T>>,
{
    let groups = Groups::declare(k);
    let rows = k.count("rows", ParamRole::Rows);
    let cols = k.count("cols", ParamRole::Cols);
    let reduction = k.count("reduction", ParamRole::Reduction);
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let roles = Roles::<M>::declare(k, s);
    let walk = Walk {
        token_rows: rows,
        spec: *s,
        col_tiles: k.let_("col_tiles", cols.ceil_div(s.tile.n * s.cluster.n)),
        groups_divide: GroupsDivide::Rows { visit_tail: zero_tail },
    };
    roles.write(k, &RaggedRows { tensors, groups, cols, reduction, walk, b_major: s.b_major });
}

fn declare_maps(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Maps {
    let panel = 128 / s.operand.size_bytes();
    let a_share = Share::of(s.tile.m, s.cluster.n);
    let (b_rows, b_cols) = match s.b_major {
        Major::K => (s.tile.n, s.tile.k),
        Major::Mn => (s.tile.k, panel),
    };
    let b_share = Share::of(b_rows, s.cluster.m);
    let d_cols = 128 / s.output.size_bytes();
    Maps {
        a: k.tensor_map("a", TensorMap::ragged(s.operand, a_share.rows, s.tile.k), ParamRole::A),
        b: k.tensor_map("b", TensorMap::matrix(s.operand, b_share.rows, b_cols, true), ParamRole::B),
        d: k.tensor_map("d", TensorMap::ragged(s.output, WGMMA_M, d_cols), ParamRole::D),
        a_share,
        b_share,
    }
}

impl<'k, T> Family<'k> for RaggedRows<'k, T> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.groups)
    }

    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = tile.group.equals(self.groups.count).select::<I32, _, _, _>(0, self.reduction);
        k.let_("reduction_of_tile", reduction)
    }
}

impl<'k> Mapped<'k> for RaggedRows<'k, Maps> {
    fn maps(&self) -> [Map; 3] {
        self.tensors.all()
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let Maps { a, b, a_share, b_share, .. } = &self.tensors;
        a_share.load(k, (*a, &stage.a), stage, |k, part| {
            k.ragged(stage.offset, tile.row + part, tile.group_start, tile.group_rows)
        });
        b_share.load(k, (*b, &stage.b), stage, |_, part| match self.b_major {
            Major::K => [stage.offset.coordinate(), (tile.col + part).coordinate(), tile.group.coordinate()],
            Major::Mn => [tile.col.coordinate(), (stage.offset + part).coordinate(), tile.group.coordinate()],
        });
    }

    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: [Expr<'k, I32, Cta>; 2]) {
        let at = k.ragged(tile.col + col, tile.row + row, tile.group_start, tile.group_rows);
        k.bulk_store(panel, self.tensors.d, &at);
    }
}

impl<'k> RaggedRows<'k, Addresses<'k>> {
    /// The row of A and D that is a tile's first, and how many rows and columns of D the tile still has.
    fn place(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> (Expr<'k, I64, Cta>, [Expr<'k, I32, Cta>; 2]) {
        let first_row = k.let_("first_row", (tile.group_start + tile.row).cast::<I64>());
        let rows_left = k.let_("rows_left", tile.group_rows - tile.row);
        (first_row, [rows_left, k.let_("cols_left", self.cols - tile.col)])
    }
}

impl<'k> Addressed<'k> for RaggedRows<'k, Addresses<'k>> {
    fn operands(
        &self,
        k: &mut KernelBuilder<'k>,
        tile: &Tile<'k>,
        offset: Expr<'k, I32, Cta>,
        left: Expr<'k, I32, Cta>,
    ) -> [GlobalBlock<'k>; 2] {
        let t = self.tensors;
        let (first_row, [rows_left, cols_left]) = self.place(k, tile);
        let (col, offset) = (tile.col.cast::<I64>(), offset.cast::<I64>());
        let a = GlobalBlock {
            pointer: t.a,
            origin: first_row * t.a_row_stride + offset,
            row_stride: t.a_row_stride,
            rows: Some(rows_left),
            cols: Some(left),
        };
        let group = tile.group.cast::<I64>() * t.group_stride;
        let (within, rows, cols) = match self.b_major {
            Major::K => (col * t.b_row_stride + offset, cols_left, left),
            Major::Mn => (offset * t.b_row_stride + col, left, cols_left),
        };
        let b = GlobalBlock {
            pointer: t.b,
            origin: group + within,
            row_stride: t.b_row_stride,
            rows: Some(rows),
            cols: Some(cols),
        };
        [a, b]
    }

    fn result(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> (GlobalBlock<'k>, Option<Expr<'k, Bool, Grid>>) {
        let t = self.tensors;
        let (first_row, [rows_left, cols_left]) = self.place(k, tile);
        let d = GlobalBlock {
            pointer: t.d,
            origin: first_row * t.d_row_stride + tile.col.cast::<I64>(),
            row_stride: t.d_row_stride,
            rows: Some(rows_left),
            cols: Some(cols_left),
        };
        (d, None)
    }
}
