//! The f32 panels of one tile: where operands are converted to and sums are kept.
//!
//! B lies in panels of 64 columns, each contiguous and small enough for a first-level cache at the depth that is summed
//! in one go; A passes by in stripes of rows. Both sizes are chosen so that the `gemm` crate multiplies in place
//! instead of packing once more.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::element::Operand;
use super::product::{self, Matrix};
use super::scale::{self, Add, Scales};
use super::tile::Work;

/// Elements of the reduction that are summed in one go. Part of the meaning of a result: see the module above.
pub(super) const DEPTH: usize = 128;

/// Columns of a panel of B.
const PANEL: usize = 64;
/// Rows of a stripe of A: the most for which `gemm` does not pack the other operand.
const STRIPE: usize = 48;
/// Columns are padded to whole vectors of every instruction set, so that all elements take the same path.
const LANES: usize = 16;
/// The reduction is padded to a multiple of this with zeros in both operands, which adds nothing: short ones would
/// otherwise take another path through the `gemm` crate, with sums that do not begin at +0.
const STEP: usize = 4;
/// Rows are padded to at least this many, for the same reason.
const FEWEST_ROWS: usize = 2;
/// Rows of B that are converted at a time before they are transposed.
const SLAB: usize = 8;

/// A row-major matrix in the caller's memory.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, E> {
    pub(super) data: &'a [E],
    pub(super) row_stride: usize,
    /// A row of the matrix runs along the reduction; else there is a row for each of its elements.
    pub(super) along_k: bool,
}

/// Panels of A and B and the sums of a tile, all in f32.
#[derive(Default)]
pub(super) struct Panels {
    /// A stripe of A, as it lies in memory: [rows][depth] or [depth][rows].
    a: Vec<f32>,
    /// Panels of B, each [depth][columns].
    b: Vec<f32>,
    /// The tile of D, [rows][columns].
    sums: Vec<f32>,
    /// A few rows of B before they are transposed.
    slab: Vec<f32>,
    /// The sums of a stripe in one block of the reduction, before they are scaled.
    of_block: Vec<f32>,
    /// B's scales of the tile's columns in that block.
    scales: Vec<f32>,
}

impl Panels {
    /// Computes A · B for a part of A's rows, B's columns and the reduction. What it returns are rows of sums, each with
    /// at least as many elements as `cols`.
    pub(super) fn product<A: Operand, B: Operand>(
        &mut self,
        a: Source<'_, A>,
        b: Source<'_, B>,
        scales: Option<Scales<'_>>,
        work: &Work,
    ) -> impl Iterator<Item = &[f32]> {
        let Work { group, rows, cols, reduction, first_block } = work;
        let stride = cols.len().next_multiple_of(LANES);
        // The last stripe may be padded past the tile.
        let height = rows.len() + FEWEST_ROWS - 1;
        grow(&mut self.sums, height * stride);
        if reduction.is_empty() || scales.is_some() {
            self.sums[..height * stride].fill(0.0);
        }
        for start in reduction.clone().step_by(DEPTH) {
            let depth = start..reduction.end.min(start + DEPTH);
            self.convert_b(b, cols, &depth);
            let block = first_block + (start - reduction.start) / DEPTH;
            let block = scales.map(|scales| scale::Block { scales, group: *group, block });
            if let Some(block) = block {
                block.gather(cols, &mut self.scales);
            }
            for first in rows.clone().step_by(STRIPE) {
                let stripe = first..rows.end.min(first + STRIPE);
                self.convert_a(a, &stripe, &depth);
                let sums = &mut self.sums[(first - rows.start) * stride..];
                let Some(block) = block else {
                    let add = start > reduction.start;
                    multiply(sums, stride, &self.a, &self.b, stripe.len(), depth.len(), a.along_k, add);
                    continue;
                };
                grow(&mut self.of_block, stripe.len().max(FEWEST_ROWS) * stride);
                let of_block = &mut self.of_block[..];
                multiply(of_block, stride, &self.a, &self.b, stripe.len(), depth.len(), a.along_k, false);
                let of_b = &self.scales[..];
                Arch::new().dispatch(Add { sums, of_block, stride, rows: stripe, block, of_b });
            }
        }
        self.sums.chunks_exact(stride.max(1)).take(rows.len())
    }

    fn convert_a<E: Operand>(&mut self, a: Source<'_, E>, rows: &Range<usize>, depth: &Range<usize>) {
        let (height, width) = (rows.len().max(FEWEST_ROWS), depth.len().next_multiple_of(STEP));
        grow(&mut self.a, height * width);
        let panel = &mut self.a[..height * width];
        let (width, rows, cols) = if a.along_k { (width, rows, depth) } else { (height, depth, rows) };
        Arch::new().dispatch(ConvertA { panel, width, from: a, rows, cols });
    }

