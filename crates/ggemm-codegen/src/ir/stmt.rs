//! Statements, and what they are about: variables, shared tiles, fragments.

use std::ops::Range;

use super::asynchrony::{self, Asynchrony};
use super::atomic::FetchAdd;
use super::barrier::{Arrive, BarrierId, BarrierRef};
use super::bulk::{BulkLoad, BulkStore};
use super::exchange::{AddSums, SendSums};
use super::expr::{ExprId, Scope, Type};
use super::partial::{AddSaved, AwaitWord, SaveSums};
use super::quantize::{Quantize, SharedBy};
use super::role::Role;
use super::rows::Rows;
use super::scale::{CopyScales, LoadScales, OuterScales, Promote, ReadScales, ScaleSums};
use super::wgmma::WarpgroupMultiply;
use crate::dtype::Dtype;
use crate::layout::{Layout, ThreadValueMap};

/// A parameter's index in [`Contract::params`](super::Contract::params).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub u32);

/// A variable's index in [`Body::vars`](super::Body::vars).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VarId(pub u32);

/// A tile's index in [`Body::shared`](super::Body::shared).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharedId(pub u32);

/// A fragment's index in [`Body::fragments`](super::Body::fragments).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentId(pub u32);

/// A statement's number in the order in which the kernel was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StmtId(pub u32);

/// The Rust line that wrote a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// File, relative to the crate that wrote it.
    pub file: &'static str,
    /// Line.
    pub line: u32,
}

/// A scalar variable.
#[derive(Clone, Debug)]
pub struct ScalarVar {
    /// Its name in the text; the writer makes it unique.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The threads among which it is the same.
    pub scope: Scope,
    /// Whether it is assigned after its declaration.
    pub mutable: bool,
}

/// `slots` equal tiles in shared memory, one after another.
#[derive(Clone, Debug)]
pub struct SharedTile {
    /// Its name in the text.
    pub name: String,
    /// Type of an element.
    pub dtype: Dtype,
    /// Where elements lie in one tile.
    pub layout: Layout,
    /// Number of tiles.
    pub slots: u32,
    /// Bytes from the start of the CTA's shared memory.
    pub offset: u32,
}

/// What a fragment is used for, which decides how its values are grouped into registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentRole {
    /// D of `mma.sync`: four f32 a product.
    Accumulator,
    /// A of `mma.sync`: four registers of two elements a product.
    OperandA,
    /// B of `mma.sync`: two registers of two elements a product.
    OperandB,
    /// Pieces of 16 bytes on their way from global to shared memory.
    Staging,
    /// D of `wgmma`: 64 rows a warpgroup, four f32 for every 8 columns.
    WarpgroupAccumulator,
    /// Scales of the rows or of the columns of such an accumulator.
    Scales,
    /// 8 × 8 elements of a block, as they lie in memory.
    Patch,
    /// A value for all elements of a block that share one: a largest magnitude, a scale, or its inverse.
    BlockValues(SharedBy),
}

/// Elements that the threads of a CTA hold in registers.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Its name in the text.
    pub name: String,
    /// Type of an element.
    pub dtype: Dtype,
    /// Use.
    pub role: FragmentRole,
    /// Which element each thread holds where.
    pub map: ThreadValueMap,
    /// Number of such sets of registers.
    pub slots: u32,
}

/// One tile of a [`SharedTile`].
#[derive(Clone, Copy, Debug)]
pub struct TileRef {
    /// The tiles.
    pub tile: SharedId,
    /// Which of them.
    pub slot: ExprId,
}

/// A block of a row-major matrix in device memory.
#[derive(Clone, Copy, Debug)]
pub struct GlobalTile {
    /// The matrix' pointer.
    pub pointer: ParamId,
    /// Elements from the pointer to the block's first element (i64).
    pub origin: ExprId,
    /// Elements between rows (i64).
    pub row_stride: ExprId,
    /// Rows of the block that exist (i32, any value); `None`: all of them.
    pub rows: Option<ExprId>,
    /// Columns of the block that exist (i32, any value); `None`: all of them.
    pub cols: Option<ExprId>,
}

/// Where a lane takes a value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShuffleFrom {
    /// The lane so many below; lanes without one keep their own value.
    Below(u32),
    /// The lane that the expression names.
    Lane(ExprId),
}

