//! Statements as C++.

use super::addresses::{self, Arithmetic};
use super::prelude::stores_eight;
use super::scalars::type_name;
use super::writer::Writer;
use super::{hopper, prelude, quantize, rows, scales, staging};
use crate::dtype::Dtype;
use crate::geometry::{MMA_M, MMA_N, mma_k};
use crate::ir::{
    BinaryOp, Block, Builtin, ExprId, ExprKind, Fragment, FragmentId, FragmentRole, GlobalTile, Node, Op, ParamType,
    ShuffleFrom, Stmt, TileRef, Type,
};
use crate::layout::ThreadValueMap;

/// Thread indices, addresses of shared tiles, and registers of fragments.
pub(super) fn write_declarations(w: &mut Writer<'_>) {
    let kernel = w.kernel;
    if prelude::has_warp_index(kernel) {
        hopper::write_indices(w);
        return write_storage(w);
    }
    w.line("const int thread = threadIdx.x;");
    // Quotients of what may be negative take several instructions, and compilers keep them in registers for that.
    w.line(&format!("__builtin_assume(0 <= thread && thread < {});", kernel.contract.threads));
    // Where threads move patches alone, none asks for its lane.
    let moves_patches = kernel.body.fragments.iter().any(|f| f.role == FragmentRole::Patch);
    let asks = |n: &Node| n.kind == ExprKind::Builtin(Builtin::Lane);
    if !moves_patches || kernel.body.exprs.iter().any(asks) {
        w.line("const int lane = thread % 32;");
    }
    if let Some(f) = kernel.body.fragments.iter().find(|f| f.role == FragmentRole::Accumulator) {
        let [_, _, m, n] = f.map.threads[..] else { unreachable!("an accumulator's threads are lanes and warps") };
        w.line("const int warp = thread / 32;");
        w.line(&format!("const int warp_m = warp % {};  // {} rows each", m.extent, m.row));
        w.line(&format!("const int warp_n = warp / {};  // {} columns each", m.extent, n.col));
    }
    write_storage(w);
}

/// Where shared tiles and barriers are, and the registers of fragments.
fn write_storage(w: &mut Writer<'_>) {
    let kernel = w.kernel;
    w.line("");
    if !kernel.body.shared.is_empty() || !kernel.body.barriers.is_empty() {
        w.line("extern __shared__ __align__(1024) unsigned char shared_memory[];");
        for t in &kernel.body.shared {
            let at = if t.offset == 0 { String::new() } else { format!(" + {}", t.offset) };
            w.line(&format!(
                "const uint32 {} = shared_address(shared_memory){at};  // {} x {} bytes",
                t.name,
                t.slots,
                t.layout.bytes()
            ));
        }
        for b in &kernel.body.barriers {
            let at = if b.offset == 0 { String::new() } else { format!(" + {}", b.offset) };
            let (name, slots, arrivals) = (&b.name, b.slots, b.arrivals);
            w.line(&format!(
                "const uint32 {name} = shared_address(shared_memory){at};  // {slots} barriers of {arrivals} arrivals"
            ));
        }
        hopper::write_operands(w);
        w.line("");
    }
    for f in &kernel.body.fragments {
        w.line(&declaration(f));
    }
    w.line("");
}

fn declaration(f: &Fragment) -> String {
    let v = &f.map.values;
    let slots = if f.slots > 1 { format!("[{}]", f.slots) } else { String::new() };
    match f.role {
        FragmentRole::Accumulator | FragmentRole::WarpgroupAccumulator => {
            format!("float {}[{}][{}][4];", f.name, v[3].extent, v[2].extent)
        }
        FragmentRole::OperandA => format!("uint32 {}{slots}[{}][4];", f.name, v[3].extent),
        FragmentRole::OperandB => format!("uint32 {}{slots}[{}][2];", f.name, v[2].extent),
        FragmentRole::Scales => scales::declaration(f),
        FragmentRole::Patch => format!("Patch<{}> {};", f.dtype.name(), f.name),
        FragmentRole::BlockValues(by) => format!("{} {};", quantize::type_name(f, by), f.name),
        FragmentRole::Staging => {
            let count = v[1].extent * v[2].extent;
            format!("Staged<{}, {count}, {}, {}> {};", f.dtype.name(), v[1].extent, v[2].row, f.name)
        }
    }
}

