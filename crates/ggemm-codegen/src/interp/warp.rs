//! A warp as a coroutine: where it is, what it holds, what it waits for.

use std::collections::{HashMap, VecDeque};

use super::evaluate::LANES;
use super::shared::{Clock, CopyId, PIECE};
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
    pub(super) copy: CopyId,
    pub(super) address: u32,
    pub(super) bytes: [u8; PIECE as usize],
    pub(super) landed: bool,
}

/// What keeps a warp from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    AtBarrier(StmtId),
    Done,
}

/// A fragment's share of one warp: a dense block of the warp's rows and columns, a slot after the other.
pub(super) struct Registers {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) values: Vec<Vec<f32>>,
    pub(super) filled: Vec<bool>,
}

impl Registers {
    fn new(f: &Fragment) -> Self {
        // The first two thread digits are the lanes'; staging is shared by all threads and kept by thread and value.
        let (rows, cols) = match f.role {
            FragmentRole::Staging => (LANES, f.map.value_count() as usize),
            _ => (extent(f, |m| m.row), extent(f, |m| m.col)),
        };
        let slots = f.slots as usize;
        Registers { rows, cols, values: vec![vec![0.0; rows * cols]; slots], filled: vec![false; slots] }
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
    pub(super) clock: Clock,
    /// Pieces issued since the last commit.
    pub(super) open: Vec<Piece>,
    /// Committed groups, oldest first.
    pub(super) groups: VecDeque<Vec<Piece>>,
    pub(super) state: State,
    /// How often each statement with an agreement was executed.
    pub(super) visits: HashMap<StmtId, u64>,
}

impl<'k> Warp<'k> {
    pub(super) fn new(body: &'k Body, index: usize, warps: usize) -> Self {
        let mut clock = vec![0; warps];
        clock[index] = 1;
        Warp {
            frames: vec![Frame { block: &body.block, next: 0, mask: ALL_LANES, repeat: Repeat::No }],
            vars: vec![[0; LANES]; body.vars.len()],
            registers: body.fragments.iter().map(Registers::new).collect(),
            clock,
            open: Vec::new(),
            groups: VecDeque::new(),
            state: State::Ready,
            visits: HashMap::new(),
        }
    }

    /// Pieces whose copy has been issued and not waited for.
    pub(super) fn in_flight(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.groups.iter_mut().flatten().chain(self.open.iter_mut())
    }
}
