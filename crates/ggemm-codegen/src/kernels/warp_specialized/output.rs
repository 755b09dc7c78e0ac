//! The way of a warpgroup's sums to D: a panel at a time through shared memory, and from there by the copy engine,
//! which goes on while the warpgroup is at its next panel or tile.

use super::super::scales::{ScaleRegisters, TileScales};
use super::super::walk::Tile;
use super::roles::{Family, Place, Writes};
use crate::descriptor::WGMMA_M;
use crate::dsl::{Cta, Expr, I32, KernelBuilder, Map, SharedTiles, Slot, Warpgroup, WarpgroupSums};
use crate::geometry;
use crate::spec::KernelSpec;

/// A row and a column of a tile.
pub(super) type At<'k> = [Expr<'k, I32, Warpgroup>; 2];

/// What a family says of its tiles where the copy engine writes them.
pub(super) trait MappedOutput<'k>: Family<'k> {
    /// Starts the store of a panel of D, whose first row and column in the tile are these.
    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, at: At<'k>);
}

/// Operands of a family whose D is a tensor map.
pub(super) trait MapOfD {
    /// The map.
    fn d(&self) -> Map;
}

/// The buffers of all warpgroups.
pub(super) struct Output {
    panels: SharedTiles,
    buffers: u32,
    /// The scales of a panel, where they are those of whole rows of the operands.
    scales: Option<ScaleRegisters>,
}

impl<'k, F: MappedOutput<'k>> Writes<'k, F> for Output {
    fn declare(k: &mut KernelBuilder<'k>, s: &KernelSpec) -> Self {
        let buffers = geometry::output_buffers(s);
        let slots = buffers * geometry::consumers(s);
        let panel = geometry::output_panel(s);
        let of_panel =
            geometry::warpgroup_map(geometry::warpgroup_blocks(s), panel.shape().1, geometry::sharing_warpgroups(s));
        let scales = ScaleRegisters::of_rows(k, s, &of_panel);
        Output { panels: k.bulk_tiles("d_panels", s.output, &panel, slots), buffers, scales }
    }

    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        spec: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        sums: (WarpgroupSums, Option<&TileScales<'k>>),
        place: Place<'k>,
    ) {
        let store = |k: &mut KernelBuilder<'k>, panel: &Slot, at| family.store(k, tile, panel, at);
        match spec.swapped {
            false => self.write(k, spec, sums, place, store),
            true => self.write_transposed(k, spec, sums.0, place, tile.group_rows - tile.row, store),
        }
    }

    /// Nothing may end while its panels are still read.
    fn finish(&self, k: &mut KernelBuilder<'k>) {
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        k.when(leader, |k| k.elect(|k| k.await_store_reads(0)));
    }
}

impl Output {
    /// The buffer of the warpgroup's `n`-th panel.
    fn buffer(&self, place: Place<'_>, n: u32) -> Slot {
        self.panels.own(place.index * self.buffers + n % self.buffers)
    }

    /// Writes out what the warpgroup at this place has of the tile.
    /// `store` starts the copy of 64 rows of a panel, whose first row and column in the tile it is told.
    fn write<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (sums, scales): (WarpgroupSums, Option<&TileScales<'k>>),
        place: Place<'k>,
        store: impl Fn(&mut KernelBuilder<'k>, &Slot, At<'k>),
    ) {
        let width = self.panels.layout().shape().1;
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        let blocks = geometry::warpgroup_blocks(s);
        let scales = self.scales.zip(scales);
        if let Some((registers, scales)) = scales {
            registers.load_rows(k, scales, None);
        }
        for (n, (panel, block)) in (0..s.tile.n / width).flat_map(|p| (0..blocks).map(move |b| (p, b))).enumerate() {
            let row = place.first + WGMMA_M * block;
            let buffer = self.buffer(place, n as u32);
            if let (0, Some((registers, scales))) = (block, scales) {
                registers.load_cols(k, scales, panel * width, None);
            }
            k.comment("The buffer is free once its last store has read it.");
            k.when(leader, |k| k.elect(|k| k.await_store_reads(self.buffers - 1)));
            k.meet(place.barrier(), geometry::THREADS_OF_WARPGROUP);
            let scales = scales.map(|(registers, _)| registers.both());
            k.store_block(sums, &buffer, (row, block), panel * width, scales);
            k.fence_proxy();
            k.meet(place.barrier(), geometry::THREADS_OF_WARPGROUP);
            k.when(leader, |k| {
                k.elect(|k| {
                    let col = k.int((panel * width) as i32).within();
                    store(k, &buffer, [row, col]);
                    k.commit_stores();
                });
            });
        }
    }

    /// The same where operands are swapped: from a column of the tile on, of which so many `rows` exist.
    ///
    /// Panels without rows are passed over. Each still ends a group of stores, so that groups stay in step with buffers.
    fn write_transposed<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        sums: WarpgroupSums,
        place: Place<'k>,
        rows: Expr<'k, I32, Cta>,
        store: impl Fn(&mut KernelBuilder<'k>, &Slot, At<'k>),
    ) {
        let height = self.panels.layout().shape().0;
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        let blocks = geometry::warpgroup_blocks(s);
        let rows = k.let_("rows_of_tile", rows);
        let panels = (0..s.tile.m / height).flat_map(|p| (0..blocks).map(move |b| (p * height, b)));
        for (n, (row, block)) in panels.enumerate() {
            let (col, buffer) = (place.first + WGMMA_M * block, self.buffer(place, n as u32));
            let write = |k: &mut KernelBuilder<'k>| {
                k.comment("The buffer is free once its last store has read it.");
                k.when(leader, |k| k.elect(|k| k.await_store_reads(self.buffers - 1)));
                k.meet(place.barrier(), geometry::THREADS_OF_WARPGROUP);
                k.store_block_transposed(sums, &buffer, (col, block), row);
                k.fence_proxy();
                k.meet(place.barrier(), geometry::THREADS_OF_WARPGROUP);
                k.when(leader, |k| {
                    k.elect(|k| {
                        let row = k.int(row as i32).within();
                        store(k, &buffer, [row, col]);
                        k.commit_stores();
                    });
                });
            };
            if row == 0 {
                write(k);
            } else {
                let has_rows = k.int(row as i32).lt(rows);
                k.when_else(has_rows, write, |k| k.when(leader, |k| k.elect(|k| k.commit_stores())));
            }
        }
    }
}