    fn convert_b<E: Operand>(&mut self, b: Source<'_, E>, cols: &Range<usize>, depth: &Range<usize>) {
        let height = depth.len().next_multiple_of(STEP);
        grow(&mut self.b, height * cols.len().next_multiple_of(LANES));
        grow(&mut self.slab, SLAB * height);
        let slab = &mut self.slab[..SLAB * height];
        Arch::new().dispatch(ConvertB { panels: &mut self.b, slab, b, cols, depth });
    }
}

/// A job for the widest vectors that the processor has.
struct ConvertA<'a, E> {
    panel: &'a mut [f32],
    width: usize,
    from: Source<'a, E>,
    rows: &'a Range<usize>,
    cols: &'a Range<usize>,
}

impl<E: Operand> WithSimd for ConvertA<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        copy_to(self.panel, self.width, self.from, self.rows, self.cols);
    }
}

/// A job for the widest vectors that the processor has.
struct ConvertB<'a, E> {
    panels: &'a mut [f32],
    slab: &'a mut [f32],
    b: Source<'a, E>,
    cols: &'a Range<usize>,
    depth: &'a Range<usize>,
}

impl<E: Operand> WithSimd for ConvertB<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.b.along_k {
            transpose_panels(self.panels, self.slab, self.b, self.cols, self.depth);
        } else {
            copy_panels(self.panels, self.b, self.cols, self.depth);
        }
    }
}

/// Converts rows that run along D's columns: a part of each row goes to each panel.
#[inline(always)]
fn copy_panels<E: Operand>(panels: &mut [f32], b: Source<'_, E>, cols: &Range<usize>, depth: &Range<usize>) {
    let height = depth.len().next_multiple_of(STEP);
    for (index, k) in depth.clone().enumerate() {
        let row = &b.data[k * b.row_stride + cols.start..k * b.row_stride + cols.end];
        for (panel, part) in panels.chunks_mut(height * PANEL).zip(row.chunks(PANEL)) {
            let width = part.len().next_multiple_of(LANES);
            let (body, padding) = panel[index * width..(index + 1) * width].split_at_mut(part.len());
            E::widen(part, body);
            padding.fill(0.0);
        }
    }
    for (panel, first) in panels.chunks_mut(height * PANEL).zip(cols.clone().step_by(PANEL)) {
        let width = (cols.end - first).min(PANEL).next_multiple_of(LANES);
        panel[depth.len() * width..height * width].fill(0.0);
    }
}

/// Converts rows that run along the reduction, a slab at a time, and transposes each slab.
#[inline(always)]
fn transpose_panels<E: Operand>(
    panels: &mut [f32],
    slab: &mut [f32],
    b: Source<'_, E>,
    cols: &Range<usize>,
    depth: &Range<usize>,
) {
    let height = depth.len().next_multiple_of(STEP);
    for (panel, first) in panels.chunks_mut(height * PANEL).zip(cols.clone().step_by(PANEL)) {
        let end = cols.end.min(first + PANEL);
        let width = (end - first).next_multiple_of(LANES);
        for at in (0..width).step_by(SLAB) {
            let rows = (first + at).min(end)..(first + at + SLAB).min(end);
            copy_to(slab, height, b, &rows, depth);
            transpose(slab, height, &mut panel[at..], width);
        }
    }
}

/// Multiplies a stripe with every panel.
#[expect(clippy::too_many_arguments, reason = "three matrices and their sizes")]
fn multiply(
    sums: &mut [f32],
    stride: usize,
    a: &[f32],
    b: &[f32],
    rows: usize,
    depth: usize,
    a_along_k: bool,
    add: bool,
) {
    let (rows, depth) = (rows.max(FEWEST_ROWS), depth.next_multiple_of(STEP));
    let (row_stride, col_stride) = if a_along_k { (depth, 1) } else { (1, rows) };
    let a = Matrix { data: a, rows, cols: depth, row_stride, col_stride };
    for (panel, first) in b.chunks(depth * PANEL).zip((0..stride).step_by(PANEL)) {
        let width = PANEL.min(stride - first);
        let b = Matrix { data: panel, rows: depth, cols: width, row_stride: width, col_stride: 1 };
        product::multiply(&mut sums[first..], stride, a, b, add);
    }
}

/// Converts the part (`rows`, `cols`) of a matrix to a dense one with rows of `width`, padded with zeros.
#[inline(always)]
fn copy_to<E: Operand>(to: &mut [f32], width: usize, from: Source<'_, E>, rows: &Range<usize>, cols: &Range<usize>) {
    for (index, to) in to.chunks_exact_mut(width.max(1)).enumerate() {
        let used = if index < rows.len() { cols.len() } else { 0 };
        let (body, padding) = to.split_at_mut(used);
        if used > 0 {
            let start = (rows.start + index) * from.row_stride;
            E::widen(&from.data[start + cols.start..start + cols.end], body);
        }
        padding.fill(0.0);
    }
}

/// Writes eight rows of `depth` elements as eight columns of `to`, whose rows are `stride` apart.
#[inline(always)]
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
