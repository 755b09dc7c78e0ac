//! The main loop of a warpgroup: products of one stage after another, read from shared memory by the tensor cores.

use super::pipeline::Pipeline;
use super::scales::{ScaleRegisters, TileScales};
use crate::descriptor::wgmma_k;
use crate::dsl::{Consumer, Cta, Expr, I32, KernelBuilder, SharedOperand, SharedTiles, Slot, WarpgroupSums};
use crate::geometry;
use crate::spec::{Accumulation, KernelSpec, Major, Ragged};

/// The sums of a warpgroup's rows of a tile.
pub(super) struct MainLoop {
    sums: WarpgroupSums,
    /// Those of one block of the reduction, where they are promoted.
    partial: Option<WarpgroupSums>,
    /// The scales of one block of the reduction, where each has its own.
    scales: Option<ScaleRegisters>,
}

impl MainLoop {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        let sharing = s.warps.m / geometry::WARPS_OF_WARPGROUP;
        let map = geometry::warpgroup_map(geometry::warpgroup_blocks(s), s.tile.n, sharing);
        let promoted = s.accumulation == Accumulation::Promoted;
        MainLoop {
            sums: k.warpgroup_sums("sums", map.clone()),
            partial: promoted.then(|| k.warpgroup_sums("block_sums", map)),
            scales: ScaleRegisters::of_blocks(k, s),
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
    /// `after_last` comes when the last were asked for: another warpgroup's may follow them.
    pub(super) fn run<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        pipeline: &Pipeline,
        ring: &Consumer<'k>,
        (reduction, scales): (Expr<'k, I32, Cta>, Option<&TileScales<'k>>),
        after_last: impl FnOnce(&mut KernelBuilder<'k>),
    ) {
        match self.partial {
            None => self.run_fast(k, s, pipeline, ring, reduction, after_last),
            Some(partial) => {
                self.run_promoted(k, s, pipeline, ring, (reduction, scales), partial);
                after_last(k);
            }
        }
    }

    /// A stage is one block of the reduction: its products start anew, and are waited for and added to the tile's sums.
    /// Meanwhile the tensor cores are at the other warpgroup's products of the same stage.
    fn run_promoted<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        pipeline: &Pipeline,
        ring: &Consumer<'k>,
        (reduction, scales): (Expr<'k, I32, Cta>, Option<&TileScales<'k>>),
        partial: WarpgroupSums,
    ) {
        let blocks = k.let_("blocks", reduction.ceil_div(s.tile.k));
        let scales = self.scales.zip(scales);
        k.for_("block", blocks, |k, block| {
            if let Some((registers, scales)) = scales {
                registers.load_rows(k, scales, Some(block));
                registers.load_cols(k, scales, 0, Some(block));
            }
            let (a, b) = self.wait(k, pipeline, ring);
            k.fence_products();
            k.unroll("step", steps_of(s), |k, step| {
                let keep = !step.equals(0);
                k.warpgroup_multiply(partial, operand(&a, s.a_major), operand(&b, s.b_major), step, keep);
            });
            k.commit_products();
            k.await_products(0);
            release(k, s, ring);
            k.promote(self.sums, partial, scales.map(|(registers, _)| registers.both()));
        });
    }

    /// One stage's products are in flight while the next are asked for, so that a slot is free once the next one's
    /// products run.
    fn run_fast<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        s: &KernelSpec,
        pipeline: &Pipeline,
        ring: &Consumer<'k>,
        reduction: Expr<'k, I32, Cta>,
        after_last: impl FnOnce(&mut KernelBuilder<'k>),
    ) {
        // Where a group's rows are the reduction, the last block has only some of its steps. Where K is, nearly
        // every K is whole blocks, and zeros stand in for what is missing.
        let step = wgmma_k(s.operand.size_bytes());
        let (whole, steps) = match s.ragged {
            Ragged::Rows => (k.let_("blocks", reduction.ceil_div(s.tile.k)), None),
            Ragged::Reduction => {
                let whole = k.let_("whole_blocks", reduction / s.tile.k);
                (whole, Some(k.let_("last_steps", (reduction - whole * s.tile.k).ceil_div(step))))
            }
        };
        k.for_("block", whole, |k, block| {
            let (a, b) = self.wait(k, pipeline, ring);
            k.fence_products();
            k.unroll("step", steps_of(s), |k, step| self.product(k, s, &a, &b, step.within()));
            k.commit_products();
            k.await_products(1);
            k.when(!block.equals(0), |k| release(k, s, ring));
        });
        if let Some(steps) = steps {
            k.comment(&format!("Of the last block, the k{step} steps that hold rows."));
            k.when(!steps.equals(0), |k| {
                let (a, b) = self.wait(k, pipeline, ring);
                k.for_("step", steps, |k, step| {
                    k.fence_products();
                    self.product(k, s, &a, &b, step);
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

    fn product<'k>(&self, k: &mut KernelBuilder<'k>, s: &KernelSpec, a: &Slot, b: &Slot, step: Expr<'k, I32, Cta>) {
        let keep = k.always();
        k.warpgroup_multiply(self.sums, operand(a, s.a_major), operand(b, s.b_major), step, keep);
    }

    fn wait<'k>(&self, k: &mut KernelBuilder<'k>, pipeline: &Pipeline, ring: &Consumer<'k>) -> (Slot, Slot) {
        let slot = ring.wait_full(k);
        let tile = |tiles: &SharedTiles| tiles.slot(slot.index);
        (tile(&pipeline.a_tiles), tile(&pipeline.b_tiles))
    }
}

/// Steps along the reduction of a stage.
fn steps_of(s: &KernelSpec) -> u32 {
    s.tile.k / wgmma_k(s.operand.size_bytes())
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
