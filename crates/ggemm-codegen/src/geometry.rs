//! What a spec's tile means in shared memory and registers: the layouts that its kernel declares, that validation
//! counts, and that tests inspect.

use std::ops::Range;

use crate::descriptor::WGMMA_M;
use crate::dtype::Dtype;
use crate::layout::{CHUNK_BYTES, Layout, Mode, ThreadValueMap};
use crate::resources::{ADDRESS_REGISTERS, BLOCK_SCALE_REGISTERS};
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::spec::{Accumulation, CopyPath, KernelSpec, Major, Ragged, Schedule, Tile, Warps};

/// Rows of one `mma.sync` product.
pub const MMA_M: u32 = 16;
/// Columns of one `mma.sync` product.
pub const MMA_N: u32 = 8;
/// Bytes along the reduction that one `mma.sync` product takes of an operand's row.
const MMA_K_BYTES: u32 = 32;

/// Depth of one `mma.sync` product of operands whose elements take so many bytes: 16 of 16-bit ones, 32
/// of fp8, 8 of f32.
pub const fn mma_k(element_bytes: u32) -> u32 {
    MMA_K_BYTES / element_bytes
}

/// Bytes of a register, which holds neighbours along the reduction.
const REGISTER_BYTES: u32 = 4;

/// The shared tile of one stage of A, stored as it lies in global memory: [m, k] when K-major, else [k, m].
pub fn a_tile(spec: &KernelSpec) -> Layout {
    operand_tile(spec.a_major, spec.tile.m, spec)
}

/// The shared tile of one stage of B: [n, k] when K-major, else [k, n].
pub fn b_tile(spec: &KernelSpec) -> Layout {
    operand_tile(spec.b_major, spec.tile.n, spec)
}

fn operand_tile(major: Major, side: u32, spec: &KernelSpec) -> Layout {
    // Operands of different types are of one size.
    let bytes = spec.operand.size_bytes();
    match major {
        Major::K => Layout::swizzled_panels(side, spec.tile.k, bytes),
        Major::Mn if spec.operand == Dtype::F32 => Layout::word_panels(spec.tile.k, side),
        Major::Mn => Layout::swizzled_panels(spec.tile.k, side, bytes),
    }
}

/// How the threads of a CTA share the copy of a tile: each takes 16-byte pieces of consecutive columns, a row's pieces
/// going to neighbouring threads, so that global reads coalesce.
///
/// The values of a thread are its elements within a piece, then its pieces.
pub fn copy_map(tile: &Layout, threads: u32) -> ThreadValueMap {
    let (rows, cols) = tile.shape();
    let piece = CHUNK_BYTES / tile.element_bytes;
    let pieces_per_row = cols / piece;
    let rows_at_once = threads / pieces_per_row;
    ThreadValueMap {
        threads: vec![
            Mode { extent: pieces_per_row, row: 0, col: piece },
            Mode { extent: rows_at_once, row: 1, col: 0 },
        ],
        values: vec![
            Mode { extent: piece, row: 0, col: 1 },
            Mode { extent: rows.div_ceil(rows_at_once), row: rows_at_once, col: 0 },
        ],
    }
}

/// How threads share a tile that goes through their registers: each takes 16-byte pieces of one column of each 128-byte
/// panel and of rows that are a multiple of 8 apart, so that all of them start at the same offset from 16 bytes.
///
/// The values of a thread are its elements within a piece, panels, then its pieces of a panel.
pub fn staging_map(tile: &Layout, threads: u32) -> ThreadValueMap {
    let (rows, cols) = tile.shape();
    let piece = CHUNK_BYTES / tile.element_bytes;
    let panel = cols.min(128 / tile.element_bytes);
    let rows_at_once = threads / (panel / piece);
    ThreadValueMap {
        threads: vec![
            Mode { extent: panel / piece, row: 0, col: piece },
            Mode { extent: rows_at_once, row: 1, col: 0 },
        ],
        values: vec![
            Mode { extent: piece, row: 0, col: 1 },
            Mode { extent: cols / panel, row: 0, col: panel },
            Mode { extent: rows.div_ceil(rows_at_once), row: rows_at_once, col: 0 },
        ],
    }
}

