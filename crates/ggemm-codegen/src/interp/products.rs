//! Products of warpgroups: they read shared memory and own their accumulator until waited for.

use std::collections::HashMap;
use std::rc::Rc;

use half::{bf16, f16};

use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::memory::{decode, encode};
use super::schedule::Policy;
use super::shared::{Bytes, PIECE, SharedMemory};
use super::warp::LANES;
use crate::descriptor::{WGMMA_M, wgmma_k};
use crate::dtype::Dtype;
use crate::geometry::MMA_M;
use crate::ir::{ExprId, FragmentId, OuterScales, SharedId, SharedTile, Stmt, TileRef, WarpgroupMultiply};

/// A product on its way: what one warp contributes to its warpgroup's.
pub(super) struct Product<'k> {
    accumulator: FragmentId,
    keep: bool,
    a: Operand<'k>,
    b: Operand<'k>,
    done: bool,
}

/// A step along the reduction of a tile.
struct Operand<'k> {
    tile: &'k SharedTile,
    /// Byte address of the tile.
    address: u32,
    is_mn_major: bool,
    /// Rows or columns.
    sides: u32,
    /// In the order of their rows or columns.
    pieces: Rc<[Piece]>,
}

/// Where the pieces of operands lie, which every step of every block asks again: by tile, major, rows or columns (the
/// first and how many) and first k.
pub(super) type Pieces = HashMap<(SharedId, bool, (u32, u32), u32), Rc<[Piece]>>;

/// 16 bytes of an operand.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Byte offset in the tile.
    offset: u32,
    /// The first element's row or column of the operand, and its k.
    side: u32,
    k: u32,
}

/// The pieces of a step that begins at `first_k`.
fn pieces(tile: &SharedTile, is_mn_major: bool, side: (u32, u32), first_k: u32) -> Rc<[Piece]> {
    let offset = |s: u32, k: u32| {
        let (s, k) = (side.0 + s, first_k + k);
        if is_mn_major { tile.layout.offset(k, s) } else { tile.layout.offset(s, k) }
    };
    let element_bytes = tile.dtype.size_bytes();
    let elements = PIECE / element_bytes;
    let (sides, depths) = if is_mn_major { (elements, 1) } else { (1, elements) };
    (0..side.1)
        .step_by(sides as usize)
        .flat_map(|s| (0..wgmma_k(element_bytes)).step_by(depths as usize).map(move |k| (s, k)))
        .map(|(s, k)| Piece { offset: offset(s, k) / PIECE * PIECE, side: s, k })
        .collect()
}

impl Operand<'_> {
    /// The elements of `count` rows or columns from `first` on: all of them for one k, then for the next.
    fn elements(&self, shared: &SharedMemory, first: u32, count: u32) -> Vec<f64> {
        let mut elements = vec![0.0; (count * wgmma_k(self.tile.dtype.size_bytes())) as usize];
        let from = self.pieces.partition_point(|p| p.side < first);
        let until = self.pieces.partition_point(|p| p.side < first + count);
        for piece in &self.pieces[from..until] {
            let at = (piece.k * count + piece.side - first) as usize;
            let apart = if self.is_mn_major { 1 } else { count as usize };
            let to = elements[at..].iter_mut().step_by(apart);
            decode_piece(self.tile.dtype, shared.bytes(self.address + piece.offset), to);
        }
        elements
    }
}

