//! Hopper's statements as C++: roles, barriers, bulk copies, products of warpgroups.

use super::addresses::Arithmetic;
use super::epilogue;
use super::partial_sums;
use super::scales;
use super::statements::{fragment, tile_address, write_block};
use super::writer::Writer;
use crate::descriptor::{self, Descriptor, WGMMA_M, wgmma_k};
use crate::dtype::Dtype;
use crate::geometry::{MMA_M, MMA_N, THREADS_OF_WARPGROUP};
use crate::ir::{
    AddSaved, AddSums, Arrive, AtomicScope, AwaitWord, BARRIER_BYTES, BarrierRef, BulkLoad, BulkStore, ExprId,
    FetchAdd, Fragment, FragmentId, Kernel, MemoryOrder, Op, OuterScales, RegisterBudget, Role, SaveSums, SendSums,
    SharedId, SumsPart, TileRef, WarpgroupMultiply,
};
use crate::layout::CHUNK_BYTES;

/// Indices of the thread, those that the text uses.
pub(super) fn write_indices(w: &mut Writer<'_>) {
    // Names are used below: a writer of its own finds out which.
    let mut probe = Writer::new(w.kernel);
    write_block(&mut probe, &w.kernel.body.block);
    if probe.has_word("thread") {
        w.line("const int thread = int(threadIdx.x);");
    }
    if probe.has_word("lane") {
        w.line("const int lane = int(threadIdx.x) % 32;");
    }
    w.line("const int warp = warp_index();");
    if probe.has_word("warpgroup") {
        w.line("const int warpgroup = warp / 4;");
    }
}

/// A product's shape and the majorness of its operands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    n: u32,
    /// Sums have more columns, which are not touched.
    of_more: bool,
    dtypes: [Dtype; 2],
    a_is_mn_major: bool,
    b_is_mn_major: bool,
}

impl Shape {
    fn of(w: &Writer<'_>, p: &WarpgroupMultiply) -> Shape {
        let accumulator = fragment(w, p.accumulator);
        Shape {
            n: p.width(accumulator),
            of_more: p.width(accumulator) < accumulator.map.values[2].extent * MMA_N,
            dtypes: [&p.a, &p.b].map(|operand| w.kernel.body.shared[operand.tile.0 as usize].dtype),
            a_is_mn_major: p.a_is_mn_major,
            b_is_mn_major: p.b_is_mn_major,
        }
    }

    fn depth(self) -> u32 {
        wgmma_k(self.dtypes[0].size_bytes())
    }

    fn name(self) -> String {
        let (m, n, k) = (WGMMA_M, self.n, self.depth());
        let side = |is_mn_major| if is_mn_major { "mn" } else { "k" };
        format!("wgmma_m{m}n{n}k{k}_a{}_b{}", side(self.a_is_mn_major), side(self.b_is_mn_major))
    }
}

/// The wrappers that depend on a number: one for each shape of product, one for each atomic.
pub(super) fn write_functions(w: &mut Writer<'_>) {
    let (mut shapes, mut atomics) = (Vec::new(), Vec::new());
    w.kernel.body.for_each_stmt(|s| match &s.op {
        Op::WarpgroupMultiply(p) => shapes.push(Shape::of(w, p)),
        Op::FetchAdd(f) => atomics.push((atomic_name(f), f.order, f.scope)),
        _ => {}
    });
    shapes.sort_unstable();
    shapes.dedup();
    shapes.into_iter().for_each(|s| write_product_function(w, s));
    atomics.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    atomics.dedup_by(|a, b| a.0 == b.0);
    for (name, order, scope) in atomics {
        let (order, scope) = (order_name(order).1, scope_name(scope));
        w.line("// Adds to a word and takes what was there.");
        w.block(&format!("__device__ __forceinline__ int {name}(int* word, int amount)"), |w| {
            w.line("int before;");
            w.line(&format!("asm volatile(\"atom.{order}.{scope}.global.add.s32 %0, [%1], %2;\""));
            w.line("             : \"=r\"(before)");
            w.line("             : \"l\"(word), \"r\"(amount)");
            w.line("             : \"memory\");");
            w.line("return before;");
        });
        w.line("");
    }
}

