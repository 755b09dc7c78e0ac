//! Scales of fp8 operands as C++: their way into registers, and where they meet sums.

use super::addresses::Arithmetic;
use super::hopper::{barrier_address, write_row_of_warp};
use super::statements::{fragment, tile_address};
use super::writer::Writer;
use crate::geometry::MMA_N;
use crate::ir::{
    Builtin, CopyScales, ExprId, Fragment, FragmentId, FragmentRole, LoadScales, OuterScales, Promote, ReadScales,
    ScaleSums,
};
use crate::layout::Layout;
use crate::scaling::SCALE_BLOCK;

/// Whether the scales are those of rows.
fn are_of_rows(f: &Fragment) -> bool {
    f.map.values.iter().any(|mode| mode.row > 0)
}

/// Whether the scales are those of warpgroups' sums, whose warps lie along the rows.
fn are_of_warpgroups(w: &Writer<'_>) -> bool {
    w.kernel.body.fragments.iter().any(|f| f.role == FragmentRole::WarpgroupAccumulator)
}

/// Whether many columns share each of the scales.
fn are_shared(f: &Fragment) -> bool {
    f.map.values[0].extent == 1
}

pub(super) fn declaration(f: &Fragment) -> String {
    format!("float {}[{}][{}];", f.name, f.map.values[1].extent, f.map.values[0].extent)
}

/// The first row or column of a warp's sums.
fn first_of_warp(w: &mut Writer<'_>, f: &Fragment) -> ExprId {
    let (warps_m, warps_n) = (f.map.threads[2], f.map.threads[3]);
    let of_warpgroups = are_of_warpgroups(w);
    let (l, e) = (w.locals, &mut w.exprs);
    match (of_warpgroups, are_of_rows(f)) {
        (true, true) => l.row_of_warp,
        (true, false) => e.int(0),
        (false, true) => e.times(l.warp_m, warps_m.row),
        (false, false) => e.times(l.warp_n, warps_n.col),
    }
}

/// The row or column of the i-th block or j-th 8 columns, and of a half of it, that a lane holds.
fn place_of_value(w: &mut Writer<'_>, f: &Fragment) -> ExprId {
    let first = first_of_warp(w, f);
    let (l, e) = (w.locals, &mut w.exprs);
    let [within, along] = f.map.values[..] else { unreachable!("scales have two modes") };
    let lane = e.builtin(Builtin::Lane);
    if are_of_rows(f) {
        // Those of the row of the warp, of its lane, of a block and of a half.
        let (in_warp, block, half) = (e.over(lane, 4), e.times(l.i, along.row), e.times(l.half, within.row));
        let row = e.plus(first, block);
        let row = e.plus(row, half);
        return e.plus(row, in_warp);
    }
    let quarter = e.modulo(lane, 4);
    let (pair, products) = (e.times(quarter, 2), e.times(l.j, along.col));
    let col = e.plus(products, pair);
    let col = e.plus(first, col);
    e.plus(col, l.half)
}

/// Bytes from one row of a tile of scales to the next, and from one column.
fn strides_of(layout: &Layout) -> [u32; 2] {
    [&layout.rows, &layout.cols].map(|axis| axis.0[0].stride)
}

/// What follows an index that steps by so much.
fn stepping(w: &Writer<'_>, stride: ExprId) -> String {
    match w.exprs.as_constant(stride) {
        Some(1) => String::new(),
        _ => format!(" * {}", w.factor(stride)),
    }
}

pub(super) fn write_copy(w: &mut Writer<'_>, copy: &CopyScales) {
    const LANES: u32 = 32;
    let pointer = &w.kernel.contract.params[copy.pointer.0 as usize].name;
    let [origin, stride, block_stride, count, blocks] =
        [copy.origin, copy.stride, copy.block_stride, copy.count, copy.blocks].map(|e| w.text(e));
    let (by_place, by_block) = (stepping(w, copy.stride), stepping(w, copy.block_stride));
    let (to, at) = (tile_address(w, &copy.to), barrier_address(w, &copy.at));
    let layout = &w.kernel.body.shared[copy.to.tile.0 as usize].layout;
    let ((places, together), [of_place, of_block]) = (layout.shape(), strides_of(layout));
    let l = w.locals;
    let each_place = |w: &mut Writer<'_>, body: &dyn Fn(&mut Writer<'_>, &str)| {
        if places < LANES {
            return w.block(&format!("if (lane < {places})"), |w| body(w, "lane"));
        }
        w.unrolled(l.i, places / LANES, |w| {
            w.line(&format!("const int place = i * {LANES} + lane;"));
            body(w, "place");
        });
    };
    let singly = |w: &mut Writer<'_>, place: &str| {
        w.unrolled(l.j, together, |w| {
            let to = format!("to + {place} * {of_place} + j * {of_block}");
            let from = format!("from + {place}{by_place} + j{by_block}");
            w.line(&format!("copy_scale({to}, {from}, {place} < {count} && j < {blocks});"));
        });
    };
    w.block("", |w| {
        w.line(&format!("const float* const from = {pointer} + ({origin});"));
        w.line(&format!("const uint32 to = {to};"));
        if of_block == 4 {
            w.line(&format!("if (are_fours(from, {stride}, {block_stride}, {blocks})) {{"));
            w.nested(|w| {
                each_place(w, &|w, place| {
                    let from = format!("from + {place}{by_place}");
                    w.line(&format!("copy_four_scales(to + {place} * {of_place}, {from}, {place} < {count});"));
                });
            });
            w.line("} else {");
            w.nested(|w| each_place(w, &singly));
            w.line("}");
        } else {
            each_place(w, &singly);
        }
        w.line(&format!("mbarrier_arrive_when_copied({at});"));
    });
}

