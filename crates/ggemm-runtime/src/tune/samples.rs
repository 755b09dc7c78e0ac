//! Samples of an output held against sums in f64: a whole [`Reference`](crate::Reference) of a layer takes minutes.

use std::ops::Range;

use ggemm_codegen::bound::{rounded_products, roundings, tensor_core_roundings, within};
use ggemm_codegen::{Contraction, Dtype, Major, Problem, Ragged, SCALE_BLOCK, ScaleShape, Scaling, Tail};
use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::compare::Discrepancy;
use crate::error::Error;
use crate::groups::{self, Runs};
use crate::random::Rng;
use crate::real::{Real, with_real};

/// Elements that are summed up.
const SAMPLES: usize = 200;

/// Operands of a product, in the host's memory.
pub(super) struct Operands<'a> {
    pub(super) problem: &'a Problem,
    pub(super) lhs: &'a Buffer,
    pub(super) rhs: &'a Buffer,
    /// Of both, for fp8.
    pub(super) scales: Option<&'a [Buffer; 2]>,
    pub(super) groups: &'a Buffer,
}

/// The number that an element of an operand stands for, by its place in memory, its group, its row or column and its block
/// of the reduction.
type Value<'a> = Box<dyn Fn(usize, usize, usize, usize) -> f64 + Sync + 'a>;

/// The values of an operand whose elements have this type, and their scales if they have any.
fn values<'a>(buffer: &'a Buffer, dtype: Dtype, scales: Option<(&'a Buffer, ScaleShape)>) -> Result<Value<'a>, Error> {
    let scale: Value<'a> = match scales {
        None => Box::new(|_, _, _, _| 1.0),
        Some((scales, shape)) => {
            let scales = elements::<f32>(scales)?;
            Box::new(move |_, group, outer, block| f64::from(scales[shape.index(group, outer, block)]))
        }
    };
    let value: Value<'a> = with_real!(dtype, T => {
        let elements = elements::<T>(buffer)?;
        Box::new(move |at, group, outer, block| elements[at].to_f64() * scale(at, group, outer, block))
    });
    Ok(value)
}

impl Operands<'_> {
    /// Looks for an element of `out` that was not written, or is further from its sum than it may be. Operands are
    /// finite, and `out` was NaN before, or 0 where the product is added to it.
    ///
    /// # Errors
    /// [`Error::ElementType`] for a buffer that is not what the problem says.
    pub(super) fn check(&self, out: &Buffer, seed: u64) -> Result<Option<Discrepancy>, Error> {
        let shape = Shape::new(self.problem, &groups::values(&self.groups.view()));
        let (mut operands, mut scales) = ([self.lhs, self.rhs], self.scales.map(|[a, b]| [a, b]));
        if shape.c.operands_exchanged {
            operands.reverse();
            scales = scales.map(|[a, b]| [b, a]);
        }
        let scales = |which: usize| scales.zip(shape.c.scales).map(|(scales, shapes)| (scales[which], shapes[which]));
        let a = values(operands[0], shape.c.a.dtype, scales(0))?;
        let b = values(operands[1], shape.c.b.dtype, scales(1))?;
        with_real!(self.problem.output, O => {
            let out = elements::<O>(out)?;
            Ok(shape.unwritten(out).or_else(|| shape.wrong([&a, &b], out, seed)))
        })
    }
}

fn elements<T: Real>(buffer: &Buffer) -> Result<&[T], Error> {
    buffer.as_slice::<T>().ok_or(Error::ElementType { held: buffer.element_type(), asked: T::TYPE })
}

struct Shape {
    c: Contraction,
    scaling: Scaling,
    allow_tf32: bool,
    runs: Runs,
    /// Rows of D that the problem defines, in each of its matrices.
    rows: usize,
}

impl Shape {
    fn new(problem: &Problem, groups: &[i64]) -> Self {
        let c = problem.contraction();
        let mut runs = Runs::clamped(problem, groups.iter().copied());
        if c.weight_shared && c.ragged == Ragged::Reduction {
            runs = runs.merged();
        }
        let tail = c.ragged == Ragged::Reduction || problem.tail != Tail::Untouched;
        let rows = match () {
            () if c.cols == 0 => 0,
            () if tail => c.rows,
            () => runs.total(),
        };
        Shape { c, scaling: problem.scaling, allow_tf32: problem.allow_tf32, runs, rows }
    }

    /// The rows of all of D's matrices.
    fn all_rows(&self) -> usize {
        self.c.d.groups.saturating_mul(self.rows)
    }

    /// Where a row of D begins.
    fn offset(&self, matrix: usize, row: usize) -> usize {
        matrix * self.c.d.group_stride + row * self.c.d.row_stride
    }

    fn unwritten<O: Real>(&self, out: &[O]) -> Option<Discrepancy> {
        let found = (0..self.all_rows()).into_par_iter().find_map_first(|index| {
            let (matrix, row) = (index / self.rows, index % self.rows);
            let start = self.offset(matrix, row);
            let col = out[start..start + self.c.cols].iter().position(|element| element.to_f64().is_nan())?;
            Some((matrix, row, col))
        });
        let (matrix, row, col) = found?;
        let group = self.group(matrix, row);
        Some(Discrepancy { group, row, col, found: f64::NAN, exact: 0.0, bound: 0.0 })
    }

