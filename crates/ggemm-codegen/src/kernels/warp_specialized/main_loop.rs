//! The main loop of a warpgroup: products of one stage after another, read from shared memory by the tensor cores.

use super::super::scales::ScaleRegisters;
use super::super::walk::Tile;
use super::block_scales::{OfBlock, ScaleReader};
use super::pipeline::Pipeline;
use crate::descriptor::wgmma_k;
use crate::dsl::{Bool, Consumer, Cta, Expr, I32, KernelBuilder, RingSlot, SharedOperand, Slot, WarpgroupSums};
use crate::geometry;
use crate::spec::{Accumulation, KernelSpec, Major, Ragged};

/// The sums of a warpgroup's rows of a tile, or of its columns where operands are swapped.
pub(super) struct MainLoop {
    sums: WarpgroupSums,
    /// Those of one block of the reduction, where they are promoted.
    partial: Option<WarpgroupSums>,
    /// The scales of one block of the reduction, where each has its own.
    scales: Option<ScaleRegisters>,
}

impl MainLoop {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        let (blocks, (_, columns)) = (geometry::warpgroup_blocks(s), geometry::product_sides(s));
        let map = geometry::warpgroup_map(blocks, columns, geometry::sharing_warpgroups(s));
        let promoted = s.accumulation == Accumulation::Promoted;
        let of_block =
            || geometry::warpgroup_map(blocks, geometry::promoted_columns(s), geometry::sharing_warpgroups(s));
        let of_scales = geometry::warpgroup_map(blocks, geometry::scaled_columns(s), geometry::sharing_warpgroups(s));
        MainLoop {
            sums: k.warpgroup_sums("sums", map),
            partial: promoted.then(|| k.warpgroup_sums("block_sums", of_block())),
            scales: ScaleRegisters::of_blocks(k, s, &of_scales),
        }
    }

    pub(super) fn sums(&self) -> WarpgroupSums {
        self.sums
    }

    /// Begins a tile's sums, before it is this warpgroup's turn.
    ///
    /// They start at zero: where the first product would start them anew instead, a reduction of nothing needs a branch
    /// of its own, and sums that two branches define make ptxas wait after every product.
    pub(super) fn begin(&self, k: &mut KernelBuilder<'_>) {
        k.zero_sums(self.sums);
    }

    /// Sums the products of a tile over `reduction` elements, and frees every slot that they were read from.
    ///
    /// `after_last` comes when the last products were asked for: another warpgroup's may follow them.
    pub(super) fn run<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        pipeline: &Pipeline,
        ring: &Consumer<'k>,
        (tile, reduction, scales): (&Tile<'k>, Expr<'k, I32, Cta>, Option<&ScaleReader<'k>>),
        after_last: impl Fn(&mut KernelBuilder<'k>),
    ) {
        if let Some(partial) = self.partial {
            self.run_promoted(k, s, (pipeline, ring), (tile, reduction), scales, partial);
            return after_last(k);
        }
        // Where a group's rows are the reduction, the last block has only some of its steps. Where K is, nearly
        // every K is whole blocks, and zeros stand in for what is missing.
        let blocks = match s.ragged {
            Ragged::Rows => (k.let_("blocks", reduction.ceil_div(s.tile.k)), None),
            Ragged::Reduction => {
                let whole = k.let_("whole_blocks", reduction / s.tile.k);
                (whole, Some(k.let_("last_steps", (reduction - whole * s.tile.k).ceil_div(depth_of_step(s)))))
            }
        };
        if !s.swapped {
            return self.sum(k, s, pipeline, ring, blocks, None, after_last);
        }
        k.comment("A loop for each number of rows: it is part of the instruction.");
        let steps = k.let_("row_steps", (tile.group_rows - tile.row).ceil_div(geometry::row_step(s)));
        // One after the other, not as arms of one choice: for those, ptxas copies all sums from arm to arm.
        for rows in geometry::row_counts(s) {
            let these = steps.equals(rows / geometry::row_step(s));
            k.when(these, |k| self.sum(k, s, pipeline, ring, blocks, Some(rows), &after_last));
        }
    }

    /// A stage is one block of the reduction: its products start anew, and are waited for and added to the tile's sums.
    /// Meanwhile the tensor cores are at another warpgroup's products.
    fn run_promoted<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (pipeline, ring): (&Pipeline, &Consumer<'k>),
        (tile, reduction): (&Tile<'k>, Expr<'k, I32, Cta>),
        scales: Option<&ScaleReader<'k>>,
        partial: WarpgroupSums,
    ) {
        let blocks = k.let_("blocks", reduction.ceil_div(s.tile.k));
        if waits_ahead(s) {
            k.when(!blocks.equals(0), |k| ring.await_next(k));
        }
        match scales {
            None => k.for_("block", blocks, |k, block| {
                self.add_block(k, s, (pipeline, ring), None, (partial, (block + 1).lt(blocks)));
            }),
            Some(scales) => scales.each(k, s, (tile, blocks), |k, of_block| {
                self.add_block(k, s, (pipeline, ring), Some(of_block), (partial, of_block.has_next));
            }),
        }
    }

    /// Adds a block's sums of products, some columns after others where not all have registers at once.
    fn add_block<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (pipeline, ring): (&Pipeline, &Consumer<'k>),
        scales: Option<&OfBlock<'k>>,
        (partial, has_next): (WarpgroupSums, Expr<'k, Bool, Cta>),
    ) {
        let scales = self.scales.zip(scales);
        let slot = if waits_ahead(s) { ring.take(k) } else { ring.wait_full(k) };
        let (a, b) = operands_in(pipeline, &slot);
        let (width, together) = (geometry::promoted_columns(s), geometry::scaled_columns(s));
        for first in (0..s.tile.n).step_by(width as usize) {
            k.fence_products();
            k.unroll("step", steps_of(s), |k, step| {
                let keep = !step.equals(0);
                let operands = (operand(&a, s.a_major), operand(&b, s.b_major));
                k.warpgroup_multiply_from(partial, operands, first, step, keep);
            });
            k.commit_products();
            // While the products run.
            if let Some((registers, of_block)) = scales {
                if first == 0 {
                    registers.read_rows(k, &of_block.a, of_block.block);
                }
                registers.read_cols(k, &of_block.b, of_block.block, (first, of_block.before));
            }
            let is_last = first + width == s.tile.n;
            if is_last && waits_ahead(s) {
                k.when(has_next, |k| ring.await_next(k));
            }
            k.await_products(0);
            if is_last {
                release(k, s, ring);
            }
            let Some((registers, of_block)) = scales else {
                k.promote(self.sums, (partial, first), (0, width), None);
                continue;
            };
            for part in (0..width).step_by(together as usize) {
                if part > 0 {
                    registers.read_cols(k, &of_block.b, of_block.block, (first + part, of_block.before));
                }
                k.promote(self.sums, (partial, first), (part, together), Some(registers.both()));
            }
        }
    }

    /// Sums products of so many columns (`None`: all) over so many blocks, and some steps of one more.
    ///
    /// One stage's products are in flight while the next are asked for, so that a slot is free once the next one's
    /// products run.
    #[allow(clippy::too_many_arguments)]
    fn sum<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        pipeline: &Pipeline,
        ring: &Consumer<'k>,
        (whole, steps): (Expr<'k, I32, Cta>, Option<Expr<'k, I32, Cta>>),
        columns: Option<u32>,
        after_last: impl FnOnce(&mut KernelBuilder<'k>),
    ) {
        k.for_("block", whole, |k, block| {
            let (a, b) = self.wait(k, pipeline, ring);
            k.fence_products();
            k.unroll("step", steps_of(s), |k, step| self.product(k, s, (&a, &b), columns, step.within()));
            k.commit_products();
            k.await_products(1);
            k.when(!block.equals(0), |k| release(k, s, ring));
        });
        if let Some(steps) = steps {
            k.comment(&format!("Of the last block, the k{} steps that hold rows.", depth_of_step(s)));
            k.when(!steps.equals(0), |k| {
                let (a, b) = self.wait(k, pipeline, ring);
                k.for_("step", steps, |k, step| {
                    k.fence_products();
                    self.product(k, s, (&a, &b), columns, step);
                    k.commit_products();
                });
            });
        }
        after_last(k);
        k.await_products(0);
        k.when(!whole.equals(0), |k| release(k, s, ring));
        if let Some(steps) = steps {
            k.when(!steps.equals(0), |k| release(k, s, ring));
        }
    }

    fn product<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        (a, b): (&Slot, &Slot),
        columns: Option<u32>,
        step: Expr<'k, I32, Cta>,
    ) {
        let (a, b, keep) = (operand(a, s.a_major), operand(b, s.b_major), k.always());
        match columns {
            None => k.warpgroup_multiply(self.sums, a, b, step, keep),
            Some(columns) => k.warpgroup_multiply_columns(self.sums, (b, a), columns, step, keep),
        }
    }

    fn wait<'k>(&self, k: &mut KernelBuilder<'k>, pipeline: &Pipeline, ring: &Consumer<'k>) -> (Slot, Slot) {
        operands_in(pipeline, &ring.wait_full(k))
    }
}