/// The accumulator of the CTA's whole tile, as `mma.m16n8k16` leaves it (PTX ISA, "Matrix Fragments for
/// mma.m16n8k16"): a lane holds two neighbouring columns of rows l/4 and l/4 + 8 of each 16 × 8 product.
///
/// Values: column pair, row half, products along n, products along m.
pub fn accumulator_map(tile: Tile, warps: Warps) -> ThreadValueMap {
    let (wm, wn) = (tile.m / warps.m, tile.n / warps.n);
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: 2 },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: warps.m, row: wm, col: 0 },
            Mode { extent: warps.n, row: 0, col: wn },
        ],
        values: vec![
            Mode { extent: 2, row: 0, col: 1 },
            Mode { extent: 2, row: MMA_M / 2, col: 0 },
            Mode { extent: wn / MMA_N, row: 0, col: MMA_N },
            Mode { extent: wm / MMA_M, row: MMA_M, col: 0 },
        ],
    }
}

/// The accumulator of `warpgroups` warpgroups that divide the rows of a tile among them, `blocks` times 64 rows of `n`
/// columns each, as `wgmma` leaves it (PTX ISA, "Register Fragments and Shared Memory Matrix Layouts").
///
/// Values: column pair, row half, 8 columns at a time, blocks of 64 rows.
pub fn warpgroup_map(blocks: u32, n: u32, warpgroups: u32) -> ThreadValueMap {
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: 2 },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: 4, row: MMA_M, col: 0 },
            Mode { extent: warpgroups, row: blocks * WGMMA_M, col: 0 },
        ],
        values: vec![
            Mode { extent: 2, row: 0, col: 1 },
            Mode { extent: 2, row: MMA_M / 2, col: 0 },
            Mode { extent: n / MMA_N, row: 0, col: MMA_N },
            Mode { extent: blocks, row: WGMMA_M, col: 0 },
        ],
    }
}

/// The scales of the rows that each thread holds of `sums`, an accumulator of either kind.
///
/// Values: row half, products along the rows.
pub fn row_scale_map(sums: &ThreadValueMap) -> ThreadValueMap {
    let threads = sums.threads.iter().map(|mode| Mode { col: 0, ..*mode }).collect();
    ThreadValueMap { threads, values: vec![sums.values[1], sums.values[3]] }
}

/// The scales of the columns that each thread holds of `sums`; `shared`: 128 neighbours have one.
///
/// Values: column pair, 8 columns at a time; or blocks of 128 columns, or halves of them.
pub fn col_scale_map(sums: &ThreadValueMap, shared: bool) -> ThreadValueMap {
    let threads = |along: &dyn Fn(u32) -> u32| {
        sums.threads.iter().map(|mode| Mode { row: 0, col: along(mode.col), ..*mode }).collect()
    };
    if shared {
        let cols: u32 = 1 + sums.threads.iter().chain(&sums.values).map(|m| (m.extent - 1) * m.col).sum::<u32>();
        // Tiles may begin in the middle of a block.
        let block = if cols.is_multiple_of(SCALE_BLOCK as u32) { SCALE_BLOCK as u32 } else { SCALE_BLOCK as u32 / 2 };
        let blocks = Mode { extent: cols.div_ceil(block), row: 0, col: block };
        return ThreadValueMap { threads: threads(&|_| 0), values: vec![Mode { extent: 1, row: 0, col: 0 }, blocks] };
    }
    ThreadValueMap { threads: threads(&|col| col), values: vec![sums.values[0], sums.values[2]] }
}

/// Whether 128 neighbouring columns of B have one scale.
pub fn columns_share_scales(spec: &KernelSpec) -> bool {
    spec.scaling == Scaling::Block && spec.ragged == Ragged::Rows
}

/// Whether tiles of the multistage family lie in one block of columns that share a scale.
pub fn has_whole_scale_blocks(spec: &KernelSpec) -> bool {
    let is_free = spec.schedule.is_warp_specialized() || !columns_share_scales(spec);
    is_free || (SCALE_BLOCK as u32).is_multiple_of(spec.tile.n)
}

/// One step of A along the reduction, [tile.m, [`mma_k`]], as `mma.m16n8k16`, `k32` and `k8` take it: in units of a
/// register, which holds two, four or one neighbours, theirs are the same.
///
/// Values: neighbours along k, row half, k half, products along m; the first are one register, four of them one product's.
pub fn a_fragment_map(tile: Tile, warps: Warps, element_bytes: u32) -> ThreadValueMap {
    let wm = tile.m / warps.m;
    let (neighbours, depth) = (REGISTER_BYTES / element_bytes, mma_k(element_bytes));
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: neighbours },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: warps.m, row: wm, col: 0 },
            Mode { extent: warps.n, row: 0, col: 0 },
        ],
        values: vec![
            Mode { extent: neighbours, row: 0, col: 1 },
            Mode { extent: 2, row: MMA_M / 2, col: 0 },
            Mode { extent: 2, row: 0, col: depth / 2 },
            Mode { extent: wm / MMA_M, row: MMA_M, col: 0 },
        ],
    }
}

