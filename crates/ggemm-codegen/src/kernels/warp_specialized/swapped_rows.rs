//! Ragged rows with operands swapped: the weights' columns take the side of a product that comes in 64s, and a tile's rows
//! the side that comes in 8s, so that a tile has as many as exist. What is loaded and stored ends where the tile does.

use super::super::walk::Tile;
use super::by_copy_engine::Mapped;
use super::output::MapOfD;
use super::ragged_rows::{RaggedRows, weights_at, weights_box};
use super::roles::Stage;
use crate::dsl::{Cta, Expr, I32, KernelBuilder, Map};
use crate::geometry;
use crate::ir::{ParamRole, TensorMap};
use crate::spec::KernelSpec;

/// Operands as tensor maps; those of A in boxes of some of a tile's rows.
pub(super) struct SwappedMaps {
    a: Map,
    b: Map,
    d: Map,
    /// Rows of a box of A, and its bytes.
    a_box: (u32, u32),
}

impl SwappedMaps {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, s: &KernelSpec) -> Self {
        let rows = geometry::rows_of_box(s);
        let a = TensorMap::ragged(s.operand, rows, s.tile.k);
        let (b_rows, b_cols) = weights_box(s);
        let d_rows = geometry::output_panel(s).shape().0;
        SwappedMaps {
            a_box: (rows, a.box_bytes()),
            a: k.tensor_map("a", a, ParamRole::A),
            b: k.tensor_map("b", TensorMap::matrix(s.b_operand, b_rows, b_cols, true), ParamRole::B),
            d: k.tensor_map("d", TensorMap::ragged(s.output, d_rows, 128 / s.output.size_bytes()), ParamRole::D),
        }
    }
}

impl<'k> Mapped<'k> for RaggedRows<'k, SwappedMaps> {
    fn maps(&self) -> Vec<Map> {
        let SwappedMaps { a, b, d, .. } = self.tensors;
        vec![a, b, d]
    }

    fn boxes(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Option<(Expr<'k, I32, Cta>, u32)> {
        let (rows, bytes) = self.tensors.a_box;
        Some((k.let_("boxes", (tile.group_rows - tile.row).ceil_div(rows)), bytes))
    }

    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>) {
        let SwappedMaps { a, b, a_box: (rows, _), .. } = self.tensors;
        let first = k.int(0).within();
        k.bulk_load(b, &weights_at(self.b_major, tile, stage, first), &stage.b, stage.full);
        if let Some(boxes) = stage.boxes {
            k.for_("box", boxes, |k, index| {
                let row = index * rows;
                let at = k.ragged(stage.offset, tile.row + row, tile.group_start, tile.group_rows);
                k.bulk_load(a, &at, &stage.a.from_row(row), stage.full);
            });
        }
    }
}

impl MapOfD for SwappedMaps {
    fn d(&self) -> Map {
        self.d
    }
}
