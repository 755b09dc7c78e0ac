//! The copy engine moves tiles: one warp asks it for operands, and each warpgroup for the stores of its panels of D.

use super::super::scales::TileScales;
use super::super::walk::Tile;
use super::exchange::part_of;
use super::feed::Feed;
use super::output::Output;
use super::pipeline::Pipeline;
use super::roles::{Family, Stage, Transport};
use super::share::Share;
use crate::dsl::{Cta, Expr, I32, KernelBuilder, Map, Slot, WarpgroupSums};
use crate::geometry;
use crate::spec::KernelSpec;

/// What a family says of its tiles where the copy engine moves them.
pub(super) trait Mapped<'k>: Family<'k> {
    /// The tensor maps.
    fn maps(&self) -> [Map; 3];

    /// Boxes of A that hold rows of a tile, and the bytes of one, where only those are loaded.
    fn boxes(&self, _k: &mut KernelBuilder<'k>, _tile: &Tile<'k>) -> Option<(Expr<'k, I32, Cta>, u32)> {
        None
    }

    /// Starts the loads of a stage.
    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>);

    /// Starts the store of a panel of D, whose first row and column in the tile are these.
    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, at: [Expr<'k, I32, Cta>; 2]);
}

/// Operands as tensor maps, and the parts of their tiles that each CTA of a cluster loads.
pub(super) struct Maps {
    pub(super) a: Map,
    pub(super) b: Map,
    pub(super) d: Map,
    pub(super) a_share: Share,
    pub(super) b_share: Share,
}

impl Maps {
    pub(super) fn all(&self) -> [Map; 3] {
        [self.a, self.b, self.d]
    }
}

/// A ring of stages, and the panels of D.
pub(super) struct ByCopyEngine {
    pipeline: Pipeline,
    output: Output,
}

impl<'k, F: Mapped<'k>> Transport<'k, F> for ByCopyEngine {
    fn pipeline(k: &mut KernelBuilder<'k>, spec: &KernelSpec) -> Pipeline {
        Pipeline::filled_by_bytes(k, spec)
    }

    fn declare(k: &mut KernelBuilder<'k>, spec: &KernelSpec, pipeline: &Pipeline) -> Self {
        ByCopyEngine { pipeline: pipeline.clone(), output: Output::declare(k, spec) }
    }

    fn load(&self, k: &mut KernelBuilder<'k>, spec: &KernelSpec, family: &F, feed: &Feed) {
        k.elect(|k| family.maps().into_iter().for_each(|map| k.prefetch_map(map)));
        let ring = self.pipeline.ring.producer(k);
        feed.each(k, |k, tile| {
            let part = part_of(k, spec, family, tile);
            let blocks = k.let_("blocks", part.length.ceil_div(spec.tile.k));
            let boxes = family.boxes(k, tile);
            let bytes = match boxes {
                None => k.int(geometry::stage_bytes(spec) as i32).within(),
                Some((boxes, each)) => k.let_("bytes", boxes * each + geometry::b_tile(spec).bytes()),
            };
            feed.each_block(k, blocks, spec.stages, |k, block| {
                ring.fill(k, bytes, |k, slot| {
                    let stage = Stage {
                        a: self.pipeline.a_tiles.slot(slot.index),
                        b: self.pipeline.b_tiles.slot(slot.index),
                        full: slot.full,
                        offset: part.start.map_or(block * spec.tile.k, |start| start + block * spec.tile.k),
                        boxes: boxes.map(|(boxes, _)| boxes),
                    };
                    family.load(k, tile, &stage);
                });
            });
        });
        if spec.cluster.ctas() > 1 {
            k.comment("The other CTAs may still say that they have read what was loaded for them.");
            ring.drain(k);
        }
    }

    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        spec: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        sums: (WarpgroupSums, Option<&TileScales<'k>>),
        of: (u32, u32),
    ) {
        let store = |k: &mut KernelBuilder<'k>, panel: &Slot, at| family.store(k, tile, panel, at);
        match spec.swapped {
            false => self.output.write(k, spec, sums, of, store),
            true => self.output.write_transposed(k, spec, sums.0, of, tile.group_rows - tile.row, store),
        }
    }

    fn finish(&self, k: &mut KernelBuilder<'k>) {
        self.output.finish(k);
    }
}