/// One step of B along the reduction, [tile.n, [`mma_k`]] (row: n, column: k), likewise.
///
/// Values: neighbours along k, k half, products along n; the first are one register, two of them one product's.
pub fn b_fragment_map(tile: Tile, warps: Warps, element_bytes: u32) -> ThreadValueMap {
    let wn = tile.n / warps.n;
    let (neighbours, depth) = (REGISTER_BYTES / element_bytes, mma_k(element_bytes));
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: neighbours },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: warps.m, row: 0, col: 0 },
            Mode { extent: warps.n, row: wn, col: 0 },
        ],
        values: vec![
            Mode { extent: neighbours, row: 0, col: 1 },
            Mode { extent: 2, row: 0, col: depth / 2 },
            Mode { extent: wn / MMA_N, row: MMA_N, col: 0 },
        ],
    }
}

/// Neighbouring columns that a thread writes together where rows are aligned to 16 bytes.
///
/// The four lanes of a row hold two columns of each product. Where the output has 2 bytes and a warp owns fours of
/// neighbouring products, they exchange them so that each writes 16 bytes. (With 4 bytes they write 32 in a row anyway.)
pub fn columns_stored_together(accumulator: &ThreadValueMap, output: Dtype) -> u32 {
    let products = accumulator.values[2].extent;
    if output.size_bytes() == 2 && products.is_multiple_of(4) { MMA_N } else { 2 }
}

/// Blocks of the reduction whose scales come to shared memory together: where those of a row follow each other, 16 bytes.
pub const SCALES_TOGETHER: u32 = 4;
/// Places for them: one is filled while another is read.
pub const SCALE_SLOTS: u32 = 2;

/// The scales of a tile's rows and of its columns, or blocks of columns that share one, in [`SCALES_TOGETHER`] blocks of the
/// reduction, as they lie in shared memory: in device memory, too, those of neighbouring blocks follow each other, or where
/// the reduction is ragged those of neighbouring rows and columns.
pub fn scale_tiles(spec: &KernelSpec) -> Option<[Layout; 2]> {
    let by_columns = spec.ragged == Ragged::Reduction;
    let cols = if columns_share_scales(spec) { spec.tile.n.div_ceil(SCALE_BLOCK as u32) } else { spec.tile.n };
    let tile = |places| Layout::dense(places, SCALES_TOGETHER, by_columns, 4);
    (spec.scaling == Scaling::Block).then(|| [spec.tile.m, cols].map(tile))
}

/// Bytes of scales in shared memory, and of the barriers that hand them over.
fn scale_bytes(spec: &KernelSpec) -> u32 {
    scale_tiles(spec)
        .map_or(0, |tiles| SCALE_SLOTS * (tiles.iter().map(Layout::bytes).sum::<u32>() + 2 * crate::ir::BARRIER_BYTES))
}

/// Columns of a tile whose sums of a block of the reduction a warpgroup makes at a time. Half of the widest tiles', whose
/// sums of all blocks leave no more registers.
pub fn promoted_columns(spec: &KernelSpec) -> u32 {
    if spec.tile.n > 192 { spec.tile.n / 2 } else { spec.tile.n }
}

/// Columns of those whose scales a thread holds at a time. Where 128 share one, all; where each has its own, few.
pub fn scaled_columns(spec: &KernelSpec) -> u32 {
    if columns_share_scales(spec) { promoted_columns(spec) } else { 32 }
}

/// Bytes of one stage of the ring.
pub fn stage_bytes(spec: &KernelSpec) -> u32 {
    a_tile(spec).bytes() + b_tile(spec).bytes()
}

/// Warps of a warpgroup.
pub const WARPS_OF_WARPGROUP: u32 = 4;
/// Threads of a warpgroup.
pub const THREADS_OF_WARPGROUP: u32 = 32 * WARPS_OF_WARPGROUP;

/// The sides of a tile of D as `wgmma` has them: the one that warpgroups divide among them in blocks of [`WGMMA_M`], and
/// the one that each has all of. The first is D's rows, or where operands are swapped its columns.
pub fn product_sides(spec: &KernelSpec) -> (u32, u32) {
    let Tile { m, n, .. } = spec.tile;
    if spec.swapped { (n, m) } else { (m, n) }
}