pub(super) fn write_block(w: &mut Writer<'_>, block: &Block) {
    for (index, stmt) in block.0.iter().enumerate() {
        let after_role = index > 0 && matches!(block.0[index - 1].op, Op::Role(_));
        w.statement(stmt.id, |w| match &stmt.op {
            Op::Role(role) => hopper::write_role(w, role, after_role),
            _ => write_stmt(w, stmt),
        });
    }
}

fn write_stmt(w: &mut Writer<'_>, stmt: &Stmt) {
    match &stmt.op {
        Op::Comment(text) => w.line(&format!("// {text}")),
        Op::Let { var, value } => {
            let value = w.text(*value);
            let v = w.variable(*var);
            let head = format!("{}{}", if v.mutable { "" } else { "const " }, type_name(v.ty));
            let name = w.declare(*var);
            w.line(&format!("{head} {name} = {value};"));
        }
        Op::Assign { var, value } => w.line(&format!("{} = {};", w.name_of(*var), w.text(*value))),
        Op::If { condition, then, otherwise } => {
            let condition = w.text(*condition);
            w.line(&format!("if ({condition}) {{"));
            w.nested(|w| write_block(w, then));
            if !otherwise.0.is_empty() {
                w.line("} else {");
                w.nested(|w| write_block(w, otherwise));
            }
            w.line("}");
        }
        Op::For { var, end, unroll, body } => {
            let end = w.text(*end);
            // The counter is visible in the loop alone; its name must be new there.
            if *unroll {
                w.line("#pragma unroll");
            } else {
                w.line("#pragma unroll 1");
            }
            let name = w.declare(*var);
            w.block(&format!("for (int {name} = 0; {name} < {end}; ++{name})"), |w| write_block(w, body));
        }
        Op::Loop { body } => w.block("while (true)", |w| write_block(w, body)),
        Op::Break { condition } => w.line(&format!("if ({}) break;", w.text(*condition))),
        Op::LoadIndex { var, pointer, index, wide, guard } => {
            let array = &w.kernel.contract.params[pointer.0 as usize].name;
            let read = format!("load_index({array}, {}, {})", w.text(*index), w.text(*wide));
            let guard = w.text(*guard);
            let name = w.declare(*var);
            w.line(&format!("const int64 {name} = {guard} ? {read} : 0LL;"));
        }
        Op::Shuffle { var, value, from } => {
            let value = w.text(*value);
            let call = match from {
                ShuffleFrom::Below(distance) => format!("__shfl_up_sync(ALL_LANES, {value}, {distance})"),
                ShuffleFrom::Lane(lane) => format!("__shfl_sync(ALL_LANES, {value}, {})", w.text(*lane)),
            };
            let ty = type_name(w.variable(*var).ty);
            let name = w.declare(*var);
            w.line(&format!("const {ty} {name} = {call};"));
        }
        Op::Ballot { var, predicate } => {
            let predicate = w.text(*predicate);
            let name = w.declare(*var);
            w.line(&format!("const uint32 {name} = __ballot_sync(ALL_LANES, {predicate});"));
        }
        Op::Barrier => w.line("__syncthreads();"),
        Op::CopyTile { from, to, map } => write_copy(w, from, to, map),
        Op::CommitCopies => w.line("cp_async_commit();"),
        Op::AwaitCopies { pending } => w.line(&format!("cp_async_wait<{pending}>();")),
        Op::BeginStaging { fragment, from } => staging::write_begin(w, *fragment, from),
        Op::LoadStaging { to, pieces } => staging::write_load(w, *to, pieces),
        Op::StoreStaging { from, to, pieces } => staging::write_store(w, *from, to, pieces),
        Op::Zero { fragment } => write_zero(w, *fragment),
        Op::LoadMatrix { to, to_slot, from, step, transposed } => {
            write_load_matrix(w, *to, *to_slot, from, *step, *transposed);
        }
        Op::Multiply { accumulator, a, b, slot } => write_multiply(w, *accumulator, *a, *b, *slot),
        Op::StoreTile { from, to, accumulate, paired } => write_store(w, *from, to, *accumulate, *paired),
        Op::Quantize(step) => quantize::write_step(w, step),
        Op::Rows(step) => rows::write_step(w, step),
        _ => hopper::write_stmt(w, &stmt.op),
    }
}

