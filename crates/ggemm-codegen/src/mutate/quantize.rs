//! Faults in quantization's statements.

use crate::ir::{ExprId, GlobalTile, Op, Quantize};

/// Whether a statement is dropped. Twice, each does what it did once, or writes twice what is written once.
pub(super) const fn is_dropped(op: &Op) -> bool {
    matches!(op, Op::Quantize(_))
}

/// The slot of the shared tile that a statement names.
pub(super) fn slots_of(step: &mut Quantize) -> Vec<&mut ExprId> {
    match step {
        Quantize::KeepPatch { to: tile, .. }
        | Quantize::RestorePatch { from: tile, .. }
        | Quantize::StoreMaxima { to: tile, .. }
        | Quantize::LoadMaxima { from: tile, .. }
        | Quantize::TellMaxima { to: tile, .. }
        | Quantize::TransposePatch { to: tile, .. }
        | Quantize::StoreTransposed { from: tile, .. } => vec![&mut tile.slot],
        _ => Vec::new(),
    }
}

/// The expressions that a statement evaluates, with what they are to it.
pub(super) fn uses(step: &mut Quantize) -> Vec<(&'static str, &mut ExprId)> {
    let Some(GlobalTile { origin, row_stride, rows, cols, .. }) = step.block_mut() else { return Vec::new() };
    let mut all = vec![("origin", origin), ("row stride", row_stride)];
    all.extend(rows.as_mut().map(|e| ("rows", e)));
    all.extend(cols.as_mut().map(|e| ("cols", e)));
    all
}