/// Warpgroups that share a tile.
pub fn sharing_warpgroups(spec: &KernelSpec) -> u32 {
    (if spec.swapped { spec.warps.n } else { spec.warps.m }) / WARPS_OF_WARPGROUP
}

/// Warpgroups that multiply beside a copying role: all that share a tile, or in a pingpong two with a tile each.
pub fn consumers(spec: &KernelSpec) -> u32 {
    match spec.schedule {
        Schedule::Pingpong => 2,
        Schedule::Multistage | Schedule::Cooperative => sharing_warpgroups(spec),
    }
}

/// What the rows of a tile with swapped operands are rounded up to: finely where there are few, as in decoding.
pub fn row_step(spec: &KernelSpec) -> u32 {
    if spec.tile.m <= 64 { 8 } else { 16 }
}

/// How many rows the products of a tile with swapped operands may have, the most first.
pub fn row_counts(spec: &KernelSpec) -> impl Iterator<Item = u32> + use<> {
    let step = row_step(spec);
    (1..=spec.tile.m / step).rev().map(move |steps| steps * step)
}

/// Rows of A that are loaded together where operands are swapped, so that little is loaded where no rows are.
pub fn rows_of_box(spec: &KernelSpec) -> u32 {
    (spec.tile.m / 2).clamp(8, 32)
}

/// Warps that load: one that asks the copy engine, or a warpgroup that reads operands itself.
pub fn loader_warps(spec: &KernelSpec) -> u32 {
    if spec.copy == CopyPath::Plain { WARPS_OF_WARPGROUP } else { 1 }
}

/// Warps beside those that multiply: one finds tiles, the others load; where registers change hands, they are whole
/// warpgroups.
pub fn producer_warps(spec: &KernelSpec) -> u32 {
    let others = 1 + loader_warps(spec) + scale_warp(spec).map_or(0, |_| 1);
    match register_budget(spec) {
        None => others,
        Some(_) => others.next_multiple_of(WARPS_OF_WARPGROUP),
    }
}

/// The warp that finds tiles and the warps that load them. A warpgroup that loads begins where one may.
pub fn producers(spec: &KernelSpec) -> [Range<u32>; 2] {
    let first = WARPS_OF_WARPGROUP * consumers(spec);
    match loader_warps(spec) {
        1 => [first..first + 1, first + 1..first + 2],
        loaders => [first + loaders..first + loaders + 1, first..first + loaders],
    }
}

/// The warp that copies scales of blocks, where there are any: beside the one that asks the copy engine for operands, which
/// must not wait for it.
pub fn scale_warp(spec: &KernelSpec) -> Option<u32> {
    (spec.scaling == Scaling::Block).then(|| WARPS_OF_WARPGROUP * consumers(spec) + 1 + loader_warps(spec))
}

/// Pieces that a thread of a loading warpgroup reads together.
pub const STAGED_TOGETHER: u32 = 2;
/// How many times as many are on their way while it writes so many to shared memory.
pub const STAGED_AHEAD: u32 = 3;

/// Registers of a piece on its way: it is read as the two aligned pieces that hold it.
pub const STAGED_REGISTERS: u32 = 8;

/// Columns of a block whose rows are copied to where the copy engine can address them: a piece of 8 for each lane of a warp.
pub const REALIGNED_COLS: u32 = 256;
/// Rows of such a block that a thread reads before it writes any.
pub const REALIGNED_AT_ONCE: u32 = 4;

/// Rows of such a block, of which each warp has every so manieth.
pub const fn realigned_rows(threads: u32) -> u32 {
    threads / 32 * REALIGNED_AT_ONCE
}

/// Threads of a CTA.
pub fn threads(spec: &KernelSpec) -> u32 {
    if spec.schedule.is_warp_specialized() {
        32 * (WARPS_OF_WARPGROUP * consumers(spec) + producer_warps(spec))
    } else {
        spec.warps.threads()
    }
}

/// Registers of a thread of each role, where roles exchange them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterShares {
    /// Of a thread of the warpgroup that finds tiles.
    pub finder: u32,
    /// Of a thread that loads; the copy engine is asked by a warp of the same warpgroup, which has the finder's share.
    pub loader: u32,
    /// Of a thread that multiplies.
    pub consumer: u32,
}

