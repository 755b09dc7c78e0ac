//! Tiles of the DSL: device memory, shared memory and fragments, and the statements that move and multiply them.

use std::ops::Range;

use super::builder::KernelBuilder;
use super::scalar::{Bool, Cta, Expr, Grid, I32, I64, Operand, ScopeTag, Warp, Within};
use crate::dtype::Dtype;
use crate::geometry;
use crate::ir::{ExprId, FragmentId, FragmentRole, GlobalTile, Op, ParamId, SharedId, TileRef, Type};
use crate::layout::{CHUNK_BYTES, Layout, SWIZZLE_ATOM_BYTES, ThreadValueMap};

/// A pointer parameter.
#[derive(Clone, Copy)]
pub struct Pointer(pub(super) ParamId);

impl Pointer {
    pub(super) fn param(self) -> ParamId {
        self.0
    }
}

/// A block of a row-major matrix in device memory, and how much of it exists.
#[derive(Clone, Copy)]
pub struct GlobalBlock<'k> {
    /// The matrix' pointer.
    pub pointer: Pointer,
    /// Elements from the pointer to the block's first element.
    pub origin: Expr<'k, I64, Cta>,
    /// Elements between rows.
    pub row_stride: Expr<'k, I64, Grid>,
    /// Rows that exist; `None`: all of them.
    pub rows: Option<Expr<'k, I32, Cta>>,
    /// Columns that exist; `None`: all of them.
    pub cols: Option<Expr<'k, I32, Cta>>,
}

impl<'k> GlobalBlock<'k> {
    pub(super) fn lower(&self) -> GlobalTile {
        GlobalTile {
            pointer: self.pointer.0,
            origin: self.origin.id,
            row_stride: self.row_stride.id,
            rows: self.rows.map(|e| e.id),
            cols: self.cols.map(|e| e.id),
        }
    }

    /// The same from a row and a column of it on.
    pub(super) fn lower_from<S: ScopeTag>(&self, row: Expr<'k, I32, S>, col: u32) -> GlobalTile {
        use crate::ir::BinaryOp::{Add, Mul, Sub};
        let tile = self.lower();
        let mut exprs = self.origin.arena.borrow_mut();
        let before = exprs.constant(Type::I32, col.into());
        let rows_before = exprs.cast(Type::I64, row.id);
        let elements = exprs.binary(Mul, tile.row_stride, rows_before);
        let origin = exprs.binary(Add, tile.origin, elements);
        let cols_before = exprs.constant(Type::I64, col.into());
        GlobalTile {
            origin: exprs.binary(Add, origin, cols_before),
            rows: tile.rows.map(|rows| exprs.binary(Sub, rows, row.id)),
            cols: tile.cols.map(|cols| exprs.binary(Sub, cols, before)),
            ..tile
        }
    }
}

/// Equal tiles in shared memory.
#[derive(Clone)]
pub struct SharedTiles {
    id: SharedId,
    layout: Layout,
}

/// One of them.
#[derive(Clone)]
pub struct Slot {
    tile: TileRef,
    layout: Layout,
    /// The first row that a bulk copy moves; `None`: the first.
    row: Option<ExprId>,
}

impl SharedTiles {
    /// The tile with this index.
    pub fn slot<'k, S: ScopeTag + Within<Cta>>(&self, index: Expr<'k, I32, S>) -> Slot {
        Slot { tile: TileRef { tile: self.id, slot: index.id }, layout: self.layout.clone(), row: None }
    }
}

impl SharedTiles {
    /// The tile with an index that only a warp or a warpgroup agrees on, for what is theirs alone.
    pub fn own<'k, S: ScopeTag + Within<Warp>>(&self, index: Expr<'k, I32, S>) -> Slot {
        Slot { tile: TileRef { tile: self.id, slot: index.id }, layout: self.layout.clone(), row: None }
    }

    /// The only tile.
    pub fn only(&self, k: &KernelBuilder<'_>) -> Slot {
        self.slot(k.int(0))
    }

    /// Where elements lie in one tile.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Slot {
    pub(super) fn tile(&self) -> TileRef {
        self.tile
    }

    /// The tile from this row on, for bulk copies of some of its rows; a multiple of 8.
    pub fn from_row<'k, S: ScopeTag>(&self, row: Expr<'k, I32, S>) -> Slot {
        Slot { row: Some(row.id), ..self.clone() }
    }

    pub(super) fn row(&self) -> Option<ExprId> {
        self.row
    }
}

