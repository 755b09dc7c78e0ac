//! Quantization: patches and scales, each lane's own.

use std::collections::BTreeMap;

use super::evaluate::LANES;
use super::machine::{Machine, Step};
use super::memory::{decode, encode};
use super::shared::{Bytes, PIECE};
use crate::dtype::Dtype;
use crate::fp8;
use crate::ir::{FragmentId, FragmentRole, GlobalTile, Quantize, SharedBy, SharedTile, Stmt, TileRef};

/// Elements of a patch's row.
const ROW: usize = 8;
/// f32 of a piece of shared memory.
const FLOATS: usize = PIECE as usize / 4;

impl Machine<'_, '_> {
    pub(super) fn quantize(&mut self, cta: usize, warp: usize, stmt: &Stmt, step: &Quantize) -> Step {
        match step {
            Quantize::LoadPatch { to, from, aligned } => {
                let aligned = self.uniform(cta, warp, *aligned)? != 0;
                self.load_patch(cta, warp, *to, from, aligned)
            }
            Quantize::KeepPatch { from, to } => self.keep_patch(cta, warp, stmt, *from, to),
            Quantize::RestorePatch { to, from } => self.restore_patch(cta, warp, stmt, *to, from),
            Quantize::FoldMaxima { into, from } => self.fold_maxima(cta, warp, *into, *from),
            Quantize::ReduceMaxima { fragment } => self.reduce_maxima(cta, warp, *fragment),
            Quantize::StoreMaxima { from, to } => self.store_maxima(cta, warp, stmt, *from, to),
            Quantize::LoadMaxima { to, from } => self.load_maxima(cta, warp, stmt, *to, from),
            Quantize::TellMaxima { from, to } => self.tell_maxima(cta, warp, stmt, *from, to),
            Quantize::MakeScales { fragment, format, powers_of_two } => {
                let powers_of_two = self.uniform(cta, warp, *powers_of_two)? != 0;
                let largest = if *format == Dtype::E4m3 { fp8::E4M3_MAX } else { fp8::E5M2_MAX };
                self.each_value(cta, warp, *fragment, |most| fp8::scale(most, largest, powers_of_two))
            }
            Quantize::InvertScales { fragment } => self.each_value(cta, warp, *fragment, |scale| 1.0 / scale),
            Quantize::StoreScales { from, to } => self.store_scales(cta, warp, *from, to),
            Quantize::StorePatch { from, by, to, aligned } => {
                let aligned = self.uniform(cta, warp, *aligned)? != 0;
                self.store_patch(cta, warp, (*from, *by), to, aligned)
            }
            Quantize::TransposePatch { from, by, to } => self.transpose_patch(cta, warp, stmt, (*from, *by), to),
            Quantize::StoreTransposed { from, to, aligned } => {
                let aligned = self.uniform(cta, warp, *aligned)? != 0;
                self.store_transposed(cta, warp, stmt, from, to, aligned)
            }
        }
    }

    fn set(&mut self, cta: usize, warp: usize, id: FragmentId, values: Vec<f32>) {
        let registers = &mut self.ctas[cta].warps[warp].registers[id.0 as usize];
        registers.values[0] = values;
        registers.filled[0] = true;
    }

    fn each_value(&mut self, cta: usize, warp: usize, id: FragmentId, of: impl Fn(f32) -> f32) -> Step {
        let values = self.filled(cta, warp, id)?.iter().map(|value| of(*value)).collect();
        self.set(cta, warp, id, values);
        Ok(())
    }

    /// Coordinates of a fragment's values of one warp, by lane.
    fn coordinates(&self, warp: usize, id: FragmentId) -> Vec<(u32, u32)> {
        let map = &self.kernel.body.fragments[id.0 as usize].map;
        let thread = |lane: usize| (warp * LANES + lane) as u32;
        (0..LANES).flat_map(|l| (0..map.value_count()).map(move |v| map.coordinates(thread(l), v))).collect()
    }

