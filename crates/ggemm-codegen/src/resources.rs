//! What a kernel takes, read off its IR: registers of a thread and the work of one iteration of its main loop.

use crate::descriptor::{WGMMA_K_BYTES, WGMMA_M, wgmma_k};
use crate::geometry;
use crate::ir::{
    Block, Body, Fragment, FragmentId, FragmentRole, Kernel, LoopWork, Op, OuterScales, ReadScales, ScaleSums,
};

/// What a kernel takes beside the shared memory and threads that its contract states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Registers of a thread, estimated.
    pub registers: u32,
    /// One iteration of the innermost loop that multiplies.
    pub work: LoopWork,
}

/// Registers for addresses, the walk's state and loop counters, as the compiler's reports show them.
pub(crate) const ADDRESS_REGISTERS: u32 = 48;
/// The same, and the scales at hand, where scales of blocks come from shared memory: where they lie in device memory is not
/// these threads' business. With so few beside 128 sums the compiler spills none.
pub(crate) const BLOCK_SCALE_REGISTERS: u32 = 24;

/// Counts what `kernel` takes.
pub fn of(kernel: &Kernel) -> Resources {
    let body = &kernel.body;
    let (staging, others): (Vec<_>, Vec<_>) = beside_each_other(body).partition(|f| f.role == FragmentRole::Staging);
    let staging: u32 = staging.into_iter().map(registers_of).sum();
    let others: u32 = others.into_iter().map(registers_of).sum();
    // A role that copies has only some of its pieces on their way at once.
    let fragment_registers = if has_roles(&body.block) {
        let at_once = (geometry::STAGED_AHEAD + 1) * geometry::STAGED_TOGETHER;
        others.max(staging.min(at_once * geometry::STAGED_REGISTERS))
    } else {
        others + staging
    };
    let work = main_loop(&body.block).map_or_else(LoopWork::default, |block| {
        let mut work = LoopWork::default();
        count(body, block, kernel.contract.threads, 1, &mut work);
        work
    });
    // Where a role of its own loads, its loop runs as often as the one that multiplies.
    let mut work = work;
    if work.global_bytes == 0
        && let Some(block) = loading_loop(&body.block)
    {
        count(body, block, kernel.contract.threads, 1, &mut work);
    }
    Resources { registers: fragment_registers + address_registers(body), work }
}

/// Registers beside the fragments that take some of their own.
pub(crate) fn address_registers(body: &Body) -> u32 {
    let mut reads_scales = false;
    body.for_each_stmt(|s| reads_scales |= matches!(s.op, Op::ReadScales(_)));
    if reads_scales { BLOCK_SCALE_REGISTERS } else { ADDRESS_REGISTERS }
}

/// The fragments that take registers of their own. Scales with which a tile leaves take the place of a block's sums, where
/// those are apart; those that come from shared memory are counted with addresses.
pub(crate) fn beside_each_other(body: &Body) -> impl Iterator<Item = &Fragment> {
    let (mut leaving, mut read, mut promotes) = (Vec::new(), Vec::new(), false);
    body.for_each_stmt(|s| match s.op {
        Op::StoreFragment { scales: Some(OuterScales { rows, cols }), .. }
        | Op::ScaleSums(ScaleSums { scales: OuterScales { rows, cols }, .. }) => leaving.extend([rows, cols]),
        Op::Promote(_) => promotes = true,
        Op::ReadScales(ReadScales { to, .. }) => read.push(to),
        _ => {}
    });
    let replaces = move |id| promotes && leaving.contains(&FragmentId(id)) || read.contains(&FragmentId(id));
    body.fragments.iter().zip(0..).filter(move |(_, id)| !replaces(*id)).map(|(f, _)| f)
}

fn has_roles(block: &Block) -> bool {
    block.0.iter().any(|s| matches!(s.op, Op::Role(_)))
}

/// Registers of a thread that a fragment takes.
pub(crate) fn registers_of(f: &Fragment) -> u32 {
    let values = f.map.value_count();
    match f.role {
        FragmentRole::Staging => values / f.map.values[0].extent * geometry::STAGED_REGISTERS,
        _ => values * f.slots * f.dtype.size_bytes() / 4,
    }
}

