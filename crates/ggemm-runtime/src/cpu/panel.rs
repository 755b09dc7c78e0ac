//! The f32 panels of one tile: where operands are converted to and sums are kept.

use std::ops::Range;

use super::element::Operand;
use super::product::{self, Matrix};

/// Elements of the reduction that are summed in one go. Part of the meaning of a result: see the module above.
pub(super) const DEPTH: usize = 256;

/// Columns are padded to whole vectors of every instruction set, so that all elements take the same path.
const LANES: usize = 16;
/// The reduction is padded to a multiple of this with zeros in both operands, which adds nothing: short ones would
/// otherwise take another path through the `gemm` crate, without sums that begin at +0.
const STEP: usize = 4;
/// Rows are padded to at least this many, for the same reason.
const FEWEST_ROWS: usize = 2;
/// Rows of B that are converted at a time before they are transposed.
const SLAB: usize = 8;

/// Panels of A and B and the sums of a tile, all in f32.
#[derive(Default)]
pub(super) struct Panels {
    /// A as [rows][depth] or as [depth][rows].
    a: Vec<f32>,
    a_along_k: bool,
    /// B as [depth][cols].
    b: Vec<f32>,
    /// D as [rows][cols].
    sums: Vec<f32>,
    /// A few rows of B before they are transposed.
    slab: Vec<f32>,
    rows: usize,
    cols: usize,
    depth: usize,
}

impl Panels {
    /// Begins a tile. `zero` clears the sums, for a reduction without elements.
    pub(super) fn start(&mut self, rows: usize, cols: usize, zero: bool) {
        self.rows = rows.max(FEWEST_ROWS);
        self.cols = cols.next_multiple_of(LANES);
        grow(&mut self.sums, self.rows * self.cols);
        if zero {
            self.sums[..self.rows * self.cols].fill(0.0);
        }
    }

    fn set_depth(&mut self, depth: &Range<usize>) {
        self.depth = depth.len().next_multiple_of(STEP);
    }

    /// Takes rows of A that are contiguous along the reduction.
    pub(super) fn a_along_k<E: Operand>(&mut self, a: &[E], stride: usize, rows: &Range<usize>, depth: &Range<usize>) {
        self.set_depth(depth);
        self.a_along_k = true;
        copy_rows(&mut self.a, self.rows, self.depth, a, stride, rows, depth);
    }

    /// Takes rows of A that are contiguous along D's rows.
    pub(super) fn a_across_k<E: Operand>(&mut self, a: &[E], stride: usize, rows: &Range<usize>, depth: &Range<usize>) {
        self.set_depth(depth);
        self.a_along_k = false;
        copy_rows(&mut self.a, self.depth, self.rows, a, stride, depth, rows);
    }

    /// Takes rows of B that are contiguous along D's columns.
    pub(super) fn b_across_k<E: Operand>(&mut self, b: &[E], stride: usize, cols: &Range<usize>, depth: &Range<usize>) {
        copy_rows(&mut self.b, self.depth, self.cols, b, stride, depth, cols);
    }

    /// Takes rows of B that are contiguous along the reduction, and transposes them.
    pub(super) fn b_along_k<E: Operand>(&mut self, b: &[E], stride: usize, cols: &Range<usize>, depth: &Range<usize>) {
        grow(&mut self.b, self.depth * self.cols);
        for first in (0..self.cols).step_by(SLAB) {
            let slab = (cols.start + first).min(cols.end)..(cols.start + first + SLAB).min(cols.end);
            copy_rows(&mut self.slab, SLAB, self.depth, b, stride, &slab, depth);
            transpose(&self.slab[..SLAB * self.depth], self.depth, &mut self.b[first..], self.cols);
        }
    }

    /// Adds A · B to the sums, or sets them to it.
    pub(super) fn multiply(&mut self, add: bool) {
        let Panels { rows, cols, depth, .. } = *self;
        let (row_stride, depth_stride) = if self.a_along_k { (depth, 1) } else { (1, rows) };
        let a = Matrix { data: &self.a, rows, cols: depth, row_stride, col_stride: depth_stride };
        let b = Matrix { data: &self.b, rows: depth, cols, row_stride: cols, col_stride: 1 };
        product::multiply(&mut self.sums, a, b, add);
    }

    /// The sums, row by row, with the padding that the tile has.
    pub(super) fn sums(&self) -> impl Iterator<Item = &[f32]> {
        self.sums.chunks(self.cols.max(1))
    }
}

/// Converts the part (`rows`, `cols`) of a row-major matrix to a dense one of `height` × `width`, padded with zeros.
fn copy_rows<E: Operand>(
    to: &mut Vec<f32>,
    height: usize,
    width: usize,
    from: &[E],
    stride: usize,
    rows: &Range<usize>,
    cols: &Range<usize>,
) {
    grow(to, height * width);
    for (index, to) in to[..height * width].chunks_exact_mut(width.max(1)).enumerate() {
        let used = if index < rows.len() { cols.len() } else { 0 };
        let (body, padding) = to.split_at_mut(used);
        if used > 0 {
            let start = (rows.start + index) * stride;
            E::widen(&from[start + cols.start..start + cols.end], body);
        }
        padding.fill(0.0);
    }
}

/// Writes eight rows of `depth` elements as eight columns of `to`, whose rows are `stride` apart.
fn transpose(from: &[f32], depth: usize, to: &mut [f32], stride: usize) {
    let mut rows = from.chunks_exact(depth);
    let rows: [&[f32]; SLAB] = std::array::from_fn(|_| rows.next().unwrap_or_default());
    for k in 0..depth {
        let to = &mut to[k * stride..k * stride + SLAB];
        for (to, row) in to.iter_mut().zip(rows) {
            *to = row[k];
        }
    }
}

fn grow(panel: &mut Vec<f32>, len: usize) {
    if panel.len() < len {
        panel.resize(len, 0.0);
    }
}
