//! Products of warpgroups, and the scales of sums of either kind.

use super::builder::KernelBuilder;
use super::scalar::{Bool, Expr, Grid, I32, Operand, ScopeTag, Warpgroup, Within};
use super::scales::SumScales;
use super::tiles::{AccumulatorFragment, GlobalBlock, Slot};
use crate::dtype::Dtype;
use crate::ir::{ExprId, FragmentId, FragmentRole, Op, WarpgroupMultiply};
use crate::layout::ThreadValueMap;

/// The running sums of the warpgroups that share a tile.
#[derive(Clone, Copy)]
pub struct WarpgroupSums(FragmentId);

/// An operand of a warpgroup's product in shared memory.
#[derive(Clone, Copy)]
pub struct SharedOperand<'s> {
    tile: &'s Slot,
    is_mn_major: bool,
}

impl WarpgroupSums {
    pub(super) fn id(self) -> FragmentId {
        self.0
    }
}

/// Running sums in registers: those of the warps of a CTA, or of warpgroups.
pub trait Sums: Copy {
    /// Their registers.
    fn fragment(self) -> FragmentId;
}

impl Sums for WarpgroupSums {
    fn fragment(self) -> FragmentId {
        self.0
    }
}

impl Sums for AccumulatorFragment {
    fn fragment(self) -> FragmentId {
        self.id()
    }
}

impl Slot {
    /// The tile as an operand whose columns are the reduction.
    pub fn k_major(&self) -> SharedOperand<'_> {
        SharedOperand { tile: self, is_mn_major: false }
    }

    /// The tile as an operand whose rows are the reduction.
    pub fn mn_major(&self) -> SharedOperand<'_> {
        SharedOperand { tile: self, is_mn_major: true }
    }
}

impl<'k> KernelBuilder<'k> {
    /// Declares the accumulator of warpgroups.
    pub fn warpgroup_sums(&mut self, name: &str, map: ThreadValueMap) -> WarpgroupSums {
        WarpgroupSums(self.declare_fragment(name, Dtype::F32, FragmentRole::WarpgroupAccumulator, map, 1))
    }

    /// Sets a warpgroup's sums to zero.
    #[track_caller]
    pub fn zero_sums(&mut self, sums: WarpgroupSums) {
        self.push(Op::Zero { fragment: sums.0 });
    }

    /// Orders this thread's accesses to sums before the products that follow.
    #[track_caller]
    pub fn fence_products(&mut self) {
        self.push(Op::FenceProducts);
    }

    /// sums (+)= a · bᵀ for the step `step` along the reduction; `keep`: adds to what is there.
    #[track_caller]
    pub fn warpgroup_multiply<S>(
        &mut self,
        sums: WarpgroupSums,
        a: SharedOperand<'_>,
        b: SharedOperand<'_>,
        step: impl Operand<'k, I32>,
        keep: Expr<'k, Bool, S>,
    ) where
        S: Within<Warpgroup>,
    {
        self.push_product(sums, (a, b), (0, None), step.expr(self.arena()), keep.id);
    }

    /// The same for the rows of `b` from `first` on, a multiple of 64, as many as the sums have columns.
    #[track_caller]
    pub fn warpgroup_multiply_from<S>(
        &mut self,
        sums: WarpgroupSums,
        (a, b): (SharedOperand<'_>, SharedOperand<'_>),
        first: u32,
        step: impl Operand<'k, I32>,
        keep: Expr<'k, Bool, S>,
    ) where
        S: Within<Warpgroup>,
    {
        self.push_product(sums, (a, b), (first, None), step.expr(self.arena()), keep.id);
    }

    /// The same for the first `columns` of the sums' columns, that is for the first rows of `b`; the others stay as they
    /// are.
    #[track_caller]
    pub fn warpgroup_multiply_columns<S>(
        &mut self,
        sums: WarpgroupSums,
        (a, b): (SharedOperand<'_>, SharedOperand<'_>),
        columns: u32,
        step: impl Operand<'k, I32>,
        keep: Expr<'k, Bool, S>,
    ) where
        S: Within<Warpgroup>,
    {
        self.push_product(sums, (a, b), (0, Some(columns)), step.expr(self.arena()), keep.id);
    }

