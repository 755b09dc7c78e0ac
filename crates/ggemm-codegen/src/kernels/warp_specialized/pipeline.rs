//! What the roles hand each other: a ring of stages, each with a tile of A and one of B.

use crate::dsl::{KernelBuilder, Ring, SharedTiles};
use crate::geometry;
use crate::spec::KernelSpec;

/// The ring and its tiles.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) ring: Ring,
    pub(super) a_tiles: SharedTiles,
    pub(super) b_tiles: SharedTiles,
}

impl Pipeline {
    /// A stage is full when its bytes have come, which one arrival announces.
    pub(super) fn filled_by_bytes(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        Pipeline::declare(k, s, 1)
    }

    /// A stage is full when each warp that writes to it has said so.
    pub(super) fn filled_by_warps(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        Pipeline::declare(k, s, geometry::loader_warps(s))
    }

    fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec, fillers: u32) -> Self {
        // A lane of each warp that reads a slot says so to every CTA that writes to it.
        let readers = s.warps.count() * s.cluster.ctas();
        Pipeline {
            a_tiles: k.bulk_tiles("a_tiles", s.operand, &geometry::a_tile(s), s.stages),
            b_tiles: k.bulk_tiles("b_tiles", s.b_operand, &geometry::b_tile(s), s.stages),
            ring: Ring::filled_by(k, "stage", s.stages, (fillers, readers)),
        }
    }

    /// Barriers are ready, and all that will use them know.
    pub(super) fn begin(&self, k: &mut KernelBuilder<'_>, s: &KernelSpec) {
        k.init_barriers();
        if s.cluster_ctas() > 1 { k.cluster_barrier() } else { k.barrier() }
    }
}