/// The running sums of the CTA's tile.
#[derive(Clone, Copy)]
pub struct AccumulatorFragment(FragmentId);

impl AccumulatorFragment {
    pub(super) fn id(self) -> FragmentId {
        self.0
    }
}

/// Steps of one operand along the reduction, as `mma.sync` takes them.
#[derive(Clone, Copy)]
pub struct OperandFragment {
    id: FragmentId,
    transposed: bool,
}

/// Pieces on their way from global to shared memory.
#[derive(Clone, Copy)]
pub struct StagingFragment {
    id: FragmentId,
    /// Of each thread.
    pieces: u32,
}

impl StagingFragment {
    /// Pieces of 16 bytes that each thread moves.
    pub fn pieces(&self) -> u32 {
        self.pieces
    }
}

impl<'k> KernelBuilder<'k> {
    /// Declares `slots` tiles of this layout in shared memory.
    pub fn shared_tiles(&mut self, name: &str, dtype: Dtype, layout: &Layout, slots: u32) -> SharedTiles {
        SharedTiles { id: self.declare_shared(name, dtype, layout.clone(), slots), layout: layout.clone() }
    }

    /// Declares a tile in the memory of another, of which only one is in use at a time.
    pub(super) fn shared_tiles_in(
        &mut self,
        name: &str,
        dtype: Dtype,
        layout: &Layout,
        of: &SharedTiles,
    ) -> SharedTiles {
        SharedTiles { id: self.declare_shared_in(name, dtype, layout.clone(), of.id), layout: layout.clone() }
    }

    /// Declares `slots` tiles that the copy engine or the tensor cores read or write.
    pub fn bulk_tiles(&mut self, name: &str, dtype: Dtype, layout: &Layout, slots: u32) -> SharedTiles {
        self.align_shared(SWIZZLE_ATOM_BYTES);
        self.shared_tiles(name, dtype, layout, slots)
    }

    /// Declares `slots` words of shared memory, each in 16 bytes of its own.
    pub fn shared_words(&mut self, name: &str, slots: u32) -> SharedTiles {
        self.align_shared(CHUNK_BYTES);
        self.shared_tiles(name, Dtype::F32, &Layout::swizzled_panels(1, 4, 4), slots)
    }

    /// Declares `slots` tiles of scales.
    pub fn scale_tiles(&mut self, name: &str, layout: &Layout, slots: u32) -> SharedTiles {
        self.align_shared(CHUNK_BYTES);
        self.shared_tiles(name, Dtype::F32, layout, slots)
    }

    /// Declares the accumulator of the CTA's tile.
    pub fn accumulator(&mut self, name: &str, map: ThreadValueMap) -> AccumulatorFragment {
        AccumulatorFragment(self.declare_fragment(name, Dtype::F32, FragmentRole::Accumulator, map, 1))
    }

    /// Declares `slots` steps of A; `transposed`: its shared tile's rows are the reduction.
    pub fn a_fragment(
        &mut self,
        name: &str,
        dtype: Dtype,
        map: ThreadValueMap,
        transposed: bool,
        slots: u32,
    ) -> OperandFragment {
        OperandFragment { id: self.declare_fragment(name, dtype, FragmentRole::OperandA, map, slots), transposed }
    }

    /// Declares `slots` steps of B; `transposed`: its shared tile's rows are the reduction.
    pub fn b_fragment(
        &mut self,
        name: &str,
        dtype: Dtype,
        map: ThreadValueMap,
        transposed: bool,
        slots: u32,
    ) -> OperandFragment {
        OperandFragment { id: self.declare_fragment(name, dtype, FragmentRole::OperandB, map, slots), transposed }
    }

    /// Declares registers for one tile's pieces, which all threads share.
    pub fn staging(&mut self, name: &str, dtype: Dtype, tile: &Layout) -> StagingFragment {
        self.staging_of(self.threads(), name, dtype, tile)
    }

    /// Declares registers for one tile's pieces, which so many threads of a role share; the role begins at a multiple of
    /// them.
    pub fn staging_of(&mut self, threads: u32, name: &str, dtype: Dtype, tile: &Layout) -> StagingFragment {
        let map = geometry::staging_map(tile, threads);
        let pieces = map.value_count() / map.values[0].extent;
        StagingFragment { id: self.declare_fragment(name, dtype, FragmentRole::Staging, map, 1), pieces }
    }

