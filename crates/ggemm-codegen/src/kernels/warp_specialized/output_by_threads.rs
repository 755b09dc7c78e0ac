//! The way of a warpgroup's sums to a D whose rows start anywhere, which threads address.

use super::super::scales::TileScales;
use super::super::walk::Tile;
use super::roles::{Family, Place, Writes};
use crate::descriptor::WGMMA_M;
use crate::dsl::{Bool, Expr, GlobalBlock, Grid, KernelBuilder, SharedTiles, WarpgroupSums};
use crate::geometry;
use crate::spec::KernelSpec;

/// What a family says of its tiles where threads write them.
pub(super) trait AddressedOutput<'k>: Family<'k> {
    /// A tile's part of D.
    fn d(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> GlobalBlock<'k>;

    /// Whether D is added to.
    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>>;
}

/// Each thread writes its own sums, one at a time. It takes no shared memory.
pub(super) struct SumsByThreads;

impl<'k, F: AddressedOutput<'k>> Writes<'k, F> for SumsByThreads {
    fn declare(_k: &mut KernelBuilder<'k>, _s: &KernelSpec) -> Self {
        SumsByThreads
    }

    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        _s: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        // fp8 operands leave by the copy engine alone.
        (sums, _): (WarpgroupSums, Option<&TileScales<'k>>),
        _place: Place<'k>,
    ) {
        let d = family.d(k, tile);
        k.store_sums(sums, &d, family.accumulate());
    }
}

/// Warps write whole rows of a panel, which the sums were written to before: 128 bytes of a row together. A warp reads what
/// it wrote itself, so that no other need wait.
pub(super) struct PanelsByThreads {
    /// One for each warpgroup.
    panels: SharedTiles,
}

impl<'k, F: AddressedOutput<'k>> Writes<'k, F> for PanelsByThreads {
    fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec) -> Self {
        let panel = geometry::output_panel(s);
        PanelsByThreads { panels: k.bulk_tiles("d_panels", s.output, &panel, geometry::consumers(s)) }
    }

    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        (sums, _): (WarpgroupSums, Option<&TileScales<'k>>),
        place: Place<'k>,
    ) {
        let width = self.panels.layout().shape().1;
        let d = family.d(k, tile);
        let panel = self.panels.own(place.index);
        for (col, block) in (0..s.tile.n)
            .step_by(width as usize)
            .flat_map(|c| (0..geometry::warpgroup_blocks(s)).map(move |block| (c, block)))
        {
            let row = place.first + WGMMA_M * block;
            k.store_block(sums, &panel, (row, block), col, None);
            k.warp_sync();
            k.store_panel(&panel, (&d, row, col), family.accumulate());
            k.comment("The next panel's sums come where these are read.");
            k.warp_sync();
        }
    }
}