/// A sequence of statements.
#[derive(Clone, Debug, Default)]
pub struct Block(pub Vec<Stmt>);

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// Its number.
    pub id: StmtId,
    /// The Rust line that wrote it.
    pub location: Location,
    /// What it does.
    pub op: Op,
}

/// What a statement does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Op {
    /// A remark for readers of the text.
    Comment(String),
    /// Declares a variable.
    Let {
        /// The variable.
        var: VarId,
        /// Its first value.
        value: ExprId,
    },
    /// Assigns a mutable variable.
    Assign {
        /// The variable.
        var: VarId,
        /// Its new value.
        value: ExprId,
    },
    /// Takes one of two paths.
    If {
        /// Decides.
        condition: ExprId,
        /// Where it holds.
        then: Block,
        /// Where it does not.
        otherwise: Block,
    },
    /// Counts `var` from 0 up to and without `end`.
    For {
        /// The counter.
        var: VarId,
        /// The first value that is not taken.
        end: ExprId,
        /// Written out by the compiler; `end` is a constant then.
        unroll: bool,
        /// The body.
        body: Block,
    },
    /// Repeats until a `Break` inside it.
    Loop {
        /// The body.
        body: Block,
    },
    /// Leaves the innermost `Loop` where the condition holds.
    Break {
        /// Decides.
        condition: ExprId,
    },
    /// Reads an i32 or i64 from device memory into an i64 variable; 0 where the guard does not hold.
    LoadIndex {
        /// Declared and set here.
        var: VarId,
        /// The array.
        pointer: ParamId,
        /// The entry (i32).
        index: ExprId,
        /// Entries are i64 instead of i32.
        wide: ExprId,
        /// Whether to read at all.
        guard: ExprId,
    },
    /// Takes another lane's value.
    Shuffle {
        /// Declared and set here.
        var: VarId,
        /// What every lane offers.
        value: ExprId,
        /// Whose is taken.
        from: ShuffleFrom,
    },
    /// The mask of lanes whose predicate holds.
    Ballot {
        /// Declared and set here (u32).
        var: VarId,
        /// The predicate.
        predicate: ExprId,
    },
    /// All threads of the CTA meet; what they did to shared memory before is visible after.
    Barrier,
    /// Starts an asynchronous copy of a block to a shared tile; what does not exist becomes zero.
    CopyTile {
        /// The block.
        from: GlobalTile,
        /// The tile.
        to: TileRef,
        /// Which 16-byte pieces each thread copies.
        map: ThreadValueMap,
    },
    /// Ends a group of asynchronous copies.
    CommitCopies,
    /// Waits until at most `pending` of this thread's groups of copies are on their way.
    AwaitCopies {
        /// Groups that may be.
        pending: u32,
    },
    /// Says which block a staging fragment is about to be read from. Its rows may start anywhere.
    BeginStaging {
        /// The fragment.
        fragment: FragmentId,
        /// The block.
        from: GlobalTile,
    },
    /// Reads some pieces of the block that was begun into a staging fragment, in order; what does not exist becomes zero.
    LoadStaging {
        /// The fragment.
        to: FragmentId,
        /// Each thread's pieces.
        pieces: Range<u32>,
    },
    /// Writes some pieces of a staging fragment to a shared tile.
    StoreStaging {
        /// The fragment.
        from: FragmentId,
        /// The tile.
        to: TileRef,
        /// Each thread's pieces.
        pieces: Range<u32>,
    },
    /// Sets a fragment to zero.
    Zero {
        /// The fragment.
        fragment: FragmentId,
    },
    /// Reads one step of an operand, 32 bytes along the reduction, into a fragment with `ldmatrix`.
    LoadMatrix {
        /// The fragment.
        to: FragmentId,
        /// Which of its sets of registers.
        to_slot: ExprId,
        /// The tile.
        from: TileRef,
        /// The step along the reduction: of 16 elements, or 32 of fp8.
        step: ExprId,
        /// The tile's rows are the reduction.
        transposed: bool,
    },
    /// accumulator += a · bᵀ for one step, with `mma.sync`.
    Multiply {
        /// The accumulator.
        accumulator: FragmentId,
        /// The A fragment.
        a: FragmentId,
        /// The B fragment.
        b: FragmentId,
        /// Which sets of their registers.
        slot: ExprId,
    },
    /// Rounds an accumulator and writes the part of it that exists.
    StoreTile {
        /// The accumulator.
        from: FragmentId,
        /// Where to.
        to: GlobalTile,
        /// Whether to add to what is there; `None`: never.
        accumulate: Option<ExprId>,
        /// Neighbouring columns may be written together ([`geometry::columns_stored_together`]): rows are 16-byte aligned.
        ///
        /// [`geometry::columns_stored_together`]: crate::geometry::columns_stored_together
        paired: bool,
    },

    /// Some warps of the CTA do something of their own.
    Role(Role),
    /// One lane of the warp does it; the others wait for it.
    Elect {
        /// What it does.
        body: Block,
    },
    /// Gives every slot of a barrier its number of arrivals.
    InitBarrier {
        /// The barrier.
        barrier: BarrierId,
    },
    /// Makes this thread's initializations of barriers visible to the cluster and to the copy engine.
    FenceBarrierInit,
    /// Arrives at an mbarrier.
    Arrive(Arrive),
    /// Waits for the end of the phase with this parity.
    Await {
        /// The barrier.
        at: BarrierRef,
        /// 0 or 1 (i32).
        parity: ExprId,
    },
    /// Some warps of the CTA meet, or say that they were here.
    NamedBarrier {
        /// Which of the barriers 1 to 15 (i32).
        id: ExprId,
        /// Threads that complete it.
        threads: u32,
        /// Whether to wait for the others.
        wait: bool,
    },
    /// Says that the thread has reached the cluster's barrier; what it did before is visible after the others' wait.
    ClusterArrive,
    /// Waits until all threads of the cluster have reached its barrier.
    ClusterWait,
    /// Starts a load of a tile by the copy engine.
    BulkLoad(BulkLoad),
    /// Starts a store of a tile by the copy engine.
    BulkStore(BulkStore),
    /// Ends a group of stores by the copy engine.
    CommitStores,
    /// Waits until at most `pending` of this thread's groups of stores are on their way.
    AwaitStores {
        /// Groups that may be.
        pending: u32,
        /// Waits for their reads of shared memory alone.
        reads: bool,
    },
    /// Fetches a tensor map ahead of its first use.
    PrefetchMap {
        /// The tensor map.
        map: ParamId,
    },
    /// Orders this thread's accesses to accumulators before the warpgroup's products.
    FenceProducts,
    /// Starts products of a warpgroup.
    WarpgroupMultiply(WarpgroupMultiply),
    /// Ends a group of products.
    CommitProducts,
    /// Waits until at most `pending` of this warpgroup's groups of products are on their way.
    AwaitProducts {
        /// Groups that may be.
        pending: u32,
        /// The sums that are complete then; `None`: all.
        sums: Option<FragmentId>,
    },
    /// Reads scales into registers.
    LoadScales(LoadScales),
    /// Starts copies of scales to shared memory.
    CopyScales(CopyScales),
    /// Reads scales into registers that were copied to shared memory.
    ReadScales(ReadScales),
    /// Adds the sums of a block to those of all.
    Promote(Promote),
    /// Multiplies sums by scales, in their registers.
    ScaleSums(ScaleSums),
    /// Orders this thread's ordinary accesses to shared memory before what the copy engine and `wgmma` do with it.
    FenceProxy,
    /// Rounds an accumulator of a warpgroup and writes some of its rows and columns to a shared tile.
    StoreFragment {
        /// The accumulator.
        from: FragmentId,
        /// The tile: [m, n], or [n, m] where it is transposed.
        to: TileRef,
        /// The accumulator's row that is the tile's first (i32).
        row: ExprId,
        /// The accumulator's column that is the tile's first.
        col: u32,
        /// Which of the warpgroup's blocks of 64 rows are written; `None`: all.
        block: Option<u32>,
        /// The tile's rows are the accumulator's columns.
        transposed: bool,
        /// What sums are multiplied by: the scales of the rows, and of the columns from `col` on.
        scales: Option<OuterScales>,
    },
    /// Sends sums to another CTA of the cluster.
    SendSums(SendSums),
    /// Adds sums that another CTA of the cluster sent.
    AddSums(AddSums),
    /// Writes sums to device memory, for another CTA of the grid.
    SaveSums(SaveSums),
    /// Adds sums that another CTA of the grid wrote.
    AddSaved(AddSaved),
    /// Waits for a word of device memory.
    AwaitWord(AwaitWord),
    /// Writes a 32-bit word of a shared tile of words, one of which takes 16 bytes. Each lane that reaches it does.
    WriteWord {
        /// The word.
        to: TileRef,
        /// Its value (i32).
        value: ExprId,
    },
    /// Reads a 32-bit word of a shared tile of words.
    ReadWord {
        /// Declared and set here.
        var: VarId,
        /// The word.
        from: TileRef,
    },
    /// An atomic on the workspace.
    FetchAdd(FetchAdd),
    /// A step of quantization.
    Quantize(Quantize),
    /// Something about rows that start anywhere.
    Rows(Rows),
    /// Waits until the grids that this one depends on have ended; before, none of their memory may be touched.
    AwaitGrid,
    /// Lets the grids that depend on this one start.
    LaunchDependents,
}

