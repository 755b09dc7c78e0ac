//! What an output should be, in f64, by loops as plain as the definitions. It shares nothing with the backends but the
//! reading of a problem's shapes, and nothing at all of their arithmetic.

use ggemm_codegen::tensor_core::{Factors, TensorCore};
#[cfg(test)]
use ggemm_codegen::{Accumulation, Scaling};
use ggemm_codegen::{Arch, Contraction, Dtype, Major, Problem, Ragged, SCALE_BLOCK, ScaleShape};
use rayon::prelude::*;

use crate::buffer::View;
use crate::check;
use crate::device::Device;
use crate::error::Error;
use crate::groups::{self, Runs};
use crate::operand::Operand;
use crate::real::{Real, with_real};

/// The exact output of a problem: each element's sum and the sum of its terms' magnitudes, in f64.
///
/// Products of two 16-bit floating-point numbers are exact in f64, those of fp8 elements times their scales nearly so, and
/// what f64 loses in a sum of L of them is 2⁻²⁹ of what f32 may lose.
///
/// Groups are read as the kernels read them outside checked mode ([`Runs::clamped`]).
#[derive(Clone, Debug)]
pub struct Reference {
    pub(crate) problem: Problem,
    pub(crate) contraction: Contraction,
    /// The groups; one for all where D is shared by them.
    pub(crate) runs: Runs,
    /// Σ ab, plus what was accumulated into: the rows of D, of all its matrices, without strides.
    pub(crate) exact: Vec<f64>,
    /// Σ |a||b|, plus the magnitude of what was accumulated into.
    pub(crate) magnitude: Vec<f64>,
    /// What fp8 tensor cores may lose of each element; empty where no such computed what this is compared with.
    pub(crate) lost: Vec<f64>,
}

/// A number of the factors of one sum, A's and B's, and of the scales of both in each block of the reduction.
type OfFactors<'a> = dyn Fn(&Factors, &Factors, &dyn Fn(usize) -> [f32; 2]) -> f64 + Sync + 'a;

/// Elements of the reduction for which B is held in f64 at a time.
const DEPTH: usize = 256;