fn write_product_function(w: &mut Writer<'_>, s: Shape) {
    let (n, k, [a, b]) = (s.n, s.depth(), s.dtypes);
    let count = n / 2;
    let types = if a == b { a.to_string() } else { format!("{a} by {b}") };
    let columns = if s.of_more { format!("of d's columns the first {n}: ") } else { String::new() };
    w.line(&format!("// {columns}d[{WGMMA_M}, {n}] (+)= a[{WGMMA_M}, {k}] · b[{n}, {k}]ᵀ in {types}, summed in f32; `keep` adds to what d holds."));
    let extent = if s.of_more { "N".to_owned() } else { (n / MMA_N).to_string() };
    if s.of_more {
        w.line("template <int N>");
    }
    let head = format!(
        "__device__ __forceinline__ void {}(float (&d)[{extent}][4], uint64 a, uint64 b, bool keep)",
        s.name(),
    );
    w.block(&head, |w| {
        w.line("asm volatile(\"{\\n\"");
        w.line("             \".reg .pred keep;\\n\"");
        w.line(&format!("             \"setp.ne.b32 keep, %{}, 0;\\n\"", count + 2));
        w.line(&format!("             \"wgmma.mma_async.sync.aligned.m{WGMMA_M}n{n}k{k}.f32.{a}.{b} {{\""));
        let registers: Vec<String> = (0..count).map(|r| format!("%{r}")).collect();
        let lines: Vec<String> = registers.chunks(16).map(|c| c.join(", ")).collect();
        for (i, line) in lines.iter().enumerate() {
            let end = if i + 1 == lines.len() { "" } else { ", " };
            w.line(&format!("             \"{line}{end}\""));
        }
        let (ta, tb) = (u32::from(s.a_is_mn_major), u32::from(s.b_is_mn_major));
        // Operands of 8 bits lie along the reduction: there is nothing to say of their majorness.
        let majors = if a.is_fp8() { String::new() } else { format!(", {ta}, {tb}") };
        w.line(&format!("             \"}}, %{}, %{}, keep, 1, 1{majors};\\n\"", count, count + 1));
        w.line("             \"}\"");
        for j in 0..n / MMA_N {
            let outputs: Vec<String> = (0..4).map(|i| format!("\"+f\"(d[{j}][{i}])")).collect();
            let (start, end) = (if j == 0 { ':' } else { ' ' }, if j + 1 == n / MMA_N { "" } else { "," });
            w.line(&format!("             {start} {}{end}", outputs.join(", ")));
        }
        w.line("             : \"l\"(a), \"l\"(b), \"r\"(int(keep)));");
    });
    w.line("");
}

const fn order_name(order: MemoryOrder) -> (&'static str, &'static str) {
    match order {
        MemoryOrder::Relaxed => ("relaxed", "relaxed"),
        MemoryOrder::AcquireRelease => ("ordered", "acq_rel"),
    }
}

const fn scope_name(scope: AtomicScope) -> &'static str {
    match scope {
        AtomicScope::Cta => "cta",
        AtomicScope::Cluster => "cluster",
        AtomicScope::Gpu => "gpu",
    }
}

fn atomic_name(f: &FetchAdd) -> String {
    format!("fetch_add_{}_{}", order_name(f.order).0, scope_name(f.scope))
}