    fn load_patch(&mut self, cta: usize, warp: usize, to: FragmentId, from: &GlobalTile, aligned: bool) -> Step {
        let block = self.block(cta, warp, from)?;
        let dtype = self.kernel.body.fragments[to.0 as usize].dtype;
        let places = self.coordinates(warp, to);
        let mut values = Vec::with_capacity(places.len());
        for row in places.chunks(ROW) {
            let (first_row, first_col) = (i64::from(row[0].0), i64::from(row[0].1));
            let left = if first_row < block.rows { block.cols.saturating_sub(first_col) } else { 0 };
            let first = block.origin + first_row * block.row_stride + first_col;
            if aligned && left > 0 {
                self.check_aligned("reads", block.pointer, first, (PIECE / dtype.size_bytes()) as usize)?;
            }
            // Aligned, a row of a patch is read whole.
            let reads = if aligned && left > 0 { ROW as i64 } else { left };
            for e in 0..ROW as i64 {
                let bits = if e < reads { self.read_global(block.pointer, first + e)? } else { 0 };
                values.push(decode(dtype, bits));
            }
        }
        self.set(cta, warp, to, values);
        Ok(())
    }

    /// Elements of a piece of shared memory, and where a lane's pieces lie: the tile's rows, in the lane's columns.
    fn kept_pieces(tile: &SharedTile, warp: usize) -> (usize, impl Iterator<Item = (u32, u32)> + use<>) {
        let in_piece = (PIECE / tile.dtype.size_bytes()) as usize;
        let pieces = tile.layout.shape().0;
        let lanes = (warp * LANES) as u32..((warp + 1) * LANES) as u32;
        (in_piece, lanes.flat_map(move |thread| (0..pieces).map(move |row| (row, thread * in_piece as u32))))
    }

