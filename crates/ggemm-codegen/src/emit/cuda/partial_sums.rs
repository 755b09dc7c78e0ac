//! Sums of a part of a tile's reduction, as they lie in a CTA's slot of device memory.

use super::hopper::blocks_and_warpgroups;
use super::statements::fragment;
use super::writer::Writer;
use crate::geometry::THREADS_OF_WARPGROUP;
use crate::ir::{ExprId, FragmentId, ParamId};

pub(super) fn write_save(w: &mut Writer<'_>, from: FragmentId, place: (ParamId, ExprId)) {
    each_four(w, from, place, "float*", "save_sums");
}

pub(super) fn write_add(w: &mut Writer<'_>, to: FragmentId, place: (ParamId, ExprId)) {
    each_four(w, to, place, "const float*", "add_saved_sums");
}

/// The four sums that a thread has of 8 columns, for all of a warpgroup's sums; each lies beside those of other threads.
fn each_four(
    w: &mut Writer<'_>,
    sums: FragmentId,
    (pointer, slot): (ParamId, ExprId),
    pointer_type: &str,
    function: &str,
) {
    let f = fragment(w, sums);
    let (blocks, warpgroups) = blocks_and_warpgroups(f);
    let eights = f.map.values[2].extent;
    let all = f.map.value_count() * THREADS_OF_WARPGROUP;
    let pointer = w.kernel.contract.params[pointer.0 as usize].name.clone();
    let index = if warpgroups > 1 {
        format!("({} * {warpgroups} + warpgroup % {warpgroups})", w.factor(slot))
    } else {
        w.factor(slot)
    };
    let (i, j) = (w.locals.i, w.locals.j);
    w.block("", |w| {
        w.line(&format!(
            "{pointer_type} const of_thread = {pointer} + int64({index}) * {all} + thread % {THREADS_OF_WARPGROUP};"
        ));
        let four = 4 * THREADS_OF_WARPGROUP;
        w.unrolled(i, blocks, |w| {
            w.unrolled(j, eights, |w| {
                let at = if blocks > 1 { format!("(i * {eights} + j)") } else { "j".to_owned() };
                let block = if blocks > 1 { "i" } else { "0" };
                w.line(&format!("{function}(of_thread + {at} * {four}, {}[{block}][j]);", f.name));
            });
        });
    });
}