/// A role; `follows` another one, beside which it runs.
pub(super) fn write_role(w: &mut Writer<'_>, role: &Role, follows: bool) {
    let (first, end) = (role.first_warp, role.first_warp + role.warps);
    let last = end * 32 == w.kernel.contract.threads;
    let condition = match (first, last) {
        _ if role.warps == 1 => format!("warp == {first}"),
        (0, true) => "true".to_owned(),
        (0, false) => format!("warp < {end}"),
        (_, true) => format!("warp >= {first}"),
        _ => format!("warp >= {first} && warp < {end}"),
    };
    let other = if follows { "else " } else { "" };
    w.line(&format!(
        "// {}: {}",
        role.name,
        if role.warps == 1 { format!("warp {first}") } else { format!("warps {first} to {}", end - 1) }
    ));
    let mut sums = Vec::new();
    collect_sums(&role.body, &mut sums);
    let outer = std::mem::replace(&mut w.sums, sums);
    w.block(&format!("{other}if ({condition})"), |w| {
        match role.registers {
            RegisterBudget::Launch => {}
            RegisterBudget::Shrink(n) => w.line(&format!("shrink_registers<{n}>();")),
            RegisterBudget::Grow(n) => w.line(&format!("grow_registers<{n}>();")),
        }
        write_block(w, &role.body);
    });
    w.sums = outer;
}

fn collect_sums(block: &crate::ir::Block, found: &mut Vec<FragmentId>) {
    for stmt in &block.0 {
        if let Op::WarpgroupMultiply(p) = &stmt.op
            && !found.contains(&p.accumulator)
        {
            found.push(p.accumulator);
        }
        stmt.op.blocks().for_each(|b| collect_sums(b, found));
    }
}

/// The shared address of a barrier.
pub(super) fn barrier_address(w: &Writer<'_>, at: &BarrierRef) -> String {
    let b = &w.kernel.body.barriers[at.barrier.0 as usize];
    match w.exprs.as_constant(at.slot) {
        Some(0) => b.name.clone(),
        _ => format!("{} + {} * {BARRIER_BYTES}", b.name, w.factor(at.slot)),
    }
}

