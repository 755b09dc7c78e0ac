//! Addresses of shared tiles and fragments, as expressions derived from their layouts.

use super::writer::Writer;
use crate::ir::{BinaryOp, Builtin, ExprId, Expressions, Fragment, FragmentRole, SharedTile, Type};
use crate::layout::{CHUNK_BYTES, Layout};

/// Small builders over [`Expressions`].
pub(super) trait Arithmetic {
    fn int(&mut self, value: u32) -> ExprId;
    fn op(&mut self, op: BinaryOp, a: ExprId, b: ExprId) -> ExprId;

    fn times(&mut self, a: ExprId, factor: u32) -> ExprId {
        let factor = self.int(factor);
        self.op(BinaryOp::Mul, a, factor)
    }

    fn over(&mut self, a: ExprId, divisor: u32) -> ExprId {
        let divisor = self.int(divisor);
        self.op(BinaryOp::Div, a, divisor)
    }

    fn modulo(&mut self, a: ExprId, modulus: u32) -> ExprId {
        let modulus = self.int(modulus);
        self.op(BinaryOp::Rem, a, modulus)
    }

    fn plus(&mut self, a: ExprId, b: ExprId) -> ExprId {
        self.op(BinaryOp::Add, a, b)
    }
}

impl Arithmetic for Expressions {
    fn int(&mut self, value: u32) -> ExprId {
        self.constant(Type::I32, i64::from(value))
    }

    fn op(&mut self, op: BinaryOp, a: ExprId, b: ExprId) -> ExprId {
        self.binary(op, a, b)
    }
}

/// Elements of a 16-byte piece.
pub(super) fn piece_elements(layout: &Layout) -> u32 {
    CHUNK_BYTES / layout.element_bytes
}

/// The byte offset of a 16-byte piece of a tile in swizzled panels (see [`Layout::swizzled_panels`]).
///
/// Written as `row · bytes + ((piece ^ row's share) % pieces) · 16`, not as an exclusive-or of the whole offset: all but
/// the row's multiple is then the same for every 8th row, and compilers keep it in one register.
fn piece_offset(e: &mut Expressions, layout: &Layout, row: ExprId, piece: ExprId) -> ExprId {
    let row_bytes = layout.rows.0[0].stride;
    let pieces = row_bytes / CHUNK_BYTES;
    let rows = e.times(row, row_bytes);
    // Rows that share one pattern: in canonical tiles those within 128 bytes.
    let pattern = e.over(row, (1 << (layout.swizzle.base + layout.swizzle.shift)) / row_bytes);
    let pattern = e.times(pattern, (1 << layout.swizzle.base) / CHUNK_BYTES);
    let swizzled = e.op(BinaryOp::Xor, piece, pattern);
    let swizzled = e.modulo(swizzled, pieces);
    let in_row = e.times(swizzled, CHUNK_BYTES);
    let offset = e.plus(rows, in_row);
    match layout.cols.0.get(1) {
        Some(panels) if panels.extent > 1 => {
            let panel = e.over(piece, pieces);
            let panel = e.times(panel, panels.stride);
            e.plus(panel, offset)
        }
        _ => offset,
    }
}

/// Writes the function that gives the byte offset of a piece of a tile.
pub(super) fn write_piece_function(w: &mut Writer<'_>, tile: &SharedTile) {
    let (row, piece) = (w.locals.row, w.locals.piece);
    let offset = piece_offset(&mut w.exprs, &tile.layout, row, piece);
    let ((rows, cols), row_bytes) = (tile.layout.shape(), tile.layout.rows.0[0].stride);
    let panels = tile.layout.cols.0.get(1).map_or(1, |d| d.extent);
    let in_panels = if panels > 1 { format!("{panels} panels, ") } else { String::new() };
    w.line(&format!("// Byte offset of a 16-byte piece in one of {}, each [{rows}, {cols}]:", tile.name));
    w.line(&format!("// {in_panels}rows of {row_bytes} bytes, pieces swizzled by row."));
    w.block(&format!("__device__ __forceinline__ uint32 {}_piece(uint32 row, uint32 piece)", tile.name), |w| {
        let text = w.text(offset);
        w.line(&format!("return {text};"));
    });
    w.line("");
}

/// The address that a lane gives to one `ldmatrix.x4`, split so that the lane's share is the same for all loads of a
/// fragment: `((address of piece in row) ^ flip) + on`.
pub(super) struct MatrixRow {
    /// The lane's row of the tile.
    pub(super) row: ExprId,
    /// The lane's piece of that row.
    pub(super) piece: ExprId,
    /// Pieces further on in the same row and panel. They flip address bits that the lane's piece has as 0, and the
    /// swizzle, an exclusive-or itself, lets them.
    pub(super) flip: ExprId,
    /// Bytes further on: whole panels, or rows by a multiple of the swizzle's period.
    pub(super) on: ExprId,
}

