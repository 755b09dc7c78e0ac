//! The copy engine moves operands: one warp asks it for their tiles.

use super::super::operands::Destination;
use super::super::walk::Tile;
use super::exchange::part_of;
use super::feed::Feed;
use super::pipeline::Pipeline;
use super::roles::{Family, Loads, Stage};
use super::share::Share;
use crate::dsl::{Cta, Expr, I32, KernelBuilder, Map};
use crate::geometry;
use crate::spec::KernelSpec;

/// What a family says of its tiles where the copy engine moves them.
pub(super) trait Mapped<'k>: Family<'k> {
    /// The tensor maps.
    fn maps(&self) -> Vec<Map>;

    /// Boxes of A that hold rows of a tile, and the bytes of one, where only those are loaded.
    fn boxes(&self, _k: &mut KernelBuilder<'k>, _tile: &Tile<'k>) -> Option<(Expr<'k, I32, Cta>, u32)> {
        None
    }

    /// Starts the loads of a stage.
    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>);
}

/// Operands as tensor maps, the parts of their tiles that each CTA of a cluster loads, and where D is.
pub(super) struct Maps<D> {
    pub(super) a: Map,
    pub(super) b: Map,
    pub(super) d: D,
    pub(super) a_share: Share,
    pub(super) b_share: Share,
}

/// Where D is: a tensor map, or what threads address.
pub(super) trait PlaceOfD {
    /// The map, if it is one.
    fn map(&self) -> Option<Map>;
}

impl PlaceOfD for Map {
    fn map(&self) -> Option<Map> {
        Some(*self)
    }
}

impl PlaceOfD for Destination<'_> {
    fn map(&self) -> Option<Map> {
        None
    }
}

impl<D: PlaceOfD> Maps<D> {
    pub(super) fn all(&self) -> Vec<Map> {
        [self.a, self.b].into_iter().chain(self.d.map()).collect()
    }
}

/// Who asks the copy engine for a ring of stages.
pub(super) struct ByCopyEngine {
    pipeline: Pipeline,
}

impl<'k, F: Mapped<'k>> Loads<'k, F> for ByCopyEngine {
    fn pipeline(k: &mut KernelBuilder<'k>, spec: &KernelSpec) -> Pipeline {
        Pipeline::filled_by_bytes(k, spec)
    }

    fn declare(_k: &mut KernelBuilder<'k>, _spec: &KernelSpec, pipeline: &Pipeline) -> Self {
        ByCopyEngine { pipeline: pipeline.clone() }
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
}