pub(super) fn write_stmt(w: &mut Writer<'_>, op: &Op) {
    let param = |w: &Writer<'_>, p: crate::ir::ParamId| w.kernel.contract.params[p.0 as usize].name.clone();
    match op {
        Op::Elect { body } if body.0.is_empty() => w.line("__syncwarp();"),
        Op::Elect { body } => {
            w.line("__syncwarp();");
            w.block("if (elect_one())", |w| write_block(w, body));
            w.line("__syncwarp();");
        }
        Op::InitBarrier { barrier } => {
            let b = &w.kernel.body.barriers[barrier.0 as usize];
            if b.slots == 1 {
                w.line(&format!("mbarrier_init({}, {});", b.name, b.arrivals));
            } else {
                let i = w.locals.i;
                w.unrolled(i, b.slots, |w| {
                    w.line(&format!("mbarrier_init({} + i * {BARRIER_BYTES}, {});", b.name, b.arrivals));
                });
            }
        }
        Op::FenceBarrierInit => w.line("mbarrier_init_fence();"),
        Op::Arrive(Arrive { at, bytes, rank }) => {
            let at = barrier_address(w, at);
            match (rank, bytes) {
                (Some(rank), _) => w.line(&format!("mbarrier_arrive_remote({at}, {});", w.text(*rank))),
                (None, Some(bytes)) => w.line(&format!("mbarrier_arrive_expect({at}, {});", w.text(*bytes))),
                (None, None) => w.line(&format!("mbarrier_arrive({at});")),
            }
        }
        Op::Await { at, parity } => {
            w.line(&format!("mbarrier_wait({}, {});", barrier_address(w, at), w.text(*parity)));
        }
        Op::NamedBarrier { id, threads, wait } => {
            let call = if *wait { "named_barrier_meet" } else { "named_barrier_pass" };
            w.line(&format!("{call}({}, {threads});", w.text(*id)));
        }
        Op::ClusterArrive => w.line("cluster_arrive();"),
        Op::ClusterWait => w.line("cluster_wait();"),
        Op::BulkLoad(BulkLoad { map, coordinates, to, row, at, multicast }) => {
            let (map, at) = (param(w, *map), barrier_address(w, at));
            let ranks = multicast.map(|e| format!("uint16({}), ", w.text(e))).unwrap_or_default();
            let call = if multicast.is_some() { "tma_load_multicast" } else { "tma_load" };
            each_panel(w, (to, *row), coordinates, |w, address, coordinates| {
                w.line(&format!("{call}({address}, {map}, {at}, {ranks}{coordinates});"));
            });
        }
        Op::BulkStore(BulkStore { from, row, map, coordinates, add }) => {
            let map = param(w, *map);
            let call = if *add { "tma_add" } else { "tma_store" };
            each_panel(w, (from, *row), coordinates, |w, address, coordinates| {
                w.line(&format!("{call}({address}, {map}, {coordinates});"));
            });
        }
        Op::CommitStores => w.line("tma_commit();"),
        Op::AwaitStores { pending, reads: true } => w.line(&format!("tma_wait_reads<{pending}>();")),
        Op::AwaitStores { pending, reads: false } => w.line(&format!("tma_wait<{pending}>();")),
        Op::PrefetchMap { map } => w.line(&format!("prefetch_tensor_map({});", param(w, *map))),
        Op::FenceProducts => w.line("wgmma_fence();"),
        Op::WarpgroupMultiply(p) => write_product(w, p),
        Op::CommitProducts => w.line("wgmma_commit();"),
        Op::AwaitProducts { pending, sums } => {
            w.line(&format!("wgmma_wait<{pending}>();"));
            let complete = match sums {
                Some(sums) => vec![*sums],
                None if *pending == 0 => w.sums.clone(),
                None => Vec::new(),
            };
            for id in complete {
                let f = fragment(w, id);
                for block in 0..f.map.values[3].extent {
                    w.line(&format!("wgmma_release({}[{block}]);", f.name));
                }
            }
        }
        Op::LoadScales(load) => scales::write_load(w, load),
        Op::CopyScales(copy) => scales::write_copy(w, copy),
        Op::ReadScales(read) => scales::write_read(w, read),
        Op::Promote(promote) => scales::write_promote(w, promote),
        Op::ScaleSums(scale) => scales::write_scale_sums(w, scale),
        Op::FenceProxy => w.line("fence_proxy_async();"),
        Op::StoreFragment { from, to, row, col, block, transposed, scales } => {
            write_store_fragment(w, (*from, *scales), to, (*row, *block), *col, *transposed);
        }
        Op::SendSums(SendSums { from, to, at, rank }) => {
            let (at, rank) = (barrier_address(w, at), w.text(*rank));
            each_of_part(w, from, to, |address, sums| format!("send_sums({address}, {at}, {rank}, {sums});"));
        }
        Op::AddSums(AddSums { to, from }) => {
            each_of_part(w, to, from, |address, sums| format!("add_sums({address}, {sums});"));
        }
        Op::SaveSums(SaveSums { from, pointer, slot }) => partial_sums::write_save(w, *from, (*pointer, *slot)),
        Op::AddSaved(AddSaved { to, pointer, slot }) => partial_sums::write_add(w, *to, (*pointer, *slot)),
        Op::AwaitWord(AwaitWord { pointer, index, value }) => {
            w.line(&format!("await_word({} + {}, {});", param(w, *pointer), w.summand(*index), w.text(*value)));
        }
        Op::WriteWord { to, value } => {
            w.line(&format!("write_word({}, {});", tile_address(w, to), w.text(*value)));
        }
        Op::ReadWord { var, from } => {
            let from = tile_address(w, from);
            let name = w.declare(*var);
            w.line(&format!("const int {name} = read_word({from});"));
        }
        Op::FetchAdd(f) => {
            let (index, amount, guard) = (w.text(f.index), w.text(f.amount), w.text(f.guard));
            let call = format!("{}({} + {index}, {amount})", atomic_name(f), param(w, f.pointer));
            let name = w.declare(f.var);
            match w.exprs.as_constant(f.guard) {
                Some(1) => w.line(&format!("const int {name} = {call};")),
                _ => w.line(&format!("const int {name} = {guard} ? {call} : 0;")),
            }
        }
        Op::AwaitGrid => w.line("await_grid();"),
        Op::LaunchDependents => w.line("launch_dependents();"),
        _ => {}
    }
}