/// How registers are divided between the roles, where several warpgroups multiply. Beside the copy engine an even share of the
/// file would be 168, and sums alone take up to 192. A warpgroup that loads itself makes them 128, and keeps operands that
/// are on their way. Of three that multiply each has 128 sums, and about as many registers beside them as the file leaves.
pub fn register_budget(spec: &KernelSpec) -> Option<RegisterShares> {
    let shares = match (spec.copy, sums_of_thread(spec)) {
        _ if consumers(spec) > 2 => RegisterShares { finder: 40, loader: 40, consumer: 152 },
        (CopyPath::Plain, _) => RegisterShares { finder: 24, loader: 168, consumer: 160 },
        (_, 0..=128) => RegisterShares { finder: 40, loader: 40, consumer: 232 },
        // What copies scales needs more than 24.
        _ if spec.scaling == Scaling::Block => RegisterShares { finder: 40, loader: 40, consumer: 232 },
        _ => RegisterShares { finder: 24, loader: 24, consumer: 240 },
    };
    (spec.schedule.is_warp_specialized() && consumers(spec) > 1).then_some(shares)
}

/// Sums that a thread keeps: where they are promoted, those of a block and those of all.
fn sums_of_thread(spec: &KernelSpec) -> u32 {
    let sums = spec.tile.m.saturating_mul(spec.tile.n) / spec.warps.count().max(1) / 32;
    match spec.accumulation {
        Accumulation::Fast => sums,
        Accumulation::Promoted => sums + sums.saturating_mul(promoted_columns(spec)) / spec.tile.n.max(1),
    }
}

/// Scales that a thread keeps beside its sums: those of whole rows, which are read when a tile leaves, by a warpgroup a
/// panel's columns at a time; where sums are promoted, they take the place of a block's. Those of blocks a warpgroup reads from
/// shared memory, few at a time ([`resources`](crate::resources)).
fn scales_of_thread(spec: &KernelSpec) -> u32 {
    let specialized = spec.schedule.is_warp_specialized();
    let cols = match (spec.scaling, spec.accumulation) {
        (Scaling::None, _) | (Scaling::Row, Accumulation::Promoted) => return 0,
        (Scaling::Block, _) if specialized => return 0,
        (Scaling::Row, Accumulation::Fast) if specialized => output_panel(spec).shape().1,
        (Scaling::Row, Accumulation::Fast) | (Scaling::Block, _) => spec.tile.n,
    };
    let sums = match specialized {
        true => warpgroup_map(warpgroup_blocks(spec), cols, 1),
        false => accumulator_map(spec.tile, spec.warps),
    };
    row_scale_map(&sums).value_count() + col_scale_map(&sums, columns_share_scales(spec)).value_count()
}

/// Blocks of [`WGMMA_M`] rows of D (where operands are swapped, columns) that one warpgroup computes.
pub fn warpgroup_blocks(spec: &KernelSpec) -> u32 {
    product_sides(spec).0 / sharing_warpgroups(spec).max(1) / WGMMA_M
}

/// What a warpgroup hands to the copy engine at a time: 64 rows of D, 128 bytes of each. Where operands are swapped,
/// all columns of a block and as many rows as take no more.
pub fn output_panel(spec: &KernelSpec) -> Layout {
    let bytes = spec.output.size_bytes();
    if spec.swapped {
        return Layout::swizzled_panels((128 / bytes).min(spec.tile.m), WGMMA_M, bytes);
    }
    Layout::swizzled_panels(WGMMA_M, 128 / bytes, bytes)
}

/// Panels of a tile that each warpgroup writes out.
fn output_panels(spec: &KernelSpec) -> u32 {
    let (rows, cols) = output_panel(spec).shape();
    let along = if spec.swapped { rows } else { cols };
    warpgroup_blocks(spec) * product_sides(spec).1 / along
}

/// Buffers of such panels that each warpgroup has: more than one, so that one is filled while another is stored, where
/// that does not cost a stage. They divide the panels of a tile, so that each is in its turn in the next tile as well.
pub fn output_buffers(spec: &KernelSpec) -> u32 {
    // Threads that write a panel themselves are done with it.
    if spec.d_by_threads {
        return 1;
    }
    let panels = output_panels(spec);
    let beside = stage_bytes(spec).saturating_mul(spec.stages).saturating_add(barrier_bytes(spec) + scale_bytes(spec));
    let each = consumers(spec) * output_panel(spec).bytes();
    let room = spec.arch.limits().shared_per_block;
    let fits = |buffers: u32| panels.is_multiple_of(buffers) && beside.saturating_add(buffers * each) <= room;
    [4, 3, 2].into_iter().find(|b| fits(*b)).unwrap_or(1)
}