pub(super) fn fragment<'b>(w: &Writer<'b>, id: FragmentId) -> &'b Fragment {
    &w.kernel.body.fragments[id.0 as usize]
}

/// The shared address of a tile.
pub(super) fn tile_address(w: &Writer<'_>, tile: &TileRef) -> String {
    let t = &w.kernel.body.shared[tile.tile.0 as usize];
    match w.exprs.as_constant(tile.slot) {
        Some(0) => t.name.clone(),
        _ => format!("{} + {} * {}", t.name, w.factor(tile.slot), t.layout.bytes()),
    }
}

/// A thread's share of a tile.
struct ThreadPieces {
    /// Row of its first piece.
    first_row: ExprId,
    /// Row of its i-th piece.
    row: ExprId,
    /// Column of all of them, in pieces.
    piece: ExprId,
    /// How many.
    count: u32,
}

fn thread_pieces(w: &mut Writer<'_>, map: &ThreadValueMap) -> ThreadPieces {
    let (thread, i) = (w.locals.thread, w.locals.i);
    let (pieces_per_row, reps) = (map.threads[0].extent, map.values[1]);
    let e = &mut w.exprs;
    let first_row = e.over(thread, pieces_per_row);
    let row = if reps.extent > 1 {
        let more = e.times(i, reps.row);
        e.plus(first_row, more)
    } else {
        first_row
    };
    ThreadPieces { first_row, row, piece: e.modulo(thread, pieces_per_row), count: reps.extent }
}

/// A loop over a thread's pieces: where each lies in global memory (`from`, and how much of its row is `left`), and the
/// shared address it goes to.
fn each_piece(
    w: &mut Writer<'_>,
    from: &GlobalTile,
    to: &TileRef,
    map: &ThreadValueMap,
    write: impl FnOnce(&mut Writer<'_>, &str),
) {
    let ThreadPieces { first_row, row, piece, count } = thread_pieces(w, map);
    let (elements, rows_at_once) = (map.values[0].extent, map.values[1].row);
    w.block("", |w| {
        let (first_row, row, piece) = (w.text(first_row), w.text(row), w.text(piece));
        w.line(&format!("const int piece = {piece};"));
        if let Some(cols) = from.cols {
            w.line(&format!("const int left = {} - piece * {elements};", w.text(cols)));
        }
        let pointer = &w.kernel.contract.params[from.pointer.0 as usize];
        let (origin, stride) = (w.text(from.origin), w.text(from.row_stride));
        w.line(&format!("const {}* from = {} + ({origin})", element_name(pointer.ty), pointer.name));
        w.line(&format!("    + ({first_row} * {stride} + piece * {elements});"));
        // Where the swizzle repeats from one of the thread's rows to the next, each address adds a constant.
        let shared = &w.kernel.body.shared[to.tile.0 as usize];
        let tile = tile_address(w, to);
        let address = if rows_at_once.is_multiple_of(shared.layout.row_period()) {
            w.line(&format!("const uint32 to = {tile} + {}_piece({first_row}, piece);", shared.name));
            let step = rows_at_once * shared.layout.rows.0[0].stride;
            if count > 1 { format!("to + i * {step}") } else { "to".to_owned() }
        } else {
            format!("{tile} + {}_piece({row}, piece)", shared.name)
        };
        let i = w.locals.i;
        w.unrolled(i, count, |w| {
            if from.rows.is_some() {
                w.line(&format!("const int row = {row};"));
            }
            write(w, &address);
            if count > 1 {
                w.line(&format!("from += {rows_at_once} * {stride};"));
            }
        });
    });
}

/// The type of the elements that a pointer parameter points to.
pub(super) fn element_name(ty: ParamType) -> &'static str {
    match ty {
        ParamType::Input(t) | ParamType::Output(t) => t.name(),
        ParamType::Words => "int",
        ParamType::Indices | ParamType::Bool | ParamType::I32 | ParamType::I64 | ParamType::TensorMap(_) => "void",
    }
}