/// Decodes 16 bytes.
fn decode_piece<'e>(dtype: Dtype, bytes: Bytes, to: impl Iterator<Item = &'e mut f64>) {
    fn each<'e, const SIZE: usize>(
        bytes: Bytes,
        to: impl Iterator<Item = &'e mut f64>,
        value: impl Fn([u8; SIZE]) -> f32,
    ) {
        let (elements, _) = bytes.as_chunks::<SIZE>();
        to.zip(elements).for_each(|(to, element)| *to = f64::from(value(*element)));
    }
    match dtype {
        Dtype::E4m3 | Dtype::E5m2 => each(bytes, to, |[byte]| decode(dtype, u64::from(byte))),
        Dtype::Bf16 => each(bytes, to, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        Dtype::F16 => each(bytes, to, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::F32 => each(bytes, to, f32::from_le_bytes),
    }
}

impl<'k> Machine<'k, '_> {
    /// The accumulator's first row and column of the warpgroup that a warp is of, and its blocks of 64 rows.
    fn share(&self, warp: usize, fragment: FragmentId) -> (u32, u32, u32, u32) {
        let map = &self.kernel.body.fragments[fragment.0 as usize].map;
        let (row, col) = map.coordinates((warp / 4 * 4 * LANES) as u32, 0);
        let values = &map.values;
        (row, col, values[2].extent * values[2].col, values[3].extent)
    }

    pub(super) fn fence_products(&mut self, cta: usize, warp: usize) {
        self.ctas[cta].warps[warp].registers.iter_mut().for_each(|r| r.touched = false);
    }

    pub(super) fn warpgroup_multiply(&mut self, cta: usize, warp: usize, stmt: &Stmt, p: &WarpgroupMultiply) -> Step {
        let name = || self.kernel.body.fragments[p.accumulator.0 as usize].name.clone();
        let keep = self.uniform(cta, warp, p.keep)? != 0;
        let (row, col, _, blocks) = self.share(warp, p.accumulator);
        let n = p.width(&self.kernel.body.fragments[p.accumulator.0 as usize]);
        let registers = &self.ctas[cta].warps[warp].registers[p.accumulator.0 as usize];
        if registers.touched {
            return Err(FindingKind::MissingProductFence { fragment: name() });
        }
        if keep && !registers.filled[0] && registers.in_flight == 0 {
            return Err(FindingKind::UninitializedFragment { fragment: name() });
        }
        let step = self.uniform(cta, warp, p.step)?;
        let a = self.operand(cta, warp, &p.a, p.a_is_mn_major, (row, blocks * WGMMA_M), step)?;
        let b = self.operand(cta, warp, &p.b, p.b_is_mn_major, (col + p.first, n), step)?;
        let c = &mut self.ctas[cta];
        for operand in [&a, &b] {
            for &Piece { offset, .. } in operand.pieces.iter() {
                let place = || super::finding::Place {
                    tile: operand.tile.name.clone(),
                    slot: (operand.address - operand.tile.offset) / operand.tile.layout.bytes(),
                    offset,
                };
                let known = &c.warps[warp].known;
                c.shared.begin_read(operand.address + offset, warp, known, "wgmma", place)?;
            }
        }
        let accumulator = p.accumulator;
        c.warps[warp].registers[accumulator.0 as usize].in_flight += 1;
        c.warps[warp].products_open.push(Product { accumulator, keep, a, b, done: false });
        if self.settings.policy == Policy::Eager {
            self.progress_products(cta, warp, usize::MAX);
        }
        self.note(cta, warp, stmt, String::new());
        Ok(())
    }

    fn operand(
        &mut self,
        cta: usize,
        warp: usize,
        tile: &TileRef,
        is_mn_major: bool,
        side: (u32, u32),
        step: i64,
    ) -> Step<Operand<'k>> {
        let t = self.tile(cta, warp, tile)?;
        let (rows, cols) = t.tile.layout.shape();
        let depth = if is_mn_major { rows } else { cols };
        let of_step = wgmma_k(t.tile.dtype.size_bytes());
        let first_k = step.checked_mul(i64::from(of_step)).and_then(|k| u32::try_from(k).ok());
        let Some(first_k) = first_k.filter(|k| k.saturating_add(of_step) <= depth) else {
            return Err(FindingKind::OutsideTile { tile: t.tile.name.clone(), step });
        };
        let (id, tile, address) = (tile.tile, t.tile, t.address(0));
        let key = (id, is_mn_major, side, first_k);
        let pieces = self.operand_pieces.entry(key).or_insert_with(|| pieces(tile, is_mn_major, side, first_k)).clone();
        Ok(Operand { tile, address, is_mn_major, sides: side.1, pieces })
    }

    pub(super) fn commit_products(&mut self, cta: usize, warp: usize) {
        let w = &mut self.ctas[cta].warps[warp];
        let group = std::mem::take(&mut w.products_open);
        w.products.push_back(group);
    }

    /// Completes all but the last `pending` groups of a warp's products.
    pub(super) fn await_products(&mut self, cta: usize, warp: usize, pending: usize) {
        while self.ctas[cta].warps[warp].products.len() > pending {
            let count = self.ctas[cta].warps[warp].products.front().map_or(0, Vec::len);
            self.progress_products(cta, warp, count);
            let c = &mut self.ctas[cta];
            for product in c.warps[warp].products.pop_front().into_iter().flatten() {
                for operand in [&product.a, &product.b] {
                    for Piece { offset, .. } in operand.pieces.iter() {
                        let known = &c.warps[warp].known;
                        c.shared.end_read(operand.address + offset, warp, known);
                    }
                }
                let r = &mut c.warps[warp].registers[product.accumulator.0 as usize];
                r.in_flight -= 1;
                r.filled[0] = true;
            }
        }
    }

    /// Executes the first `count` of a warp's products in flight; they come in the order in which they were started.
    pub(super) fn progress_products(&mut self, cta: usize, warp: usize, count: usize) {
        let c = &mut self.ctas[cta];
        let w = &mut c.warps[warp];
        let mut queue = std::mem::take(&mut w.products);
        let mut open = std::mem::take(&mut w.products_open);
        for product in queue.iter_mut().flatten().chain(&mut open).take(count).filter(|p| !p.done) {
            product.done = true;
            let n = product.b.sides as usize;
            let columns = product.b.elements(&c.shared, 0, product.b.sides);
            let r = &mut w.registers[product.accumulator.0 as usize];
            let quarter = (warp % 4) as u32 * MMA_M;
            let mut sums = vec![0.0; n];
            for block in 0..product.a.sides / WGMMA_M {
                let rows = product.a.elements(&c.shared, block * WGMMA_M + quarter, MMA_M);
                for i in 0..MMA_M as usize {
                    let row = (block * WGMMA_M) as usize + i;
                    sums.fill(0.0);
                    for (x, ys) in rows[i..].iter().step_by(MMA_M as usize).zip(columns.chunks_exact(n)) {
                        sums.iter_mut().zip(ys).for_each(|(sum, y)| *sum += x * y);
                    }
                    // Products of 8-bit and 16-bit floats are exact in f64; a step is summed and rounded to f32 once.
                    for (kept, sum) in r.values[0][row * r.cols..][..n].iter_mut().zip(&sums) {
                        let before = if product.keep { f64::from(*kept) } else { 0.0 };
                        *kept = (before + sum) as f32;
                    }
                }
            }
        }
        w.products = queue;
        w.products_open = open;
    }

    /// Checks that no product owns a fragment, and notes that a thread touches it.
    pub(super) fn touch(&mut self, cta: usize, warp: usize, fragment: FragmentId) -> Step {
        let name = &self.kernel.body.fragments[fragment.0 as usize].name;
        let r = &mut self.ctas[cta].warps[warp].registers[fragment.0 as usize];
        r.touched = true;
        if r.in_flight > 0 { Err(FindingKind::AccumulatorInFlight { fragment: name.clone() }) } else { Ok(()) }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn store_fragment(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        (from, scales): (FragmentId, Option<OuterScales>),
        to: &TileRef,
        (first_row, only): (ExprId, Option<u32>),
        first_col: u32,
        transposed: bool,
    ) -> Step {
        self.touch(cta, warp, from)?;
        let tile = self.tile(cta, warp, to)?;
        let first_row = self.uniform(cta, warp, first_row)?;
        let f = &self.kernel.body.fragments[from.0 as usize];
        if !self.ctas[cta].warps[warp].registers[from.0 as usize].filled[0] {
            return Err(FindingKind::UninitializedFragment { fragment: f.name.clone() });
        }
        let (row, _, _, blocks) = self.share(warp, from);
        let (tile_rows, tile_cols) = tile.tile.layout.shape();
        let (along, across) = if transposed { (tile_cols, tile_rows) } else { (tile_rows, tile_cols) };
        let dtype = tile.tile.dtype;
        let size = dtype.size_bytes();
        let elements = PIECE / size;
        for block in (0..blocks).filter(|b| only.is_none_or(|only| only == *b)) {
            let in_tile = i64::from(row + block * WGMMA_M + (warp % 4) as u32 * MMA_M) - first_row;
            if in_tile < 0 || in_tile + i64::from(MMA_M) > i64::from(along) {
                return Err(FindingKind::OutsideTile { tile: tile.tile.name.clone(), step: in_tile });
            }
            // A piece holds neighbours along the tile's columns: the fragment's columns, or its rows.
            let (outer, inner) = if transposed { (across, MMA_M) } else { (MMA_M, across) };
            for (o, i) in (0..outer).flat_map(|o| (0..inner).step_by(elements as usize).map(move |i| (o, i))) {
                let mut bytes = [0; PIECE as usize];
                for e in 0..elements {
                    let (r, c) = if transposed { (i + e, o) } else { (o, i + e) };
                    let registers = &self.ctas[cta].warps[warp].registers[from.0 as usize];
                    let row = (block * WGMMA_M + r) as usize;
                    let sum = registers.values[0][row * registers.cols + (first_col + c) as usize];
                    let outer = self.outer_scales(cta, warp, scales)?;
                    let sum = outer.map_or(sum, |outer| outer.times(sum, (row, c as usize)));
                    let bits = encode(dtype, sum).to_le_bytes();
                    let (to, n) = ((e * size) as usize, size as usize);
                    bytes[to..to + n].copy_from_slice(&bits[..n]);
                }
                let base = in_tile as u32;
                let offset = if transposed {
                    tile.tile.layout.offset(o, base + i)
                } else {
                    tile.tile.layout.offset(base + o, i)
                };
                let c = &mut self.ctas[cta];
                let known = &c.warps[warp].known;
                c.shared.write(tile.address(offset), bytes, warp, known, tile.place(offset))?;
            }
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }
}