/// The address from which a lane reads words of a tile of 4-byte elements whose rows are the reduction, split likewise:
/// `((address of piece in row) + byte ^ flip) + on`. A register's 32 words are eight neighbours of four rows.
pub(super) struct MatrixWord {
    pub(super) at: MatrixRow,
    /// The lane's word of its piece.
    pub(super) byte: ExprId,
}

/// That address for registers of the side's `group`, 16 neighbours of A or 8 of B, in their `half` of 8; `deep` says which
/// half of the step, `warp` the warp's index along the side.
pub(super) fn matrix_word(
    e: &mut Expressions,
    fragment: &Fragment,
    layout: &Layout,
    warp: ExprId,
    (group, half): (ExprId, ExprId),
    step: ExprId,
    deep: u32,
) -> MatrixWord {
    let is_a = fragment.role == FragmentRole::OperandA;
    let lane = e.builtin(Builtin::Lane);
    let side_of_warp = fragment.map.threads.iter().skip(2).map(|m| m.row).max().unwrap_or(0);
    let (elements, row_bytes) = (piece_elements(layout), layout.rows.0[0].stride);
    let (row, eighth) = (e.modulo(lane, 4), e.over(lane, 4));
    let (warp_part, in_eight) = (e.times(warp, side_of_warp / elements), e.over(lane, 16));
    let piece = e.plus(warp_part, in_eight);
    let word = e.modulo(eighth, elements);
    let byte = e.times(word, 4);
    // Eights of the side in a panel and past it, of which a group of A has two.
    let eights_of_panel = row_bytes / 4 / 8;
    let of_group = if is_a { 2 } else { 1 };
    let groups_of_panel = eights_of_panel / of_group;
    let (in_panel, panels_on) = if side_of_warp / 8 > eights_of_panel {
        let panel = e.over(group, groups_of_panel);
        let stride = layout.cols.0.get(1).map_or(0, |d| d.stride);
        (e.modulo(group, groups_of_panel), e.times(panel, stride))
    } else {
        (group, e.int(0))
    };
    let flip = e.times(in_panel, of_group * 32);
    let half = e.times(half, 32);
    let flip = if is_a { e.plus(flip, half) } else { flip };
    let depth = crate::geometry::mma_k(4);
    let rows_on = e.times(step, depth * row_bytes);
    let deep = e.int(deep * depth / 2 * row_bytes);
    let on = e.plus(panels_on, rows_on);
    let on = e.plus(on, deep);
    MatrixWord { at: MatrixRow { row, piece, flip, on }, byte }
}

