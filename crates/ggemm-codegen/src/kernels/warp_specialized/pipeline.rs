//! What the roles hand each other: a ring of stages, each with a tile of A and one of B.

use crate::dsl::{KernelBuilder, Ring, SharedTiles};
use crate::geometry;
use crate::spec::KernelSpec;

/// The ring and its tiles.
pub(super) struct Pipeline {
    pub(super) ring: Ring,
    pub(super) a_tiles: SharedTiles,
    pub(super) b_tiles: SharedTiles,
    /// Bytes that a stage counts before it is full.
    pub(super) stage_bytes: u32,
}

impl Pipeline {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        // A lane of each warp that reads a slot says so to every CTA that writes to it.
        let readers = s.warps.m * s.cluster.ctas();
        Pipeline {
            a_tiles: k.bulk_tiles("a_tiles", s.operand, &geometry::a_tile(s), s.stages),
            b_tiles: k.bulk_tiles("b_tiles", s.operand, &geometry::b_tile(s), s.stages),
            ring: Ring::declare(k, "stage", s.stages, readers),
            stage_bytes: geometry::stage_bytes(s),
        }
    }

    /// Barriers are ready, and all that will use them know.
    pub(super) fn begin(&self, k: &mut KernelBuilder<'_>, s: &KernelSpec) {
        k.init_barriers();
        if s.cluster.ctas() > 1 { k.cluster_barrier() } else { k.barrier() }
    }
}