fn write_copy(w: &mut Writer<'_>, from: &GlobalTile, to: &TileRef, map: &ThreadValueMap) {
    let bytes = match (from.rows, from.cols) {
        (Some(rows), Some(_)) => format!("row < {} ? piece_bytes(left) : 0", w.text(rows)),
        (Some(rows), None) => format!("row < {} ? 16 : 0", w.text(rows)),
        (None, Some(_)) => "piece_bytes(left)".to_owned(),
        (None, None) => "16".to_owned(),
    };
    each_piece(w, from, to, map, |w, address| {
        w.line(&format!("cp_async_16({address}, from, {bytes});"));
    });
}

fn write_zero(w: &mut Writer<'_>, id: FragmentId) {
    let f = fragment(w, id);
    if let FragmentRole::BlockValues(_) = f.role {
        return w.line(&format!("{} = {{}};", f.name));
    }
    let (m, n) = (f.map.values[3].extent, f.map.values[2].extent);
    let (i, j) = (w.locals.i, w.locals.j);
    w.unrolled(i, m, |w| {
        w.unrolled(j, n, |w| {
            w.line(&format!("{0}[i][j][0] = {0}[i][j][1] = {0}[i][j][2] = {0}[i][j][3] = 0.0f;", f.name));
        });
    });
}

fn write_load_matrix(
    w: &mut Writer<'_>,
    to: FragmentId,
    to_slot: ExprId,
    from: &TileRef,
    step: ExprId,
    transposed: bool,
) {
    let f = fragment(w, to);
    if transposed && f.dtype == Dtype::F32 {
        return write_load_words(w, to, to_slot, from, step);
    }
    let shared = &w.kernel.body.shared[from.tile.0 as usize];
    let tile = tile_address(w, from);
    let slot = if f.slots > 1 { format!("[{}]", w.text(to_slot)) } else { String::new() };
    let locals = w.locals;
    // One x4 load fills 16 of the side: one product of A, two of B.
    let set = format!("{}{slot}", f.name);
    let (warp, groups, registers) = match f.role {
        FragmentRole::OperandB => {
            (locals.warp_n, f.map.values[2].extent / 2, format!("{set}[2 * i], {set}[2 * i + 1]"))
        }
        _ => (locals.warp_m, f.map.values[3].extent, format!("{set}[i]")),
    };
    let at = addresses::matrix_row(&mut w.exprs, f, &shared.layout, transposed, warp, locals.i, step);
    // What all loads share is computed before them; each then flips bits and adds a constant.
    let from = format!("{tile} + {}_piece({}, {})", shared.name, w.text(at.row), w.text(at.piece));
    let address = address_from(w, &at);
    let suffix = if transposed { "_trans" } else { "" };
    w.block("", |w| {
        w.line(&format!("const uint32 from = {from};"));
        w.unrolled(locals.i, groups, |w| {
            w.line(&format!("ldmatrix_x4{suffix}({registers}, {address});"));
        });
    });
}

