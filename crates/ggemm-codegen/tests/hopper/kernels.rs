//! Small kernels in the shape of Hopper's: each shows some of its statements at work, on tiles that are quick to
//! interpret. They are no variants that ship.

use ggemm_codegen::dsl::{
    Bool, Consumer, Cta, Expr, Grid, I32, KernelBuilder, Map, Pointer, Ring, SharedTiles, WarpgroupSums,
};
use ggemm_codegen::geometry::warpgroup_map;
use ggemm_codegen::ir::{AtomicScope, Kernel, MemoryOrder, ParamRole, RegisterBudget, TensorMap};
use ggemm_codegen::layout::Layout;
use ggemm_codegen::{Dtype, Major};

/// The named barrier at which the first of two consumers waits for its turn; the other's is the next.
const PINGPONG: i32 = 4;

/// Elements of the reduction in a stage.
const BLOCK_K: u32 = 64;

/// A GEMM of one producer and some consumer warpgroups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm {
    pub(crate) name: &'static str,
    /// Rows of a warpgroup, in blocks of 64.
    pub(crate) blocks: u32,
    /// Columns of the tile.
    pub(crate) n: u32,
    pub(crate) stages: u32,
    pub(crate) warpgroups: u32,
    /// CTAs along N that share A's tile.
    pub(crate) cluster: u32,
    pub(crate) b_major: Major,
    pub(crate) output: Dtype,
    /// Adds to what D holds.
    pub(crate) add: bool,
    /// Two warpgroups take turns, each with a tile of its own: one multiplies while the other writes out.
    pub(crate) pingpong: bool,
    /// Registers of the producer and of the consumers, where they change.
    pub(crate) registers: Option<(u32, u32)>,
}

impl Gemm {
    pub(crate) const SMALL: Gemm = Gemm {
        name: "gemm",
        blocks: 1,
        n: 32,
        stages: 2,
        warpgroups: 1,
        cluster: 1,
        b_major: Major::K,
        output: Dtype::Bf16,
        add: false,
        pingpong: false,
        registers: None,
    };

    fn rows(&self) -> u32 {
        64 * self.blocks * self.sharing()
    }

    /// Warpgroups that share a tile.
    fn sharing(&self) -> u32 {
        if self.pingpong { 1 } else { self.warpgroups }
    }

    fn consumer_warps(&self) -> u32 {
        4 * self.warpgroups
    }

    /// The producer is a warp, or a warpgroup where registers change hands.
    fn producer_warps(&self) -> u32 {
        if self.registers.is_some() { 4 } else { 1 }
    }
}

/// Tiles, maps, and the ring between the roles.
struct Parts {
    a_tiles: SharedTiles,
    b_tiles: SharedTiles,
    d_tiles: SharedTiles,
    sums: WarpgroupSums,
    ring: Ring,
    stage_bytes: u32,
}

/// Sizes of the problem.
#[derive(Clone, Copy)]
struct Sizes<'k> {
    groups: Pointer,
    group_count: Expr<'k, I32, Grid>,
    wide: Expr<'k, Bool, Grid>,
    cols: Expr<'k, I32, Grid>,
    reduction: Expr<'k, I32, Grid>,
}

impl<'k> Sizes<'k> {
    fn declare(k: &mut KernelBuilder<'k>) -> Self {
        Sizes {
            groups: k.indices("groups", ParamRole::Groups),
            group_count: k.count("group_count", ParamRole::GroupCount),
            wide: k.flag("groups_are_i64", ParamRole::GroupsAreI64),
            cols: k.count("cols", ParamRole::Cols),
            reduction: k.count("reduction", ParamRole::Reduction),
        }
    }
}

/// A tile of D.
#[derive(Clone, Copy)]
struct Tile<'k> {
    group: Expr<'k, I32, Cta>,
    /// The group's first row, and its rows.
    start: Expr<'k, I32, Cta>,
    rows: Expr<'k, I32, Cta>,
    /// The tile's first row in the group, and its first column.
    row: Expr<'k, I32, Cta>,
    col: Expr<'k, I32, Cta>,
}