/// The first loop, from the outside, that is not written out and whose own statements multiply.
fn main_loop(block: &Block) -> Option<&Block> {
    block.0.iter().find_map(|s| match &s.op {
        Op::For { body, unroll: false, .. } if multiplies(body) => Some(body),
        op => op.blocks().find_map(main_loop),
    })
}

fn multiplies(block: &Block) -> bool {
    block.0.iter().any(|s| match &s.op {
        Op::Multiply { .. } | Op::WarpgroupMultiply(_) => true,
        Op::For { body, unroll: true, .. } => multiplies(body),
        Op::If { then, .. } => multiplies(then),
        _ => false,
    })
}

/// The innermost loop that is not written out and starts loads.
fn loading_loop(block: &Block) -> Option<&Block> {
    fn loads(block: &Block) -> bool {
        block.0.iter().any(|s| match &s.op {
            Op::BulkLoad(_) | Op::LoadStaging { .. } => true,
            Op::If { then, .. } => loads(then),
            Op::Elect { body } => loads(body),
            _ => false,
        })
    }
    block.0.iter().find_map(|s| match &s.op {
        Op::For { body, unroll: false, .. } if loads(body) => Some(body),
        op => op.blocks().find_map(loading_loop),
    })
}

/// Products of 64 rows each that the warpgroups of an accumulator make in a step along the reduction.
fn products_of(accumulator: &Fragment) -> u32 {
    accumulator.map.threads[3].extent * accumulator.map.values[3].extent
}

fn count(body: &Body, block: &Block, threads: u32, times: u64, work: &mut LoopWork) {
    let fragment = |id: crate::ir::FragmentId| &body.fragments[id.0 as usize];
    let bytes = |id| {
        let f = fragment(id);
        u64::from(f.map.value_count()) * u64::from(threads) * u64::from(f.dtype.size_bytes())
    };
    let staged =
        |id, pieces: u64| u64::from(fragment(id).map.thread_count()) * pieces * u64::from(crate::layout::CHUNK_BYTES);
    for stmt in &block.0 {
        match &stmt.op {
            Op::Multiply { accumulator, a, .. } => {
                let products = u64::from(fragment(*accumulator).map.value_count()) * u64::from(threads);
                debug_assert_eq!(fragment(*a).role, FragmentRole::OperandA);
                work.multiply_adds += times * products * u64::from(geometry::mma_k(fragment(*a).dtype.size_bytes()));
            }
            Op::CopyTile { to, .. } => {
                let tile = u64::from(body.shared[to.tile.0 as usize].layout.bytes());
                work.global_bytes += times * tile;
                work.shared_bytes += times * tile;
            }
            Op::LoadStaging { to, pieces } => work.global_bytes += times * staged(*to, pieces.len() as u64),
            Op::StoreStaging { from, pieces, .. } => work.shared_bytes += times * staged(*from, pieces.len() as u64),
            Op::WarpgroupMultiply(p) => {
                let f = fragment(p.accumulator);
                let n = p.width(f);
                let element_bytes = body.shared[p.a.tile.0 as usize].layout.element_bytes;
                let sums = u64::from(products_of(f) * WGMMA_M * n);
                work.multiply_adds += times * sums * u64::from(wgmma_k(element_bytes));
                // Each product reads 64 rows of A and all of B.
                work.shared_bytes += times * u64::from(products_of(f) * (WGMMA_M + n) * WGMMA_K_BYTES);
            }
            Op::BulkLoad(load) => {
                let tile = u64::from(body.shared[load.to.tile.0 as usize].layout.bytes());
                work.global_bytes += times * tile;
                work.shared_bytes += times * tile;
            }
            Op::LoadMatrix { to, .. } => work.shared_bytes += times * bytes(*to),
            Op::For { end, body: inner, unroll: true, .. } => {
                let n = body.exprs.as_constant(*end).unwrap_or(1).max(0) as u64;
                count(body, inner, threads, times * n, work);
            }
            op => op.blocks().for_each(|b| count(body, b, threads, times, work)),
        }
    }
}