pub(super) fn write_read(w: &mut Writer<'_>, read: &ReadScales) {
    let f = fragment(w, read.to);
    let [within, along] = f.map.values[..] else { unreachable!("scales have two modes") };
    let layout = &w.kernel.body.shared[read.from.tile.0 as usize].layout;
    let [of_place, of_block] = strides_of(layout);
    let name = &f.name;
    let from = format!("{} + {} * {of_block}", tile_address(w, &read.from), w.factor(read.block));
    let l = w.locals;
    let from = match read.first {
        first if first > 0 && !are_shared(f) => format!("{from} + {}", first * of_place),
        _ => from,
    };
    w.block("", |w| {
        w.line(&format!("const uint32 from = {from};"));
        if are_of_rows(f) {
            let place = place_of_value(w, f);
            let row = w.text(place);
            write_row_of_warp(w, (along.extent, f.map.threads[3].extent), "");
            w.unrolled(l.i, along.extent, |w| {
                w.unrolled(l.half, within.extent, |w| {
                    w.line(&format!("{name}[i][half] = read_scale(from + ({row}) * {of_place});"));
                });
            });
        } else if are_shared(f) {
            let (e, l) = (&mut w.exprs, l);
            let block = match read.before {
                // Whole blocks, of which the first is one's first.
                None => {
                    let first = e.int(read.first / along.col);
                    e.plus(first, l.j)
                }
                Some(before) => {
                    let (first, cols) = (e.int(read.first), e.times(l.j, along.col));
                    let col = e.plus(first, cols);
                    let col = e.plus(before, col);
                    e.over(col, SCALE_BLOCK as u32)
                }
            };
            let block = w.factor(block);
            w.unrolled(l.j, along.extent, |w| {
                w.line(&format!("{name}[j][0] = read_scale(from + {block} * {of_place});"));
            });
        } else {
            w.unrolled(l.j, along.extent, |w| {
                let place = format!("(j * {} + lane % 4 * 2) * {of_place}", along.col);
                w.line(&format!("read_scale_pair({name}[j], from + {place});"));
            });
        }
    });
}

