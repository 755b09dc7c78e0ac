//! How the CTAs of a cluster load a tile that they share: each a part of its rows, for all of them.

use super::roles::Stage;
use crate::dsl::{Coordinate, Cta, Expr, I32, KernelBuilder, Map, Slot};

/// The part of an operand's tile that one CTA loads.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// CTAs that share the tile.
    ctas: u32,
    /// Rows of the part, as the tile lies in shared memory.
    pub(super) rows: u32,
}

impl Share {
    /// The part of a tile of so many rows that each of `ctas` CTAs loads.
    pub(super) fn of(rows: u32, ctas: u32) -> Self {
        Share { ctas, rows: rows / ctas }
    }

    /// Starts the load of this CTA's part into `tile`; `at` says where the part is, given its first row in the tile.
    pub(super) fn load<'k, const N: usize>(
        &self,
        k: &mut KernelBuilder<'k>,
        (map, tile): (Map, &Slot),
        stage: &Stage<'k>,
        at: impl FnOnce(&mut KernelBuilder<'k>, Expr<'k, I32, Cta>) -> [Coordinate; N],
    ) {
        if self.ctas == 1 {
            let first = k.int(0).within();
            let at = at(k, first);
            return k.bulk_load(map, &at, tile, stage.full);
        }
        let first = k.cluster_rank() * self.rows;
        let at = at(k, first);
        k.bulk_load_multicast(map, &at, &tile.from_row(first), stage.full, (1 << self.ctas) - 1);
    }
}
