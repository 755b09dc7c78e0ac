//! A warp as a coroutine: where it is, what it holds, what it waits for.

use std::collections::{HashMap, VecDeque};

use super::bulk::Store;
pub(super) use super::evaluate::LANES;
use super::knowledge::Knowledge;
use super::products::Product;
use super::shared::{Bytes, OperationId};
use super::tiles::Block as GlobalBlock;
use crate::ir::{Block, Body, Fragment, FragmentRole, StmtId, VarId};

/// The lanes that take part, a bit each.
pub(super) type Mask = u32;
pub(super) const ALL_LANES: Mask = u32::MAX;

/// A block that a warp is in.
pub(super) struct Frame<'k> {
    pub(super) block: &'k Block,
    pub(super) next: usize,
    pub(super) mask: Mask,
    pub(super) repeat: Repeat,
}

/// What happens at the end of a block.
pub(super) enum Repeat {
    /// It is left.
    No,
    /// It starts again with the counter one higher, while that is below the end.
    Counted { var: VarId, next: i64, end: i64 },
    /// It starts again.
    Forever,
}

/// A piece that an asynchronous copy is bringing.
pub(super) struct Piece {
    pub(super) copy: OperationId,
    pub(super) address: u32,
    pub(super) bytes: Bytes,
    pub(super) landed: bool,
}

/// What keeps a warp from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// All warps of the CTA.
    AtBarrier(StmtId),
    /// The end of a phase of one of the CTA's mbarriers.
    AtPhase {
        stmt: StmtId,
        barrier: usize,
        parity: u32,
    },
    /// Other warps at a named barrier.
    AtNamed {
        stmt: StmtId,
        id: u32,
    },
    /// A word of device memory that is to hold a value.
    AtWord {
        stmt: StmtId,
        word: usize,
        value: i64,
    },
    /// All threads of the cluster.
    AtCluster(StmtId),
    Done,
}

/// A fragment's share of one warp: a dense block of the warp's rows and columns, a slot after the other.
pub(super) struct Registers {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<Vec<f32>>,
    pub(super) filled: Vec<bool>,
    /// Products that own it.
    pub(super) in_flight: usize,
    /// A thread touched it, or nobody did yet, and no fence has come since.
    pub(super) touched: bool,
    /// The block that a staging fragment is read from.
    pub(super) block: Option<GlobalBlock>,
}

impl Registers {
    fn new(f: &Fragment) -> Self {
        // The first two thread digits are the lanes'; staging is shared by all threads and kept by thread and value.
        let (rows, cols) = match f.role {
            FragmentRole::Staging | FragmentRole::Patch | FragmentRole::BlockValues(_) => {
                (LANES, f.map.value_count() as usize)
            }
            _ => (extent(f, |m| m.row), extent(f, |m| m.col)),
        };
        let slots = f.slots as usize;
        // Pieces of a staging fragment come one by one.
        let parts = match f.role {
            FragmentRole::Staging => cols / f.map.values[0].extent as usize,
            _ => slots,
        };
        let values = vec![vec![0.0; rows * cols]; slots];
        Registers { rows, cols, values, filled: vec![false; parts], in_flight: 0, touched: true, block: None }
    }
}

fn extent(f: &Fragment, stride: impl Fn(&crate::layout::Mode) -> u32) -> usize {
    let lanes = f.map.threads.iter().take(2);
    1 + lanes.chain(&f.map.values).map(|m| ((m.extent - 1) * stride(m)) as usize).sum::<usize>()
}

pub(super) struct Warp<'k> {
    pub(super) frames: Vec<Frame<'k>>,
    pub(super) vars: Vec<[i64; LANES]>,
    pub(super) registers: Vec<Registers>,
    pub(super) known: Knowledge,
    /// Pieces issued since the last commit.
    pub(super) open: Vec<Piece>,
    /// Committed groups, oldest first.
    pub(super) groups: VecDeque<Vec<Piece>>,
    /// Products since the last commit.
    pub(super) products_open: Vec<Product<'k>>,
    /// Committed groups of products, oldest first.
    pub(super) products: VecDeque<Vec<Product<'k>>>,
    /// Bulk stores since the last commit.
    pub(super) stores_open: Vec<Store>,
    /// Committed groups of bulk stores, oldest first.
    pub(super) stores: VecDeque<Vec<Store>>,
    /// The generation of the cluster's barrier in which it arrived and has not waited.
    pub(super) cluster_generation: Option<u64>,
    pub(super) state: State,
    /// How often each statement with an agreement was executed.
    pub(super) visits: HashMap<StmtId, u64>,
}

impl<'k> Warp<'k> {
    pub(super) fn new(body: &'k Body, known: Knowledge) -> Self {
        Warp {
            frames: vec![Frame { block: &body.block, next: 0, mask: ALL_LANES, repeat: Repeat::No }],
            vars: vec![[0; LANES]; body.vars.len()],
            registers: body.fragments.iter().map(Registers::new).collect(),
            known,
            open: Vec::new(),
            groups: VecDeque::new(),
            products_open: Vec::new(),
            products: VecDeque::new(),
            stores_open: Vec::new(),
            stores: VecDeque::new(),
            cluster_generation: None,
            state: State::Ready,
            visits: HashMap::new(),
        }
    }

    /// Pieces whose copy has been issued and not waited for.
    pub(super) fn in_flight(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.groups.iter_mut().flatten().chain(self.open.iter_mut())
    }
}
