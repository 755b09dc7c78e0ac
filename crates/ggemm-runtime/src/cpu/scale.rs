//! Scales of fp8 operands, applied to the sums of one block of the reduction.

use std::ops::Range;

use ggemm_codegen::{SCALE_BLOCK, ScaleShape};
use pulp::{Simd, WithSimd};

use super::panel::DEPTH;

// What is summed in one go is what shares a scale.
const _: () = assert!(DEPTH == SCALE_BLOCK);

/// The scales of A and of B.
#[derive(Clone, Copy)]
pub(super) struct Scales<'a> {
    pub(super) shapes: [ScaleShape; 2],
    pub(super) values: [&'a [f32]; 2],
}

/// Those of one group's matrices and one block of the reduction.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) scales: Scales<'a>,
    pub(super) group: usize,
    pub(super) block: usize,
}

impl Block<'_> {
    fn of_a(&self, row: usize) -> f32 {
        let [a, _] = &self.scales.shapes;
        self.scales.values[0][a.index(self.group, row, self.block)]
    }

    /// B's scales of these columns, side by side.
    pub(super) fn gather(&self, cols: &Range<usize>, to: &mut Vec<f32>) {
        let [_, b] = &self.scales.shapes;
        to.clear();
        to.extend(cols.clone().map(|col| self.scales.values[1][b.index(self.group, col, self.block)]));
    }
}

/// Adds a block's sums times their scales: the rows `rows` of a tile.
///
/// In f64, since one scale may leave f32's range where the other leads back into it.
pub(super) struct Add<'a> {
    pub(super) sums: &'a mut [f32],
    pub(super) of_block: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: Range<usize>,
    pub(super) block: Block<'a>,
    pub(super) of_b: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Add { sums, of_block, stride, rows, block, of_b } = self;
        for ((sums, of_block), row) in sums.chunks_mut(stride).zip(of_block.chunks(stride)).zip(rows) {
            let of_a = f64::from(block.of_a(row));
            for ((sum, of_block), of_b) in sums.iter_mut().zip(of_block).zip(of_b) {
                *sum += (f64::from(*of_block) * of_a * f64::from(*of_b)) as f32;
            }
        }
    }
}
