//! Threads move tiles, where rows start anywhere and the copy engine cannot address them: a warpgroup reads operands
//! through its registers, and those that multiply write D themselves.
//!
//! A stage is read in parts of a few pieces a thread. Some parts are always on their way while another is written to
//! shared memory, across stages too: registers are what hides the latency here.

use std::ops::Range;

use super::super::operands::Operands;
use super::super::parameters::Parameters;
use super::super::scales::TileScales;
use super::super::walk::Tile;
use super::feed::Feed;
use super::pipeline::Pipeline;
use super::roles::{Family, Transport};
use crate::dsl::{Bool, Cta, Expr, GlobalBlock, Grid, I32, KernelBuilder, StagingFragment, WarpgroupSums};
use crate::geometry::{self, THREADS_OF_WARPGROUP};
use crate::spec::KernelSpec;

/// What a family says of its tiles where threads move them.
pub(super) trait Addressed<'k>: Family<'k> {
    /// Where operands are.
    fn parameters(&self) -> &Parameters<'k>;

    /// Whether D is added to.
    fn accumulate(&self) -> Option<Expr<'k, Bool, Grid>>;
}

/// A ring of stages, and registers for what is on its way there.
pub(super) struct ByThreads {
    pipeline: Pipeline,
    a: StagingFragment,
    b: StagingFragment,
}

/// Pieces of a stage that are read, and later written, together.
#[derive(Clone)]
struct Part {
    operand: Operand,
    pieces: Range<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operand {
    A,
    B,
}

impl ByThreads {
    fn fragment(&self, operand: Operand) -> StagingFragment {
        match operand {
            Operand::A => self.a,
            Operand::B => self.b,
        }
    }

    /// The parts of a stage, and how many of them are on their way while one is written. Those of an operand's next stage
    /// begin when all of this one's are written.
    fn parts(&self) -> (Vec<Part>, usize) {
        let of = |operand: Operand| -> Vec<Part> {
            let end = self.fragment(operand).pieces();
            let firsts = (0..end).step_by(geometry::STAGED_TOGETHER as usize);
            firsts.map(|p| Part { operand, pieces: p..(p + geometry::STAGED_TOGETHER).min(end) }).collect()
        };
        let (a, b) = (of(Operand::A), of(Operand::B));
        let ahead = a.len().min(b.len()).min(geometry::STAGED_AHEAD as usize);
        ([a, b].concat(), ahead)
    }

    /// Reads a part of the stage whose operands these are.
    fn read<'k>(&self, k: &mut KernelBuilder<'k>, part: &Part, [a, b]: &[GlobalBlock<'k>; 2]) {
        let fragment = self.fragment(part.operand);
        if part.pieces.start == 0 {
            k.begin_staging(fragment, if part.operand == Operand::A { a } else { b });
        }
        k.load_pieces(fragment, part.pieces.clone());
    }
}

impl<'k, F: Addressed<'k>> Transport<'k, F> for ByThreads {
    fn pipeline(k: &mut KernelBuilder<'k>, spec: &KernelSpec) -> Pipeline {
        Pipeline::filled_by_warps(k, spec)
    }

    fn declare(k: &mut KernelBuilder<'k>, spec: &KernelSpec, pipeline: &Pipeline) -> Self {
        let (a, b) = (geometry::a_tile(spec), geometry::b_tile(spec));
        ByThreads {
            pipeline: pipeline.clone(),
            a: k.staging_of(THREADS_OF_WARPGROUP, "a_staged", spec.operand, &a),
            b: k.staging_of(THREADS_OF_WARPGROUP, "b_staged", spec.operand, &b),
        }
    }

    fn load(&self, k: &mut KernelBuilder<'k>, spec: &KernelSpec, family: &F, feed: &Feed) {
        let ring = self.pipeline.ring.producer(k);
        let (parts, ahead) = self.parts();
        feed.each(k, |k, tile| {
            let reduction = family.reduction(k, tile);
            let blocks = k.let_("blocks", reduction.ceil_div(spec.tile.k));
            let of_tile = Operands::of(k, spec, family.parameters(), tile);
            let operands = |k: &mut KernelBuilder<'k>, offset: Expr<'k, I32, Cta>| {
                let left = Some(k.let_("k_left", reduction - offset));
                [of_tile.a.block(offset, left), of_tile.b.block(offset, left)]
            };
            let first = k.int(0).within();
            let of_first = operands(k, first);
            parts[..ahead].iter().for_each(|part| self.read(k, part, &of_first));
            feed.each_block(k, blocks, spec.stages, |k, block| {
                let offset = k.let_("k_offset", block * spec.tile.k);
                let of_this = operands(k, offset);
                k.comment("After the last stage nothing is left, of which nothing is read.");
                let next = k.let_("next_offset", offset + spec.tile.k);
                let of_next = operands(k, next);
                let coming = parts.iter().map(|p| (p, &of_this)).chain(parts.iter().map(|p| (p, &of_next)));
                let mut slot = None;
                for (part, (coming, operands)) in parts.iter().zip(coming.skip(ahead)) {
                    self.read(k, coming, operands);
                    let slot = *slot.get_or_insert_with(|| ring.acquire(k));
                    let tiles = match part.operand {
                        Operand::A => &self.pipeline.a_tiles,
                        Operand::B => &self.pipeline.b_tiles,
                    };
                    k.store_pieces(self.fragment(part.operand), part.pieces.clone(), &tiles.slot(slot.index));
                }
                if let Some(slot) = slot {
                    ring.deliver(k, slot);
                }
            });
        });
    }

    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        spec: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        // fp8 operands go by the copy engine alone.
        (sums, _): (WarpgroupSums, Option<&TileScales<'k>>),
        _of: (u32, u32),
    ) {
        let of_tile = Operands::of(k, spec, family.parameters(), tile);
        k.store_sums(sums, &of_tile.d, family.accumulate());
    }

    fn finish(&self, _k: &mut KernelBuilder<'k>) {}
}
