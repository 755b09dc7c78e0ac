//! Ragged reduction: grad_w. The groups divide the reduction, that is the rows of A and B; each has its own D.
//!
//! fp8 tensor cores read A and B along the reduction, from copies whose columns it is. In those a group's columns start at
//! a block of 128, and end in zeros.

use super::super::groups::Groups;
use super::super::operands::Destination;
use super::super::parameters::{Extents, Parameters};
use super::super::scales::{ScaleParameters, first_block};
use super::super::walk::{GroupsDivide, Tile, Tiling, Walk};
use super::by_copy_engine::{ByCopyEngine, Mapped, Maps, PlaceOfD};
use super::by_threads::{Addressed, ByThreads};
use super::output::{At, MappedOutput, Output};
use super::output_by_threads::{AddressedOutput, PanelsByThreads, SumsByThreads};
use super::roles::{Family, Loads, Roles, Stage, Writes};
use super::share::Share;
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Cta, Expr, GlobalBlock, Grid, I32, KernelBuilder, Map, Slot};
use crate::dtype::Dtype;
use crate::ir::{ParamRole, TensorMap};
use crate::scaling::SCALE_BLOCK;
use crate::spec::{CopyPath, KernelSpec, Major, Ragged};

/// Parameters of the family; `T` says where operands are.
struct RaggedReduction<'k, T> {
    tensors: T,
    groups: Groups<'k>,
    accumulate: Option<Expr<'k, Bool, Grid>>,
    scales: Option<ScaleParameters<'k>>,
    /// Rows of a group, on average.
    rows_of_each: Expr<'k, I32, Grid>,
    walk: Walk<'k>,
    /// How both operands lie.
    major: Major,
}

/// d[g][i, j] = Σᵣ a[r, i] · b[r, j] over the rows r of each group g.
pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.copy {
        CopyPath::Plain => {
            let parameters = Parameters::declare(k, s);
            write_with::<_, ByThreads, SumsByThreads>(k, s, parameters, parameters.extents);
        }
        CopyPath::Tma | CopyPath::CpAsync if s.d_by_threads => {
            let maps = declare_maps(k, s, |k| k.output("d", s.output, ParamRole::D));
            let d = Destination::declare(k, s, maps.d);
            let Maps { a, b, a_share, b_share, .. } = maps;
            write_with::<_, ByCopyEngine, PanelsByThreads>(k, s, Maps { a, b, d, a_share, b_share }, d.extents);
        }
        CopyPath::Tma | CopyPath::CpAsync => {
            let d_cols = 128 / s.output.size_bytes();
            let d = TensorMap::matrix(s.output, WGMMA_M, d_cols, true);
            let maps = declare_maps(k, s, |k| k.tensor_map("d", d, ParamRole::D));
            let extents = Extents::declare(k);
            write_with::<_, ByCopyEngine, Output>(k, s, maps, extents);
        }
    }
}

fn write_with<'k, T, L, W>(k: &mut KernelBuilder<'k>, s: &KernelSpec, tensors: T, extents: Extents<'k>)
where
    RaggedReduction<'k, T>: Family<'k>,
    L: Loads<'k, RaggedReduction<'k, T>>,
    W: Writes<'k, RaggedReduction<'k, T>>,
{
    let merge = k.flag("merge_groups", ParamRole::MergeGroups);
    let accumulate = (s.output == Dtype::F32).then(|| k.flag("accumulate", ParamRole::Accumulate));
    let scales = ScaleParameters::declare(k, s, extents);
    let roles = Roles::<L, W>::declare(k, s);
    let row_tiles = k.let_("row_tiles_of_each", extents.rows.ceil_div(s.tile.m * s.cluster.m));
    let walk = Walk {
        token_rows: extents.reduction,
        tiling: Tiling::of(s),
        col_tiles: k.let_("col_tiles", extents.cols.ceil_div(s.tile.n * s.cluster.n)),
        // A group without rows still has a D of zeros, but adds nothing to one.
        groups_divide: GroupsDivide::Reduction { row_tiles, skip_empty: accumulate, merge },
    };
    let (groups, major) = (extents.groups, s.a_major);
    let rows_of_each = merge.select(extents.reduction, extents.reduction / groups.count.max(1));
    roles.write(k, &RaggedReduction { tensors, groups, accumulate, scales, rows_of_each, walk, major });
}

fn declare_maps<'k, D>(
    k: &mut KernelBuilder<'k>,
    s: &KernelSpec,
    d: impl FnOnce(&mut KernelBuilder<'k>) -> D,
) -> Maps<D> {
    let panel = 128 / s.operand.size_bytes();
    let (a_rows, b_rows) = match s.a_major {
        Major::K => (s.tile.m, s.tile.n),
        Major::Mn => (s.tile.k, s.tile.k),
    };
    let (a_share, b_share) = (Share::of(a_rows, s.cluster.n), Share::of(b_rows, s.cluster.m));
    let of_operand = |dtype, rows| match s.a_major {
        Major::K => TensorMap::matrix(dtype, rows, s.tile.k, false),
        Major::Mn => TensorMap::ragged(dtype, rows, panel),
    };
    Maps {
        a: k.tensor_map("a", of_operand(s.operand, a_share.rows), ParamRole::A),
        b: k.tensor_map("b", of_operand(s.b_operand, b_share.rows), ParamRole::B),
        d: d(k),
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

    fn usual_reduction(&self) -> Expr<'k, I32, Grid> {
        self.rows_of_each
    }

    fn scales(&self) -> Option<ScaleParameters<'k>> {
        self.scales
    }
}

impl<'k, D: PlaceOfD> Mapped<'k> for RaggedReduction<'k, Maps<D>> {
    fn maps(&self) -> Vec<Map> {
        self.tensors.all()
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let Maps { a, b, a_share, b_share, .. } = &self.tensors;
        let (start, rows) = (tile.group_start, tile.group_rows);
        let operands = [(a_share, *a, &stage.a, tile.row), (b_share, *b, &stage.b, tile.col)];
        for (share, map, slot, side) in operands {
            match self.major {
                Major::K => share.load(k, (map, slot), stage, |_, part| {
                    let col = first_block(tile) * SCALE_BLOCK as i32 + stage.offset;
                    [col.coordinate(), (side + part).coordinate()]
                }),
                Major::Mn => {
                    share.load(k, (map, slot), stage, |k, part| k.ragged(side, stage.offset + part, start, rows));
                }
            }
        }
    }
}

impl<'k> MappedOutput<'k> for RaggedReduction<'k, Maps<Map>> {
    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, [row, col]: At<'k>) {
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
}

impl<'k> AddressedOutput<'k> for RaggedReduction<'k, Parameters<'k>> {
    fn d(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k> {
        self.tensors.destination(Ragged::Reduction).of(k, tile)
    }

    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>> {
        self.accumulate
    }
}

impl<'k> AddressedOutput<'k> for RaggedReduction<'k, Maps<Destination<'k>>> {
    fn d(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k> {
        self.tensors.d.of(k, tile)
    }

    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>> {
        self.accumulate
    }
}