/// Whether the next stage is waited for while a block's last products run, so that the first of the next block follow the
/// sums' additions at once. Where a block has no products but its last, its slot would be free later, for stages that are
/// not there yet.
fn waits_ahead(s: &KernelSpec) -> bool {
    geometry::promoted_columns(s) < s.tile.n
}

/// The operands of a stage.
fn operands_in(pipeline: &Pipeline, slot: &RingSlot<'_>) -> (Slot, Slot) {
    (pipeline.a_tiles.slot(slot.index), pipeline.b_tiles.slot(slot.index))
}

/// Elements of a step along the reduction.
fn depth_of_step(s: &KernelSpec) -> u32 {
    wgmma_k(s.operand.size_bytes())
}

/// Steps along the reduction of a stage.
fn steps_of(s: &KernelSpec) -> u32 {
    s.tile.k / depth_of_step(s)
}

fn operand(tile: &Slot, major: Major) -> SharedOperand<'_> {
    match major {
        Major::K => tile.k_major(),
        Major::Mn => tile.mn_major(),
    }
}

fn release<'k>(k: &mut KernelBuilder<'k>, s: &KernelSpec, ring: &Consumer<'k>) {
    match s.cluster.ctas() {
        1 => ring.release(k),
        ctas => ring.release_in_cluster(k, ctas),
    }
}
