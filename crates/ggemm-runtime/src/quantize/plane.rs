//! Where the elements of an operand lie, in the source and in the quantized copy.

use std::ops::Range;

use ggemm_codegen::{Contraction, Operation, Problem, TensorShape, WeightLayout};

/// Element (i, k), i along the output and k along the reduction, is number `base` + i · `outer` + k · `along`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) base: usize,
    pub(super) outer: usize,
    pub(super) along: usize,
}

impl Plane {
    /// The number of element (i, k).
    pub(super) fn at(&self, i: usize, k: usize) -> usize {
        self.base + i * self.outer + k * self.along
    }

    /// A plane in a matrix of rows `stride` apart that run along the reduction, or across it.
    fn of_rows(base: usize, stride: usize, along: bool) -> Self {
        let (outer, along) = if along { (stride, 1) } else { (1, stride) };
        Plane { base, outer, along }
    }
}

/// A part of an operand that shares no scale with another part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// The group, as scales number groups.
    pub(super) group: usize,
    /// Elements along the output.
    pub(super) outer: usize,
    /// Elements along the reduction.
    pub(super) length: usize,
    /// The first block of the reduction, as scales number blocks.
    pub(super) first_block: usize,
    pub(super) from: Plane,
    pub(super) to: Plane,
}

impl Part {
    /// All tokens of forward or grad_x, whose rows are the reduction.
    pub(super) fn tokens(shape: &TensorShape) -> Self {
        let (from, to) = (Plane::of_rows(0, shape.cols, true), Plane::of_rows(0, shape.row_stride, true));
        Part { group: 0, outer: shape.rows, length: shape.cols, first_block: 0, from, to }
    }

    /// The weight of one group, which lies in the source as `from` says and in the copy as the problem does.
    pub(super) fn weight(problem: &Problem, shape: &TensorShape, from: WeightLayout, group: usize) -> Self {
        let Problem { n, k, .. } = *problem;
        let (outer, length, along_k) = match problem.operation {
            Operation::GradX => (k, n, false),
            _ => (n, k, true),
        };
        let rows_run_along = |layout| (layout == WeightLayout::Nk) == along_k;
        let dense = if from == WeightLayout::Nk { k } else { n };
        Part {
            group,
            outer,
            length,
            first_block: 0,
            from: Plane::of_rows(group * n * k, dense, rows_run_along(from)),
            to: Plane::of_rows(group * shape.group_stride, shape.row_stride, rows_run_along(problem.weight_layout)),
        }
    }

    /// One group's rows of an operand of grad_w, of which each column is summed.
    pub(super) fn rows_of_a_group(
        c: &Contraction,
        shape: &TensorShape,
        cols: usize,
        group: usize,
        run: Range<usize>,
    ) -> Self {
        let origin = c.reduction_start(run.start, group);
        let base = if c.reduction_blocks { origin } else { origin * shape.row_stride };
        Part {
            group,
            outer: cols,
            length: run.len(),
            first_block: c.first_block(run.start, group),
            from: Plane::of_rows(run.start * cols, cols, false),
            to: Plane::of_rows(base, shape.row_stride, c.reduction_blocks),
        }
    }
}
