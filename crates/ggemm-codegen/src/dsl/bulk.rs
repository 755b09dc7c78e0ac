//! Loads and stores of whole tiles by the copy engine.

use super::barriers::BarrierSlot;
use super::builder::KernelBuilder;
use super::scalar::{Expr, I32, Operand, ScopeTag};
use super::tiles::Slot;
use crate::ir::tensor_map::RAGGED_EXTENT;
use crate::ir::{BulkLoad, BulkStore, ExprId, Op, ParamId, ParamRole, TensorMap};

/// A tensor map parameter.
#[derive(Clone, Copy)]
pub struct Map(ParamId);

/// A coordinate of a tensor map, whatever its scope.
#[derive(Clone, Copy)]
pub struct Coordinate(ExprId);

impl<'k, S: ScopeTag> Expr<'k, I32, S> {
    /// The value as a coordinate.
    pub fn coordinate(self) -> Coordinate {
        Coordinate(self.id)
    }
}

impl<'k> KernelBuilder<'k> {
    /// A tensor map over the operand that `role` names.
    pub fn tensor_map(&mut self, name: &str, recipe: TensorMap, role: ParamRole) -> Map {
        Map(self.declare_map(name, recipe, role))
    }

    /// Coordinates of a ragged map: `row` of a group that starts at the row `start` and has `rows`. Rows past the
    /// group's end do not exist.
    pub fn ragged<C: ScopeTag, R: ScopeTag, S: ScopeTag, L: ScopeTag>(
        &self,
        col: Expr<'k, I32, C>,
        row: Expr<'k, I32, R>,
        start: Expr<'k, I32, S>,
        rows: Expr<'k, I32, L>,
    ) -> [Coordinate; 4] {
        use crate::ir::BinaryOp::{Add, Sub};
        let mut exprs = self.arena().borrow_mut();
        let bound = exprs.constant(crate::ir::Type::I32, RAGGED_EXTENT as i64);
        let left = exprs.binary(Sub, rows.id, row.id);
        let from_bound = exprs.binary(Sub, bound, left);
        let end = exprs.binary(Add, start.id, rows.id);
        [col.id, from_bound, end, bound].map(Coordinate)
    }

    /// Each lane starts a load of a tile, whose bytes count at `at`, those of what does not exist (zeros) as well.
    #[track_caller]
    pub fn bulk_load(&mut self, map: Map, coordinates: &[Coordinate], to: &Slot, at: BarrierSlot) {
        self.push_load(map, coordinates, to, at, None);
    }

    /// The same into every CTA of the cluster whose rank has a bit in `mask`, at the same place, counted at its own
    /// barrier.
    #[track_caller]
    pub fn bulk_load_multicast(
        &mut self,
        map: Map,
        coordinates: &[Coordinate],
        to: &Slot,
        at: BarrierSlot,
        mask: impl Operand<'k, I32>,
    ) {
        let mask = mask.expr(self.arena());
        self.push_load(map, coordinates, to, at, Some(mask));
    }

    #[track_caller]
    fn push_load(
        &mut self,
        map: Map,
        coordinates: &[Coordinate],
        to: &Slot,
        at: BarrierSlot,
        multicast: Option<ExprId>,
    ) {
        let (row, coordinates) = (self.first_row(to), coordinates.iter().map(|c| c.0).collect());
        self.push(Op::BulkLoad(BulkLoad { map: map.0, coordinates, to: to.tile(), row, at: at.0, multicast }));
    }

    fn first_row(&self, tile: &Slot) -> ExprId {
        tile.row().unwrap_or_else(|| self.int(0).id)
    }

    /// Each lane starts a store of a tile; what does not exist is not written.
    #[track_caller]
    pub fn bulk_store(&mut self, from: &Slot, map: Map, coordinates: &[Coordinate]) {
        let (row, coordinates) = (self.first_row(from), coordinates.iter().map(|c| c.0).collect());
        self.push(Op::BulkStore(BulkStore { from: from.tile(), row, map: map.0, coordinates, add: false }));
    }

    /// The same, added to what is there (f32).
    #[track_caller]
    pub fn bulk_add(&mut self, from: &Slot, map: Map, coordinates: &[Coordinate]) {
        let (row, coordinates) = (self.first_row(from), coordinates.iter().map(|c| c.0).collect());
        self.push(Op::BulkStore(BulkStore { from: from.tile(), row, map: map.0, coordinates, add: true }));
    }

    /// Ends a group of stores.
    #[track_caller]
    pub fn commit_stores(&mut self) {
        self.push(Op::CommitStores);
    }

    /// Waits until at most `pending` of this thread's groups of stores still read their tiles.
    #[track_caller]
    pub fn await_store_reads(&mut self, pending: u32) {
        self.push(Op::AwaitStores { pending, reads: true });
    }

    /// Waits until at most `pending` of this thread's groups of stores are still being written.
    #[track_caller]
    pub fn await_stores(&mut self, pending: u32) {
        self.push(Op::AwaitStores { pending, reads: false });
    }

    /// Fetches a tensor map ahead of its first use.
    #[track_caller]
    pub fn prefetch_map(&mut self, map: Map) {
        self.push(Op::PrefetchMap { map: map.0 });
    }

    /// Orders this thread's ordinary stores to shared memory before what the copy engine and the tensor cores do with
    /// them, once the others know of it.
    #[track_caller]
    pub fn fence_proxy(&mut self) {
        self.push(Op::FenceProxy);
    }
}
