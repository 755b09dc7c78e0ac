//! Scales of fp8 operands.

use super::barriers::BarrierSlot;
use super::builder::KernelBuilder;
use super::products::Sums;
use super::scalar::{Cta, Expr, Grid, I32, I64};
use super::tiles::{Pointer, Slot};
use crate::dtype::Dtype;
use crate::ir::{CopyScales, FragmentId, FragmentRole, LoadScales, Op, OuterScales, Promote, ReadScales, ScaleSums};
use crate::layout::ThreadValueMap;

/// Scales of the rows or of the columns of sums.
#[derive(Clone, Copy)]
pub struct ScaleFragment(FragmentId);

/// The scales of both.
#[derive(Clone, Copy)]
pub struct SumScales {
    /// Of the rows.
    pub rows: ScaleFragment,
    /// Of the columns.
    pub cols: ScaleFragment,
}

impl SumScales {
    pub(super) fn lower(self) -> OuterScales {
        OuterScales { rows: self.rows.0, cols: self.cols.0 }
    }
}

/// The scales of consecutive rows or columns in device memory, and how many of them exist.
#[derive(Clone, Copy)]
pub struct GlobalScales<'k> {
    /// The array's pointer.
    pub pointer: Pointer,
    /// Scales from the pointer to the first.
    pub origin: Expr<'k, I64, Cta>,
    /// Scales from one to the next.
    pub stride: Expr<'k, I64, Grid>,
    /// Rows or columns that exist.
    pub count: Expr<'k, I32, Cta>,
}

impl<'k> KernelBuilder<'k> {
    /// Declares the scales of the rows or of the columns of such an accumulator.
    pub fn scales(&mut self, name: &str, map: ThreadValueMap) -> ScaleFragment {
        ScaleFragment(self.declare_fragment(name, Dtype::F32, FragmentRole::Scales, map, 1))
    }

    /// Reads the scales that exist; the others are 0.
    #[track_caller]
    pub fn load_scales(&mut self, to: ScaleFragment, from: &GlobalScales<'k>) {
        self.push(Op::LoadScales(LoadScales {
            to: to.0,
            pointer: from.pointer.param(),
            origin: from.origin.id,
            stride: from.stride.id,
            count: from.count.id,
        }));
    }

    /// Some columns of total += partial, times the scales where there are any. The partial sums are those of the total's columns
    /// from `first` on; `columns` are the first of them and how many.
    #[track_caller]
    pub fn promote<S: Sums>(
        &mut self,
        total: S,
        (partial, first): (S, u32),
        columns: (u32, u32),
        scales: Option<SumScales>,
    ) {
        let (total, partial, scales) = (total.fragment(), partial.fragment(), scales.map(SumScales::lower));
        self.push(Op::Promote(Promote { total, partial, first, columns, scales }));
    }

    /// sums *= scales.
    #[track_caller]
    pub fn scale_sums(&mut self, sums: impl Sums, scales: SumScales) {
        self.push(Op::ScaleSums(ScaleSums { sums: sums.fragment(), scales: scales.lower() }));
    }

    /// The lanes of a warp start copies of scales of some blocks of the reduction to a shared tile, and arrive at the barrier
    /// once theirs have landed. Those that do not exist become 0.
    #[track_caller]
    pub fn copy_scales(
        &mut self,
        from: &GlobalScales<'k>,
        (block_stride, blocks): (Expr<'k, I64, Grid>, Expr<'k, I32, Cta>),
        to: &Slot,
        at: BarrierSlot,
    ) {
        self.push(Op::CopyScales(CopyScales {
            pointer: from.pointer.param(),
            origin: from.origin.id,
            stride: from.stride.id,
            block_stride: block_stride.id,
            count: from.count.id,
            blocks: blocks.id,
            to: to.tile(),
            at: at.0,
        }));
    }

    /// Reads scales of a block of the reduction from a shared tile: those of rows, or of columns from `first` on. Where columns
    /// share scales, so many of the first block's lie before the tile.
    #[track_caller]
    pub fn read_scales(
        &mut self,
        to: ScaleFragment,
        from: &Slot,
        block: Expr<'k, I32, Cta>,
        (first, before): (u32, Option<Expr<'k, I32, Cta>>),
    ) {
        let (from, block, before) = (from.tile(), block.id, before.map(|e| e.id));
        self.push(Op::ReadScales(ReadScales { to: to.0, from, block, first, before }));
    }
}
