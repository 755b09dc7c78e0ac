//! Where a warpgroup's sums go in a shared tile: addresses of `stmatrix` and of ordinary stores, as expressions.

use super::addresses::Arithmetic;
use crate::ir::{Builtin, ExprId, Expressions};

/// A place in a shared tile: a 16-byte piece of a row, and a byte in it.
pub(super) struct Place {
    pub(super) row: ExprId,
    pub(super) piece: ExprId,
    pub(super) byte: ExprId,
}

/// The address that a lane gives to the `stmatrix.x4` of 16 columns: it is the row lane % 8 of the matrix lane / 8.
///
/// The matrices are a fragment's registers in order: two halves of 8 columns, each with two halves of 8 rows. `row` is
/// the warp's first row in the tile, `j` counts 16 columns at a time. A `transposed` tile stores columns as its rows.
pub(super) fn matrix(e: &mut Expressions, transposed: bool, row: ExprId, j: ExprId) -> Place {
    let lane = e.builtin(Builtin::Lane);
    let byte = e.int(0);
    let high = e.over(lane, 16);
    if transposed {
        let (first, more, in_matrix) = (e.times(j, 16), e.times(high, 8), e.modulo(lane, 8));
        let (first_piece, eighth) = (e.over(row, 8), e.over(lane, 8));
        let (col, half) = (e.plus(first, more), e.modulo(eighth, 2));
        Place { row: e.plus(col, in_matrix), piece: e.plus(first_piece, half), byte }
    } else {
        let (in_block, first) = (e.modulo(lane, 16), e.times(j, 2));
        Place { row: e.plus(row, in_block), piece: e.plus(first, high), byte }
    }
}

/// Where a lane's two neighbouring f32 columns go, of 8 columns `j` and a row half.
pub(super) fn pair(e: &mut Expressions, row: ExprId, j: ExprId, half: ExprId) -> Place {
    let lane = e.builtin(Builtin::Lane);
    let row = lane_row(e, row, half);
    let (quarter, odd, first) = (e.modulo(lane, 4), e.modulo(lane, 2), e.times(j, 2));
    let in_pieces = e.over(quarter, 2);
    Place { row, piece: e.plus(first, in_pieces), byte: e.times(odd, 8) }
}

/// Where the column `which` (0 or 1) of the pair goes in a tile that stores columns as its rows.
pub(super) fn transposed_element(e: &mut Expressions, row: ExprId, j: ExprId, half: ExprId, which: u32) -> Place {
    let lane = e.builtin(Builtin::Lane);
    let row = lane_row(e, row, half);
    let (first, quarter, on) = (e.times(j, 8), e.modulo(lane, 4), e.int(which));
    let in_columns = e.times(quarter, 2);
    let col = e.plus(first, in_columns);
    let in_piece = e.modulo(row, 4);
    Place { row: e.plus(col, on), piece: e.over(row, 4), byte: e.times(in_piece, 4) }
}

