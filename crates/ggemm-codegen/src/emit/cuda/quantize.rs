//! Quantization, as C++.

use super::statements::{element_name, fragment, tile_address};
use super::writer::Writer;
use crate::ir::{ExprId, Fragment, FragmentRole, GlobalTile, Quantize, SharedBy, TileRef};
use crate::layout::CHUNK_BYTES;

/// What holds the values of what shares one.
pub(super) fn type_name(f: &Fragment, by: SharedBy) -> String {
    let lanes = lanes(f);
    match by {
        SharedBy::Row => format!("OfRows<{lanes}>"),
        SharedBy::Column => format!("OfColumns<{lanes}>"),
        SharedBy::Block => "OfBlock".to_owned(),
    }
}

/// Lanes of a warp that lie along the columns.
fn lanes(f: &Fragment) -> u32 {
    f.map.threads[0].extent
}

/// Threads of the CTA that lie side by side, along the columns.
fn abreast(f: &Fragment) -> u32 {
    f.map.threads.iter().filter(|m| m.row == 0).map(|m| m.extent).product()
}

pub(super) fn write_step(w: &mut Writer<'_>, step: &Quantize) {
    match step {
        Quantize::LoadPatch { to, from, aligned } => {
            let (to, aligned) = (fragment(w, *to), w.text(*aligned));
            let name = &to.name;
            w.block("", |w| {
                let Patch { stride, rows, cols } = write_patch(w, to, "from", from);
                w.line(&format!("load_patch({name}, from, {stride}, {rows}, {cols}, {aligned});"));
            });
        }
        Quantize::KeepPatch { from, to } => {
            let (name, tile, threads) = (&fragment(w, *from).name, tile_address(w, to), w.kernel.contract.threads);
            w.line(&format!("keep_patch<{threads}>({tile}, {name}, thread);"));
        }
        Quantize::RestorePatch { to, from } => {
            let (name, tile, threads) = (&fragment(w, *to).name, tile_address(w, from), w.kernel.contract.threads);
            w.line(&format!("restore_patch<{threads}>({name}, {tile}, thread);"));
        }
        Quantize::FoldMaxima { into, from } => {
            w.line(&format!("fold_maxima({}, {});", fragment(w, *into).name, fragment(w, *from).name));
        }
        Quantize::ReduceMaxima { fragment: id } => {
            w.line(&format!("reduce_maxima({}, thread);", fragment(w, *id).name))
        }
        Quantize::StoreMaxima { from, to } => {
            let (name, tile) = (&fragment(w, *from).name, tile_address(w, to));
            w.line(&format!("store_maxima({tile}, {name}, thread);"));
        }
        Quantize::LoadMaxima { to, from } => {
            let (name, tile) = (&fragment(w, *to).name, tile_address(w, from));
            let (rows, _) = w.kernel.body.shared[from.tile.0 as usize].layout.shape();
            w.line(&format!("load_maxima<{rows}>({name}, {tile}, thread);"));
        }
        Quantize::TellMaxima { from, to } => {
            let (name, tile) = (&fragment(w, *from).name, tile_address(w, to));
            let (warps, ctas) = (w.kernel.contract.threads / 32, w.kernel.contract.cluster);
            w.line(&format!("tell_maxima<{ctas}, {warps}>({tile}, {name}, thread);"));
        }
        Quantize::MakeScales { fragment: id, format, powers_of_two } => {
            let (name, powers_of_two) = (&fragment(w, *id).name, w.text(*powers_of_two));
            w.line(&format!("make_scales<{format}>({name}, {powers_of_two});"));
        }
        Quantize::StoreScales { from, to } => write_store_scales(w, fragment(w, *from), to),
        Quantize::InvertScales { fragment: id } => w.line(&format!("invert_scales({});", fragment(w, *id).name)),
        Quantize::StorePatch { from, by, to, aligned } => {
            let (patch, by) = (fragment(w, *from), &fragment(w, *by).name);
            let aligned = w.text(*aligned);
            w.block("", |w| {
                let Patch { stride, rows, cols } = write_patch(w, patch, "to", to);
                let patch = &patch.name;
                w.line(&format!("store_patch(to, {stride}, {patch}, {by}, thread, {rows}, {cols}, {aligned});"));
            });
        }
        Quantize::TransposePatch { from, by, to } => {
            let (patch, by) = (fragment(w, *from), &fragment(w, *by).name);
            let (lanes, patch) = (lanes(patch), &patch.name);
            let tile = &w.kernel.body.shared[to.tile.0 as usize];
            let (address, row_bytes) = (tile_address(w, to), tile.layout.rows.0[0].stride);
            w.block("", |w| {
                let (pair, half) = (2 * lanes, format!("thread / {lanes} % 2"));
                w.line(&format!("const int col = thread % {lanes} * 8, piece = thread / {pair}, half = {half};"));
                w.line(&format!("const uint32 to = {address} + {}_piece(col, piece) + half * 8;", tile.name));
                w.line(&format!("transpose_patch<{}>(to, {row_bytes}, {patch}, {by}, thread);", tile.dtype));
            });
        }
        Quantize::StoreTransposed { from, to, aligned } => write_store_transposed(w, from, to, *aligned),
    }
}

