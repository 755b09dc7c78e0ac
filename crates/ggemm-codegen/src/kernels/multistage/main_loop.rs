//! The multistage main loop: copies run ahead of products by a ring of stages.

use super::super::operands::OperandWalk;
use super::super::scales::{ScaleRegisters, TileScales};
use crate::dsl::{
    AccumulatorFragment, Cta, Expr, GlobalBlock, I32, KernelBuilder, Operand, OperandFragment, SharedTiles,
    StagingFragment, Var,
};
use crate::geometry;
use crate::spec::{Accumulation, CopyPath, KernelSpec, Major, Ragged};

/// Shared tiles and fragments of the loop.
pub(super) struct MainLoop {
    a_tiles: SharedTiles,
    b_tiles: SharedTiles,
    a_fragment: OperandFragment,
    b_fragment: OperandFragment,
    staging: Option<(StagingFragment, StagingFragment)>,
    accumulator: AccumulatorFragment,
    /// The sums of one block of the reduction, where they are promoted.
    partial: Option<AccumulatorFragment>,
    /// The scales of one block of the reduction, where each has its own.
    scales_of_block: Option<ScaleRegisters>,
    /// Those of whole rows, which meet a tile's sums when it leaves.
    scales_of_rows: Option<ScaleRegisters>,
    /// Columns of the sums that a warp has.
    columns_of_warp: u32,
    block_k: u32,
    /// Elements of one step along the reduction.
    step_k: u32,
    stages: u32,
    /// Every block is whole.
    even_k: bool,
}