    #[track_caller]
    fn push_product(
        &mut self,
        sums: WarpgroupSums,
        (a, b): (SharedOperand<'_>, SharedOperand<'_>),
        (first, columns): (u32, Option<u32>),
        step: ExprId,
        keep: ExprId,
    ) {
        self.push(Op::WarpgroupMultiply(WarpgroupMultiply {
            accumulator: sums.0,
            a: a.tile.tile(),
            b: b.tile.tile(),
            a_is_mn_major: a.is_mn_major,
            b_is_mn_major: b.is_mn_major,
            first,
            columns,
            step,
            keep,
        }));
    }

    /// Ends a group of products.
    #[track_caller]
    pub fn commit_products(&mut self) {
        self.push(Op::CommitProducts);
    }

    /// Waits until at most `pending` of this warpgroup's groups of products are in flight.
    #[track_caller]
    pub fn await_products(&mut self, pending: u32) {
        self.push(Op::AwaitProducts { pending, sums: None });
    }

    /// The same where these sums are complete then, though others' products may be in flight.
    #[track_caller]
    pub fn await_products_of(&mut self, sums: WarpgroupSums, pending: u32) {
        self.push(Op::AwaitProducts { pending, sums: Some(sums.0) });
    }

    /// Rounds the sums from (`row`, `col`) on and writes them to a tile, all its columns; a warpgroup writes the rows
    /// it holds.
    #[track_caller]
    pub fn store_fragment<S>(&mut self, from: WarpgroupSums, to: &Slot, row: impl Operand<'k, I32, Scope = S>, col: u32)
    where
        S: Within<Warpgroup>,
    {
        let row = row.expr(self.arena());
        self.push(Op::StoreFragment {
            from: from.0,
            to: to.tile(),
            row,
            col,
            block: None,
            transposed: false,
            scales: None,
        });
    }

    /// The same for one of the warpgroup's blocks of 64 rows, times the scales of its rows and of the columns from `col` on
    /// where there are any.
    #[track_caller]
    pub fn store_block<S>(
        &mut self,
        from: WarpgroupSums,
        to: &Slot,
        (row, block): (impl Operand<'k, I32, Scope = S>, u32),
        col: u32,
        scales: Option<SumScales>,
    ) where
        S: Within<Warpgroup>,
    {
        let row = row.expr(self.arena());
        let (to, scales) = (to.tile(), scales.map(SumScales::lower));
        self.push(Op::StoreFragment { from: from.0, to, row, col, block: Some(block), transposed: false, scales });
    }

    /// Rounds the sums of a tile and writes those that exist, element by element, to rows that may start anywhere; where
    /// `accumulate` holds, adds them to what is there. A warpgroup writes the rows it holds.
    #[track_caller]
    pub fn store_sums(&mut self, from: WarpgroupSums, to: &GlobalBlock<'k>, accumulate: Option<Expr<'k, Bool, Grid>>) {
        self.store_accumulator(from.0, to, accumulate, false);
    }

    /// The same to a tile whose rows are the sums' columns.
    #[track_caller]
    pub fn store_transposed<S>(
        &mut self,
        from: WarpgroupSums,
        to: &Slot,
        row: impl Operand<'k, I32, Scope = S>,
        col: u32,
    ) where
        S: ScopeTag + Within<Warpgroup>,
    {
        let row = row.expr(self.arena());
        let to = to.tile();
        self.push(Op::StoreFragment { from: from.0, to, row, col, block: None, transposed: true, scales: None });
    }

    /// The same for one of the warpgroup's blocks of 64 rows.
    #[track_caller]
    pub fn store_block_transposed<S>(
        &mut self,
        from: WarpgroupSums,
        to: &Slot,
        (row, block): (impl Operand<'k, I32, Scope = S>, u32),
        col: u32,
    ) where
        S: Within<Warpgroup>,
    {
        let row = row.expr(self.arena());
        let to = to.tile();
        self.push(Op::StoreFragment { from: from.0, to, row, col, block: Some(block), transposed: true, scales: None });
    }
}