/// Pieces and rows further on than `from`.
fn address_from(w: &Writer<'_>, at: &addresses::MatrixRow) -> String {
    let nothing = |e| w.exprs.as_constant(e) == Some(0);
    match (nothing(at.flip), nothing(at.on)) {
        (true, true) => "from".to_owned(),
        (true, false) => format!("from + {}", w.text(at.on)),
        (false, true) => format!("from ^ {}", w.factor(at.flip)),
        (false, false) => format!("(from ^ {}) + {}", w.factor(at.flip), w.text(at.on)),
    }
}

/// Reads f32 elements whose tile's rows are the reduction, which no `ldmatrix` transposes, one by one.
fn write_load_words(w: &mut Writer<'_>, to: FragmentId, to_slot: ExprId, from: &TileRef, step: ExprId) {
    let f = fragment(w, to);
    let shared = &w.kernel.body.shared[from.tile.0 as usize];
    let tile = tile_address(w, from);
    let slot = if f.slots > 1 { format!("[{}]", w.text(to_slot)) } else { String::new() };
    let (l, set) = (w.locals, format!("{}{slot}", f.name));
    let is_a = f.role == FragmentRole::OperandA;
    let (warp, groups, halves) =
        if is_a { (l.warp_m, f.map.values[3].extent, 2) } else { (l.warp_n, f.map.values[2].extent, 1) };
    let words =
        [0, 1].map(|deep| addresses::matrix_word(&mut w.exprs, f, &shared.layout, warp, (l.i, l.half), step, deep));
    let first = &words[0];
    let (row, piece, byte) = (w.text(first.at.row), w.text(first.at.piece), w.text(first.byte));
    let from = format!("{tile} + {}_piece({row}, {piece}) + {byte}", shared.name);
    w.block("", |w| {
        w.line(&format!("const uint32 from = {from};"));
        w.unrolled(l.i, groups, |w| {
            let load = |w: &mut Writer<'_>| {
                for (deep, word) in words.iter().enumerate() {
                    let register = match (is_a, deep) {
                        (true, 0) => "half".to_owned(),
                        (true, _) => "half + 2".to_owned(),
                        (false, _) => deep.to_string(),
                    };
                    w.line(&format!("{set}[i][{register}] = load_word({});", address_from(w, &word.at)));
                }
            };
            if is_a { w.unrolled(l.half, halves, load) } else { load(w) }
        });
    });
}

fn write_multiply(w: &mut Writer<'_>, accumulator: FragmentId, a: FragmentId, b: FragmentId, slot: ExprId) {
    let (d, a, b) = (fragment(w, accumulator), fragment(w, a), fragment(w, b));
    let (m, n) = (d.map.values[3].extent, d.map.values[2].extent);
    let (slot, depth) = (w.text(slot), mma_k(a.dtype.size_bytes()));
    let (i, j) = (w.locals.i, w.locals.j);
    if a.dtype == Dtype::F32 {
        w.unrolled(i, m, |w| w.line(&format!("round_to_tf32({}[{slot}][i]);", a.name)));
        w.unrolled(j, n, |w| w.line(&format!("round_to_tf32({}[{slot}][j]);", b.name)));
    }
    w.unrolled(i, m, |w| {
        w.unrolled(j, n, |w| {
            w.line(&format!(
                "mma_m{MMA_M}n{MMA_N}k{depth}({}[i][j], {}[{slot}][i], {}[{slot}][j]);",
                d.name, a.name, b.name
            ));
        });
    });
}