/// Does `body` for every tile of this cluster, group by group.
fn each_tile<'k>(
    k: &mut KernelBuilder<'k>,
    s: &Gemm,
    sizes: &Sizes<'k>,
    along_rows: impl Fn(Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta>,
    body: impl FnOnce(&mut KernelBuilder<'k>, Tile<'k>),
) {
    let start = k.var::<I32, Cta, _>("start", 0);
    let number = k.var::<I32, Cta, _>("number", 0);
    let rank = k.cluster_rank();
    let (cluster, clusters) = (k.cluster(), k.cluster_count());
    let col_tiles = k.let_("col_tiles", sizes.cols.ceil_div(s.n * s.cluster));
    k.for_("group", sizes.group_count, |k, group| {
        let first = k.lane().equals(0);
        let entry = k.load_index("entry", sizes.groups, group.within(), sizes.wide, first);
        let rows = k.shuffle("rows_of_group", entry, 0).cast::<I32>().agree::<Cta>();
        let rows = k.let_("rows", rows);
        let row_tiles = along_rows(rows);
        let tiles = k.let_("tiles", row_tiles * col_tiles);
        k.comment("The group's tiles that are this cluster's.");
        let first = (cluster + (clusters - number.get() % clusters)) % clusters;
        let tile = k.var::<I32, Cta, _>("tile", first);
        k.loop_(|k| {
            k.break_if(tiles.le(tile.get()));
            let row = k.let_("first_row", tile.get() / col_tiles * s.rows());
            let col = k.let_("first_col", (tile.get() % col_tiles * s.cluster + rank) * s.n);
            body(k, Tile { group: group.within(), start: start.get(), rows, row, col });
            k.set(tile, tile.get() + clusters);
        });
        k.set(number, number.get() + tiles);
        k.set(start, start.get() + rows);
    });
}

/// Barriers are ready and known to all.
fn begin(k: &mut KernelBuilder<'_>, s: &Gemm, maps: &[Map]) {
    let first = k.warp().equals(0);
    k.when(first, |k| k.elect(|k| maps.iter().for_each(|m| k.prefetch_map(*m))));
    k.init_barriers();
    if s.cluster > 1 { k.cluster_barrier() } else { k.barrier() }
}

fn producer_role<'k>(k: &mut KernelBuilder<'k>, s: &Gemm, body: impl FnOnce(&mut KernelBuilder<'k>)) {
    let first = s.consumer_warps();
    match s.registers {
        None => k.role("producer", first..first + 1, RegisterBudget::Launch, body),
        Some((registers, _)) => {
            k.role("producers", first..first + s.producer_warps(), RegisterBudget::Shrink(registers), |k| {
                k.role("producer", first..first + 1, RegisterBudget::Launch, body);
            });
        }
    }
}

fn consumers_role<'k>(k: &mut KernelBuilder<'k>, s: &Gemm, body: impl FnOnce(&mut KernelBuilder<'k>)) {
    let registers = s.registers.map_or(RegisterBudget::Launch, |r| RegisterBudget::Grow(r.1));
    k.role("consumers", 0..s.consumer_warps(), registers, body);
}

/// The main loop: one group of products in flight, so that a slot is free once the next one's products run.
fn multiply<'k>(
    k: &mut KernelBuilder<'k>,
    s: &Gemm,
    p: &Parts,
    ring: &Consumer<'k>,
    blocks: Expr<'k, I32, Cta>,
    (a_major, b_major): (Major, Major),
) {
    let release = |k: &mut KernelBuilder<'k>| match s.cluster {
        1 => ring.release(k),
        ctas => ring.release_in_cluster(k, ctas),
    };
    // Sums that start at zero: where the first product would start them anew instead, a reduction of nothing needs a
    // branch of its own, and sums that two branches define make ptxas wait after every product.
    k.zero_sums(p.sums);
    k.for_("block", blocks, |k, block| {
        let slot = ring.wait_full(k);
        let (a, b) = (p.a_tiles.slot(slot.index), p.b_tiles.slot(slot.index));
        let a = if a_major == Major::K { a.k_major() } else { a.mn_major() };
        let b = if b_major == Major::K { b.k_major() } else { b.mn_major() };
        k.fence_products();
        k.unroll("step", BLOCK_K / 16, |k, step| {
            let keep = k.always();
            k.warpgroup_multiply(p.sums, a, b, step, keep);
        });
        k.commit_products();
        k.await_products(1);
        k.when(!block.equals(0), release);
    });
    k.await_products(0);
    k.when(!blocks.equals(0), release);
}