    fn wrong<O: Real>(&self, [a, b]: [&Value<'_>; 2], out: &[O], seed: u64) -> Option<Discrepancy> {
        if self.all_rows() == 0 {
            return None;
        }
        let mut rng = Rng::new(seed);
        (0..SAMPLES).find_map(|_| {
            let (index, col) = (rng.below(self.all_rows()), rng.below(self.c.cols));
            let (matrix, row) = (index / self.rows, index % self.rows);
            let found = out[self.offset(matrix, row) + col].to_f64();
            let terms = self.terms(matrix, row);
            let (mut exact, mut magnitude) = (0.0, 0.0);
            let group = self.group(matrix, row);
            for k in 0..terms.len() {
                let product = self.product([a, b], group.unwrap_or(0), (row, col), k);
                exact += product;
                magnitude += product.abs();
            }
            let (bound, right) = within(self.c.output, found, exact, magnitude, self.roundings(terms.len()) + 1);
            (!right).then_some(Discrepancy { group, row, col, found, exact, bound })
        })
    }

    /// The group of a row of D; `None` for a row of the tail.
    fn group(&self, matrix: usize, row: usize) -> Option<usize> {
        match self.c.ragged {
            Ragged::Rows => self.runs.iter().position(|run| run.contains(&row)),
            Ragged::Reduction => Some(matrix),
        }
    }

    /// The terms of the sums of a row of D.
    fn terms(&self, matrix: usize, row: usize) -> Range<usize> {
        match self.c.ragged {
            Ragged::Rows if row < self.runs.total() => 0..self.c.reduction,
            Ragged::Rows => 0..0,
            Ragged::Reduction => self.runs.iter().nth(matrix).unwrap_or(0..0),
        }
    }

    /// Rounding errors of a sum of so many products, at most: on a GPU's tensor cores.
    fn roundings(&self, length: usize) -> usize {
        match self.c.scales {
            None => length + rounded_products(length, self.c.operand, self.allow_tf32),
            Some(_) => roundings(length, self.scaling) + tensor_core_roundings(length, self.c.accumulation),
        }
    }

    /// The product number `k` of a sum.
    fn product(&self, [a, b]: [&Value<'_>; 2], group: usize, (row, col): (usize, usize), k: usize) -> f64 {
        let c = &self.c;
        let start = self.runs.iter().nth(group).map_or(0, |run| run.start);
        let (first, block) = (c.reduction_start(start, group), c.first_block(start, group) + k / SCALE_BLOCK);
        let at = |major, side: usize, stride: usize| match major {
            Major::K => side * stride + first + k,
            Major::Mn => (first + k) * stride + side,
        };
        let of_a = at(c.a_major, row, c.a.row_stride);
        let of_b = group * c.b.group_stride + at(c.b_major, col, c.b.row_stride);
        a(of_a, group, row, block) * b(of_b, group, col, block)
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::scenario::{Extent, Scenario};
    use ggemm_codegen::{KernelSpec, catalogue};

    use super::*;
    use crate::random::{Tensors, Values};
    use crate::{Device, Planner};

    fn samples(spec: &KernelSpec, seed: u64) -> Option<(Problem, Tensors, Buffer)> {
        let mut problem = Scenario::any(spec, seed, Extent::Tiles).problem;
        problem.accumulate = false;
        let sizes = vec![problem.m / problem.groups; problem.groups];
        problem.m = sizes.iter().sum();
        let tensors = Tensors::random(&problem, &sizes, Values::Normal, seed).ok()?;
        let mut out = tensors.out.try_clone().unwrap();
        Planner::new(Device::cpu()).plan(&problem).unwrap().run(tensors.args(&mut out)).unwrap();
        Some((problem, tensors, out))
    }

    /// The CPU's results pass; a result that is off everywhere, and one with an element that is not written, do not.
    #[test]
    fn what_is_right_passes_and_what_is_wrong_does_not() {
        let (mut right, mut wrong) = (0, 0);
        for (seed, spec) in catalogue::shipped().iter().enumerate() {
            let Some((problem, tensors, out)) = samples(spec, seed as u64) else { continue };
            let Tensors { lhs, rhs, scales, groups, .. } = &tensors;
            let operands = Operands { problem: &problem, lhs, rhs, scales: scales.as_ref(), groups };
            assert_eq!(operands.check(&out, 1).unwrap(), None, "{problem}");
            right += 1;
            if Shape::new(&problem, &groups::values(&groups.view())).all_rows() == 0 || problem.flops() == 0.0 {
                continue;
            }
            let unwritten = operands.check(&tensors.out, 1).unwrap().unwrap();
            assert!(unwritten.found.is_nan(), "{problem}: {unwritten}");
            // The product with another operand has the same form and other values.
            let others =
                Tensors::random(&problem, &vec![problem.m / problem.groups; problem.groups], Values::Normal, 999);
            let others = others.unwrap();
            let operands = Operands { lhs: &others.lhs, ..operands };
            let found = operands.check(&out, 1).unwrap().expect("another operand leads to another product");
            assert!(found.of_bound() > 1.0, "{problem}: {found}");
            wrong += 1;
        }
        assert!(right > 100 && wrong > 50, "{right} right, {wrong} wrong");
    }
}