    fn keep_patch(&mut self, cta: usize, warp: usize, stmt: &Stmt, from: FragmentId, to: &TileRef) -> Step {
        let tile = self.tile(cta, warp, to)?;
        let values = self.filled(cta, warp, from)?.to_vec();
        let (in_piece, places) = Self::kept_pieces(tile.tile, warp);
        for ((row, col), values) in places.zip(values.chunks(in_piece)) {
            let mut bytes = [0; PIECE as usize];
            for (to, value) in bytes.chunks_mut(PIECE as usize / in_piece).zip(values) {
                let bits = encode(tile.tile.dtype, *value).to_le_bytes();
                to.copy_from_slice(&bits[..to.len()]);
            }
            let offset = tile.tile.layout.offset(row, col);
            let c = &mut self.ctas[cta];
            c.shared.write(tile.address(offset), bytes, warp, &c.warps[warp].known, tile.place(offset))?;
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    fn restore_patch(&mut self, cta: usize, warp: usize, stmt: &Stmt, to: FragmentId, from: &TileRef) -> Step {
        let tile = self.tile(cta, warp, from)?;
        let (in_piece, places) = Self::kept_pieces(tile.tile, warp);
        let mut values = Vec::new();
        for (row, col) in places {
            let offset = tile.tile.layout.offset(row, col);
            let c = &mut self.ctas[cta];
            let bytes = c.shared.read(tile.address(offset), warp, &c.warps[warp].known, tile.place(offset))?;
            values.extend(bytes.chunks(PIECE as usize / in_piece).map(|element| {
                let mut bits = [0; 8];
                bits[..element.len()].copy_from_slice(element);
                decode(tile.tile.dtype, u64::from_le_bytes(bits))
            }));
        }
        self.set(cta, warp, to, values);
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    fn fold_maxima(&mut self, cta: usize, warp: usize, into: FragmentId, from: FragmentId) -> Step {
        let (patches, most) = (self.filled(cta, warp, from)?, self.filled(cta, warp, into)?);
        let FragmentRole::BlockValues(by) = self.kernel.body.fragments[into.0 as usize].role else { return Ok(()) };
        let count = most.len() / LANES;
        let mut folded = most.to_vec();
        for (i, value) in patches.iter().enumerate() {
            let (lane, element) = (i / (ROW * ROW), i % (ROW * ROW));
            let shared = &mut folded[lane * count + value_of(by, element)];
            *shared = shared.max(if value.is_finite() { value.abs() } else { 0.0 });
        }
        self.set(cta, warp, into, folded);
        Ok(())
    }

    fn reduce_maxima(&mut self, cta: usize, warp: usize, id: FragmentId) -> Step {
        let places = self.coordinates(warp, id);
        let values = self.filled(cta, warp, id)?;
        let largest_at = |place| {
            let same = places.iter().zip(values).filter(|(p, _)| **p == place);
            same.fold(0.0_f32, |most, (_, value)| most.max(*value))
        };
        let reduced = places.iter().map(|place| largest_at(*place)).collect();
        self.set(cta, warp, id, reduced);
        Ok(())
    }

    /// A warp's values as a row of a tile, in pieces. Lanes that share a value have agreed on it: the first's counts.
    fn row_of_maxima(&self, cta: usize, warp: usize, from: FragmentId, cols: u32) -> Step<Vec<(u32, Bytes)>> {
        let places = self.coordinates(warp, from);
        let values = self.filled(cta, warp, from)?;
        let piece = |col: u32| {
            let mut bytes = [0; PIECE as usize];
            for e in 0..FLOATS as u32 {
                let holder = places.iter().position(|place| place.0 + place.1 == col + e);
                let value = holder.map_or(0.0, |holder| values[holder]);
                bytes[4 * e as usize..][..4].copy_from_slice(&value.to_le_bytes());
            }
            (col, bytes)
        };
        Ok((0..cols).step_by(FLOATS).map(piece).collect())
    }

    fn store_maxima(&mut self, cta: usize, warp: usize, stmt: &Stmt, from: FragmentId, to: &TileRef) -> Step {
        let tile = self.tile(cta, warp, to)?;
        let (_, cols) = tile.tile.layout.shape();
        for (col, bytes) in self.row_of_maxima(cta, warp, from, cols)? {
            let offset = tile.tile.layout.offset(warp as u32, col);
            let c = &mut self.ctas[cta];
            c.shared.write(tile.address(offset), bytes, warp, &c.warps[warp].known, tile.place(offset))?;
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Each warp tells those CTAs whose ranks are its own number, and so many on as there are warps.
    fn tell_maxima(&mut self, cta: usize, warp: usize, stmt: &Stmt, from: FragmentId, to: &TileRef) -> Step {
        let tile = self.tile(cta, warp, to)?;
        let (ctas, cols) = tile.tile.layout.shape();
        let row = self.row_of_maxima(cta, warp, from, cols)?;
        let own_rank = self.rank(cta) as u32;
        for rank in (warp..ctas as usize).step_by(self.ctas[cta].warps.len()) {
            let target = self.peer(cta, rank as i64)?;
            self.signal(cta, warp, stmt, target)?;
            let (known, writer) = (self.known(cta, warp).clone(), self.participant(cta, warp));
            for (col, bytes) in &row {
                let offset = tile.tile.layout.offset(own_rank, *col);
                let shared = &mut self.ctas[target].shared;
                shared.write_from(tile.address(offset), *bytes, writer, &known, tile.place(offset))?;
            }
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}] of the cluster", tile.tile.name, tile.slot));
        Ok(())
    }

    fn load_maxima(&mut self, cta: usize, warp: usize, stmt: &Stmt, to: FragmentId, from: &TileRef) -> Step {
        let tile = self.tile(cta, warp, from)?;
        let places = self.coordinates(warp, to);
        let mut values = self.filled(cta, warp, to)?.to_vec();
        let (rows, cols) = tile.tile.layout.shape();
        for (row, col) in (0..rows).flat_map(|r| (0..cols).step_by(FLOATS).map(move |c| (r, c))) {
            let offset = tile.tile.layout.offset(row, col);
            let c = &mut self.ctas[cta];
            let bytes = c.shared.read(tile.address(offset), warp, &c.warps[warp].known, tile.place(offset))?;
            for (place, value) in places.iter().zip(&mut values) {
                if let Some(e) = (place.0 + place.1).checked_sub(col).filter(|e| (*e as usize) < FLOATS) {
                    let at = 4 * e as usize;
                    let other = f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                    *value = value.max(other);
                }
            }
        }
        self.set(cta, warp, to, values);
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Of the threads that hold a value the first writes it.
    fn store_scales(&mut self, cta: usize, warp: usize, from: FragmentId, to: &GlobalTile) -> Step {
        let block = self.block(cta, warp, to)?;
        let map = &self.kernel.body.fragments[from.0 as usize].map;
        let is_first = |mut thread: usize| {
            map.threads.iter().all(|m| {
                let digit = thread % m.extent as usize;
                thread /= m.extent as usize;
                digit == 0 || m.row + m.col > 0
            })
        };
        let places = self.coordinates(warp, from);
        let values = self.filled(cta, warp, from)?.to_vec();
        let count = values.len() / LANES;
        for (i, ((row, col), value)) in places.into_iter().zip(values).enumerate() {
            let (row, col) = (i64::from(row), i64::from(col));
            if is_first(warp * LANES + i / count) && row < block.rows && col < block.cols {
                self.write_global(block.pointer, block.origin + row * block.row_stride + col, value, false)?;
            }
        }
        Ok(())
    }

    /// The elements of one warp's patches, times the inverses of their scales, by lane.
    fn scaled(&self, cta: usize, warp: usize, (from, by): (FragmentId, FragmentId)) -> Step<Vec<f32>> {
        let (patches, inverses) = (self.filled(cta, warp, from)?, self.filled(cta, warp, by)?);
        let FragmentRole::BlockValues(shared) = self.kernel.body.fragments[by.0 as usize].role else {
            return Ok(Vec::new());
        };
        let count = inverses.len() / LANES;
        let scaled = |(i, value): (usize, &f32)| {
            let (lane, element) = (i / (ROW * ROW), i % (ROW * ROW));
            // NaN keeps the sign that it has in memory.
            if value.is_nan() { *value } else { value * inverses[lane * count + value_of(shared, element)] }
        };
        Ok(patches.iter().enumerate().map(scaled).collect())
    }

    fn store_patch(
        &mut self,
        cta: usize,
        warp: usize,
        fragments: (FragmentId, FragmentId),
        to: &GlobalTile,
        aligned: bool,
    ) -> Step {
        let block = self.block(cta, warp, to)?;
        let places = self.coordinates(warp, fragments.0);
        let values = self.scaled(cta, warp, fragments)?;
        for (row, values) in places.chunks(ROW).zip(values.chunks(ROW)) {
            let (first_row, first_col) = (i64::from(row[0].0), i64::from(row[0].1));
            let left = if first_row < block.rows { block.cols.saturating_sub(first_col) } else { 0 };
            let first = block.origin + first_row * block.row_stride + first_col;
            if aligned && left > 0 {
                self.check_aligned("writes", block.pointer, first, ROW)?;
            }
            let writes = if aligned && left > 0 { ROW as i64 } else { left };
            for (e, value) in (0i64..).zip(values).take_while(|(e, _)| *e < writes) {
                self.write_global(block.pointer, first + e, *value, false)?;
            }
        }
        Ok(())
    }

    /// Two lanes that have neighbouring rows of a column write one piece together.
    fn transpose_patch(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        fragments: (FragmentId, FragmentId),
        to: &TileRef,
    ) -> Step {
        let tile = self.tile(cta, warp, to)?;
        let places = self.coordinates(warp, fragments.0);
        let values = self.scaled(cta, warp, fragments)?;
        let mut pieces = BTreeMap::new();
        for ((row, col), value) in places.into_iter().zip(values) {
            let bytes: &mut [u8; PIECE as usize] = pieces.entry((col, row / PIECE * PIECE)).or_default();
            bytes[(row % PIECE) as usize] = encode(tile.tile.dtype, value) as u8;
        }
        for ((col, first_row), bytes) in pieces {
            let offset = tile.tile.layout.offset(col, first_row);
            let c = &mut self.ctas[cta];
            c.shared.write(tile.address(offset), bytes, warp, &c.warps[warp].known, tile.place(offset))?;
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    fn store_transposed(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        from: &TileRef,
        to: &GlobalTile,
        aligned: bool,
    ) -> Step {
        let (tile, block) = (self.tile(cta, warp, from)?, self.block(cta, warp, to)?);
        let (rows, bytes) = tile.tile.layout.shape();
        let pieces = bytes / PIECE;
        let at_once = self.kernel.contract.threads / pieces;
        for thread in (warp * LANES) as u32..((warp + 1) * LANES) as u32 {
            let col = thread % pieces * PIECE;
            for row in (thread / pieces..rows).step_by(at_once as usize) {
                let offset = tile.tile.layout.offset(row, col);
                let c = &mut self.ctas[cta];
                let piece = c.shared.read(tile.address(offset), warp, &c.warps[warp].known, tile.place(offset))?;
                let left = block.cols.saturating_sub(i64::from(col));
                let left = if i64::from(row) < block.rows { left } else { 0 };
                let first = block.origin + i64::from(row) * block.row_stride + i64::from(col);
                if aligned && left > 0 {
                    self.check_aligned("writes", block.pointer, first, PIECE as usize)?;
                }
                let writes = if aligned && left > 0 { i64::from(PIECE) } else { left };
                for (e, bits) in (0i64..).zip(piece).take_while(|(e, _)| *e < writes) {
                    let value = decode(tile.tile.dtype, u64::from(bits));
                    self.write_global(block.pointer, first + e, value, false)?;
                }
            }
        }
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }
}

/// Which of a lane's values an element of its patch shares.
const fn value_of(by: SharedBy, element: usize) -> usize {
    match by {
        SharedBy::Row => element / ROW,
        SharedBy::Column => element % ROW,
        SharedBy::Block => 0,
    }
}