/// How a thread's patch lies in a block of device memory.
struct Patch {
    /// Elements between rows.
    stride: String,
    /// Its rows and columns that exist.
    rows: String,
    cols: String,
}

/// Declares a pointer to the first element of the thread's patch.
fn write_patch(w: &mut Writer<'_>, f: &Fragment, pointer: &str, block: &GlobalTile) -> Patch {
    let abreast = abreast(f);
    w.line(&format!("const int row = thread / {abreast} * 8, col = thread % {abreast} * 8;"));
    write_pointer(w, pointer, block, &format!("row * {} + col", w.factor(block.row_stride)));
    let left = |w: &Writer<'_>, bound: Option<ExprId>, before: &str| {
        bound.map_or("8".to_owned(), |bound| format!("{} - {before}", w.summand(bound)))
    };
    Patch { stride: w.text(block.row_stride), rows: left(w, block.rows, "row"), cols: left(w, block.cols, "col") }
}

/// Declares a pointer into a block of device memory.
fn write_pointer(w: &mut Writer<'_>, name: &str, block: &GlobalTile, place: &str) {
    let param = &w.kernel.contract.params[block.pointer.0 as usize];
    let is_read = if name == "from" { "const " } else { "" };
    let (ty, origin) = (element_name(param.ty), w.text(block.origin));
    let end = if place.is_empty() { ";" } else { "" };
    w.line(&format!("{is_read}{ty}* const {name} = {} + ({origin}){end}", param.name));
    match place.contains(' ') {
        true => w.line(&format!("    + ({place});")),
        false if !place.is_empty() => w.line(&format!("    + {place};")),
        false => {}
    }
}

fn write_store_scales(w: &mut Writer<'_>, f: &Fragment, to: &GlobalTile) {
    let FragmentRole::BlockValues(by) = f.role else { unreachable!("scales are written from scales") };
    let left = |w: &Writer<'_>, bound: Option<ExprId>, before: &str| {
        bound.map_or("8".to_owned(), |bound| format!("{} - {before}", w.summand(bound)))
    };
    w.block("", |w| match by {
        SharedBy::Row => {
            w.line(&format!("const int row = thread / {} * 8;", abreast(f)));
            write_pointer(w, "to", to, &format!("row * {}", w.factor(to.row_stride)));
            let (stride, rows) = (w.text(to.row_stride), left(w, to.rows, "row"));
            w.line(&format!("store_scales(to, {stride}, {}, thread, {rows});", f.name));
        }
        SharedBy::Column => {
            w.line(&format!("const int col = thread % 32 * {};", lanes(f) / 4));
            write_pointer(w, "to", to, "col");
            let cols = left(w, to.cols, "col");
            w.line(&format!("store_scales(to, {}, thread, {cols});", f.name));
        }
        SharedBy::Block => {
            write_pointer(w, "to", to, "");
            w.line(&format!("store_scales(to, {}, thread);", f.name));
        }
    });
}

fn write_store_transposed(w: &mut Writer<'_>, from: &TileRef, to: &GlobalTile, aligned: ExprId) {
    let tile = &w.kernel.body.shared[from.tile.0 as usize];
    let (rows, bytes) = tile.layout.shape();
    let pieces = bytes / CHUNK_BYTES;
    let at_once = w.kernel.contract.threads / pieces;
    let address = tile_address(w, from);
    w.block("", |w| {
        w.line(&format!("const int piece = thread % {pieces};"));
        write_pointer(w, "to", to, &format!("piece * {CHUNK_BYTES}"));
        let (stride, aligned) = (w.factor(to.row_stride), w.text(aligned));
        let left = match to.cols {
            Some(cols) => format!("{} - piece * {CHUNK_BYTES}", w.summand(cols)),
            None => CHUNK_BYTES.to_string(),
        };
        let left = match to.rows {
            Some(rows) => format!("row < {} ? {left} : 0", w.summand(rows)),
            None => left,
        };
        let i = w.locals.i;
        w.unrolled(i, rows / at_once, |w| {
            w.line(&format!("const int row = thread / {pieces} + i * {at_once};"));
            let place = format!("{address} + {}_piece(row, piece)", tile.name);
            w.line(&format!("store_piece(to + row * {stride}, {place}, {left}, {aligned});"));
        });
    });
}
