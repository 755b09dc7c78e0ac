//! Rows that start anywhere, as C++.

use super::statements::{element_name, tile_address};
use super::writer::Writer;
use crate::geometry::{MMA_M, REALIGNED_AT_ONCE, THREADS_OF_WARPGROUP};
use crate::ir::{ExprId, GlobalTile, Rows, TileRef};
use crate::layout::CHUNK_BYTES;

/// Rows that a warp reads from a panel before it writes any.
const ROWS_TOGETHER: u32 = 8;

pub(super) fn write_step(w: &mut Writer<'_>, step: &Rows) {
    match step {
        Rows::Realign { from, to } => write_realign(w, from, to),
        Rows::StorePanel { from, to, accumulate } => write_store_panel(w, from, to, *accumulate),
    }
}

/// How many exist from `before` on; all, where there is no bound.
fn left(w: &Writer<'_>, bound: Option<ExprId>, before: &str) -> String {
    bound.map_or(i32::MAX.to_string(), |bound| format!("{} - {before}", w.summand(bound)))
}

fn write_realign(w: &mut Writer<'_>, from: &GlobalTile, to: &GlobalTile) {
    let warps = w.kernel.contract.threads / 32;
    let pointer = |w: &Writer<'_>, block: &GlobalTile| {
        let param = &w.kernel.contract.params[block.pointer.0 as usize];
        (element_name(param.ty), param.name.clone(), w.text(block.origin), w.factor(block.row_stride))
    };
    w.block("", |w| {
        w.line("const int row = thread / 32, col = lane * 8;");
        let (ty, name, origin, stride) = pointer(w, from);
        w.line(&format!("const {ty}* const from = {name} + ({origin})"));
        w.line(&format!("    + (row * {stride} + col);"));
        let (ty, name, origin, copy_stride) = pointer(w, to);
        w.line(&format!("{ty}* const to = {name} + ({origin})"));
        w.line(&format!("    + (row * {copy_stride} + col);"));
        let (rows, cols) = (left(w, from.rows, "row"), left(w, from.cols, "col"));
        w.line(&format!("realign<{REALIGNED_AT_ONCE}, {warps}>(to, {copy_stride}, from, {stride}, {rows}, {cols});"));
    });
}

fn write_store_panel(w: &mut Writer<'_>, from: &TileRef, to: &GlobalTile, accumulate: Option<ExprId>) {
    let tile = &w.kernel.body.shared[from.tile.0 as usize];
    let words = CHUNK_BYTES / 4;
    let piece = format!("{}_piece(row + {ROWS_TOGETHER} * j + i, lane / {words})", tile.name);
    let place = format!("{} + {piece} + lane % {words} * 4", tile_address(w, from));
    let param = &w.kernel.contract.params[to.pointer.0 as usize];
    let (ty, name) = (element_name(param.ty), param.name.clone());
    let (origin, stride) = (w.text(to.origin), w.factor(to.row_stride));
    let cols = to.cols.map_or(i32::MAX.to_string(), |cols| w.text(cols));
    w.block("", |w| {
        w.line("// The rows that this warp wrote to the panel.");
        w.line(&format!("const int row = thread % {THREADS_OF_WARPGROUP} / 32 * {MMA_M};"));
        w.line(&format!("const int left = {};", left(w, to.rows, "row")));
        w.line(&format!("{ty}* const to = {name} + ({origin});"));
        w.line(&format!("RowParts parts = parts_of_rows(to + row * {stride}, {stride}, lane, {cols});"));
        let j = w.locals.j;
        w.unrolled(j, MMA_M / ROWS_TOGETHER, |w| {
            let i = w.locals.i;
            w.line(&format!("uint32 words[{ROWS_TOGETHER}];"));
            w.unrolled(i, ROWS_TOGETHER, |w| w.line(&format!("words[i] = read_word({place});")));
            let write = |how: &str| format!("{how}_rows(parts, words, left - {ROWS_TOGETHER} * j, lane);");
            match accumulate.map(|flag| w.text(flag)) {
                None => w.line(&write("store")),
                Some(flag) => {
                    w.line(&format!("if ({flag}) {{"));
                    w.nested(|w| w.line(&write("add")));
                    w.line("} else {");
                    w.nested(|w| w.line(&write("store")));
                    w.line("}");
                }
            }
        });
    });
}