/// The sums of a warpgroup go through its shared tile to D; the store may run into the next tile's main loop.
fn write_out<'k>(
    k: &mut KernelBuilder<'k>,
    s: &Gemm,
    p: &Parts,
    store: impl FnOnce(&mut KernelBuilder<'k>, &ggemm_codegen::dsl::Slot),
) {
    let warpgroup = k.warpgroup();
    let tile = p.d_tiles.own(warpgroup);
    let leader = (k.warp() % 4).equals(0);
    k.comment("The tile is free once the last store has read it.");
    k.when(leader, |k| k.elect(|k| k.await_store_reads(0)));
    k.meet(warpgroup + 1, 128);
    if s.pingpong {
        k.store_fragment(p.sums, &tile, 0, 0);
    } else {
        k.store_fragment(p.sums, &tile, warpgroup * (64 * s.blocks), 0);
    }
    k.fence_proxy();
    k.meet(warpgroup + 1, 128);
    k.when(leader, |k| {
        k.elect(|k| {
            store(k, &tile);
            k.commit_stores();
        });
    });
}

/// Nothing may end while its tile is still read.
fn finish_stores(k: &mut KernelBuilder<'_>) {
    let leader = (k.warp() % 4).equals(0);
    k.when(leader, |k| k.elect(|k| k.await_store_reads(0)));
}

fn threads(s: &Gemm) -> u32 {
    32 * (s.consumer_warps() + s.producer_warps())
}

