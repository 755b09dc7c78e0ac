//! Ragged rows: forward and grad_x. The groups divide the rows of A and D; each has its own B.

use super::super::groups::Groups;
use super::super::operands::Destination;
use super::super::parameters::{Extents, Parameters};
use super::super::scales::ScaleParameters;
use super::super::walk::{GroupsDivide, Tile, Tiling, Walk};
use super::by_copy_engine::{ByCopyEngine, Mapped, Maps, PlaceOfD};
use super::by_threads::{Addressed, ByThreads};
use super::output::{At, MapOfD, MappedOutput, Output};
use super::output_by_threads::{AddressedOutput, PanelsByThreads, SumsByThreads};
use super::roles::{Family, Loads, Roles, Stage, Writes};
use super::share::Share;
use super::swapped_rows::SwappedMaps;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Coordinate, Cta, Expr, GlobalBlock, Grid, I32, KernelBuilder, Map, Slot};
use crate::ir::{ParamRole, TensorMap};
use crate::spec::{CopyPath, KernelSpec, Major, Ragged};

/// Parameters of the family; `T` says where operands are.
pub(super) struct RaggedRows<'k, T> {
    pub(super) tensors: T,
    extents: Extents<'k>,
    scales: Option<ScaleParameters<'k>>,
    walk: Walk<'k>,
    pub(super) b_major: Major,
}

/// d[r, j] = Σₖ a[r, k] · b[g][j, k] for the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.copy {
        CopyPath::Plain => {
            let parameters = Parameters::declare(k, s);
            write_with::<_, ByThreads, SumsByThreads>(k, s, parameters, parameters.extents);
        }
        CopyPath::Tma | CopyPath::CpAsync if s.swapped => {
            let maps = SwappedMaps::declare(k, s);
            let extents = Extents::declare(k);
            write_with::<_, ByCopyEngine, Output>(k, s, maps, extents);
        }
        CopyPath::Tma | CopyPath::CpAsync if s.d_by_threads => {
            let maps = declare_maps(k, s, |k| k.output("d", s.output, ParamRole::D));
            let d = Destination::declare(k, s, maps.d);
            let Maps { a, b, a_share, b_share, .. } = maps;
            write_with::<_, ByCopyEngine, PanelsByThreads>(k, s, Maps { a, b, d, a_share, b_share }, d.extents);
        }
        CopyPath::Tma | CopyPath::CpAsync => {
            let d_cols = 128 / s.output.size_bytes();
            let d = TensorMap::ragged(s.output, WGMMA_M, d_cols);
            let maps = declare_maps(k, s, |k| k.tensor_map("d", d, ParamRole::D));
            let extents = Extents::declare(k);
            write_with::<_, ByCopyEngine, Output>(k, s, maps, extents);
        }
    }
}

fn write_with<'k, T, L, W>(k: &mut KernelBuilder<'k>, s: &KernelSpec, tensors: T, extents: Extents<'k>)
where
    RaggedRows<'k, T>: Family<'k>,
    L: Loads<'k, RaggedRows<'k, T>>,
    W: Writes<'k, RaggedRows<'k, T>>,
{
    let zero_tail = k.flag("zero_tail", ParamRole::ZeroTail);
    let scales = ScaleParameters::declare(k, s, extents);
    let roles = Roles::<L, W>::declare(k, s);
    let walk = Walk {
        token_rows: extents.rows,
        tiling: Tiling::of(s),
        col_tiles: k.let_("col_tiles", extents.cols.ceil_div(s.tile.n * s.cluster.n)),
        groups_divide: GroupsDivide::Rows { visit_tail: Some(zero_tail), merge: None },
    };
    roles.write(k, &RaggedRows { tensors, extents, scales, walk, b_major: s.b_major });
}

/// Rows and columns of the box of a stage's weights, or of a panel of them.
pub(super) fn weights_box(s: &KernelSpec) -> (u32, u32) {
    match s.b_major {
        Major::K => (s.tile.n, s.tile.k),
        Major::Mn => (s.tile.k, 128 / s.operand.size_bytes()),
    }
}

/// Where a stage's weights are, from a row of their tile in shared memory on.
pub(super) fn weights_at<'k>(
    major: Major,
    tile: &Tile<'k>,
    stage: &Stage<'k>,
    row: Expr<'k, I32, Cta>,
) -> [Coordinate; 3] {
    match major {
        Major::K => [stage.offset.coordinate(), (tile.col + row).coordinate(), tile.group.coordinate()],
        Major::Mn => [tile.col.coordinate(), (stage.offset + row).coordinate(), tile.group.coordinate()],
    }
}

fn declare_maps<'k, D>(
    k: &mut KernelBuilder<'k>,
    s: &KernelSpec,
    d: impl FnOnce(&mut KernelBuilder<'k>) -> D,
) -> Maps<D> {
    let a_share = Share::of(s.tile.m, s.cluster.n);
    let (b_rows, b_cols) = weights_box(s);
    let b_share = Share::of(b_rows, s.cluster.m);
    Maps {
        a: k.tensor_map("a", TensorMap::ragged(s.operand, a_share.rows, s.tile.k), ParamRole::A),
        b: k.tensor_map("b", TensorMap::matrix(s.b_operand, b_share.rows, b_cols, true), ParamRole::B),
        d: d(k),
        a_share,
        b_share,
    }
}

impl<'k, T> Family<'k> for RaggedRows<'k, T> {
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>) {
        (&self.walk, &self.extents.groups)
    }

    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta> {
        k.comment("The tail has no weight: its rows are sums of nothing.");
        let reduction = tile.group.equals(self.extents.groups.count).select::<I32, _, _, _>(0, self.extents.reduction);
        k.let_("reduction_of_tile", reduction)
    }

    fn usual_reduction(&self) -> Expr<'k, I32, Grid> {
        self.extents.reduction
    }

    fn scales(&self) -> Option<ScaleParameters<'k>> {
        self.scales
    }
}

impl<'k, D: PlaceOfD> Mapped<'k> for RaggedRows<'k, Maps<D>> {
    fn maps(&self) -> Vec<Map> {
        self.tensors.all()
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let Maps { a, b, a_share, b_share, .. } = &self.tensors;
        a_share.load(k, (*a, &stage.a), stage, |k, part| {
            k.ragged(stage.offset, tile.row + part, tile.group_start, tile.group_rows)
        });
        b_share.load(k, (*b, &stage.b), stage, |_, part| weights_at(self.b_major, tile, stage, part));
    }
}

impl MapOfD for Maps<Map> {
    fn d(&self) -> Map {
        self.d
    }
}

impl<'k, T: MapOfD> MappedOutput<'k> for RaggedRows<'k, T> {
    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: At<'k>) {
        let at = k.ragged(tile.col + col, tile.row + row, tile.group_start, tile.group_rows);
        k.bulk_store(panel, self.tensors.d(), &at);
    }
}

impl<'k> Addressed<'k> for RaggedRows<'k, Parameters<'k>> {
    fn parameters(&self) -> &Parameters<'k> {
        &self.tensors
    }
}

impl<'k> AddressedOutput<'k> for RaggedRows<'k, Parameters<'k>> {
    fn d(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k> {
        self.tensors.destination(Ragged::Rows).of(k, tile)
    }

    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>> {
        None
    }
}

impl<'k> AddressedOutput<'k> for RaggedRows<'k, Maps<Destination<'k>>> {
    fn d(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k> {
        self.tensors.d.of(k, tile)
    }

    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>> {
        None
    }
}
