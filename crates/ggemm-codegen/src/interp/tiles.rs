//! Statements on tiles and fragments.

use std::ops::Range;

use super::evaluate::LANES;
use super::finding::{FindingKind, Place};
use super::machine::{Machine, Step};
use super::memory::{ElementKind, decode, encode};
use super::schedule::Policy;
use super::shared::PIECE;
use super::warp::Piece;
use crate::dtype::Dtype;
use crate::geometry::columns_stored_together;
use crate::ir::{ExprId, FragmentId, GlobalTile, ParamId, ParamType, SharedTile, Stmt, TileRef};
use crate::layout::ThreadValueMap;
use crate::problem::IndexType;

/// Elements of a piece.
const fn elements_of_piece(dtype: Dtype) -> usize {
    (PIECE / dtype.size_bytes()) as usize
}

/// A [`GlobalTile`] with its numbers.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) pointer: ParamId,
    pub(super) origin: i64,
    pub(super) row_stride: i64,
    pub(super) rows: i64,
    pub(super) cols: i64,
}

/// The kernel's shared tile that a statement refers to.
pub(super) struct Tile<'k> {
    pub(super) tile: &'k SharedTile,
    pub(super) slot: u32,
}

impl Tile<'_> {
    pub(super) fn address(&self, offset: u32) -> u32 {
        self.tile.offset + self.slot * self.tile.layout.bytes() + offset
    }

    pub(super) fn place(&self, offset: u32) -> impl Fn() -> Place + '_ {
        move || Place { tile: self.tile.name.clone(), slot: self.slot, offset: offset / PIECE * PIECE }
    }
}

