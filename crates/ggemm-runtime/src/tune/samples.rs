//! Samples of an output held against sums in f64: a whole [`Reference`](crate::Reference) of a layer takes minutes.

use std::ops::Range;

use ggemm_codegen::bound::{rounded_products, roundings, within};
use ggemm_codegen::tensor_core::TensorCore;
use ggemm_codegen::{Arch, Contraction, Dtype, Major, Problem, Ragged, SCALE_BLOCK, ScaleShape, Scaling, Tail};
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
    /// The architecture of the GPU that multiplied, if one did.
    pub(super) gpu: Option<Arch>,
}

/// An operand as numbers.
struct Values<'a> {
    /// An element, by its place in memory.
    element: Box<dyn Fn(usize) -> f64 + Sync + 'a>,
    /// What it is multiplied by, by its group, its row or column and its block of the reduction.
    scale: Box<dyn Fn(usize, usize, usize) -> f64 + Sync + 'a>,
}

impl<'a> Values<'a> {
    /// Of elements of this type, and their scales if they have any.
    fn of(buffer: &'a Buffer, dtype: Dtype, scales: Option<(&'a Buffer, ScaleShape)>) -> Result<Self, Error> {
        let element: Box<dyn Fn(usize) -> f64 + Sync + 'a> = with_real!(dtype, T => {
            let elements = elements::<T>(buffer)?;
            Box::new(move |at: usize| elements[at].to_f64())
        });
        let scale: Box<dyn Fn(usize, usize, usize) -> f64 + Sync + 'a> = match scales {
            None => Box::new(|_, _, _| 1.0),
            Some((scales, shape)) => {
                let scales = elements::<f32>(scales)?;
                Box::new(move |group, outer, block| f64::from(scales[shape.index(group, outer, block)]))
            }
        };
        Ok(Values { element, scale })
    }
}

impl Operands<'_> {
    /// Looks for an element of `out` that was not written, or is further from its sum than it may be. Operands are
    /// finite, and `out` was NaN before, or 0 where the product is added to it.
    ///
    /// # Errors
    /// [`Error::ElementType`] for a buffer that is not what the problem says.
    pub(super) fn check(&self, out: &Buffer, seed: u64) -> Result<Option<Discrepancy>, Error> {
        let shape = Shape::new(self.problem, &groups::values(&self.groups.view()), self.gpu);
        let (mut operands, mut scales) = ([self.lhs, self.rhs], self.scales.map(|[a, b]| [a, b]));
        if shape.c.operands_exchanged {
            operands.reverse();
            scales = scales.map(|[a, b]| [b, a]);
        }
        let scales = |which: usize| scales.zip(shape.c.scales).map(|(scales, shapes)| (scales[which], shapes[which]));
        let a = Values::of(operands[0], shape.c.a.dtype, scales(0))?;
        let b = Values::of(operands[1], shape.c.b.dtype, scales(1))?;
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
    /// The tensor cores that cut sums off, if any do.
    core: Option<TensorCore>,
    runs: Runs,
    /// Rows of D that the problem defines, in each of its matrices.
    rows: usize,
}

impl Shape {
    fn new(problem: &Problem, groups: &[i64], gpu: Option<Arch>) -> Self {
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
        let core = gpu.and_then(|arch| TensorCore::new(arch, c.a.dtype, c.b.dtype));
        Shape { c, scaling: problem.scaling, allow_tf32: problem.allow_tf32, core, runs, rows }
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

    fn wrong<O: Real>(&self, operands: [&Values<'_>; 2], out: &[O], seed: u64) -> Option<Discrepancy> {
        if self.all_rows() == 0 {
            return None;
        }
        let mut rng = Rng::new(seed);
        (0..SAMPLES).find_map(|_| {
            let (index, col) = (rng.below(self.all_rows()), rng.below(self.c.cols));
            let (matrix, row) = (index / self.rows, index % self.rows);
            let found = out[self.offset(matrix, row) + col].to_f64();
            let length = self.terms(matrix, row).len();
            let group = self.group(matrix, row);
            let sum = self.sum(operands, group.unwrap_or(0), (row, col), length);
            let (bound, right) =
                within(self.c.output, found, sum.exact, sum.magnitude, self.roundings(length) + 1, sum.lost);
            (!right).then_some(Discrepancy { group, row, col, found, exact: sum.exact, bound })
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

    /// Rounding errors of a sum of so many products, at most.
    fn roundings(&self, length: usize) -> usize {
        roundings(length, self.scaling) + rounded_products(length, self.c.operand, self.allow_tf32)
    }

    /// The sum of so many products.
    fn sum(&self, operands: [&Values<'_>; 2], group: usize, (row, col): (usize, usize), length: usize) -> Sum {
        let c = &self.c;
        let start = self.runs.iter().nth(group).map_or(0, |run| run.start);
        let (first, first_block) = (c.reduction_start(start, group), c.first_block(start, group));
        let places = [(c.a_major, 0, row, c.a.row_stride), (c.b_major, group * c.b.group_stride, col, c.b.row_stride)];
        let at = |(major, base, side, stride): (Major, usize, usize, usize), k: usize| match major {
            Major::K => base + side * stride + first + k,
            Major::Mn => base + (first + k) * stride + side,
        };
        let [a, b] = [0, 1].map(|which: usize| {
            (0..length).map(|k| (operands[which].element)(at(places[which], k))).collect::<Vec<f64>>()
        });
        let mut sum = Sum::default();
        let scale = |block| (operands[0].scale)(group, row, block) * (operands[1].scale)(group, col, block);
        for (number, (a, b)) in a.chunks(SCALE_BLOCK).zip(b.chunks(SCALE_BLOCK)).enumerate() {
            let scale = scale(first_block + number);
            for (a, b) in a.iter().zip(b) {
                sum.exact += a * b * scale;
                sum.magnitude += (a * b * scale).abs();
            }
        }
        let Some(core) = self.core else { return sum };
        let (a, b) = (core.a(a), core.b(b));
        sum.lost = core.lost_by_kernels(c.accumulation, &a, &b, |block| scale(first_block + block));
        sum
    }
}

/// Products, added up.
#[derive(Default)]
struct Sum {
    exact: f64,
    magnitude: f64,
    /// What tensor cores may have cut off.
    lost: f64,
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
            let operands = Operands { problem: &problem, lhs, rhs, scales: scales.as_ref(), groups, gpu: None };
            assert_eq!(operands.check(&out, 1).unwrap(), None, "{problem}");
            right += 1;
            if Shape::new(&problem, &groups::values(&groups.view()), None).all_rows() == 0 || problem.flops() == 0.0 {
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