/// The address that a lane gives to one `ldmatrix.x4`.
///
/// The four matrices are the fragment's registers in order; lane l gives row l % 8 of matrix l / 8. The fragment's map
/// counts (side, reduction); a `transposed` tile stores the reduction as its rows. `group` is the index of the x4 load
/// along the fragment's side, `step` the k16 step, `warp` the warp's index along the side.
pub(super) fn matrix_row(
    e: &mut Expressions,
    fragment: &Fragment,
    layout: &Layout,
    transposed: bool,
    warp: ExprId,
    group: ExprId,
    step: ExprId,
) -> MatrixRow {
    /// Rows or columns of the side that one x4 load fills.
    const SIDE: u32 = 16;
    let values = &fragment.map.values;
    let (low, high) = (values[1], values[2]); // what bits 0 and 1 of the matrix' number add
    debug_assert!((low.row > 0) != (high.row > 0), "one bit for the side, one for the reduction");
    let lane = e.builtin(Builtin::Lane);
    let high_bit = e.over(lane, 16);
    let side_of_warp = fragment.map.threads.iter().skip(2).map(|m| m.row).max().unwrap_or(0);
    let elements = piece_elements(layout);
    let row_bytes = layout.rows.0[0].stride;

    // The coordinate that the tile stores as rows takes lane % 8 and the bit that points along it; the other, which is
    // contiguous, takes the other bit and is counted in pieces.
    let low_on_rows = (low.row > 0) != transposed;
    let (on_rows, on_pieces) = if low_on_rows {
        (e.modulo(lane, 16), high_bit) // lane % 8 + lane / 8 % 2 * 8
    } else {
        let (in_matrix, rows) = (e.modulo(lane, 8), e.times(high_bit, 8));
        let eighth = e.over(lane, 8);
        (e.plus(in_matrix, rows), e.modulo(eighth, 2))
    };
    if transposed {
        let warp_part = e.times(warp, side_of_warp / elements);
        let piece = e.plus(warp_part, on_pieces);
        let rows_on = e.times(step, crate::geometry::mma_k(layout.element_bytes) * row_bytes);
        let groups_of_panel = row_bytes / CHUNK_BYTES * elements / SIDE;
        let (in_panel, panels_on) = if side_of_warp / SIDE > groups_of_panel {
            let panel = e.over(group, groups_of_panel);
            let stride = layout.cols.0.get(1).map_or(0, |d| d.stride);
            (e.modulo(group, groups_of_panel), e.times(panel, stride))
        } else {
            (group, e.int(0))
        };
        let flip = e.times(in_panel, SIDE / elements * CHUNK_BYTES);
        MatrixRow { row: on_rows, piece, flip, on: e.plus(panels_on, rows_on) }
    } else {
        let warp_part = e.times(warp, side_of_warp);
        let flip = e.times(step, crate::geometry::mma_k(layout.element_bytes) / elements * CHUNK_BYTES);
        let on = e.times(group, SIDE * row_bytes);
        MatrixRow { row: e.plus(warp_part, on_rows), piece: on_pieces, flip, on }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::dtype::Dtype;
    use crate::geometry;
    use crate::ir::{ExprKind, Scope, VarId};
    use crate::layout::bank_conflicts;
    use crate::spec::{Tile, Warps};

    fn variable(e: &mut Expressions, n: u32) -> ExprId {
        e.var(Type::I32, Scope::Lane, VarId(n))
    }

    fn evaluate(e: &Expressions, id: ExprId, vars: &[u32], lane: u32) -> u32 {
        let value = e.evaluate(id, &|kind| match kind {
            ExprKind::Var(v) => Some(i64::from(vars[v.0 as usize])),
            ExprKind::Builtin(Builtin::Lane) => Some(i64::from(lane)),
            _ => None,
        });
        u32::try_from(value.unwrap()).unwrap()
    }

    #[test]
    fn the_text_of_an_offset_is_the_layout() {
        for (rows, cols) in [(16, 64), (128, 32), (64, 16), (64, 128), (32, 256), (16, 64)] {
            for layout in [Layout::swizzled_panels(rows, cols, 2), Layout::word_panels(rows, 2 * cols)] {
                let mut e = Expressions::default();
                let (row, piece) = (variable(&mut e, 0), variable(&mut e, 1));
                let offset = piece_offset(&mut e, &layout, row, piece);
                let elements = piece_elements(&layout);
                for (r, p) in (0..rows).flat_map(|r| (0..layout.shape().1 / elements).map(move |p| (r, p))) {
                    let expected = layout.offset(r, p * elements);
                    assert_eq!(evaluate(&e, offset, &[r, p], 0), expected, "{rows}x{cols} at {r}, {p}");
                }
            }
        }
    }

    /// Executes every ldmatrix of a fragment on a tile that holds its own coordinates, and compares what each lane gets
    /// with the fragment's map. All addresses of a load must be free of bank conflicts.
    #[test]
    fn ldmatrix_fills_fragments_as_their_maps_say() {
        for (m, n, k, warps_m, warps_n) in
            [(128, 128, 64, 2, 4), (128, 256, 64, 2, 4), (128, 128, 32, 2, 2), (64, 256, 64, 2, 2), (64, 64, 32, 2, 2)]
        {
            let (tile, warps) = (Tile { m, n, k }, Warps { m: warps_m, n: warps_n });
            for (role, map, side) in [
                (FragmentRole::OperandA, geometry::a_fragment_map(tile, warps, 2), tile.m),
                (FragmentRole::OperandB, geometry::b_fragment_map(tile, warps, 2), tile.n),
            ] {
                let fragment = Fragment { name: "f".into(), dtype: Dtype::Bf16, role, map, slots: 1 };
                check_fragment(&fragment, &Layout::swizzled_panels(side, tile.k, 2), false, tile.k / 16, warps);
                check_fragment(&fragment, &Layout::swizzled_panels(tile.k, side, 2), true, tile.k / 16, warps);
            }
            // Matrices of 8 rows of 16 bytes are as good for elements of 8 or 32 bits that lie along the reduction.
            for (dtype, bytes, k) in [(Dtype::E4m3, 1, 2 * tile.k), (Dtype::F32, 4, tile.k / 2)] {
                for (role, map, side) in [
                    (FragmentRole::OperandA, geometry::a_fragment_map(tile, warps, bytes), tile.m),
                    (FragmentRole::OperandB, geometry::b_fragment_map(tile, warps, bytes), tile.n),
                ] {
                    let fragment = Fragment { name: "f".into(), dtype, role, map, slots: 1 };
                    let steps = k / geometry::mma_k(bytes);
                    check_fragment(&fragment, &Layout::swizzled_panels(side, k, bytes), false, steps, warps);
                    if dtype == Dtype::F32 {
                        check_words(&fragment, &Layout::word_panels(k, side), steps, warps);
                    }
                }
            }
        }
    }

    /// The same for words that lanes read one by one.
    fn check_words(fragment: &Fragment, layout: &Layout, steps: u32, warps: Warps) {
        let mut e = Expressions::default();
        let vars: Vec<ExprId> = (0..4).map(|n| variable(&mut e, n)).collect();
        let (warp, group, half, step) = (vars[0], vars[1], vars[2], vars[3]);
        let at = [0, 1].map(|deep| matrix_word(&mut e, fragment, layout, warp, (group, half), step, deep));
        let is_a = fragment.role == FragmentRole::OperandA;
        let registers = if is_a { 4 } else { 2 };
        for (value, warp) in (0..fragment.map.value_count()).flat_map(|v| (0..warps.count()).map(move |w| (v, w))) {
            let (group, register) = (value / registers, value % registers);
            let (half, deep) = if is_a { (register % 2, register / 2) } else { (0, register) };
            let along_side = if is_a { warp % warps.m } else { warp / warps.m };
            let MatrixWord { at, byte } = &at[deep as usize];
            for step in 0..steps {
                let address = |lane: u32| {
                    let [row, piece, flip, on, byte] = [at.row, at.piece, at.flip, at.on, *byte]
                        .map(|x| evaluate(&e, x, &[along_side, group, half, step], lane));
                    ((layout.offset(row, piece * 4) + byte) ^ flip) + on
                };
                let addresses: Vec<u32> = (0..32).map(address).collect();
                assert_eq!(bank_conflicts(&addresses, 4), 1, "{addresses:?}");
                for (lane, address) in (0..).zip(addresses) {
                    let (side, k) = fragment.map.coordinates(warp * 32 + lane, value);
                    assert_eq!(address, layout.offset(k + step * 8, side), "lane {lane} register {register}");
                }
            }
        }
    }

    fn check_fragment(fragment: &Fragment, layout: &Layout, transposed: bool, steps: u32, warps: Warps) {
        let (rows, cols) = layout.shape();
        let stored_at: HashMap<u32, (u32, u32)> = (0..rows)
            .flat_map(|r| (0..cols).map(move |c| (r, c)))
            .map(|(r, c)| (layout.offset(r, c), (r, c)))
            .collect();
        let mut e = Expressions::default();
        let vars: Vec<ExprId> = (0..3).map(|n| variable(&mut e, n)).collect();
        let at = matrix_row(&mut e, fragment, layout, transposed, vars[0], vars[1], vars[2]);
        // A register holds so many neighbours, which a matrix' row has four times.
        let neighbours = fragment.map.values[0].extent;
        let bytes = layout.element_bytes;
        let groups = fragment.map.value_count() / (4 * neighbours);
        for warp in 0..warps.count() {
            let along_side = if fragment.role == FragmentRole::OperandA { warp % warps.m } else { warp / warps.m };
            for (group, step) in (0..groups).flat_map(|g| (0..steps).map(move |s| (g, s))) {
                let address = |lane: u32| {
                    let [row, piece, flip, on] =
                        [at.row, at.piece, at.flip, at.on].map(|x| evaluate(&e, x, &[along_side, group, step], lane));
                    (layout.offset(row, piece * CHUNK_BYTES / bytes) ^ flip) + on
                };
                let addresses: Vec<u32> = (0..32).map(address).collect();
                assert_eq!(bank_conflicts(&addresses, 16), 1, "{addresses:?}");
                for (lane, register, element) in
                    (0..32).flat_map(|l| (0..4).flat_map(move |r| (0..neighbours).map(move |e| (l, r, e))))
                {
                    // PTX ISA, ldmatrix: without .trans, lane l gets the four bytes from 4 (l % 4) on of row l / 4; with
                    // .trans, elements 2 (l % 4) + {0, 1} of column l / 4.
                    let (major, minor) = (lane / 4, lane % 4 * neighbours + element);
                    let (from_row, within) = if transposed { (minor, major) } else { (major, minor) };
                    let stored = stored_at[&(addresses[(register * 8 + from_row) as usize] + within * bytes)];
                    let got = if transposed { (stored.1, stored.0) } else { stored };
                    let value = (group * 4 + register) * neighbours + element;
                    let (side, k) = fragment.map.coordinates(warp * 32 + lane, value);
                    assert_eq!(got, (side, k + step * geometry::mma_k(bytes)), "lane {lane} register {register}");
                }
            }
        }
    }
}