/// d[rows of g] = a[rows of g] · b[g]ᵀ: the rows of a group are clipped by ragged maps, in A and in D.
///
/// In a cluster, the CTAs lie along N and share A's tile: each loads its share of it for all.
pub(crate) fn ragged_rows(s: &Gemm) -> Kernel {
    let summary = "d[rows of g] = a[rows of g] · b[g]ᵀ";
    let built = KernelBuilder::build(s.name, summary, threads(s), 16, |k| {
        k.clusters_of(s.cluster);
        let (m, n) = (s.rows(), s.n);
        let panel = 128 / s.output.size_bytes();
        let b_layout = match s.b_major {
            Major::K => Layout::swizzled_panels(n, BLOCK_K, 2),
            Major::Mn => Layout::swizzled_panels(BLOCK_K, n, 2),
        };
        let b_box = if s.b_major == Major::K { (n, BLOCK_K) } else { (BLOCK_K, n.min(64)) };
        let share = m / s.cluster;
        let a_map = k.tensor_map("a", TensorMap::ragged(Dtype::Bf16, share, BLOCK_K), ParamRole::A);
        let b_map = k.tensor_map("b", TensorMap::matrix(Dtype::Bf16, b_box.0, b_box.1, true), ParamRole::B);
        let d_map = k.tensor_map("d", TensorMap::ragged(s.output, 64 * s.blocks, n.min(panel)), ParamRole::D);
        let sizes = Sizes::declare(k);
        let a_layout = Layout::swizzled_panels(m, BLOCK_K, 2);
        let d_layout = Layout::swizzled_panels(64 * s.blocks, n, s.output.size_bytes());
        let parts = Parts {
            stage_bytes: a_layout.bytes() + b_layout.bytes(),
            a_tiles: k.bulk_tiles("a_tiles", Dtype::Bf16, &a_layout, s.stages),
            b_tiles: k.bulk_tiles("b_tiles", Dtype::Bf16, &b_layout, s.stages),
            d_tiles: k.bulk_tiles("d_tiles", s.output, &d_layout, s.warpgroups),
            sums: k.warpgroup_sums("sums", warpgroup_map(s.blocks, n, s.sharing())),
            ring: Ring::declare(k, "stage", s.stages, 4 * s.sharing() * s.cluster),
        };
        begin(k, s, &[a_map, b_map, d_map]);
        let blocks = k.let_("blocks", sizes.reduction.ceil_div(BLOCK_K));
        let blocks_of_tile: Expr<'_, I32, Cta> = blocks.within();
        fn rows_over<'k>(m: u32) -> impl Fn(Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta> + Copy {
            move |rows| rows.ceil_div(m)
        }
        let along_rows = rows_over(m);
        let majors = (Major::K, s.b_major);
        if s.pingpong {
            for turn in 0..2 {
                let registers = s.registers.map_or(RegisterBudget::Launch, |r| RegisterBudget::Grow(r.1));
                k.role(&format!("consumer {turn}"), 4 * turn..4 * turn + 4, registers, |k| {
                    let ring = parts.ring.consumer(k);
                    let tiles = k.var::<I32, Cta, _>("tiles_so_far", 0);
                    // The other warpgroup's turn to multiply ends before it ever began.
                    if turn == 1 {
                        k.pass(PINGPONG, 256);
                    }
                    each_tile(k, s, &sizes, along_rows, |k, t| {
                        let mine = (tiles.get() % 2).equals(turn);
                        k.when_else(
                            mine,
                            |k| {
                                k.meet(PINGPONG + turn as i32, 256);
                                multiply(k, s, &parts, &ring, blocks_of_tile, majors);
                                k.pass(PINGPONG + 1 - turn as i32, 256);
                                write_out(k, s, &parts, |k, tile| {
                                    k.bulk_store(tile, d_map, &k.ragged(t.col, t.row, t.start, t.rows));
                                });
                            },
                            |k| ring.skip(k, blocks_of_tile),
                        );
                        k.set(tiles, tiles.get() + 1);
                    });
                    finish_stores(k);
                });
            }
        } else {
            consumers_role(k, s, |k| {
                let ring = parts.ring.consumer(k);
                each_tile(k, s, &sizes, along_rows, |k, t| {
                    multiply(k, s, &parts, &ring, blocks_of_tile, majors);
                    let row = k.warpgroup() * (64 * s.blocks) + t.row;
                    write_out(k, s, &parts, |k, tile| {
                        let at = k.ragged(t.col, row, t.start, t.rows);
                        if s.add { k.bulk_add(tile, d_map, &at) } else { k.bulk_store(tile, d_map, &at) }
                    });
                });
                finish_stores(k);
            });
        }
        producer_role(k, s, |k| {
            let ring = parts.ring.producer(k);
            each_tile(
                k,
                s,
                &sizes,
                |rows| rows.ceil_div(m),
                |k, t| {
                    k.for_("block", blocks, |k, block| {
                        ring.fill(k, parts.stage_bytes, |k, slot| {
                            let depth = block * BLOCK_K;
                            let (a, b) = (parts.a_tiles.slot(slot.index), parts.b_tiles.slot(slot.index));
                            if s.cluster > 1 {
                                let part = k.cluster_rank() * share;
                                let at = k.ragged(depth, t.row + part, t.start, t.rows);
                                let all = (1 << s.cluster) - 1;
                                k.bulk_load_multicast(a_map, &at, &a.from_row(part), slot.full, all);
                            } else {
                                let at = k.ragged(depth, t.row, t.start, t.rows);
                                k.bulk_load(a_map, &at, &a, slot.full);
                            }
                            let (col, depth) = (t.col.coordinate(), depth.coordinate());
                            let group = t.group.coordinate();
                            let at = if s.b_major == Major::K { [depth, col, group] } else { [col, depth, group] };
                            k.bulk_load(b_map, &at, &b, slot.full);
                        });
                    });
                },
            );
            if s.cluster > 1 {
                k.comment("The other CTAs may still say that they have read what was loaded for them.");
                ring.drain(k);
            }
        });
    });
    built.unwrap_or_else(|defects| panic!("{defects:?}"))
}

