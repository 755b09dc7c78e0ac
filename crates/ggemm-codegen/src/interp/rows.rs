//! Rows that start anywhere: copied to aligned ones, or written from a shared tile.

use super::evaluate::LANES;
use super::machine::{Machine, Step};
use super::memory::decode;
use super::shared::PIECE;
use crate::dtype::Dtype;
use crate::geometry::{MMA_M, REALIGNED_COLS, WARPS_OF_WARPGROUP, realigned_rows};
use crate::ir::{ExprId, GlobalTile, Rows, Stmt, TileRef};

/// Elements of a piece of a copy.
const ELEMENTS: i64 = PIECE as i64 / 2;

impl Machine<'_, '_> {
    pub(super) fn rows(&mut self, cta: usize, warp: usize, stmt: &Stmt, step: &Rows) -> Step {
        match step {
            Rows::Realign { from, to } => self.realign(cta, warp, from, to),
            Rows::StorePanel { from, to, accumulate } => self.store_panel(cta, warp, stmt, from, to, *accumulate),
        }
    }

    /// Every so manieth row is a warp's, a piece of it each lane's.
    fn realign(&mut self, cta: usize, warp: usize, from: &GlobalTile, to: &GlobalTile) -> Step {
        let (source, copy) = (self.block(cta, warp, from)?, self.block(cta, warp, to)?);
        let threads = self.kernel.contract.threads;
        let rows = (warp as u32..realigned_rows(threads)).step_by(threads as usize / LANES);
        for (row, col) in rows.flat_map(|r| (0..i64::from(REALIGNED_COLS)).step_by(8).map(move |c| (i64::from(r), c))) {
            let left = if row < source.rows { (source.cols - col).min(ELEMENTS) } else { 0 };
            let first = copy.origin + row * copy.row_stride + col;
            if left > 0 {
                self.check_aligned("writes", copy.pointer, first, ELEMENTS as usize)?;
            }
            for e in 0..left {
                let bits = self.read_global(source.pointer, source.origin + row * source.row_stride + col + e)?;
                self.write_bits(copy.pointer, first + e, bits)?;
            }
        }
        Ok(())
    }

    fn store_panel(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        from: &TileRef,
        to: &GlobalTile,
        accumulate: Option<ExprId>,
    ) -> Step {
        let (tile, block) = (self.tile(cta, warp, from)?, self.block(cta, warp, to)?);
        let accumulate = accumulate.map_or(Ok(0), |e| self.uniform(cta, warp, e))? != 0;
        let dtype = tile.tile.dtype;
        let size = dtype.size_bytes();
        let (_, cols) = tile.tile.layout.shape();
        let first_row = warp as u32 % WARPS_OF_WARPGROUP * MMA_M;
        let pieces =
            (0..MMA_M).flat_map(|r| (0..cols).step_by((PIECE / size) as usize).map(move |c| (first_row + r, c)));
        for (row, col) in pieces {
            if i64::from(row) >= block.rows {
                continue;
            }
            let offset = tile.tile.layout.offset(row, col);
            let c = &mut self.ctas[cta];
            let piece = c.shared.read(tile.address(offset), warp, &c.warps[warp].known, tile.place(offset))?;
            for (e, bytes) in (0..).zip(piece.chunks(size as usize)) {
                let col = i64::from(col + e);
                if col >= block.cols {
                    break;
                }
                let bits = bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                let index = block.origin + i64::from(row) * block.row_stride + col;
                let mut value = decode(dtype, bits);
                if accumulate {
                    value += decode(Dtype::F32, self.read_global(block.pointer, index)?);
                }
                self.write_global(block.pointer, index, value, false)?;
            }
        }
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }
}