/// A thread's sums of a part, 8 columns at a time, and their place in the tile.
fn each_of_part(w: &mut Writer<'_>, part: &SumsPart, tile: &TileRef, call: impl Fn(&str, &str) -> String) {
    let name = &fragment(w, part.fragment).name;
    let (rows, _) = w.kernel.body.shared[tile.tile.0 as usize].layout.shape();
    let (block, threads) = (part.block, THREADS_OF_WARPGROUP);
    let tile = tile_address(w, tile);
    let first = if part.first == 0 { String::new() } else { format!(" + {}", part.first) };
    let j = w.locals.j;
    w.unrolled(j, rows / threads, |w| {
        let address = format!("{tile} + (j * {threads} + thread % {threads}) * {CHUNK_BYTES}");
        w.line(&call(&address, &format!("{name}[{block}][j{first}]")));
    });
}

/// The boxes of a tile: one for each panel, further on along the contiguous dimension.
fn each_panel(
    w: &mut Writer<'_>,
    (tile, row): (&TileRef, ExprId),
    coordinates: &[ExprId],
    write: impl FnOnce(&mut Writer<'_>, &str, &str),
) {
    let t = &w.kernel.body.shared[tile.tile.0 as usize];
    let mut address = tile_address(w, tile);
    if w.exprs.as_constant(row) != Some(0) {
        address = format!("{address} + {} * {}", w.factor(row), t.layout.rows.0[0].stride);
    }
    let mut texts: Vec<String> = coordinates.iter().map(|c| w.text(*c)).collect();
    match t.layout.cols.0[..] {
        [panel, panels] if panels.extent > 1 => {
            let first = w.summand(coordinates[0]);
            texts[0] = format!("{first} + i * {}", panel.extent);
            let i = w.locals.i;
            w.unrolled(i, panels.extent, |w| {
                write(w, &format!("{address} + i * {}", panels.stride), &texts.join(", "));
            });
        }
        _ => write(w, &address, &texts.join(", ")),
    }
}

fn write_product(w: &mut Writer<'_>, p: &WarpgroupMultiply) {
    let shape = Shape::of(w, p);
    let f = fragment(w, p.accumulator);
    let blocks = f.map.values[3].extent;
    let keep = w.text(p.keep);
    let operand = |w: &Writer<'_>, operand: &Operand, tile: &TileRef, more: u32| {
        let t = &w.kernel.body.shared[tile.tile.0 as usize];
        let mut pieces = Vec::new();
        if w.exprs.as_constant(tile.slot) != Some(0) {
            pieces.push(format!("{} * {}", w.factor(tile.slot), t.layout.bytes() / CHUNK_BYTES));
        }
        if w.exprs.as_constant(p.step) != Some(0) {
            pieces.push(format!("{} * {}", w.factor(p.step), operand.descriptor.step / CHUNK_BYTES));
        }
        if more > 0 {
            pieces.push((more / CHUNK_BYTES).to_string());
        }
        (operand.name(w.kernel), pieces)
    };
    let at = |(name, pieces): (String, Vec<String>)| match pieces.is_empty() {
        true => name,
        false => format!("wgmma_advance({name}, {})", pieces.join(" + ")),
    };
    let [of_a, of_b] = Operand::of(w.kernel, p);
    let a = operand(w, &of_a, &p.a, 0);
    let b = at(operand(w, &of_b, &p.b, p.first / WGMMA_M * of_b.descriptor.side_block));
    let i = w.locals.i;
    w.block("", |w| {
        w.line(&format!("const uint64 from_b = {b};"));
        if blocks == 1 {
            w.line(&format!("const uint64 from_a = {};", at(a)));
            w.line(&format!("{}({}[0], from_a, from_b, {keep});", shape.name(), f.name));
        } else {
            w.unrolled(i, blocks, |w| {
                let (name, mut pieces) = a;
                pieces.push(format!("i * {}", of_a.descriptor.side_block / CHUNK_BYTES));
                w.line(&format!("const uint64 from_a = {};", at((name, pieces))));
                w.line(&format!("{}({}[i], from_a, from_b, {keep});", shape.name(), f.name));
            });
        }
    });
}