/// Columns of sums that a CTA sends to another at a time, where they divide a tile's reduction.
pub const PART_COLS: u32 = 32;
/// Places for such parts, for each warpgroup and each CTA that sends: one is sent while another is added.
pub const PART_SLOTS: u32 = 2;

/// A part as it lies in shared memory: the four sums that a thread has of 8 columns, for each thread of a warpgroup, 8
/// columns after another.
pub fn part_tile() -> Layout {
    Layout::swizzled_panels(PART_COLS / MMA_N * THREADS_OF_WARPGROUP, 4, 4)
}

/// Parts in which a warpgroup's sums of a tile are sent.
pub fn parts(spec: &KernelSpec) -> u32 {
    warpgroup_blocks(spec) * product_sides(spec).1 / PART_COLS
}

/// Bytes of the places for parts, and of their barriers.
fn exchange_bytes(spec: &KernelSpec) -> u32 {
    let senders = spec.split.saturating_sub(1);
    let places = consumers(spec) * PART_SLOTS;
    let barriers = if senders > 0 { 2 * places * crate::ir::BARRIER_BYTES } else { 0 };
    senders.saturating_mul(places * part_tile().bytes()).saturating_add(barriers)
}

/// Tiles on their way from the warp that finds them to those that multiply them.
pub const FEED_SLOTS: u32 = 4;
/// Words that say where a tile is, and which part of its reduction, where it may be one.
pub fn feed_words(spec: &KernelSpec) -> u32 {
    if spec.stream_k { 9 } else { 5 }
}

/// Bytes of a warp-specialized CTA's words and barriers, and of what its cluster exchanges.
fn barrier_bytes(spec: &KernelSpec) -> u32 {
    let ring = spec.stages.saturating_mul(2 * crate::ir::BARRIER_BYTES);
    let feed = FEED_SLOTS * (feed_words(spec) * CHUNK_BYTES + 2 * crate::ir::BARRIER_BYTES);
    let wanted = if spec.dynamic { crate::ir::BARRIER_BYTES } else { 0 };
    ring.saturating_add(feed + wanted).saturating_add(exchange_bytes(spec))
}

/// Shared memory of a CTA in bytes.
pub fn shared_bytes(spec: &KernelSpec) -> u32 {
    let stages = stage_bytes(spec).saturating_mul(spec.stages);
    if !spec.schedule.is_warp_specialized() {
        return stages;
    }
    // Threads that move tiles write D from their registers.
    let output = match spec.copy {
        CopyPath::Plain => 0,
        CopyPath::CpAsync | CopyPath::Tma => consumers(spec) * output_buffers(spec) * output_panel(spec).bytes(),
    };
    stages.saturating_add(output + barrier_bytes(spec) + scale_bytes(spec))
}

/// Registers a thread needs, estimated: the accumulators with their scales, two steps of fragments where it reads them itself, the
/// pieces on their way where it copies them itself, and what addresses, walk and loop were seen to take in the
/// compiler's reports. Where copying is a role of its own, the thread that needs most.
pub fn register_estimate(spec: &KernelSpec) -> u32 {
    let (wm, wn) = (spec.tile.m / spec.warps.m, spec.tile.n / spec.warps.n);
    let specialized = spec.schedule.is_warp_specialized();
    let fragments = match spec.copy {
        CopyPath::Plain if specialized => 0,
        CopyPath::Tma => 0,
        CopyPath::Plain | CopyPath::CpAsync => 2 * (wm / MMA_M * 4 + wn / MMA_N * 2),
    };
    let staging = match spec.copy {
        CopyPath::Plain if specialized => (STAGED_AHEAD + 1) * STAGED_TOGETHER * STAGED_REGISTERS,
        CopyPath::Plain => stage_bytes(spec) / spec.warps.threads() / CHUNK_BYTES * STAGED_REGISTERS,
        CopyPath::CpAsync | CopyPath::Tma => 0,
    };
    let sums = sums_of_thread(spec) + scales_of_thread(spec);
    let needs = if specialized { sums.max(staging) } else { sums + fragments + staging };
    needs + if specialized && spec.scaling == Scaling::Block { BLOCK_SCALE_REGISTERS } else { ADDRESS_REGISTERS }
}
