//! Shared memory: what lies in it, and how the banks serve each access.

use serde::Serialize;

use super::Site;
use crate::arch::ArchLimits;
use crate::descriptor::wgmma_k;
use crate::dtype::Dtype;
use crate::geometry::{MMA_N, mma_k};
use crate::ir::{
    AddSums, BARRIER_BYTES, CopyScales, Fragment, Kernel, Op, ReadScales, SendSums, SharedTile, Stmt, TileRef,
    WarpgroupMultiply,
};
use crate::layout::{CHUNK_BYTES, Layout, ThreadValueMap, bank_conflicts, bank_transactions};

/// Shared memory of a CTA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedUse {
    /// Bytes in all, as the contract states them.
    pub bytes: u32,
    /// The most that the target grants a CTA.
    pub limit: u32,
    /// What it is made of. What is missing to `bytes` is padding for alignment.
    pub parts: Vec<SharedPart>,
}

/// Equal things in shared memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedPart {
    /// Their name.
    pub name: String,
    /// How many there are.
    pub slots: u32,
    /// Bytes of each.
    pub bytes_of_each: u32,
    /// Bytes of all.
    pub bytes: u32,
    /// What they are: `tile [rows, columns] type`, `words`, or `mbarrier` with the arrivals of a phase.
    pub what: String,
}

/// A statement that reads or writes shared memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SharedAccess {
    /// The statement.
    #[serde(flatten)]
    pub site: Site,
    /// The tile.
    pub tile: String,
    /// The instruction by which threads (or the tensor cores) touch it.
    pub instruction: &'static str,
    /// Bytes that one such instruction of a warp moves, or that make one core matrix of `wgmma`.
    pub bytes: u32,
    /// How many accesses meet in one bank at worst: 1 is free of conflicts.
    pub ways: u32,
    /// Bytes that a transaction of the banks serves, of 128, on average.
    pub bytes_per_transaction: f64,
}

pub(super) fn parts(kernel: &Kernel, limits: &ArchLimits) -> SharedUse {
    let tile = |t: &SharedTile| {
        let (rows, cols) = t.layout.shape();
        let is_word = t.layout.bytes() == CHUNK_BYTES;
        SharedPart {
            name: t.name.clone(),
            slots: t.slots,
            bytes_of_each: t.layout.bytes(),
            bytes: t.slots * t.layout.bytes(),
            what: if is_word { "words".to_owned() } else { format!("tile [{rows}, {cols}] {}", t.dtype) },
        }
    };
    let barriers = kernel.body.barriers.iter().map(|b| SharedPart {
        name: b.name.clone(),
        slots: b.slots,
        bytes_of_each: BARRIER_BYTES,
        bytes: b.slots * BARRIER_BYTES,
        what: format!("mbarrier of {} arrivals", b.arrivals),
    });
    SharedUse {
        bytes: kernel.contract.shared_bytes,
        limit: limits.shared_per_block,
        parts: kernel.body.shared.iter().map(tile).chain(barriers).collect(),
    }
}

/// Each warp's pieces of a tile of sums: its threads' follow each other.
fn sums_of_threads(instruction: &'static str, tile: &SharedTile) -> Pattern {
    let (rows, _) = tile.layout.shape();
    let of_warp = |first: u32| (first..first + 32).map(|row| tile.layout.offset(row, 0)).collect();
    Pattern::of_requests(instruction, CHUNK_BYTES, (0..rows).step_by(32).map(of_warp))
}

pub(super) fn accesses(kernel: &Kernel, sites: &[(Site, &Stmt)]) -> Vec<SharedAccess> {
    let tile = |t: &TileRef| &kernel.body.shared[t.tile.0 as usize];
    let fragment = |id: crate::ir::FragmentId| &kernel.body.fragments[id.0 as usize];
    let mut found = Vec::new();
    for (site, stmt) in sites {
        let mut push = |tile: &SharedTile, pattern: Pattern| found.push(pattern.of(site, tile));
        match &stmt.op {
            Op::CopyTile { to, map, .. } => push(tile(to), pieces("cp.async 16", &tile(to).layout, map)),
            Op::StoreStaging { from, to, .. } => {
                push(tile(to), pieces("st.shared 16", &tile(to).layout, &fragment(*from).map));
            }
            Op::LoadMatrix { to, from, transposed, .. } => {
                push(tile(from), ldmatrix(&tile(from).layout, &fragment(*to).map, *transposed));
            }
            Op::StoreFragment { from, to, col, block, transposed, .. } => {
                push(tile(to), stores(tile(to), fragment(*from), (*col, *block), *transposed));
            }
            Op::WarpgroupMultiply(p) => {
                let WarpgroupMultiply { a, b, a_is_mn_major, b_is_mn_major, .. } = p;
                for (operand, is_mn_major) in [(a, *a_is_mn_major), (b, *b_is_mn_major)] {
                    push(tile(operand), core_matrices(&tile(operand).layout, is_mn_major));
                }
            }
            Op::SendSums(SendSums { to, .. }) => push(tile(to), sums_of_threads("st.async 16", tile(to))),
            Op::AddSums(AddSums { from, .. }) => push(tile(from), sums_of_threads("ld.shared 16", tile(from))),
            Op::CopyScales(CopyScales { to, .. }) => {
                let layout = &tile(to).layout;
                let (rows, _) = layout.shape();
                let of = |first: u32| (first..rows.min(first + 32)).map(|row| layout.offset(row, 0)).collect();
                // Of four blocks at once where those of a row follow each other.
                let in_fours = layout.cols.0[0].stride == layout.element_bytes;
                let (instruction, width) = if in_fours { ("cp.async 16", 16) } else { ("cp.async 4", 4) };
                push(tile(to), Pattern::of_requests(instruction, width, (0..rows).step_by(32).map(of)));
            }
            Op::ReadScales(ReadScales { to, from, .. }) => {
                push(tile(from), scales(&tile(from).layout, &fragment(*to).map))
            }
            Op::WriteWord { to, .. } => push(tile(to), Pattern::of_requests("st.shared 4", 4, [vec![0]])),
            Op::ReadWord { from, .. } => push(tile(from), Pattern::of_requests("ld.shared 4", 4, [vec![0; 32]])),
            _ => {}
        }
    }
    found
}

