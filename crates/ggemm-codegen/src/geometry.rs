//! What a spec's tile means in shared memory and registers: the layouts that its kernel declares, that validation
//! counts, and that tests inspect.

use crate::descriptor::WGMMA_M;
use crate::dtype::Dtype;
use crate::layout::{CHUNK_BYTES, Layout, Mode, ThreadValueMap};
use crate::spec::{KernelSpec, Major, Tile, Warps};

/// Rows of one `mma.sync` product.
pub const MMA_M: u32 = 16;
/// Columns of one `mma.sync` product.
pub const MMA_N: u32 = 8;
/// Depth of one `mma.sync` product of 16-bit operands.
pub const MMA_K: u32 = 16;

/// The shared tile of one stage of A, stored as it lies in global memory: [m, k] when K-major, else [k, m].
pub fn a_tile(spec: &KernelSpec) -> Layout {
    operand_tile(spec.a_major, spec.tile.m, spec)
}

/// The shared tile of one stage of B: [n, k] when K-major, else [k, n].
pub fn b_tile(spec: &KernelSpec) -> Layout {
    operand_tile(spec.b_major, spec.tile.n, spec)
}

fn operand_tile(major: Major, side: u32, spec: &KernelSpec) -> Layout {
    let bytes = spec.operand.size_bytes();
    match major {
        Major::K => Layout::swizzled_panels(side, spec.tile.k, bytes),
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

/// One k16 step of A, [tile.m, 16], as `mma.m16n8k16` takes it.
///
/// Values: pair along k, row half, k half, products along m; every two are one register, every eight one product's.
pub fn a_fragment_map(tile: Tile, warps: Warps) -> ThreadValueMap {
    let wm = tile.m / warps.m;
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: 2 },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: warps.m, row: wm, col: 0 },
            Mode { extent: warps.n, row: 0, col: 0 },
        ],
        values: vec![
            Mode { extent: 2, row: 0, col: 1 },
            Mode { extent: 2, row: MMA_M / 2, col: 0 },
            Mode { extent: 2, row: 0, col: MMA_K / 2 },
            Mode { extent: wm / MMA_M, row: MMA_M, col: 0 },
        ],
    }
}

/// One k16 step of B, [tile.n, 16] (row: n, column: k), as `mma.m16n8k16` takes it.
///
/// Values: pair along k, k half, products along n; every two are one register, every four one product's.
pub fn b_fragment_map(tile: Tile, warps: Warps) -> ThreadValueMap {
    let wn = tile.n / warps.n;
    ThreadValueMap {
        threads: vec![
            Mode { extent: 4, row: 0, col: 2 },
            Mode { extent: 8, row: 1, col: 0 },
            Mode { extent: warps.m, row: 0, col: 0 },
            Mode { extent: warps.n, row: wn, col: 0 },
        ],
        values: vec![
            Mode { extent: 2, row: 0, col: 1 },
            Mode { extent: 2, row: 0, col: MMA_K / 2 },
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

/// Bytes of one stage of the ring.
pub fn stage_bytes(spec: &KernelSpec) -> u32 {
    a_tile(spec).bytes() + b_tile(spec).bytes()
}

/// Shared memory of a CTA in bytes.
pub fn shared_bytes(spec: &KernelSpec) -> u32 {
    stage_bytes(spec).saturating_mul(spec.stages)
}

/// Registers a thread needs, estimated: the accumulator, two k16 steps of fragments, for plain loads the pieces on
/// their way, and what addresses, walk and loop were seen to take in the compiler's reports.
pub fn register_estimate(spec: &KernelSpec) -> u32 {
    let (wm, wn) = (spec.tile.m / spec.warps.m, spec.tile.n / spec.warps.n);
    let accumulator = wm * wn / 32;
    let fragments = 2 * (wm / MMA_M * 4 + wn / MMA_N * 2);
    let staging = match spec.copy {
        crate::spec::CopyPath::Plain => stage_bytes(spec) / spec.warps.threads() / 4,
        crate::spec::CopyPath::CpAsync => 0,
    };
    accumulator + fragments + staging + crate::resources::ADDRESS_REGISTERS
}