pub(super) fn write_load(w: &mut Writer<'_>, load: &LoadScales) {
    let f = fragment(w, load.to);
    let [within, along] = f.map.values[..] else { unreachable!("scales have two modes") };
    let of_rows = are_of_rows(f);
    let pointer = &w.kernel.contract.params[load.pointer.0 as usize].name;
    let (origin, count) = (w.text(load.origin), w.text(load.count));
    let stride = stepping(w, load.stride);
    let of_warpgroups = are_of_warpgroups(w);
    let warps_n = f.map.threads[3];
    let first_of_warp = first_of_warp(w, f);
    let place = place_of_value(w, f);
    let (l, place) = (w.locals, w.text(place));
    let cols_of_warp = w.exprs.as_constant(first_of_warp).is_none().then(|| format!("{} + ", w.text(first_of_warp)));
    w.block("", |w| {
        if of_rows && of_warpgroups {
            write_row_of_warp(w, (along.extent, f.map.threads[3].extent), "");
        }
        let name = &f.name;
        if of_rows && !of_warpgroups {
            // Many rows, each a constant number of scales behind the one before: compilers would keep an address for each.
            w.line(&format!("const float* from = {pointer} + ({origin})"));
            w.line(&format!("    + ({} + lane / 4){stride};", w.text(first_of_warp)));
            w.unrolled(l.i, along.extent, |w| {
                w.unrolled(l.half, within.extent, |w| {
                    w.line(&format!("const int row = {place};"));
                    w.line(&format!("{name}[i][half] = load_scale(from, row < {count});"));
                    w.line(&format!("from += {}{stride};", within.row));
                });
            });
            return;
        }
        w.line(&format!("const float* const from = {pointer} + ({origin});"));
        if of_rows {
            w.unrolled(l.i, along.extent, |w| {
                w.unrolled(l.half, within.extent, |w| {
                    w.line(&format!("const int row = {place};"));
                    w.line(&format!("{name}[i][half] = load_scale(from + row{stride}, row < {count});"));
                });
            });
        } else {
            let singly = |w: &mut Writer<'_>| {
                w.unrolled(l.j, along.extent, |w| {
                    w.unrolled(l.half, within.extent, |w| {
                        w.line(&format!("const int col = {place};"));
                        w.line(&format!("{name}[j][half] = load_scale(from + col{stride}, col < {count});"));
                    });
                });
            };
            if !stride.is_empty() {
                return singly(w);
            }
            // One by one, with a bound for each, they would take as long as the products that are to hide them.
            let cols = along.extent * along.col * if of_warpgroups { 1 } else { warps_n.extent };
            let warp = cols_of_warp.unwrap_or_default();
            w.line(&format!("if (are_pairs(from, {cols}, {count})) {{"));
            w.nested(|w| {
                w.unrolled(l.j, along.extent, |w| {
                    let col = format!("{warp}j * {} + lane % 4 * 2", along.col);
                    w.line(&format!("load_scale_pair({name}[j], from + ({col}));"));
                });
            });
            w.line("} else {");
            w.nested(singly);
            w.line("}");
        }
    });
}

/// The scale of the columns `j`, 8 at a time, of which `element` is one of a thread's two.
fn of_column(f: &Fragment, j: &str, element: &str) -> String {
    match (are_shared(f), f.map.values[1]) {
        (true, blocks) if blocks.extent == 1 => format!("{}[0][0]", f.name),
        (true, blocks) => format!("{}[({j}) / {}][0]", f.name, blocks.col / MMA_N),
        (false, _) => format!("{}[{j}][{element}]", f.name),
    }
}

pub(super) fn write_promote(w: &mut Writer<'_>, p: &Promote) {
    let (total, partial) = (fragment(w, p.total), fragment(w, p.partial));
    let (blocks, products) = (total.map.values[3].extent, p.columns.1 / MMA_N);
    // The scales' columns are those that are added.
    let past = |columns: u32| if columns == 0 { String::new() } else { format!(" + {}", columns / MMA_N) };
    let (in_total, in_partial) = (past(p.first + p.columns.0), past(p.columns.0));
    let scales = p.scales.map(|s| (fragment(w, s.rows), fragment(w, s.cols)));
    let l = w.locals;
    w.unrolled(l.i, blocks, |w| {
        w.unrolled(l.j, products, |w| {
            for element in 0..4 {
                let t = format!("{}[i][j{in_total}][{element}]", total.name);
                let x = format!("{}[i][j{in_partial}][{element}]", partial.name);
                let Some((rows, cols)) = scales else {
                    w.line(&format!("{t} += {x};"));
                    continue;
                };
                let row = format!("{}[i][{}]", rows.name, element / 2);
                let col = of_column(cols, "j", &(element % 2).to_string());
                if are_shared(cols) {
                    w.line(&format!("{t} = fmaf({x}, {row} * {col}, {t});"));
                } else {
                    w.line(&format!("{t} = fmaf({x} * {col}, {row}, {t});"));
                }
            }
        });
    });
}

pub(super) fn write_scale_sums(w: &mut Writer<'_>, p: &ScaleSums) {
    let sums = fragment(w, p.sums);
    let (blocks, products) = (sums.map.values[3].extent, sums.map.values[2].extent);
    let l = w.locals;
    w.unrolled(l.i, blocks, |w| {
        w.unrolled(l.j, products, |w| {
            for element in 0..4 {
                let half = (element / 2).to_string();
                let factors = factors(w, Some(p.scales), ("i", &half), ("j", &(element % 2).to_string()));
                let sum = format!("{}[i][j][{element}]", sums.name);
                w.line(&format!("{sum} = {sum}{factors};"));
            }
        });
    });
}

/// What a sum of a block's row half and of the columns `j` from the first on is multiplied by, written behind it.
pub(super) fn factors(
    w: &Writer<'_>,
    scales: Option<OuterScales>,
    (block, half): (&str, &str),
    (j, element): (&str, &str),
) -> String {
    let of = |id: FragmentId| fragment(w, id);
    scales.map_or_else(String::new, |s| {
        format!(" * {}[{block}][{half}] * {}", of(s.rows).name, of_column(of(s.cols), j, element))
    })
}
