//! The way of a warpgroup's sums to D: a panel at a time through shared memory, and from there by the copy engine,
//! which goes on while the warpgroup is at its next panel or tile.

use super::scales::{ScaleRegisters, TileScales};
use crate::descriptor::WGMMA_M;
use crate::dsl::{Cta, Expr, I32, KernelBuilder, SharedTiles, Slot, WarpgroupSums};
use crate::geometry;
use crate::scaling::Scaling;
use crate::spec::KernelSpec;

/// Named barrier of the first warpgroup that writes; the others' follow.
const FIRST_BARRIER: i32 = 1;

/// The buffers of all warpgroups.
pub(super) struct Output {
    panels: SharedTiles,
    buffers: u32,
    /// The scales of a panel, where they are those of whole rows of the operands.
    scales: Option<ScaleRegisters>,
}

impl Output {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        let buffers = geometry::output_buffers(s);
        let slots = buffers * geometry::consumers(s);
        let panel = geometry::output_panel(s);
        let cols = panel.shape().1;
        let scales = (s.scaling == Scaling::Row).then(|| ScaleRegisters::declare(k, s, cols, false));
        Output { panels: k.bulk_tiles("d_panels", s.output, &panel, slots), buffers, scales }
    }

    /// Writes out what the warpgroup with this index has of the tile, from `row` on.
    /// `store` starts the copy of 64 rows of a panel, whose first row and column in the tile it is told.
    pub(super) fn write<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (sums, scales): (WarpgroupSums, Option<&TileScales<'k>>),
        (warpgroup, row): (u32, u32),
        store: impl Fn(&mut KernelBuilder<'k>, &Slot, [Expr<'k, I32, Cta>; 2]),
    ) {
        let width = self.panels.layout().shape().1;
        let barrier = FIRST_BARRIER + warpgroup as i32;
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        let blocks = geometry::warpgroup_blocks(s);
        let scales = self.scales.zip(scales);
        if let Some((registers, scales)) = scales {
            registers.load_rows(k, scales);
        }
        for (n, (panel, block)) in (0..s.tile.n / width).flat_map(|p| (0..blocks).map(move |b| (p, b))).enumerate() {
            let index = k.int((warpgroup * self.buffers + n as u32 % self.buffers) as i32);
            let row = row + WGMMA_M * block;
            let buffer = self.panels.slot(index);
            if let (0, Some((registers, scales))) = (block, scales) {
                registers.load_cols(k, scales, panel * width);
            }
            k.comment("The buffer is free once its last store has read it.");
            k.when(leader, |k| k.elect(|k| k.await_store_reads(self.buffers - 1)));
            k.meet(barrier, geometry::THREADS_OF_WARPGROUP);
            let scales = scales.map(|(registers, _)| registers.both());
            k.store_block(sums, &buffer, (row as i32, block), panel * width, scales);
            k.fence_proxy();
            k.meet(barrier, geometry::THREADS_OF_WARPGROUP);
            k.when(leader, |k| {
                k.elect(|k| {
                    let [row, col] = [row, panel * width].map(|v| k.int(v as i32).within::<Cta>());
                    store(k, &buffer, [row, col]);
                    k.commit_stores();
                });
            });
        }
    }

    /// The same where operands are swapped: from a column of the tile on, of which so many `rows` exist.
    ///
    /// Panels without rows are passed over. Each still ends a group of stores, so that groups stay in step with buffers.
    pub(super) fn write_transposed<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        sums: WarpgroupSums,
        (warpgroup, col): (u32, u32),
        rows: Expr<'k, I32, Cta>,
        store: impl Fn(&mut KernelBuilder<'k>, &Slot, [Expr<'k, I32, Cta>; 2]),
    ) {
        let height = self.panels.layout().shape().0;
        let barrier = FIRST_BARRIER + warpgroup as i32;
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        let blocks = geometry::warpgroup_blocks(s);
        let rows = k.let_("rows_of_tile", rows);
        let panels = (0..s.tile.m / height).flat_map(|p| (0..blocks).map(move |b| (p * height, b)));
        for (n, (row, block)) in panels.enumerate() {
            let index = k.int((warpgroup * self.buffers + n as u32 % self.buffers) as i32);
            let (col, buffer) = (col + WGMMA_M * block, self.panels.slot(index));
            let write = |k: &mut KernelBuilder<'k>| {
                k.comment("The buffer is free once its last store has read it.");
                k.when(leader, |k| k.elect(|k| k.await_store_reads(self.buffers - 1)));
                k.meet(barrier, geometry::THREADS_OF_WARPGROUP);
                k.store_block_transposed(sums, &buffer, (col as i32, block), row);
                k.fence_proxy();
                k.meet(barrier, geometry::THREADS_OF_WARPGROUP);
                k.when(leader, |k| {
                    k.elect(|k| {
                        let at = [row, col].map(|v| k.int(v as i32).within::<Cta>());
                        store(k, &buffer, at);
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

    /// Nothing may end while its panels are still read.
    pub(super) fn finish(&self, k: &mut KernelBuilder<'_>) {
        let leader = (k.warp() % geometry::WARPS_OF_WARPGROUP).equals(0);
        k.when(leader, |k| k.elect(|k| k.await_store_reads(0)));
    }
}