/// An operand of products in shared memory: what is the same of its descriptor for all of them, which is found once.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Operand {
    tile: SharedId,
    descriptor: Descriptor,
    /// Blocks of 64 along its side that each of so many warpgroups has, where they share it.
    share: Option<(u32, u32)>,
}

impl Operand {
    /// A and B of a product.
    fn of(kernel: &Kernel, p: &WarpgroupMultiply) -> [Operand; 2] {
        let (blocks, warpgroups) = blocks_and_warpgroups(&kernel.body.fragments[p.accumulator.0 as usize]);
        let operand = |tile: &TileRef, is_mn_major, share| {
            let layout = &kernel.body.shared[tile.tile.0 as usize].layout;
            match descriptor::of(layout, is_mn_major) {
                Ok(descriptor) => Operand { tile: tile.tile, descriptor, share },
                Err(why) => unreachable!("a finished kernel has descriptors: {why}"),
            }
        };
        let share = (warpgroups > 1).then_some((blocks, warpgroups));
        [operand(&p.a, p.a_is_mn_major, share), operand(&p.b, p.b_is_mn_major, None)]
    }

    fn name(&self, kernel: &Kernel) -> String {
        let tiles = &kernel.body.shared[self.tile.0 as usize].name;
        format!("{}_operand", tiles.trim_end_matches("_tiles"))
    }
}

/// The operands of a kernel's products.
pub(super) fn write_operands(w: &mut Writer<'_>) {
    let mut operands = Vec::new();
    w.kernel.body.for_each_stmt(|s| {
        let Op::WarpgroupMultiply(p) = &s.op else { return };
        for operand in Operand::of(w.kernel, p) {
            if !operands.contains(&operand) {
                operands.push(operand);
            }
        }
    });
    for operand in operands {
        let tiles = &w.kernel.body.shared[operand.tile.0 as usize].name;
        let share = operand.share.map_or(String::new(), |(blocks, warpgroups)| {
            format!(" + warpgroup % {warpgroups} * {}", blocks * operand.descriptor.side_block)
        });
        let (name, bits) = (operand.name(w.kernel), operand.descriptor.bits());
        w.line(&format!("const uint64 {name} = wgmma_descriptor({tiles}{share}, {bits:#x});"));
    }
}

/// Blocks of 64 rows that a warpgroup has of an accumulator, and the warpgroups that share it.
pub(super) fn blocks_and_warpgroups(f: &Fragment) -> (u32, u32) {
    (f.map.values[3].extent, f.map.threads[3].extent)
}

/// The first row of a warpgroup's accumulator that the warp holds, and `more`.
pub(super) fn write_row_of_warp(w: &mut Writer<'_>, (blocks, warpgroups): (u32, u32), more: &str) {
    let share =
        if warpgroups > 1 { format!(" + warpgroup % {warpgroups} * {}", blocks * WGMMA_M) } else { String::new() };
    w.line(&format!("const int row_of_warp = warp % 4 * {MMA_M}{share}{more};"));
}