/// What a warp's lanes read of a row of scales: columns in pairs.
fn scales(layout: &Layout, map: &ThreadValueMap) -> Pattern {
    let in_pairs = map.values[0].col == 1;
    let (instruction, each) = if in_pairs { ("ld.shared 8", 2) } else { ("ld.shared 4", 1) };
    let shared = if map.values[0].extent == 1 { map.values[1].col.max(1) } else { 1 };
    let requests = (0..map.value_count()).step_by(each).map(|value| {
        let at = |lane| map.coordinates(lane, value);
        (0..32).map(at).map(|(row, col)| layout.offset((row + col) / shared, 0)).collect()
    });
    Pattern::of_requests(instruction, 4 * each as u32, requests)
}

/// How the banks serve the instructions of a statement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pattern {
    pub(super) instruction: &'static str,
    pub(super) bytes: u32,
    pub(super) ways: u32,
    pub(super) bytes_per_transaction: f64,
}

impl Pattern {
    /// Of instructions that each give so many addresses of `width` bytes.
    fn of_requests(instruction: &'static str, width: u32, requests: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let (mut bytes, mut ways, mut moved, mut transactions) = (0, 0, 0u64, 0u64);
        for request in requests {
            ways = ways.max(bank_conflicts(&request, width));
            transactions += u64::from(bank_transactions(&request, width));
            let mut distinct = request;
            distinct.sort_unstable();
            distinct.dedup();
            bytes = bytes.max(distinct.len() as u32 * width);
            moved += distinct.len() as u64 * u64::from(width);
        }
        let bytes_per_transaction = moved as f64 / transactions.max(1) as f64;
        Pattern { instruction, bytes, ways, bytes_per_transaction }
    }

    fn of(self, site: &Site, tile: &SharedTile) -> SharedAccess {
        let Pattern { instruction, bytes, ways, bytes_per_transaction } = self;
        SharedAccess { site: site.clone(), tile: tile.name.clone(), instruction, bytes, ways, bytes_per_transaction }
    }
}

/// Threads that each write 16 bytes at a time.
pub(super) fn pieces(instruction: &'static str, layout: &Layout, map: &ThreadValueMap) -> Pattern {
    let elements = CHUNK_BYTES / layout.element_bytes;
    let requests = (0..map.thread_count() / 32).flat_map(|warp| {
        (0..map.value_count() / elements).map(move |piece| {
            let at = |lane| map.coordinates(warp * 32 + lane, piece * elements);
            (0..32).map(at).map(|(row, col)| layout.offset(row, col)).collect()
        })
    });
    Pattern::of_requests(instruction, CHUNK_BYTES, requests)
}

/// The rows that lanes give to `ldmatrix.x4`, whose matrices are the fragment's registers in order, for all steps of a
/// tile. A matrix' row is what four lanes hold of it; of a `transposed` one, what two of each of them hold.
pub(super) fn ldmatrix(layout: &Layout, map: &ThreadValueMap, transposed: bool) -> Pattern {
    if transposed && layout.element_bytes == 4 {
        return words(layout, map);
    }
    let (rows, cols) = layout.shape();
    let depth = mma_k(layout.element_bytes);
    let steps = if transposed { rows } else { cols } / depth;
    // Elements of a register, of which a load fills four.
    let neighbours = map.values[0].extent;
    let groups = map.value_count() / (4 * neighbours);
    let mut requests = Vec::new();
    for (warp, group) in (0..map.thread_count() / 32).flat_map(|w| (0..groups).map(move |g| (w, g))) {
        for first_k in (0..steps).map(|step| step * depth) {
            let row = |matrix: u32, row: u32| {
                let value = (group * 4 + matrix) * neighbours;
                if transposed {
                    let (side, k) = map.coordinates(warp * 32 + row / 2, value + row % 2);
                    layout.offset(first_k + k, side)
                } else {
                    let (side, k) = map.coordinates(warp * 32 + row * 4, value);
                    layout.offset(side, first_k + k)
                }
            };
            requests.push((0..4).flat_map(|matrix| (0..8).map(move |r| (matrix, r))).map(|(m, r)| row(m, r)).collect());
        }
    }
    Pattern::of_requests(if transposed { "ldmatrix.x4.trans" } else { "ldmatrix.x4" }, CHUNK_BYTES, requests)
}