impl Op {
    /// The blocks inside the statement.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        let (first, second) = match self {
            Op::If { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Op::For { body, .. } | Op::Loop { body } | Op::Elect { body } => (Some(body), None),
            Op::Role(role) => (Some(&role.body), None),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The blocks inside the statement.
    pub fn blocks_mut(&mut self) -> impl Iterator<Item = &mut Block> {
        let (first, second) = match self {
            Op::If { then, otherwise, .. } => (Some(then), Some(otherwise)),
            Op::For { body, .. } | Op::Loop { body } | Op::Elect { body } => (Some(body), None),
            Op::Role(role) => (Some(&mut role.body), None),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The row of the asynchrony table that the statement starts, ends a group of, or waits for.
    pub fn asynchrony(&self) -> Option<&'static Asynchrony> {
        match self {
            Op::CopyTile { .. } | Op::CommitCopies | Op::AwaitCopies { .. } => Some(&asynchrony::CP_ASYNC),
            Op::CopyScales(_) => Some(&asynchrony::CP_ASYNC),
            Op::WarpgroupMultiply(_) | Op::CommitProducts | Op::AwaitProducts { .. } => Some(&asynchrony::WGMMA),
            Op::BulkLoad(_) => Some(&asynchrony::BULK_LOAD),
            Op::BulkStore(BulkStore { add: true, .. }) => Some(&asynchrony::BULK_REDUCE),
            Op::BulkStore(_) | Op::CommitStores | Op::AwaitStores { .. } => Some(&asynchrony::BULK_STORE),
            Op::Arrive(Arrive { rank: Some(_), .. }) => Some(&asynchrony::REMOTE_ARRIVE),
            Op::SendSums(_) => Some(&asynchrony::REMOTE_STORE),
            Op::ClusterArrive | Op::ClusterWait => Some(&asynchrony::CLUSTER_BARRIER),
            Op::FetchAdd(_) | Op::AwaitWord(_) => Some(&asynchrony::GLOBAL_ATOMIC),
            Op::AwaitGrid | Op::LaunchDependents => Some(&asynchrony::GRID_DEPENDENCY),
            _ => None,
        }
    }

    /// The threads that must take the same path to reach the statement.
    pub fn required_scope(&self) -> Scope {
        match self {
            Op::Barrier => Scope::Cta,
            // Copies are shared by all threads of the CTA, staged moves by those of a role or of the CTA.
            Op::CopyTile { .. } => Scope::Cta,
            Op::BeginStaging { .. } | Op::LoadStaging { .. } | Op::StoreStaging { .. } => Scope::Warpgroup,
            Op::Shuffle { .. } | Op::Ballot { .. } | Op::LoadMatrix { .. } | Op::Multiply { .. } => Scope::Warp,
            Op::Role(_) => Scope::Cta,
            Op::ClusterArrive | Op::ClusterWait => Scope::Cluster,
            Op::LoadScales(_)
            | Op::ReadScales(_)
            | Op::Promote(_)
            | Op::ScaleSums(_)
            | Op::FenceProducts
            | Op::WarpgroupMultiply(_)
            | Op::CommitProducts
            | Op::AwaitProducts { .. }
            | Op::StoreFragment { .. }
            | Op::SendSums(_)
            | Op::AddSums(_)
            | Op::SaveSums(_)
            | Op::AddSaved(_) => Scope::Warpgroup,
            Op::Elect { .. } | Op::NamedBarrier { .. } | Op::CopyScales(_) => Scope::Warp,
            // The threads of a CTA share the rows of a shared tile.
            Op::Quantize(Quantize::StoreTransposed { .. }) => Scope::Cta,
            Op::Rows(Rows::Realign { .. }) => Scope::Cta,
            Op::Rows(Rows::StorePanel { .. }) => Scope::Warpgroup,
            Op::Quantize(_) => Scope::Warp,
            _ => Scope::Lane,
        }
    }

    /// A short name for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Comment(_) => "comment",
            Op::Let { .. } => "let",
            Op::Assign { .. } => "assign",
            Op::If { .. } => "if",
            Op::For { .. } => "for",
            Op::Loop { .. } => "loop",
            Op::Break { .. } => "break",
            Op::LoadIndex { .. } => "load_index",
            Op::Shuffle { .. } => "shuffle",
            Op::Ballot { .. } => "ballot",
            Op::Barrier => "barrier",
            Op::CopyTile { .. } => "copy_tile",
            Op::CommitCopies => "commit_copies",
            Op::AwaitCopies { .. } => "await_copies",
            Op::BeginStaging { .. } => "begin_staging",
            Op::LoadStaging { .. } => "load_staging",
            Op::StoreStaging { .. } => "store_staging",
            Op::Zero { .. } => "zero",
            Op::LoadMatrix { .. } => "load_matrix",
            Op::Multiply { .. } => "multiply",
            Op::StoreTile { .. } => "store_tile",
            Op::Role(_) => "role",
            Op::Elect { .. } => "elect",
            Op::InitBarrier { .. } => "init_barrier",
            Op::FenceBarrierInit => "fence_barrier_init",
            Op::Arrive(Arrive { rank: Some(_), .. }) => "arrive_remote",
            Op::Arrive(Arrive { bytes: Some(_), .. }) => "arrive_expect",
            Op::Arrive(_) => "arrive",
            Op::Await { .. } => "await",
            Op::NamedBarrier { wait: true, .. } => "meet",
            Op::NamedBarrier { .. } => "pass",
            Op::ClusterArrive => "cluster_arrive",
            Op::ClusterWait => "cluster_wait",
            Op::BulkLoad(_) => "bulk_load",
            Op::BulkStore(BulkStore { add: true, .. }) => "bulk_add",
            Op::BulkStore(_) => "bulk_store",
            Op::CommitStores => "commit_stores",
            Op::AwaitStores { reads: true, .. } => "await_store_reads",
            Op::AwaitStores { .. } => "await_stores",
            Op::PrefetchMap { .. } => "prefetch_map",
            Op::FenceProducts => "fence_products",
            Op::WarpgroupMultiply(_) => "warpgroup_multiply",
            Op::CommitProducts => "commit_products",
            Op::AwaitProducts { .. } => "await_products",
            Op::LoadScales(_) => "load_scales",
            Op::CopyScales(_) => "copy_scales",
            Op::ReadScales(_) => "read_scales",
            Op::Promote(_) => "promote",
            Op::ScaleSums(_) => "scale_sums",
            Op::FenceProxy => "fence_proxy",
            Op::StoreFragment { .. } => "store_fragment",
            Op::SendSums(_) => "send_sums",
            Op::AddSums(_) => "add_sums",
            Op::SaveSums(_) => "save_sums",
            Op::AddSaved(_) => "add_saved_sums",
            Op::AwaitWord(_) => "await_word",
            Op::WriteWord { .. } => "write_word",
            Op::ReadWord { .. } => "read_word",
            Op::FetchAdd(_) => "fetch_add",
            Op::Quantize(step) => step.name(),
            Op::Rows(step) => step.name(),
            Op::AwaitGrid => "await_grid",
            Op::LaunchDependents => "launch_dependents",
        }
    }
}
