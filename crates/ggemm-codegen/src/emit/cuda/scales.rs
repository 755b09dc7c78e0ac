//! Scales of fp8 operands as C++: their way into registers, and where they meet sums.

use super::addresses::Arithmetic;
use super::hopper::write_row_of_warp;
use super::statements::fragment;
use super::writer::Writer;
use crate::geometry::MMA_N;
use crate::ir::{Builtin, Fragment, FragmentId, FragmentRole, LoadScales, OuterScales, Promote, ScaleSums};

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

pub(super) fn write_load(w: &mut Writer<'_>, load: &LoadScales) {
    let f = fragment(w, load.to);
    let [within, along] = f.map.values[..] else { unreachable!("scales have two modes") };
    let of_rows = are_of_rows(f);
    let pointer = &w.kernel.contract.params[load.pointer.0 as usize].name;
    let (origin, count) = (w.text(load.origin), w.text(load.count));
    let stride = match w.exprs.as_constant(load.stride) {
        Some(1) => String::new(),
        _ => format!(" * {}", w.factor(load.stride)),
    };
    let l = w.locals;
    let of_warpgroups = are_of_warpgroups(w);
    let (warps_m, warps_n) = (f.map.threads[2], f.map.threads[3]);
    let e = &mut w.exprs;
    let lane = e.builtin(Builtin::Lane);
    let first_of_warp = match (of_warpgroups, of_rows) {
        (true, true) => l.row_of_warp,
        (true, false) => e.int(0),
        (false, true) => e.times(l.warp_m, warps_m.row),
        (false, false) => e.times(l.warp_n, warps_n.col),
    };
    let place = if of_rows {
        // Those of the row of the warp, of its lane, of a block and of a half.
        let (in_warp, block, half) = (e.over(lane, 4), e.times(l.i, along.row), e.times(l.half, within.row));
        let row = e.plus(first_of_warp, block);
        let row = e.plus(row, half);
        e.plus(row, in_warp)
    } else {
        let quarter = e.modulo(lane, 4);
        let (pair, products) = (e.times(quarter, 2), e.times(l.j, along.col));
        let col = e.plus(products, pair);
        let col = e.plus(first_of_warp, col);
        e.plus(col, l.half)
    };
    let place = w.text(place);
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
        } else if are_shared(f) {
            w.unrolled(l.j, along.extent, |w| {
                w.line(&format!("{name}[j][0] = load_scale(from + j{stride}, j * {} < {count});", along.col));
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
    let (blocks, products) = (total.map.values[3].extent, total.map.values[2].extent);
    let scales = p.scales.map(|s| (fragment(w, s.rows), fragment(w, s.cols)));
    let l = w.locals;
    w.unrolled(l.i, blocks, |w| {
        w.unrolled(l.j, products, |w| {
            for element in 0..4 {
                let (t, x) = (format!("{}[i][j][{element}]", total.name), format!("{}[i][j][{element}]", partial.name));
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