/// The same product with its sides exchanged: 64 columns of D are `wgmma`'s rows, a group's rows its columns. The sums
/// go to D's tile transposed.
pub(crate) fn swapped_rows(s: &Gemm) -> Kernel {
    let built = KernelBuilder::build(s.name, "d[rows of g] = (b[g] · a[rows of g]ᵀ)ᵀ", threads(s), 16, |k| {
        let (tokens, weights) = (s.n, s.rows());
        let panel = 128 / s.output.size_bytes();
        let a_map = k.tensor_map("a", TensorMap::ragged(Dtype::Bf16, tokens, BLOCK_K), ParamRole::A);
        let b_map = k.tensor_map("b", TensorMap::matrix(Dtype::Bf16, weights, BLOCK_K, true), ParamRole::B);
        let d_map = k.tensor_map("d", TensorMap::ragged(s.output, tokens, panel.min(weights)), ParamRole::D);
        let sizes = Sizes::declare(k);
        let (a_layout, b_layout) =
            (Layout::swizzled_panels(tokens, BLOCK_K, 2), Layout::swizzled_panels(weights, BLOCK_K, 2));
        let d_layout = Layout::swizzled_panels(tokens, weights, s.output.size_bytes());
        let parts = Parts {
            stage_bytes: a_layout.bytes() + b_layout.bytes(),
            a_tiles: k.bulk_tiles("b_tiles", Dtype::Bf16, &b_layout, s.stages),
            b_tiles: k.bulk_tiles("a_tiles", Dtype::Bf16, &a_layout, s.stages),
            d_tiles: k.bulk_tiles("d_tiles", s.output, &d_layout, 1),
            sums: k.warpgroup_sums("sums", warpgroup_map(s.blocks, tokens, s.warpgroups)),
            ring: Ring::declare(k, "stage", s.stages, s.consumer_warps()),
        };
        begin(k, s, &[a_map, b_map, d_map]);
        let blocks = k.let_("blocks", sizes.reduction.ceil_div(BLOCK_K));
        consumers_role(k, s, |k| {
            let ring = parts.ring.consumer(k);
            each_swapped_tile(k, s, &sizes, (tokens, weights), |k, t| {
                multiply(k, s, &parts, &ring, blocks.within(), (Major::K, Major::K));
                let (tile, zero) = (parts.d_tiles.only(k), k.int(0));
                let leader = k.warp().equals(0);
                k.when(leader, |k| k.elect(|k| k.await_store_reads(0)));
                k.meet(1, 32 * s.consumer_warps());
                k.store_transposed(parts.sums, &tile, zero, 0);
                k.fence_proxy();
                k.meet(1, 32 * s.consumer_warps());
                k.when(leader, |k| {
                    k.elect(|k| {
                        k.bulk_store(&tile, d_map, &k.ragged(t.col, t.row, t.start, t.rows));
                        k.commit_stores();
                    });
                });
            });
            finish_stores(k);
        });
        producer_role(k, s, |k| {
            let ring = parts.ring.producer(k);
            each_swapped_tile(k, s, &sizes, (tokens, weights), |k, t| {
                k.for_("block", blocks, |k, block| {
                    ring.fill(k, parts.stage_bytes, |k, slot| {
                        let depth = block * BLOCK_K;
                        let at = k.ragged(depth, t.row, t.start, t.rows);
                        k.bulk_load(a_map, &at, &parts.b_tiles.slot(slot.index), slot.full);
                        let at = [depth.coordinate(), t.col.coordinate(), t.group.coordinate()];
                        k.bulk_load(b_map, &at, &parts.a_tiles.slot(slot.index), slot.full);
                    });
                });
            });
        });
    });
    built.unwrap_or_else(|defects| panic!("{defects:?}"))
}

/// The walk of exchanged sides: `tokens` rows of a group by `weights` columns.
fn each_swapped_tile<'k>(
    k: &mut KernelBuilder<'k>,
    s: &Gemm,
    sizes: &Sizes<'k>,
    (tokens, weights): (u32, u32),
    body: impl FnOnce(&mut KernelBuilder<'k>, Tile<'k>),
) {
    let by = Gemm { blocks: 1, warpgroups: 1, n: weights, ..*s };
    each_tile(
        k,
        &by,
        sizes,
        |rows| rows.ceil_div(tokens),
        |k, t| {
            let row = k.let_("first_token", t.row / by.rows() * tokens);
            body(k, Tile { row, ..t });
        },
    );
}