impl<'k> Machine<'k, '_> {
    pub(super) fn block(&self, cta: usize, warp: usize, from: &GlobalTile) -> Step<Block> {
        let bound = |e: Option<ExprId>| e.map_or(Ok(i64::MAX), |e| self.uniform(cta, warp, e));
        Ok(Block {
            pointer: from.pointer,
            origin: self.uniform(cta, warp, from.origin)?,
            row_stride: self.uniform(cta, warp, from.row_stride)?,
            rows: bound(from.rows)?,
            cols: bound(from.cols)?,
        })
    }

    pub(super) fn tile(&self, cta: usize, warp: usize, tile: &TileRef) -> Step<Tile<'k>> {
        let slot = self.uniform(cta, warp, tile.slot)?;
        let tile = &self.kernel.body.shared[tile.tile.0 as usize];
        match u32::try_from(slot) {
            Ok(slot) if slot < tile.slots => Ok(Tile { tile, slot }),
            _ => Err(FindingKind::NoSuchSlot { tile: tile.name.clone(), slot, slots: tile.slots }),
        }
    }

    fn name_of(&self, pointer: ParamId) -> String {
        self.kernel.contract.params[pointer.0 as usize].name.clone()
    }

    /// An element's bits.
    pub(super) fn read_global(&self, pointer: ParamId, index: i64) -> Step<u64> {
        let buffer = self.pointers[pointer.0 as usize].and_then(|o| self.memory.operand(o));
        let len = buffer.map_or(0, super::Buffer::len);
        buffer.and_then(|b| b.bits_at(index)).ok_or_else(|| FindingKind::OutOfBounds {
            access: "reads",
            operand: self.name_of(pointer),
            index,
            len,
        })
    }

    /// Entries read as i64 must be i64.
    pub(super) fn check_width(&self, pointer: ParamId, wide: bool) -> Step {
        let kind = self.pointers[pointer.0 as usize].and_then(|o| self.memory.operand(o)).map(super::Buffer::kind);
        let read = if wide { IndexType::I64 } else { IndexType::I32 };
        if kind == Some(ElementKind::Integer(read)) {
            return Ok(());
        }
        let read = if wide { "int64" } else { "int32" };
        Err(FindingKind::WrongWidth { operand: self.name_of(pointer), read })
    }

    /// An access to several elements at once starts at a multiple of their number; operands themselves are aligned.
    pub(super) fn check_aligned(&self, access: &'static str, pointer: ParamId, index: i64, elements: usize) -> Step {
        if index.rem_euclid(elements as i64) == 0 {
            return Ok(());
        }
        Err(FindingKind::Misaligned { access, operand: self.name_of(pointer), index, elements })
    }

    /// A set of a fragment's registers, if there is one.
    fn register_set(&self, cta: usize, warp: usize, fragment: FragmentId, set: ExprId) -> Step<usize> {
        let set = self.uniform(cta, warp, set)?;
        let f = &self.kernel.body.fragments[fragment.0 as usize];
        usize::try_from(set).ok().filter(|s| *s < f.slots as usize).ok_or_else(|| FindingKind::NoSuchRegisters {
            fragment: f.name.clone(),
            set,
            sets: f.slots as usize,
        })
    }

    /// The 16 bytes of a block at (row, col), of which elements that do not exist are zero and not read.
    fn read_piece(&self, dtype: Dtype, block: &Block, row: i64, col: i64) -> Step<[u8; PIECE as usize]> {
        let mut bytes = [0; PIECE as usize];
        for (c, place) in (col..).zip(bytes.chunks_exact_mut(dtype.size_bytes() as usize)) {
            if row < block.rows && c < block.cols {
                let bits = self.read_global(block.pointer, block.origin + row * block.row_stride + c)?;
                place.copy_from_slice(&bits.to_le_bytes()[..place.len()]);
            }
        }
        Ok(bytes)
    }

    pub(super) fn copy_tile(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        from: &GlobalTile,
        to: &TileRef,
        map: &ThreadValueMap,
    ) -> Step {
        let (block, tile) = (self.block(cta, warp, from)?, self.tile(cta, warp, to)?);
        let dtype = tile.tile.dtype;
        for (lane, piece) in lanes_and_pieces(map) {
            let (row, col) = map.coordinates((warp * LANES + lane) as u32, piece);
            if i64::from(row) < block.rows && i64::from(col) < block.cols {
                let first = block.origin + i64::from(row) * block.row_stride + i64::from(col);
                self.check_aligned("reads", block.pointer, first, elements_of_piece(dtype))?;
            }
            let bytes = self.read_piece(dtype, &block, i64::from(row), i64::from(col))?;
            let offset = tile.tile.layout.offset(row, col);
            let address = tile.address(offset);
            let (copy, writer) = (self.next_operation(), self.participant(cta, warp));
            let c = &mut self.ctas[cta];
            let w = &mut c.warps[warp];
            c.shared.begin_copy(address, (copy, None), writer, &w.known, tile.place(offset))?;
            let landed = self.settings.policy == Policy::Eager;
            if landed {
                c.shared.land(address, bytes);
                self.statistics.landed += 1;
            }
            w.open.push(Piece { copy, address, bytes, landed });
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Completes all but the last `pending` groups of a warp's copies.
    pub(super) fn await_copies(&mut self, cta: usize, warp: usize, pending: usize) {
        let c = &mut self.ctas[cta];
        let w = &mut c.warps[warp];
        while w.groups.len() > pending {
            for piece in w.groups.pop_front().into_iter().flatten() {
                if !piece.landed {
                    c.shared.land(piece.address, piece.bytes);
                    self.statistics.landed += 1;
                }
                c.shared.end_copy(piece.address, piece.copy, warp, &w.known);
            }
        }
    }

    pub(super) fn begin_staging(&mut self, cta: usize, warp: usize, fragment: FragmentId, from: &GlobalTile) -> Step {
        let block = self.block(cta, warp, from)?;
        self.ctas[cta].warps[warp].registers[fragment.0 as usize].block = Some(block);
        Ok(())
    }

    pub(super) fn load_staging(&mut self, cta: usize, warp: usize, to: FragmentId, pieces: &Range<u32>) -> Step {
        let f = &self.kernel.body.fragments[to.0 as usize];
        let Some(block) = self.ctas[cta].warps[warp].registers[to.0 as usize].block else {
            return Err(FindingKind::UninitializedFragment { fragment: f.name.clone() });
        };
        let elements = elements_of_piece(f.dtype);
        for (lane, piece) in (0..LANES).flat_map(|l| pieces.clone().map(move |p| (l, p))) {
            let (row, col) = f.map.coordinates((warp * LANES + lane) as u32, piece * elements as u32);
            let (row, col) = (i64::from(row), i64::from(col));
            let mut values: Vec<f32> = floats(f.dtype, &self.read_piece(f.dtype, &block, row, col)?).collect();
            // What lies in the aligned bytes beside what exists was read as well, and becomes zero when it is stored.
            if row < block.rows && col < block.cols {
                (0i64..).zip(&mut values).filter(|(e, _)| col + e >= block.cols).for_each(|(_, v)| *v = f32::NAN);
            }
            let r = &mut self.ctas[cta].warps[warp].registers[to.0 as usize];
            let at = lane * r.cols + piece as usize * elements;
            r.values[0][at..at + elements].copy_from_slice(&values);
            r.filled[piece as usize] = true;
        }
        Ok(())
    }

    pub(super) fn store_staging(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        (from, pieces): (FragmentId, &Range<u32>),
        to: &TileRef,
    ) -> Step {
        let tile = self.tile(cta, warp, to)?;
        let f = &self.kernel.body.fragments[from.0 as usize];
        let r = &self.ctas[cta].warps[warp].registers[from.0 as usize];
        let block = r.block.filter(|_| pieces.clone().all(|piece| r.filled[piece as usize]));
        let Some(block) = block else {
            return Err(FindingKind::UninitializedFragment { fragment: f.name.clone() });
        };
        let size = f.dtype.size_bytes() as usize;
        let elements = elements_of_piece(f.dtype);
        for (lane, piece) in (0..LANES).flat_map(|l| pieces.clone().map(move |p| (l, p))) {
            let (row, col) = f.map.coordinates((warp * LANES + lane) as u32, piece * elements as u32);
            let offset = tile.tile.layout.offset(row, col);
            let c = &mut self.ctas[cta];
            let w = &c.warps[warp];
            let r = &w.registers[from.0 as usize];
            let at = lane * r.cols + piece as usize * elements;
            let mut bytes = [0; PIECE as usize];
            for e in (0..elements).filter(|e| i64::from(col) + (*e as i64) < block.cols) {
                let bits = encode(f.dtype, r.values[0][at + e]).to_le_bytes();
                bytes[size * e..size * (e + 1)].copy_from_slice(&bits[..size]);
            }
            c.shared.write(tile.address(offset), bytes, warp, &w.known, tile.place(offset))?;
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn load_matrix(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        (to, to_slot): (FragmentId, ExprId),
        from: &TileRef,
        step: ExprId,
        transposed: bool,
    ) -> Step {
        let tile = self.tile(cta, warp, from)?;
        let set = self.register_set(cta, warp, to, to_slot)?;
        let step = self.uniform(cta, warp, step)?;
        let f = &self.kernel.body.fragments[to.0 as usize];
        let (side0, _) = f.map.coordinates((warp * LANES) as u32, 0);
        let c = &mut self.ctas[cta];
        let w = &mut c.warps[warp];
        let r = &mut w.registers[to.0 as usize];
        let (sides, depth) = (r.rows as u32, r.cols as u32);
        let (tile_rows, tile_cols) = tile.tile.layout.shape();
        let (tile_sides, tile_depth) = if transposed { (tile_cols, tile_rows) } else { (tile_rows, tile_cols) };
        let k0 = step.checked_mul(i64::from(depth)).and_then(|k| u32::try_from(k).ok());
        let inside = k0.filter(|k| k.saturating_add(depth) <= tile_depth && side0 + sides <= tile_sides);
        let Some(k0) = inside else {
            return Err(FindingKind::OutsideTile { tile: tile.tile.name.clone(), step });
        };
        // Rows of the tile as it is stored, and the elements of each that one matrix row takes.
        let (stored_rows, stored_cols) = if transposed { (depth, sides) } else { (sides, depth) };
        for row in 0..stored_rows {
            for col in (0..stored_cols).step_by(elements_of_piece(f.dtype)) {
                let at = if transposed { (k0 + row, side0 + col) } else { (side0 + row, k0 + col) };
                let offset = tile.tile.layout.offset(at.0, at.1);
                let bytes = c.shared.read(tile.address(offset), warp, &w.known, tile.place(offset))?;
                for (e, value) in (0u32..).zip(floats(f.dtype, &bytes)) {
                    let (side, k) = if transposed { (col + e, row) } else { (row, col + e) };
                    r.values[set][(side * depth + k) as usize] = value;
                }
            }
        }
        r.filled[set] = true;
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    pub(super) fn multiply(
        &mut self,
        cta: usize,
        warp: usize,
        accumulator: FragmentId,
        a: FragmentId,
        b: FragmentId,
        slot: ExprId,
    ) -> Step {
        let set = self.register_set(cta, warp, a, slot)?;
        let registers = &mut self.ctas[cta].warps[warp].registers;
        for (id, set) in [(accumulator, 0), (a, set), (b, set)] {
            if !registers[id.0 as usize].filled.get(set).copied().unwrap_or(false) {
                let fragment = self.kernel.body.fragments[id.0 as usize].name.clone();
                return Err(FindingKind::UninitializedFragment { fragment });
            }
        }
        let is_f32 = self.kernel.body.fragments[a.0 as usize].dtype == Dtype::F32;
        let mut sums = std::mem::take(&mut registers[accumulator.0 as usize].values[0]);
        let cols = registers[accumulator.0 as usize].cols;
        let (a, b) = (&registers[a.0 as usize], &registers[b.0 as usize]);
        let operand = |x: f32| if is_f32 { f64::from(round_to_tf32(x)) } else { f64::from(x) };
        // Products of 8-bit and 16-bit floats and of TF32 are exact in f64; a step is summed and rounded to f32 once.
        let depth = a.cols;
        let mut columns = vec![0.0f64; depth * cols];
        for (j, y) in b.values[set].chunks(depth).enumerate() {
            for (k, y) in y.iter().enumerate() {
                columns[k * cols + j] = operand(*y);
            }
        }
        let mut step = vec![0.0f64; cols];
        for (row, x) in sums.chunks_mut(cols).zip(a.values[set].chunks(depth)) {
            step.fill(0.0);
            for (x, ys) in x.iter().zip(columns.chunks(cols)) {
                let x = operand(*x);
                step.iter_mut().zip(ys).for_each(|(sum, y)| *sum += x * y);
            }
            row.iter_mut().zip(&step).for_each(|(sum, step)| *sum = (f64::from(*sum) + step) as f32);
        }
        registers[accumulator.0 as usize].values[0] = sums;
        Ok(())
    }

    pub(super) fn store_tile(
        &mut self,
        cta: usize,
        warp: usize,
        from: FragmentId,
        to: &GlobalTile,
        accumulate: Option<ExprId>,
        paired: bool,
    ) -> Step {
        self.touch(cta, warp, from)?;
        let block = self.block(cta, warp, to)?;
        let accumulate = accumulate.map_or(Ok(0), |e| self.uniform(cta, warp, e))? != 0;
        let f = &self.kernel.body.fragments[from.0 as usize];
        let (row0, col0) = f.map.coordinates((warp * LANES) as u32, 0);
        let together = match self.kernel.contract.params[to.pointer.0 as usize].ty {
            ParamType::Output(dtype) => columns_stored_together(&f.map, dtype),
            _ => 1,
        };
        if !self.ctas[cta].warps[warp].registers[from.0 as usize].filled[0] {
            return Err(FindingKind::UninitializedFragment { fragment: f.name.clone() });
        }
        for (lane, value) in (0..LANES as u32).flat_map(|l| (0..f.map.value_count()).map(move |v| (l, v))) {
            let (row, col) = f.map.coordinates(warp as u32 * LANES as u32 + lane, value);
            if i64::from(row) >= block.rows || i64::from(col) >= block.cols {
                continue;
            }
            let r = &self.ctas[cta].warps[warp].registers[from.0 as usize];
            let mut sum = r.values[0][(row - row0) as usize * r.cols + (col - col0) as usize];
            let index = block.origin + i64::from(row) * block.row_stride + i64::from(col);
            // Neighbouring columns that all exist are written together.
            if paired && col % together == 0 && i64::from(col + together) <= block.cols {
                self.check_aligned("writes", block.pointer, index, together as usize)?;
            }
            if accumulate {
                sum += decode(Dtype::F32, self.read_global(block.pointer, index)?);
            }
            let operand = self.name_of(block.pointer);
            let Some(target) = self.pointers[block.pointer.0 as usize] else { continue };
            let Some(buffer) = self.memory.operand_mut(target) else { continue };
            match buffer.write(index, sum) {
                None => {
                    return Err(FindingKind::OutOfBounds { access: "writes", operand, index, len: buffer.len() });
                }
                Some(true) => return Err(FindingKind::WrittenTwice { operand, index }),
                Some(false) => {}
            }
        }
        Ok(())
    }

    /// Writes an element whose bits are those of another.
    pub(super) fn write_bits(&mut self, pointer: ParamId, index: i64, bits: u64) -> Step {
        let operand = self.name_of(pointer);
        let Some(target) = self.pointers[pointer.0 as usize] else { return Ok(()) };
        let Some(buffer) = self.memory.operand_mut(target) else { return Ok(()) };
        let len = buffer.len();
        match buffer.write_bits(index, bits) {
            None => Err(FindingKind::OutOfBounds { access: "writes", operand, index, len }),
            Some(true) => Err(FindingKind::WrittenTwice { operand, index }),
            Some(false) => Ok(()),
        }
    }

    /// Writes an element, or adds to it.
    pub(super) fn write_global(&mut self, pointer: ParamId, index: i64, value: f32, add: bool) -> Step {
        let operand = self.name_of(pointer);
        let Some(target) = self.pointers[pointer.0 as usize] else { return Ok(()) };
        let Some(buffer) = self.memory.operand_mut(target) else { return Ok(()) };
        let len = buffer.len();
        let value = if add { buffer.get(usize::try_from(index).unwrap_or(usize::MAX)) + value } else { value };
        match buffer.write(index, value) {
            None => Err(FindingKind::OutOfBounds { access: "writes", operand, index, len }),
            Some(true) if !add => Err(FindingKind::WrittenTwice { operand, index }),
            Some(_) => Ok(()),
        }
    }
}

/// Each lane with the first element of each of its pieces.
fn lanes_and_pieces(map: &ThreadValueMap) -> impl Iterator<Item = (usize, u32)> + use<> {
    let elements = map.values[0].extent;
    let pieces = map.value_count() / elements;
    (0..LANES).flat_map(move |l| (0..pieces).map(move |p| (l, p * elements)))
}

/// The nearest value with 10 bits of fraction, ties away from zero (PTX ISA, `cvt.rna.tf32.f32`).
fn round_to_tf32(value: f32) -> f32 {
    if value.is_finite() { f32::from_bits((value.to_bits() + 0x1000) & !0x1fff) } else { value }
}

/// The elements of a piece.
fn floats(dtype: Dtype, bytes: &[u8; PIECE as usize]) -> impl Iterator<Item = f32> + '_ {
    let bits = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    bytes.chunks_exact(dtype.size_bytes() as usize).map(move |bytes| decode(dtype, bits(bytes)))
}
