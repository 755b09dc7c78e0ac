//! Pieces through registers, as C++.

use std::ops::Range;

use super::addresses::Arithmetic;
use super::statements::{element_name, fragment, tile_address};
use super::writer::Writer;
use crate::ir::{ExprId, FragmentId, GlobalTile, TileRef};
use crate::layout::ThreadValueMap;

/// The row and the piece of a row that a thread's first piece is.
fn first_piece(w: &mut Writer<'_>, map: &ThreadValueMap) -> (ExprId, ExprId) {
    let (mut thread, per_row, all) = (w.locals.thread, map.threads[0].extent, w.kernel.contract.threads);
    let e = &mut w.exprs;
    // Some of the CTA's threads, which begin at a multiple of their number.
    if map.thread_count() < all {
        thread = e.modulo(thread, map.thread_count());
    }
    (e.over(thread, per_row), e.modulo(thread, per_row))
}

pub(super) fn write_begin(w: &mut Writer<'_>, id: FragmentId, from: &GlobalTile) {
    let f = fragment(w, id);
    let elements = f.map.values[0].extent;
    let (row, piece) = first_piece(w, &f.map);
    let all = |w: &Writer<'_>, bound: Option<ExprId>| bound.map_or(i32::MAX.to_string(), |b| w.factor(b));
    w.block("", |w| {
        let (row, piece) = (w.text(row), w.text(piece));
        w.line(&format!("const int row = {row}, col = {piece} * {elements};"));
        let pointer = &w.kernel.contract.params[from.pointer.0 as usize];
        let (origin, stride) = (w.text(from.origin), w.text(from.row_stride));
        w.line(&format!("const {}* const from = {} + ({origin})", element_name(pointer.ty), pointer.name));
        w.line(&format!("    + (row * {stride} + col);"));
        let (rows, cols) = (all(w, from.rows), all(w, from.cols));
        w.line(&format!("begin_pieces({}, from, {stride}, {rows} - row, {cols} - col);", f.name));
    });
}

pub(super) fn write_load(w: &mut Writer<'_>, to: FragmentId, pieces: &Range<u32>) {
    let f = fragment(w, to);
    w.line(&format!("load_pieces<{}, {}>({});", pieces.start, pieces.end, f.name));
}

pub(super) fn write_store(w: &mut Writer<'_>, from: FragmentId, to: &TileRef, pieces: &Range<u32>) {
    let f = fragment(w, from);
    let shared = &w.kernel.body.shared[to.tile.0 as usize];
    let (panels, rows) = (f.map.values[1], f.map.values[2]);
    let panel_bytes = shared.layout.cols.offset(panels.col);
    let row_bytes = shared.layout.rows.offset(rows.row);
    let (panel_bytes, row_bytes) =
        (if panels.extent > 1 { panel_bytes } else { 0 }, if rows.extent > 1 { row_bytes } else { 0 });
    let (row, piece) = first_piece(w, &f.map);
    let first = format!("{} + {}_piece({}, {})", tile_address(w, to), shared.name, w.text(row), w.text(piece));
    w.line(&format!(
        "store_pieces<{}, {}>({first}, {panel_bytes}, {row_bytes}, {});",
        pieces.start, pieces.end, f.name
    ));
}