/// d[g] (+)= a[rows of g]ᵀ · b[rows of g]: both operands lie along the reduction, whose tail is zeros.
pub(crate) fn ragged_reduction(s: &Gemm) -> Kernel {
    let summary = "d[g] (+)= a[rows of g]ᵀ · b[rows of g]";
    let built = KernelBuilder::build(s.name, summary, threads(s), 16, |k| {
        let (m, n) = (s.rows(), s.n);
        let panel = 128 / s.output.size_bytes();
        let a_map = k.tensor_map("a", TensorMap::ragged(Dtype::Bf16, BLOCK_K, 64), ParamRole::A);
        let b_map = k.tensor_map("b", TensorMap::ragged(Dtype::Bf16, BLOCK_K, 64), ParamRole::B);
        let recipe = TensorMap::matrix(s.output, 64 * s.blocks, n.min(panel), true);
        let d_map = k.tensor_map("d", recipe, ParamRole::D);
        let sizes = Sizes::declare(k);
        let rows_of_d = k.count("rows_of_d", ParamRole::Rows);
        let (a_layout, b_layout) = (Layout::swizzled_panels(BLOCK_K, m, 2), Layout::swizzled_panels(BLOCK_K, n, 2));
        let d_layout = Layout::swizzled_panels(64 * s.blocks, n, s.output.size_bytes());
        let parts = Parts {
            stage_bytes: a_layout.bytes() + b_layout.bytes(),
            a_tiles: k.bulk_tiles("a_tiles", Dtype::Bf16, &a_layout, s.stages),
            b_tiles: k.bulk_tiles("b_tiles", Dtype::Bf16, &b_layout, s.stages),
            d_tiles: k.bulk_tiles("d_tiles", s.output, &d_layout, s.warpgroups),
            sums: k.warpgroup_sums("sums", warpgroup_map(s.blocks, n, s.warpgroups)),
            ring: Ring::declare(k, "stage", s.stages, s.consumer_warps()),
        };
        begin(k, s, &[a_map, b_map, d_map]);
        // Nothing is added for a group without rows; without an addition its D is zeros.
        let tiles = |rows| {
            let (rows, all): (Expr<'_, I32, Cta>, _) = (rows, rows_of_d.ceil_div(m));
            if s.add { rows.equals(0).select::<I32, _, _, _>(0, all) } else { all.within() }
        };
        consumers_role(k, s, |k| {
            let ring = parts.ring.consumer(k);
            each_tile(k, s, &sizes, tiles, |k, t| {
                let blocks = k.let_("blocks", t.rows.ceil_div(BLOCK_K));
                multiply(k, s, &parts, &ring, blocks, (Major::Mn, Major::Mn));
                let row = k.warpgroup() * (64 * s.blocks) + t.row;
                write_out(k, s, &parts, |k, tile| {
                    let at = [t.col.coordinate(), row.coordinate(), t.group.coordinate()];
                    if s.add { k.bulk_add(tile, d_map, &at) } else { k.bulk_store(tile, d_map, &at) }
                });
            });
            finish_stores(k);
        });
        producer_role(k, s, |k| {
            let ring = parts.ring.producer(k);
            each_tile(k, s, &sizes, tiles, |k, t| {
                let blocks = k.let_("blocks", t.rows.ceil_div(BLOCK_K));
                k.for_("block", blocks, |k, block| {
                    ring.fill(k, parts.stage_bytes, |k, slot| {
                        let token = block * BLOCK_K;
                        let at = k.ragged(t.row, token, t.start, t.rows);
                        k.bulk_load(a_map, &at, &parts.a_tiles.slot(slot.index), slot.full);
                        let at = k.ragged(t.col, token, t.start, t.rows);
                        k.bulk_load(b_map, &at, &parts.b_tiles.slot(slot.index), slot.full);
                    });
                });
            });
        });
    });
    built.unwrap_or_else(|defects| panic!("{defects:?}"))
}

/// Rows of a copying kernel's tile.
pub(crate) const COPY_ROWS: u32 = 8;

/// d = a, tile by tile: a scheduler takes numbers from a counter of all CTAs and hands them to the warp that copies.
/// The launch may overlap the one before it.
pub(crate) fn dynamic_copy() -> Kernel {
    let built = KernelBuilder::build("dynamic_copy", "d = a, tile by tile from one counter", 64, 16, |k| {
        let recipe = TensorMap::matrix(Dtype::Bf16, COPY_ROWS, 64, false);
        let a_map = k.tensor_map("a", recipe.clone(), ParamRole::A);
        let d_map = k.tensor_map("d", recipe, ParamRole::D);
        let rows = k.count("rows", ParamRole::Rows);
        let counter = k.workspace("counter", 2);
        let layout = Layout::swizzled_panels(COPY_ROWS, 64, 2);
        let tiles = k.bulk_tiles("tiles", Dtype::Bf16, &layout, 1);
        let numbers = k.shared_words("numbers", 2);
        let arrived = k.barriers("arrived", 1, 1);
        let full = k.barriers("number_full", 2, 1);
        let empty = k.barriers("number_empty", 2, 1);
        k.init_barriers();
        k.barrier();
        k.await_grid();
        k.launch_dependents();
        let count = k.let_("count", rows.ceil_div(COPY_ROWS));
        k.role("scheduler", 0..1, RegisterBudget::Launch, |k| {
            let (slot, parity) = (k.var::<I32, Cta, _>("slot", 0), k.var::<I32, Cta, _>("parity", 1));
            k.loop_(|k| {
                let first = k.lane().equals(0);
                let order = (MemoryOrder::Relaxed, AtomicScope::Gpu);
                let taken = k.fetch_add("taken", counter, 0, 1, first, order);
                let number = k.shuffle("number", taken, 0).agree::<Cta>();
                let number = k.let_("number_of_tile", number);
                k.await_phase(empty.slot(slot.get()), parity.get());
                k.elect(|k| {
                    k.write_word(&numbers.slot(slot.get()), number);
                    k.arrive(full.slot(slot.get()));
                });
                step(k, slot, parity);
                k.break_if(count.le(number));
            });
            k.end_count(counter, 0, 1);
        });
        k.role("copier", 1..2, RegisterBudget::Launch, |k| {
            let (slot, parity) = (k.var::<I32, Cta, _>("slot", 0), k.var::<I32, Cta, _>("parity", 0));
            let loaded = k.var::<I32, Cta, _>("loaded", 0);
            let (tile, zero) = (tiles.only(k), k.int(0));
            let at_load = arrived.slot(zero);
            k.loop_(|k| {
                k.await_phase(full.slot(slot.get()), parity.get());
                let number = k.read_word("number", &numbers.slot(slot.get()));
                k.elect(|k| k.arrive(empty.slot(slot.get())));
                step(k, slot, parity);
                k.break_if(count.le(number));
                let at = [zero.coordinate(), (number * COPY_ROWS).coordinate()];
                k.elect(|k| {
                    k.await_store_reads(0);
                    k.arrive_expect(at_load, layout.bytes());
                    k.bulk_load(a_map, &at, &tile, at_load);
                });
                k.await_phase(at_load, loaded.get());
                k.set(loaded, k.int(1) - loaded.get());
                k.elect(|k| {
                    k.bulk_store(&tile, d_map, &at);
                    k.commit_stores();
                });
            });
            k.elect(|k| k.await_stores(0));
        });
    });
    built.unwrap_or_else(|defects| panic!("{defects:?}"))
}

/// Goes on in a ring of two.
fn step<'k>(
    k: &mut KernelBuilder<'k>,
    slot: ggemm_codegen::dsl::Var<'k, I32, Cta>,
    parity: ggemm_codegen::dsl::Var<'k, I32, Cta>,
) {
    let last = slot.get().equals(1);
    let flipped = k.int(1) - parity.get();
    k.set(parity, last.select::<I32, _, _, _>(flipped, parity.get()));
    k.set(slot, last.select::<I32, _, _, _>(0, 1));
}