impl Reference {
    /// Computes it from tensors in the host's memory. `before` is the output before the run, of which only an
    /// accumulating problem reads the values.
    ///
    /// `progress` is called now and then with the part done, from 0 to 1.
    ///
    /// # Errors
    /// As [`Plan::run`](crate::Plan::run) for tensors that are not what the problem says; [`Error::OutOfMemory`].
    pub fn compute<'a>(
        problem: &Problem,
        lhs: impl Into<Operand<'a>>,
        rhs: impl Into<Operand<'a>>,
        groups: impl Into<View<'a>>,
        before: impl Into<View<'a>>,
        progress: &dyn Fn(f64),
    ) -> Result<Self, Error> {
        problem.validate()?;
        let (lhs, rhs, groups, before) = (lhs.into(), rhs.into(), groups.into(), before.into());
        let device = Device::cpu();
        check::inputs(problem, &device, &lhs, &rhs, &groups)?;
        let [_, _, shape] = problem.tensors();
        check::tensor(problem, &device, &shape, &before)?;

        let contraction = problem.contraction();
        let mut runs = Runs::clamped(problem, groups::values(&groups));
        if contraction.weight_shared {
            runs = runs.merged();
        }
        let rows = contraction.d.groups.saturating_mul(contraction.rows);
        let elements = rows.saturating_mul(contraction.cols);
        let mut reference = Reference {
            problem: problem.clone(),
            exact: zeros(elements)?,
            magnitude: zeros(elements)?,
            lost: Vec::new(),
            contraction,
            runs,
        };
        if problem.accumulate {
            with_real!(problem.output, T => reference.start_from::<T>(before.as_slice().unwrap_or_default()));
        }
        let (a, b) = reference.values(&lhs, &rhs);
        reference.sum(&a, &b, progress)?;
        progress(1.0);
        Ok(reference)
    }

    /// The same for outputs of a GPU, whose tensor cores cut fp8 sums off: the bound of each element has then what `arch` may
    /// lose of its very products ([`TensorCore::lost`]). Of other operands it stays the same. The tensors are those that
    /// it was computed from.
    ///
    /// # Errors
    /// Those of [`Reference::compute`].
    pub fn of_tensor_cores<'a>(
        self,
        arch: Arch,
        lhs: impl Into<Operand<'a>>,
        rhs: impl Into<Operand<'a>>,
    ) -> Result<Self, Error> {
        let Some(core) = TensorCore::new(arch, self.contraction.a.dtype, self.contraction.b.dtype) else {
            return Ok(self);
        };
        let (lhs, rhs) = (lhs.into(), rhs.into());
        check::operands(&self.problem, &Device::cpu(), &lhs, &rhs)?;
        let mut lost = zeros(self.exact.len())?;
        let (a, b) = self.values(&lhs, &rhs);
        self.lose(&core, &a, &b, &mut lost);
        Ok(Reference { lost, ..self })
    }

    /// The operands as the contraction has them.
    fn values<'a>(&self, lhs: &Operand<'a>, rhs: &Operand<'a>) -> (Values<'a>, Values<'a>) {
        let c = &self.contraction;
        let (a, b) = if c.operands_exchanged { (rhs, lhs) } else { (lhs, rhs) };
        let [a_scale, b_scale] = c.scales.map_or([None; 2], |shapes| shapes.map(Some));
        (Values::of(a, c.a.dtype, a_scale), Values::of(b, c.b.dtype, b_scale))
    }

    /// Adds up what each element may lose, for each accumulator that its sum passes through.
    fn lose(&self, core: &TensorCore, a: &Values<'_>, b: &Values<'_>, lost: &mut [f64]) {
        self.of_factors(core, [a, b], lost, &|a, b, scale| {
            let both = |block| scale(block).map(f64::from).into_iter().product();
            core.lost_by_kernels(self.contraction.accumulation, a, b, both)
        });
    }

    /// Every sum as kernels on `arch` make it of fp8 products, before what it is added to.
    #[cfg(test)]
    pub(crate) fn emulated(&self, arch: Arch, lhs: &Operand<'_>, rhs: &Operand<'_>) -> Option<Vec<f64>> {
        let c = &self.contraction;
        let core = TensorCore::new(arch, c.a.dtype, c.b.dtype)?;
        let shares_columns = c.scales?[1].outer_block > 1;
        let (a, b) = self.values(lhs, rhs);
        let mut sums = vec![0.0; self.exact.len()];
        self.of_factors(&core, [&a, &b], &mut sums, &|a, b, scale| {
            let [of_row, of_column] = scale(0);
            if c.accumulation == Accumulation::Fast {
                return f64::from(core.sum(a, b, 0..a.len()) as f32 * of_row * of_column);
            }
            let starts = (0..a.len()).step_by(SCALE_BLOCK);
            let parts = starts.map(|start| core.sum(a, b, start..start + SCALE_BLOCK) as f32);
            if self.problem.scaling == Scaling::Row {
                return f64::from(parts.sum::<f32>() * of_row * of_column);
            }
            f64::from(parts.enumerate().fold(0.0_f32, |sum, (block, part)| {
                let [of_row, of_column] = scale(block);
                if shares_columns {
                    return part.mul_add(of_row * of_column, sum);
                }
                (part * of_column).mul_add(of_row, sum)
            }))
        });
        Some(sums)
    }

    /// What `of` makes of each sum that is not empty, of elements without their scales.
    fn of_factors(&self, core: &TensorCore, [a, b]: [&Values<'_>; 2], results: &mut [f64], of: &OfFactors<'_>) {
        // Columns of B that are held in f64 at a time.
        const COLUMNS: usize = 64;
        let c = &self.contraction;
        for (group, run) in self.runs.iter().enumerate() {
            let (origin, first_block) = (c.reduction_start(run.start, group), c.first_block(run.start, group));
            let (rows, length) = match c.ragged {
                Ragged::Rows => (run, c.reduction),
                Ragged::Reduction => (group * c.rows..(group + 1) * c.rows, run.len()),
            };
            if rows.is_empty() || length == 0 || c.cols == 0 {
                continue;
            }
            let first_row = if c.ragged == Ragged::Rows { 0 } else { rows.start };
            let along = |values: &Values<'_>, major, base: usize, outer: usize, stride: usize| -> Vec<f64> {
                let at = |k: usize| match major {
                    Major::K => base + outer * stride + origin + k,
                    Major::Mn => base + (origin + k) * stride + outer,
                };
                (0..length).map(|k| (values.element)(at(k))).collect()
            };
            for first in (0..c.cols).step_by(COLUMNS) {
                let cols = first..c.cols.min(first + COLUMNS);
                let column = |col| core.b(along(b, c.b_major, group * c.b.group_stride, col, c.b.row_stride));
                let columns: Vec<Factors> = cols.clone().map(column).collect();
                let own = results[rows.start * c.cols..rows.end * c.cols].par_chunks_mut(c.cols);
                own.enumerate().for_each(|(index, results)| {
                    let row = rows.start - first_row + index;
                    let a_row = core.a(along(a, c.a_major, 0, row, c.a.row_stride));
                    for (col, column) in cols.clone().zip(&columns) {
                        results[col] = of(&a_row, column, &|block| {
                            let block = first_block + block;
                            [a.scale(group, row, block), b.scale(group, col, block)]
                        });
                    }
                });
            }
        }
    }

    /// Begins every sum with what the output holds.
    fn start_from<T: Real>(&mut self, before: &[T]) {
        let c = &self.contraction;
        if c.cols == 0 {
            return;
        }
        let rows = self.exact.chunks_mut(c.cols).zip(self.magnitude.chunks_mut(c.cols));
        for (index, (exact, magnitude)) in rows.enumerate() {
            let start = index / c.rows * c.d.group_stride + index % c.rows * c.d.row_stride;
            for (col, (exact, magnitude)) in exact.iter_mut().zip(magnitude).enumerate() {
                *exact = before[start + col].to_f64();
                *magnitude = exact.abs();
            }
        }
    }

    fn sum(&mut self, a: &Values<'_>, b: &Values<'_>, progress: &dyn Fn(f64)) -> Result<(), Error> {
        let c = &self.contraction;
        if self.exact.is_empty() {
            return Ok(());
        }
        let total = (self.runs.total() as f64 * self.problem.n as f64 * self.problem.k as f64).max(1.0);
        let mut done = 0.0;
        let mut panel = zeros(DEPTH.min(c.reduction).saturating_mul(c.cols))?;
        for (group, run) in self.runs.iter().enumerate() {
            // Where the operands hold the reduction, and in which block of 128 it starts.
            let (origin, first_block) = (c.reduction_start(run.start, group), c.first_block(run.start, group));
            let (rows, length) = match c.ragged {
                Ragged::Rows => (run, c.reduction),
                Ragged::Reduction => (group * c.rows..(group + 1) * c.rows, run.len()),
            };
            if rows.is_empty() {
                continue;
            }
            let first_row = if c.ragged == Ragged::Rows { 0 } else { rows.start };
            let own = rows.start * c.cols..rows.end * c.cols;
            for start in (0..length).step_by(DEPTH) {
                let depth = start..length.min(start + DEPTH);
                for (k, row) in depth.clone().zip(panel.chunks_mut(c.cols)) {
                    let block = first_block + k / SCALE_BLOCK;
                    for (col, b_kj) in row.iter_mut().enumerate() {
                        let at = match c.b_major {
                            Major::K => col * c.b.row_stride + origin + k,
                            Major::Mn => (origin + k) * c.b.row_stride + col,
                        };
                        *b_kj = b.get(group * c.b.group_stride + at, group, col, block);
                    }
                }
                let exact = self.exact[own.clone()].par_chunks_mut(c.cols);
                let magnitude = self.magnitude[own.clone()].par_chunks_mut(c.cols);
                exact.zip(magnitude).enumerate().for_each(|(index, (exact, magnitude))| {
                    let row = rows.start - first_row + index;
                    for (k, b_k) in depth.clone().zip(panel.chunks(c.cols)) {
                        let at = match c.a_major {
                            Major::K => row * c.a.row_stride + origin + k,
                            Major::Mn => (origin + k) * c.a.row_stride + row,
                        };
                        let a_ik = a.get(at, group, row, first_block + k / SCALE_BLOCK);
                        for ((exact, magnitude), b_kj) in exact.iter_mut().zip(&mut *magnitude).zip(b_k) {
                            let product = a_ik * b_kj;
                            *exact += product;
                            *magnitude += product.abs();
                        }
                    }
                });
                done += rows.len() as f64 * depth.len() as f64 * c.cols as f64;
                progress(done / total);
            }
        }
        Ok(())
    }
}