fn write_store(w: &mut Writer<'_>, from: FragmentId, to: &GlobalTile, accumulate: Option<ExprId>, paired: bool) {
    let f = fragment(w, from);
    let [_, halves, along_n, along_m] = f.map.values[..] else { unreachable!("an accumulator has four modes") };
    let [_, _, warps_m, warps_n] = f.map.threads[..] else {
        unreachable!("an accumulator's threads are lanes and warps")
    };
    let l = w.locals;
    let of_warpgroup = f.role == FragmentRole::WarpgroupAccumulator;
    let e = &mut w.exprs;
    let lane = e.builtin(Builtin::Lane);
    let zero = e.constant(Type::I32, 0);
    // A warpgroup's warps lie along the rows alone.
    let (row_of_warp, col_of_warp) = if of_warpgroup {
        (l.row_of_warp, zero)
    } else {
        (e.times(l.warp_m, warps_m.row), e.times(l.warp_n, warps_n.col))
    };
    let parts = [row_of_warp, e.times(l.i, along_m.row), e.times(l.half, halves.row), e.over(lane, 4)];
    let row = parts.into_iter().fold(zero, |sum, part| e.op(BinaryOp::Add, sum, part));
    let pair = e.modulo(lane, 4);
    // A lane writes two columns of each product, or all eight of every fourth.
    let eight = stores_eight(w.kernel, from, to, paired);
    let (products, columns) = if eight { (4, along_n.col) } else { (1, 2) };
    let parts = [col_of_warp, e.times(l.j, products * along_n.col), e.times(pair, columns)];
    let col = parts.into_iter().fold(zero, |sum, part| e.op(BinaryOp::Add, sum, part));

    let pointer = &w.kernel.contract.params[to.pointer.0 as usize];
    let ty = element_name(pointer.ty);
    let (row, col, origin, stride) = (w.text(row), w.text(col), w.text(to.origin), w.text(to.row_stride));
    let inside = to.rows.map_or("true".to_owned(), |r| format!("row < {}", w.text(r)));
    let left = to.cols.map_or((2 * products).to_string(), |c| format!("{} - col", w.text(c)));
    let accumulate = accumulate.map(|a| w.text(a));
    let store = if paired { "store_pair" } else { "store_singly" };
    w.block("", |w| {
        if of_warpgroup {
            hopper::write_row_of_warp(w, hopper::blocks_and_warpgroups(f), "");
        }
        w.line(&format!("{ty}* const to = {} + ({origin});", pointer.name));
        w.unrolled(l.i, along_m.extent, |w| {
            w.unrolled(l.half, halves.extent, |w| {
                w.line(&format!("const int row = {row};"));
                if eight {
                    w.unrolled(l.j, along_n.extent / 4, |w| {
                        w.line(&format!("const int col = {col};"));
                        w.line("uint32 pairs[4];");
                        w.line(&format!("gather_eight<{ty}>(pairs, {}[i], 4 * j, half, lane);", f.name));
                        w.line(&format!("if ({inside}) store_eight(to + row * {stride} + col, pairs, {left});"));
                    });
                    return;
                }
                let at = format!("to + row * {stride} + col");
                let sum = |which: &str| format!("{}[i][j][2 * half{which}]", f.name);
                let store = |w: &mut Writer<'_>, adds: bool| {
                    w.unrolled(l.j, along_n.extent, |w| {
                        w.line(&format!("const int col = {col};"));
                        let (mut x0, mut x1) = (sum(""), sum(" + 1"));
                        if adds {
                            // Sums themselves stay as they are: changed, they make ptxas wait after every product.
                            w.line(&format!("float x0 = {x0}, x1 = {x1};"));
                            w.line(&format!("add_existing({at}, x0, x1, {left});"));
                            (x0, x1) = ("x0".to_owned(), "x1".to_owned());
                        }
                        w.line(&format!("{store}({at}, {x0}, {x1}, {left});"));
                    });
                };
                w.block(&format!("if ({inside})"), |w| match &accumulate {
                    None => store(w, false),
                    // One question for all: with one for each, the loop is not written out.
                    Some(accumulate) => {
                        w.line(&format!("if ({accumulate}) {{"));
                        w.nested(|w| store(w, true));
                        w.line("} else {");
                        w.nested(|w| store(w, false));
                        w.line("}");
                    }
                });
            });
        });
    });
}