/// A lane's row of a warp's 16.
fn lane_row(e: &mut Expressions, row: ExprId, half: ExprId) -> ExprId {
    let lane = e.builtin(Builtin::Lane);
    let (halves, in_half) = (e.times(half, 8), e.over(lane, 4));
    let row = e.plus(row, halves);
    e.plus(row, in_half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::WGMMA_M;
    use crate::geometry::warpgroup_map;
    use crate::ir::{ExprKind, Scope, Type, VarId};
    use crate::layout::{Layout, bank_conflicts};

    fn evaluate(e: &Expressions, id: ExprId, vars: &[u32], lane: u32) -> u32 {
        let value = e.evaluate(id, &|kind| match kind {
            ExprKind::Var(v) => Some(i64::from(vars[v.0 as usize])),
            ExprKind::Builtin(Builtin::Lane) => Some(i64::from(lane)),
            _ => None,
        });
        u32::try_from(value.expect("all leaves are known")).expect("no offset is negative")
    }

    fn address(e: &Expressions, at: &Place, layout: &Layout, vars: &[u32], lane: u32) -> u32 {
        let [row, piece, byte] = [at.row, at.piece, at.byte].map(|x| evaluate(e, x, vars, lane));
        layout.offset(row, piece * 16 / layout.element_bytes) + byte
    }

    fn variables(e: &mut Expressions) -> Vec<ExprId> {
        (0..3).map(|n| e.var(Type::I32, Scope::Lane, VarId(n))).collect()
    }

    const BLOCKS: u32 = 2;
    const N: u32 = 64;

    fn tile(transposed: bool, element_bytes: u32) -> Layout {
        let m = BLOCKS * WGMMA_M;
        if transposed {
            Layout::swizzled_panels(N, m, element_bytes)
        } else {
            Layout::swizzled_panels(m, N, element_bytes)
        }
    }

    /// Executes every stmatrix of a fragment and compares where each lane's elements land with the fragment's map.
    #[test]
    fn stmatrix_puts_fragments_where_their_maps_say() {
        let map = warpgroup_map(BLOCKS, N, 1);
        for transposed in [false, true] {
            let layout = tile(transposed, 2);
            let mut e = Expressions::default();
            let vars = variables(&mut e);
            let at = matrix(&mut e, transposed, vars[0], vars[1]);
            for (warp, block, j) in
                (0..4).flat_map(|w| (0..BLOCKS).flat_map(move |b| (0..N / 16).map(move |j| (w, b, j))))
            {
                let addresses: Vec<u32> =
                    (0..32).map(|lane| address(&e, &at, &layout, &[warp * 16 + block * 64, j], lane)).collect();
                assert_eq!(bank_conflicts(&addresses, 16), 1, "{addresses:?}");
                for (lane, register, element) in
                    (0..32).flat_map(|l| (0..4).flat_map(move |r| (0..2).map(move |x| (l, r, x))))
                {
                    // PTX ISA, stmatrix: lane l holds elements 2 (l % 4) + {0, 1} of row l / 4; with .trans, of column.
                    let (major, minor) = (lane / 4, lane % 4 * 2 + element);
                    let (to_row, within) = if transposed { (minor, major) } else { (major, minor) };
                    let lands = addresses[(register * 8 + to_row) as usize] + within * 2;
                    let column = 2 * j + register / 2;
                    let value = block * N / 2 + column * 4 + register % 2 * 2 + element;
                    let (row, col) = map.coordinates(warp * 32 + lane, value);
                    let expected = if transposed { layout.offset(col, row) } else { layout.offset(row, col) };
                    assert_eq!(lands, expected, "warp {warp} lane {lane} register {register}");
                }
            }
        }
    }

    #[test]
    fn f32_sums_go_where_their_maps_say() {
        let map = warpgroup_map(BLOCKS, N, 1);
        for transposed in [false, true] {
            let layout = tile(transposed, 4);
            let mut e = Expressions::default();
            let vars = variables(&mut e);
            let together = pair(&mut e, vars[0], vars[1], vars[2]);
            let apart = [0, 1].map(|which| transposed_element(&mut e, vars[0], vars[1], vars[2], which));
            for (thread, value) in (0..128).flat_map(|t| (0..BLOCKS * N / 2).map(move |v| (t, v))) {
                let (element, half, j, block) = (value % 2, value / 2 % 2, value / 4 % (N / 8), value / (N / 2));
                let at = [thread / 32 * 16 + block * 64, j, half];
                let (row, col) = map.coordinates(thread, value);
                let (lands, expected) = if transposed {
                    let place = &apart[element as usize];
                    (address(&e, place, &layout, &at, thread % 32), layout.offset(col, row))
                } else {
                    (address(&e, &together, &layout, &at, thread % 32) + 4 * element, layout.offset(row, col))
                };
                assert_eq!(lands, expected, "thread {thread} value {value}");
            }
        }
    }
}
