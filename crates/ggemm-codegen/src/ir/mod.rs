//! The tile IR: what a kernel is, independent of the text it becomes and of whoever executes it.
//!
//! A [`Kernel`] is a [`Contract`] (all that the host reads) and a [`Body`] (all that the device does). The body is a
//! tree of [statements](stmt::Stmt) over pure scalar [expressions](expr::Node). Tiles and fragments are values with
//! layouts; copies, matrix loads and products are single statements on them, and each asynchronous statement is a row
//! of the [asynchrony table](asynchrony).

pub mod asynchrony;
pub mod atomic;
pub mod barrier;
pub mod bulk;
pub mod contract;
pub mod exchange;
pub mod expr;
pub mod partial;
pub mod quantize;
pub mod role;
pub mod rows;
pub mod scale;
pub mod stmt;
pub mod tensor_map;
mod uses;
pub mod wgmma;

pub use asynchrony::{Asynchrony, Completion, Proxy};
pub use atomic::{AtomicScope, FetchAdd, MemoryOrder};
pub use barrier::{Arrive, BARRIER_BYTES, Barrier, BarrierId, BarrierRef};
pub use bulk::{BulkLoad, BulkStore};
pub use contract::{
    Contract, GridRule, LoopWork, MappedTensor, Param, ParamRole, ParamType, PartialSums, QuantizeRole, RealignRole,
};
pub use exchange::{AddSums, SendSums, SumsPart};
pub use expr::{BinaryOp, Builtin, ExprId, ExprKind, Expressions, Node, Scope, Type};
pub use partial::{AddSaved, AwaitWord, SaveSums};
pub use quantize::{Quantize, SharedBy};
pub use role::{RegisterBudget, Role};
pub use rows::Rows;
pub use scale::{CopyScales, LoadScales, OuterScales, Promote, ReadScales, ScaleSums};
pub use stmt::{
    Block, Fragment, FragmentId, FragmentRole, GlobalTile, Location, Op, ParamId, ScalarVar, SharedId, SharedTile,
    ShuffleFrom, Stmt, StmtId, TileRef, VarId,
};
pub use tensor_map::{EncodedMap, Extent, MapDim, Stride, TensorMap, TensorMapId, Unaddressable};
pub use wgmma::WarpgroupMultiply;

/// A kernel: what the host needs to launch it, and what it does.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// All that the host reads.
    pub contract: Contract,
    /// All that the device does.
    pub body: Body,
}

/// What the device does.
#[derive(Clone, Debug)]
pub struct Body {
    /// One line for the head of the emitted text, in the notation of a paper.
    pub summary: String,
    /// CTAs for which the registers of a multiprocessor must suffice.
    pub resident: u32,
    /// Scalar variables.
    pub vars: Vec<ScalarVar>,
    /// Tiles in shared memory.
    pub shared: Vec<SharedTile>,
    /// Barriers in shared memory.
    pub barriers: Vec<Barrier>,
    /// Register fragments.
    pub fragments: Vec<Fragment>,
    /// Scalar expressions; statements refer to them by id.
    pub exprs: Expressions,
    /// The statements of the kernel.
    pub block: Block,
}

impl Body {
    /// Calls `visit` with every statement in program order, a statement before those inside it.
    pub fn for_each_stmt<'a>(&'a self, mut visit: impl FnMut(&'a Stmt)) {
        fn walk<'a>(block: &'a Block, visit: &mut impl FnMut(&'a Stmt)) {
            for stmt in &block.0 {
                visit(stmt);
                for inner in stmt.op.blocks() {
                    walk(inner, visit);
                }
            }
        }
        walk(&self.block, &mut visit);
    }
}