    /// Starts an asynchronous copy of a block into a tile; what does not exist becomes zero.
    #[track_caller]
    pub fn copy(&mut self, from: &GlobalBlock<'k>, to: &Slot) {
        let map = geometry::copy_map(&to.layout, self.threads());
        self.push(Op::CopyTile { from: from.lower(), to: to.tile, map });
    }

    /// Ends a group of asynchronous copies.
    #[track_caller]
    pub fn commit_copies(&mut self) {
        self.push(Op::CommitCopies);
    }

    /// Waits until at most `pending` groups of this thread's copies are on their way. Other threads' copies are known
    /// to have landed only after a barrier.
    #[track_caller]
    pub fn await_copies(&mut self, pending: u32) {
        self.push(Op::AwaitCopies { pending });
    }

    /// All threads of the CTA meet.
    #[track_caller]
    pub fn barrier(&mut self) {
        self.push(Op::Barrier);
    }

    /// Says which block is to be read into registers; what of it does not exist becomes zero.
    #[track_caller]
    pub fn begin_staging(&mut self, fragment: StagingFragment, from: &GlobalBlock<'k>) {
        self.push(Op::BeginStaging { fragment: fragment.id, from: from.lower() });
    }

    /// Reads some of each thread's pieces of the block that was begun, in order.
    #[track_caller]
    pub fn load_pieces(&mut self, to: StagingFragment, pieces: Range<u32>) {
        self.push(Op::LoadStaging { to: to.id, pieces });
    }

    /// Writes some of the pieces that were read to a tile.
    #[track_caller]
    pub fn store_pieces(&mut self, from: StagingFragment, pieces: Range<u32>, to: &Slot) {
        self.push(Op::StoreStaging { from: from.id, to: to.tile, pieces });
    }

    /// Reads a block into registers; what does not exist becomes zero.
    #[track_caller]
    pub fn load_staging(&mut self, to: StagingFragment, from: &GlobalBlock<'k>) {
        self.begin_staging(to, from);
        self.load_pieces(to, 0..to.pieces);
    }

    /// Writes what was read to a tile.
    #[track_caller]
    pub fn store_staging(&mut self, from: StagingFragment, to: &Slot) {
        self.store_pieces(from, 0..from.pieces, to);
    }

    /// Sets the sums to zero.
    #[track_caller]
    pub fn zero(&mut self, fragment: AccumulatorFragment) {
        self.push(Op::Zero { fragment: fragment.0 });
    }

    /// Reads one step of an operand from its tile.
    #[track_caller]
    pub fn load_matrix(
        &mut self,
        to: OperandFragment,
        to_slot: impl Operand<'k, I32>,
        from: &Slot,
        step: impl Operand<'k, I32>,
    ) {
        let (to_slot, step) = (to_slot.expr(self.arena()), step.expr(self.arena()));
        let op = Op::LoadMatrix { to: to.id, to_slot, from: from.tile, step, transposed: to.transposed };
        self.push(op);
    }

    /// accumulator += a · bᵀ for one step.
    #[track_caller]
    pub fn multiply(
        &mut self,
        accumulator: AccumulatorFragment,
        a: OperandFragment,
        b: OperandFragment,
        slot: impl Operand<'k, I32>,
    ) {
        let slot = slot.expr(self.arena());
        self.push(Op::Multiply { accumulator: accumulator.0, a: a.id, b: b.id, slot });
    }

    /// Rounds the sums and writes those that exist; where `accumulate` holds, adds them to what is there.
    #[track_caller]
    pub fn store(
        &mut self,
        from: AccumulatorFragment,
        to: &GlobalBlock<'k>,
        accumulate: Option<Expr<'k, Bool, Grid>>,
        paired: bool,
    ) {
        self.store_accumulator(from.0, to, accumulate, paired);
    }

    /// Rounds and writes an accumulator of either kind.
    #[track_caller]
    pub(super) fn store_accumulator(
        &mut self,
        from: FragmentId,
        to: &GlobalBlock<'k>,
        accumulate: Option<Expr<'k, Bool, Grid>>,
        paired: bool,
    ) {
        self.push(Op::StoreTile { from, to: to.lower(), accumulate: accumulate.map(|e| e.id), paired });
    }
}