fn write_store_fragment(
    w: &mut Writer<'_>,
    (from, outer): (FragmentId, Option<OuterScales>),
    to: &TileRef,
    (first_row, block): (ExprId, Option<u32>),
    first_col: u32,
    transposed: bool,
) {
    let f = fragment(w, from);
    let t = &w.kernel.body.shared[to.tile.0 as usize];
    let (rows, cols) = t.layout.shape();
    let across = if transposed { rows } else { cols };
    let blocks = f.map.values[3].extent;
    let above = match w.exprs.as_constant(first_row) {
        Some(0) => String::new(),
        _ => format!(" - {}", w.factor(first_row)),
    };
    let (name, tile, piece) = (&f.name, tile_address(w, to), format!("{}_piece", t.name));
    let first = first_col / MMA_N;
    let l = w.locals;
    let e = &mut w.exprs;
    let of_block = e.times(l.i, WGMMA_M);
    let row = if blocks > 1 && block.is_none() { e.plus(l.row_of_warp, of_block) } else { l.row_of_warp };
    let (sums, from_block) = match block {
        Some(block) if block > 0 => (format!("{name}[{block}]"), format!(" + {}", block * WGMMA_M)),
        Some(_) => (format!("{name}[0]"), String::new()),
        None => (format!("{name}[i]"), String::new()),
    };
    let written = if block.is_some() { 1 } else { blocks };
    let block_index = block.map_or_else(|| "i".to_owned(), |block| block.to_string());
    let address = |w: &Writer<'_>, at: &epilogue::Place| {
        let byte = match w.exprs.as_constant(at.byte) {
            Some(0) => String::new(),
            _ => format!(" + {}", w.summand(at.byte)),
        };
        format!("{tile} + {piece}({}, {}){byte}", w.text(at.row), w.text(at.piece))
    };
    w.block("", |w| {
        write_row_of_warp(w, blocks_and_warpgroups(f), &format!("{from_block}{above}"));
        let each = |w: &mut Writer<'_>| match t.dtype {
            Dtype::Bf16 | Dtype::F16 => {
                let suffix = if transposed { "_trans" } else { "" };
                // 16 columns at a time, and 8 where they are left.
                let matrices = |w: &mut Writer<'_>, j: ExprId, count: u32| {
                    let pairs: Vec<String> = (0..count)
                        .map(|register| {
                            let twice = w.exprs.times(j, 2);
                            let on = w.exprs.int(first + register / 2);
                            let col = w.exprs.plus(twice, on);
                            let (x, low) = (format!("{sums}[{}]", w.text(col)), register % 2 * 2);
                            let on = w.exprs.int(register / 2);
                            let of_scales = w.exprs.plus(twice, on);
                            let (half, j) = ((register % 2).to_string(), w.text(of_scales));
                            let factor = |element| scales::factors(w, outer, (&block_index, &half), (&j, element));
                            let (first, second) = (factor("0"), factor("1"));
                            w.line(&format!(
                                "const uint32 x{register} = pack_{}({x}[{low}]{first}, {x}[{}]{second});",
                                t.dtype,
                                low + 1
                            ));
                            format!("x{register}")
                        })
                        .collect();
                    let at = epilogue::matrix(&mut w.exprs, transposed, row, j);
                    w.line(&format!("stmatrix_x{count}{suffix}({}, {});", address(w, &at), pairs.join(", ")));
                };
                if across >= 16 {
                    w.unrolled(l.j, across / 16, |w| matrices(w, l.j, 4));
                }
                if across % 16 != 0 {
                    let last = w.exprs.int(across / 16);
                    w.block("", |w| matrices(w, last, 2));
                }
            }
            // No spec with such an output is valid.
            Dtype::E4m3 | Dtype::E5m2 => {}
            Dtype::F32 => w.unrolled(l.j, across / MMA_N, |w| {
                w.unrolled(l.half, 2, |w| {
                    let col = if first == 0 { "j".to_owned() } else { format!("j + {first}") };
                    for element in 0..2 {
                        let at = if element == 0 { "2 * half" } else { "2 * half + 1" };
                        let factor = scales::factors(w, outer, (&block_index, "half"), ("j", &element.to_string()));
                        w.line(&format!("const float x{element} = {sums}[{col}][{at}]{factor};"));
                    }
                    if transposed {
                        for which in 0..2 {
                            let at = epilogue::transposed_element(&mut w.exprs, row, l.j, l.half, which);
                            w.line(&format!("store_shared({}, x{which});", address(w, &at)));
                        }
                    } else {
                        let at = epilogue::pair(&mut w.exprs, row, l.j, l.half);
                        w.line(&format!("store_shared({}, x0, x1);", address(w, &at)));
                    }
                });
            }),
        };
        if block.is_some() { each(w) } else { w.unrolled(l.i, written, each) }
    });
}