/// An operand's elements as the numbers that they stand for.
struct Values<'a> {
    element: Box<dyn Fn(usize) -> f64 + Sync + 'a>,
    scales: Option<(ScaleShape, &'a [f32])>,
}

impl<'a> Values<'a> {
    fn of(operand: &Operand<'a>, dtype: Dtype, scales: Option<ScaleShape>) -> Self {
        let element: Box<dyn Fn(usize) -> f64 + Sync + 'a> = with_real!(dtype, T => {
            let elements = operand.elements.as_slice::<T>().unwrap_or_default();
            Box::new(move |at: usize| elements[at].to_f64())
        });
        let values = operand.scales.as_ref().and_then(View::as_slice).unwrap_or_default();
        Values { element, scales: scales.map(|shape| (shape, values)) }
    }

    /// Element `at` of the operand's memory, which is number `outer` along the output, in `block` of the reduction.
    fn get(&self, at: usize, group: usize, outer: usize, block: usize) -> f64 {
        (self.element)(at) * f64::from(self.scale(group, outer, block))
    }

    /// What elements are multiplied by.
    fn scale(&self, group: usize, outer: usize, block: usize) -> f32 {
        self.scales.as_ref().map_or(1.0, |(shape, scales)| scales[shape.index(group, outer, block)])
    }
}

fn zeros(len: usize) -> Result<Vec<f64>, Error> {
    let mut zeros = Vec::new();
    let bytes = len.saturating_mul(size_of::<f64>());
    let refused = |_| Error::OutOfMemory { device: Device::cpu().to_string(), bytes };
    zeros.try_reserve_exact(len).map_err(refused)?;
    zeros.resize(len, 0.0);
    Ok(zeros)
}