impl MainLoop {
    /// Declares what the loop needs.
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        let (a_layout, b_layout) = (geometry::a_tile(s), geometry::b_tile(s));
        let element_bytes = s.operand.size_bytes();
        let a_map = geometry::a_fragment_map(s.tile, s.warps, element_bytes);
        let b_map = geometry::b_fragment_map(s.tile, s.warps, element_bytes);
        let sums = geometry::accumulator_map(s.tile, s.warps);
        let staging = (s.copy == CopyPath::Plain)
            .then(|| (k.staging("a_staged", s.operand, &a_layout), k.staging("b_staged", s.b_operand, &b_layout)));
        MainLoop {
            a_tiles: k.shared_tiles("a_tiles", s.operand, &a_layout, s.stages),
            b_tiles: k.shared_tiles("b_tiles", s.b_operand, &b_layout, s.stages),
            // Two sets of registers: one step is read while the other multiplies.
            a_fragment: k.a_fragment("a_fragment", s.operand, a_map, s.a_major == Major::Mn, 2),
            b_fragment: k.b_fragment("b_fragment", s.b_operand, b_map, s.b_major == Major::Mn, 2),
            staging,
            accumulator: k.accumulator("sums", sums.clone()),
            partial: (s.accumulation == Accumulation::Promoted).then(|| k.accumulator("block_sums", sums.clone())),
            scales_of_block: ScaleRegisters::of_blocks(k, s, &sums),
            scales_of_rows: ScaleRegisters::of_rows(k, s, &sums),
            columns_of_warp: s.tile.n / s.warps.n,
            block_k: s.tile.k,
            step_k: geometry::mma_k(element_bytes),
            stages: s.stages,
            // Operands of fp8 end every group of a ragged reduction with zeros, to a whole block.
            even_k: s.even_k || (s.operand.is_fp8() && s.ragged == Ragged::Reduction),
        }
    }

    /// Sums the products of `a` and `b` over the reduction, times their scales where they have any.
    pub(super) fn run<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        a: &OperandWalk<'k>,
        b: &OperandWalk<'k>,
        scales: Option<&TileScales<'k>>,
        reduction: Expr<'k, I32, Cta>,
    ) -> AccumulatorFragment {
        k.zero(self.accumulator);
        let blocks = k.let_("blocks", reduction.ceil_div(self.block_k));
        k.when(!blocks.le(0), |k| match self.staging {
            None => self.run_ahead(k, a, b, scales, (reduction, blocks)),
            Some(staging) => self.run_staged(k, a, b, reduction, blocks, staging),
        });
        if let (Some(registers), Some(scales)) = (self.scales_of_rows, scales) {
            registers.load_rows(k, scales, None);
            registers.load_cols(k, scales, 0, None);
            k.scale_sums(self.accumulator, registers.both());
        }
        self.accumulator
    }

    fn blocks_at<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        a: &OperandWalk<'k>,
        b: &OperandWalk<'k>,
        reduction: Expr<'k, I32, Cta>,
        block: Expr<'k, I32, Cta>,
    ) -> (GlobalBlock<'k>, GlobalBlock<'k>) {
        let (offset, left) = self.place(k, reduction, block);
        (a.block(offset, left), b.block(offset, left))
    }

    /// Where a block lies along the reduction, and how much of the reduction remains there (`None`: a whole block).
    fn place<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        reduction: Expr<'k, I32, Cta>,
        block: Expr<'k, I32, Cta>,
    ) -> (Expr<'k, I32, Cta>, Option<Expr<'k, I32, Cta>>) {
        let offset = k.let_("k_offset", block * self.block_k);
        (offset, (!self.even_k).then(|| k.let_("k_left", reduction - offset)))
    }

    /// Reads one step of both operands into one of the two sets of registers.
    fn read_step<'k, N: Operand<'k, I32> + Copy>(
        &self,
        k: &mut KernelBuilder<'k>,
        set: impl Operand<'k, I32> + Copy,
        slot: Expr<'k, I32, Cta>,
        step: N,
    ) {
        k.load_matrix(self.a_fragment, set, &self.a_tiles.slot(slot), step);
        k.load_matrix(self.b_fragment, set, &self.b_tiles.slot(slot), step);
    }

    /// `cp.async` into a ring: while block i multiplies, blocks up to i + stages - 1 are on their way.
    fn run_ahead<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        a: &OperandWalk<'k>,
        b: &OperandWalk<'k>,
        scales: Option<&TileScales<'k>>,
        (reduction, blocks): (Expr<'k, I32, Cta>, Expr<'k, I32, Cta>),
    ) {
        let scales = self.scales_of_block.zip(scales);
        let sums = self.partial.unwrap_or(self.accumulator);
        let ahead = self.stages - 1;
        k.comment("Fill all stages but one. A group is committed even where no block is left, so that counts agree.");
        k.unroll("stage", ahead, |k, stage| {
            k.when(stage.lt(blocks), |k| {
                let (from_a, from_b) = self.blocks_at(k, a, b, reduction, stage.within());
                k.copy(&from_a, &self.a_tiles.slot(stage));
                k.copy(&from_b, &self.b_tiles.slot(stage));
            });
            k.commit_copies();
        });
        let read_slot = k.var::<I32, Cta, _>("read_slot", 0);
        let write_slot = k.var::<I32, Cta, _>("write_slot", ahead);
        k.await_copies(ahead - 1);
        k.barrier();
        self.read_step(k, 0, read_slot.get(), 0);

        let last_step = self.block_k / self.step_k - 1;
        k.for_("block", blocks, |k, block| {
            if let Some((registers, scales)) = scales {
                k.comment("Asked for before the products, which hide their latency.");
                registers.load_rows(k, scales, Some(block));
                registers.load_cols(k, scales, 0, Some(block));
            }
            if let Some(partial) = self.partial {
                k.zero(partial);
            }
            k.comment(
                "The slot read in the last iteration is free: every warp has passed the barrier since. Copies are",
            );
            k.comment("issued behind a step's reads, one operand a step, so that products hide them.");
            let coming = k.let_("coming", block + ahead);
            let mut copies = [(a, &self.a_tiles), (b, &self.b_tiles)].into_iter();
            for step in 0..last_step as i32 {
                self.read_step(k, (step + 1) % 2, read_slot.get(), step + 1);
                for (operand, tiles) in copies.by_ref().take(2usize.div_ceil(last_step as usize)) {
                    k.when(coming.lt(blocks), |k| {
                        let (offset, left) = self.place(k, reduction, coming);
                        k.copy(&operand.block(offset, left), &tiles.slot(write_slot.get()));
                    });
                }
                k.multiply(sums, self.a_fragment, self.b_fragment, step % 2);
            }
            k.commit_copies();
            self.step_slot(k, write_slot);

            k.comment(
                "The next block has landed for this thread, and after the barrier for all. After the last block,",
            );
            k.comment("read what was read before rather than a slot that nobody filled.");
            k.await_copies(ahead - 1);
            k.barrier();
            let current = k.let_("current_slot", read_slot.get());
            self.step_slot(k, read_slot);
            let more = (block + 1).lt(blocks);
            let from = k.let_("next_slot", more.select::<I32, _, _, _>(read_slot.get(), current));
            self.read_step(k, (last_step + 1) % 2, from, 0);
            k.multiply(sums, self.a_fragment, self.b_fragment, last_step % 2);
            if let Some(partial) = self.partial {
                let scales = scales.map(|(registers, _)| registers.both());
                k.promote(self.accumulator, (partial, 0), (0, self.columns_of_warp), scales);
            }
        });
        k.comment("No warp may still be reading when the next tile's copies start.");
        k.barrier();
    }

    fn step_slot<'k>(&self, k: &mut KernelBuilder<'k>, slot: Var<'k, I32, Cta>) {
        let next = slot.get() + 1;
        k.set(slot, next.equals(self.stages).select::<I32, _, _, _>(0, next));
    }

    /// Plain loads: the next block travels through registers while the current one multiplies.
    fn run_staged<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        a: &OperandWalk<'k>,
        b: &OperandWalk<'k>,
        reduction: Expr<'k, I32, Cta>,
        blocks: Expr<'k, I32, Cta>,
        (a_staged, b_staged): (StagingFragment, StagingFragment),
    ) {
        let slot = k.var::<I32, Cta, _>("slot", 0);
        let zero = k.int(0);
        let (from_a, from_b) = self.blocks_at(k, a, b, reduction, zero.within());
        k.load_staging(a_staged, &from_a);
        k.load_staging(b_staged, &from_b);
        k.store_staging(a_staged, &self.a_tiles.slot(slot.get()));
        k.store_staging(b_staged, &self.b_tiles.slot(slot.get()));
        k.barrier();
        k.for_("block", blocks, |k, block| {
            let coming = k.let_("coming", block + 1);
            let more = k.let_("more", coming.lt(blocks));
            k.when(more, |k| {
                let (from_a, from_b) = self.blocks_at(k, a, b, reduction, coming);
                k.load_staging(a_staged, &from_a);
                k.load_staging(b_staged, &from_b);
            });
            k.unroll("step", self.block_k / self.step_k, |k, step| {
                self.read_step(k, step % 2, slot.get(), step);
                k.multiply(self.accumulator, self.a_fragment, self.b_fragment, step % 2);
            });
            let other = k.let_("other", slot.get() * -1 + 1);
            k.when(more, |k| {
                k.store_staging(a_staged, &self.a_tiles.slot(other));
                k.store_staging(b_staged, &self.b_tiles.slot(other));
            });
            k.set(slot, other);
            k.comment("The next block is written, and this one read, by all.");
            k.barrier();
        });
    }
}