/// The words that lanes read one by one of a tile whose rows are the reduction, a register at a time.
fn words(layout: &Layout, map: &ThreadValueMap) -> Pattern {
    let steps = layout.shape().0 / mma_k(layout.element_bytes);
    let each = (0..map.thread_count() / 32).flat_map(|warp| (0..map.value_count()).map(move |value| (warp, value)));
    let requests = each.flat_map(|(warp, value)| {
        (0..steps).map(move |step| {
            let at = |lane| map.coordinates(warp * 32 + lane, value);
            (0..32).map(at).map(|(side, k)| layout.offset(step * mma_k(4) + k, side)).collect()
        })
    });
    Pattern::of_requests("ld.shared 4", 4, requests)
}

/// What a warpgroup's threads write of their sums: 16-bit ones by `stmatrix`, f32 by ordinary stores.
pub(super) fn stores(
    tile: &SharedTile,
    from: &Fragment,
    (first_col, block): (u32, Option<u32>),
    transposed: bool,
) -> Pattern {
    let (layout, map) = (&tile.layout, &from.map);
    let (rows, cols) = layout.shape();
    let (along, across) = if transposed { (cols, rows) } else { (rows, cols) };
    let values_of_block = map.values[2].extent * 4;
    let blocks = block.map_or(0..map.values[3].extent, |block| block..block + 1);
    let offset = |thread: u32, value: u32| {
        let (row, col) = map.coordinates(thread, value);
        let (row, col) = (row % along, col - first_col);
        if transposed { layout.offset(col, row) } else { layout.offset(row, col) }
    };
    let first = first_col / MMA_N;
    let warps = map.thread_count() / 32;
    // Each warp's products, that is 8 columns of 16 rows: the first value of each, and its number in the tile.
    let products = across / MMA_N;
    let each = (0..warps).flat_map(move |warp| {
        let blocks = blocks.clone();
        blocks.flat_map(move |block| {
            (0..products).map(move |product| (warp, block * values_of_block + (first + product) * 4, product))
        })
    });
    match tile.dtype {
        Dtype::Bf16 | Dtype::F16 => {
            // Two products at a time, and the last one alone where their number is odd.
            let requests = each.filter(|(.., product)| product.is_multiple_of(2)).map(|(warp, value, product)| {
                let row = |matrix: u32, row: u32| {
                    let value = value + matrix * 2;
                    let lane = if transposed { row / 2 } else { row * 4 };
                    offset(warp * 32 + lane, value + if transposed { row % 2 } else { 0 })
                };
                let matrices = if product + 1 == products { 2 } else { 4 };
                (0..matrices).flat_map(|m| (0..8).map(move |r| (m, r))).map(|(m, r)| row(m, r)).collect()
            });
            Pattern::of_requests(if transposed { "stmatrix.trans" } else { "stmatrix" }, CHUNK_BYTES, requests)
        }
        Dtype::F32 => {
            let (width, parts): (u32, &[u32]) = if transposed { (4, &[0, 1, 2, 3]) } else { (8, &[0, 2]) };
            let requests = each.flat_map(|(warp, value, _)| {
                parts.iter().map(move |part| (0..32).map(|lane| offset(warp * 32 + lane, value + part)).collect())
            });
            Pattern::of_requests(if transposed { "st.shared 4" } else { "st.shared 8" }, width, requests)
        }
        // No spec with such an output is valid.
        Dtype::E4m3 | Dtype::E5m2 => Pattern::of_requests("none", CHUNK_BYTES, []),
    }
}

/// What `wgmma` reads at a time: eight rows of 16 bytes.
pub(super) fn core_matrices(layout: &Layout, is_mn_major: bool) -> Pattern {
    let (rows, cols) = layout.shape();
    let elements = CHUNK_BYTES / layout.element_bytes;
    let depth = if is_mn_major { rows } else { cols };
    debug_assert!(depth.is_multiple_of(wgmma_k(layout.element_bytes)), "whole steps");
    let firsts = (0..rows).step_by(8).flat_map(|row| (0..cols).step_by(elements as usize).map(move |col| (row, col)));
    let requests = firsts.map(|(row, col)| (row..row + 8).map(|row| layout.offset(row, col)).collect());
    Pattern::of_requests("wgmma", CHUNK_BYTES, requests)
}
