//! How far an output may be from the exact one, and how far it is.

use std::{fmt, iter};

use ggemm_codegen::bound::{rounded_products, roundings, within};
use ggemm_codegen::{Problem, Ragged, Tail};
use rayon::prelude::*;

use crate::bound::same;
use crate::buffer::View;
use crate::check;
use crate::device::Device;
use crate::error::Error;
use crate::real::{Real, with_real};
use crate::reference::Reference;

/// What counts as right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Half a unit in the last place of the output's type, plus L · 2⁻²⁴ · Σ|a||b|. L is the length of the reduction, and
    /// two more for operands with scales; of fp8 products on a GPU, what its tensor cores lose comes on top
    /// ([`Reference::of_tensor_cores`]).
    Bound,
    /// The exact sum, rounded once, bit for bit: for operands whose sums are exact in f32
    /// ([`Values::SmallIntegers`](crate::random::Values::SmallIntegers)).
    Exact,
}

/// One element of an output beside what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discrepancy {
    /// The group whose rows or matrix it is in; `None` for a tail row or a matrix of all groups.
    pub group: Option<usize>,
    /// Its row in the output (in the group's matrix, for grad_w).
    pub row: usize,
    /// Its column.
    pub col: usize,
    /// What the output holds.
    pub found: f64,
    /// What it should be, before rounding.
    pub exact: f64,
    /// How far apart the two may be; 0 where they must agree to the bit.
    pub bound: f64,
}

impl Discrepancy {
    /// The distance as a share of what is allowed: above 1 is wrong.
    pub fn of_bound(&self) -> f64 {
        if self.found == self.exact || self.found.is_nan() && self.exact.is_nan() {
            return 0.0;
        }
        let error = (self.found - self.exact).abs();
        if error.is_nan() { f64::INFINITY } else { error / self.bound }
    }
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(group) = self.group {
            write!(f, "group {group} ")?;
        }
        write!(f, "[{}, {}] is {:e}, exactly {:e} ± {:.1e}", self.row, self.col, self.found, self.exact, self.bound)
    }
}

/// An output held against its [`Reference`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Elements that the problem defines.
    pub compared: usize,
    /// The largest error.
    pub max_abs: f64,
    /// The largest error in relation to Σ|a||b|, which no cancellation inflates.
    pub max_rel: f64,
    /// The element with the largest error.
    pub largest: Option<Discrepancy>,
    /// The element whose error is the largest part of what it may be.
    pub worst: Option<Discrepancy>,
    /// Elements that are 0 where the exact value is not: how output that was never written shows on zeroed memory.
    pub zeros: usize,
    /// Elements that are wrong.
    pub outside_bound: usize,
    /// The first of them in memory.
    pub first_outside: Option<Discrepancy>,
    /// Elements that were to keep what they held and did not: stride padding, gaps between groups, untouched tails.
    pub overwritten: usize,
    /// The index in the buffer of the first of them.
    pub first_overwritten: Option<usize>,
}

impl Comparison {
    /// Whether every element is right and nothing else was written.
    pub fn pass(&self) -> bool {
        self.outside_bound == 0 && self.overwritten == 0
    }

    fn add(&mut self, found: Discrepancy, magnitude: f64, right: bool) {
        self.compared += 1;
        let error = (found.found - found.exact).abs();
        if error.is_finite() {
            if self.largest.is_none() || error > self.max_abs {
                self.largest = Some(found);
            }
            self.max_abs = self.max_abs.max(error);
            if magnitude > 0.0 {
                self.max_rel = self.max_rel.max(error / magnitude);
            }
        }
        if self.worst.is_none_or(|w| found.of_bound() > w.of_bound()) {
            self.worst = Some(found);
        }
        self.zeros += usize::from(found.found == 0.0 && found.exact != 0.0);
        if !right {
            self.outside_bound += 1;
            self.first_outside.get_or_insert(found);
        }
    }

    fn merge(mut self, later: Self) -> Self {
        self.compared += later.compared;
        if self.largest.is_none() || later.max_abs > self.max_abs {
            self.largest = later.largest;
        }
        self.max_abs = self.max_abs.max(later.max_abs);
        self.max_rel = self.max_rel.max(later.max_rel);
        if let Some(theirs) = later.worst
            && self.worst.is_none_or(|ours| theirs.of_bound() > ours.of_bound())
        {
            self.worst = later.worst;
        }
        self.zeros += later.zeros;
        self.outside_bound += later.outside_bound;
        self.first_outside = self.first_outside.or(later.first_outside);
        self.overwritten += later.overwritten;
        self.first_overwritten = self.first_overwritten.or(later.first_overwritten);
        self
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", if self.pass() { "pass" } else { "FAIL" })?;
        write!(f, "{} elements, max abs {:.2e}, max rel {:.2e}", self.compared, self.max_abs, self.max_rel)?;
        if let Some(first) = &self.first_outside {
            write!(f, "; {} outside the bound, first {first}", self.outside_bound)?;
        }
        if let Some(first) = self.first_overwritten {
            write!(f, "; {} elements outside the problem overwritten, first at index {first}", self.overwritten)?;
        }
        if self.zeros > 0 {
            write!(f, "; {} zeros that should not be", self.zeros)?;
        }
        Ok(())
    }
}

/// A row of D that the problem defines.
struct Row {
    group: Option<usize>,
    row: usize,
    /// Its first element in the buffer.
    offset: usize,
    /// Its place in the reference.
    index: usize,
    /// Rounding errors of each of its sums, at most.
    terms: usize,
}

impl Reference {
    /// Holds `after`, the output of a run in the host's memory, against the exact one. `before` is the output before
    /// the run.
    ///
    /// # Errors
    /// As [`Plan::run`](crate::Plan::run) for an output that is not what the problem says; [`Error::CopyLength`] where
    /// the two differ in length.
    pub fn compare<'a>(
        &self,
        before: impl Into<View<'a>>,
        after: impl Into<View<'a>>,
        mode: Mode,
    ) -> Result<Comparison, Error> {
        let (before, after) = (before.into(), after.into());
        for view in [&before, &after] {
            check::tensor(&self.problem, &Device::cpu(), &self.contraction.d, view)?;
        }
        if before.len() != after.len() {
            return Err(Error::CopyLength { held: before.len(), given: after.len() });
        }
        Ok(with_real!(self.problem.output, T => {
            let (before, after) = (before.as_slice::<T>().unwrap_or_default(), after.as_slice::<T>().unwrap_or_default());
            self.compare_elements(before, after, mode)
        }))
    }

    fn compare_elements<T: Real>(&self, before: &[T], after: &[T], mode: Mode) -> Comparison {
        let rows = self.rows();
        let parts: Vec<Comparison> = rows.par_iter().map(|row| self.compare_row(row, after, mode)).collect();
        let mut all = parts.into_iter().fold(Comparison::default(), Comparison::merge);
        // Whatever lies between the rows that the problem defines.
        let mut start = 0;
        let ends = rows.iter().map(|row| row.offset).chain([after.len()]);
        for end in ends {
            for index in start..end {
                if bytemuck::bytes_of(&before[index]) != bytemuck::bytes_of(&after[index]) {
                    all.overwritten += 1;
                    all.first_overwritten.get_or_insert(index);
                }
            }
            start = end + self.contraction.cols;
        }
        all
    }

    /// `before` with these sums in it.
    #[cfg(test)]
    pub(crate) fn store<T: Real>(&self, before: &[T], sums: &[f64]) -> Vec<T> {
        let cols = self.contraction.cols;
        let mut after = before.to_vec();
        for row in self.rows() {
            let own = after[row.offset..row.offset + cols].iter_mut();
            for (out, sum) in own.zip(&sums[row.index * cols..]) {
                let held = if self.problem.accumulate { out.to_f64() as f32 } else { 0.0 };
                *out = T::from_f32(*sum as f32 + held);
            }
        }
        after
    }

    /// The rows that the problem defines, in the order of memory.
    fn rows(&self) -> Vec<Row> {
        let c = &self.contraction;
        if c.cols == 0 {
            return Vec::new();
        }
        let extra = usize::from(c.accumulate);
        let Problem { operand, allow_tf32, scaling, .. } = self.problem;
        let terms = |length| roundings(length, scaling) + rounded_products(length, operand, allow_tf32);
        let mut rows = Vec::new();
        match c.ragged {
            Ragged::Rows => {
                let shared = c.weight_shared;
                let mut push = |group, row: usize, terms: usize| {
                    rows.push(Row { group, row, offset: row * c.d.row_stride, index: row, terms });
                };
                for (group, run) in self.runs.iter().enumerate() {
                    run.for_each(|row| push((!shared).then_some(group), row, terms(c.reduction)));
                }
                if self.problem.tail != Tail::Untouched {
                    (self.runs.total()..c.rows).for_each(|row| push(None, row, 0));
                }
            }
            Ragged::Reduction => {
                for (group, run) in self.runs.iter().enumerate() {
                    for row in 0..c.rows {
                        let offset = group * c.d.group_stride + row * c.d.row_stride;
                        let terms = terms(run.len()) + extra;
                        let named = (!c.weight_shared).then_some(group);
                        rows.push(Row { group: named, row, offset, index: group * c.rows + row, terms });
                    }
                }
            }
        }
        rows
    }

    fn compare_row<T: Real>(&self, row: &Row, after: &[T], mode: Mode) -> Comparison {
        let cols = self.contraction.cols;
        let own = row.index * cols..(row.index + 1) * cols;
        let found = &after[row.offset..row.offset + cols];
        let mut comparison = Comparison::default();
        let lost = self.lost.get(own.clone()).unwrap_or_default().iter().copied().chain(iter::repeat(0.0));
        let exact = self.exact[own.clone()].iter().zip(&self.magnitude[own]);
        for (col, ((found, (exact, magnitude)), lost)) in found.iter().zip(exact).zip(lost).enumerate() {
            let (bound, right) = match mode {
                Mode::Exact => (0.0, same(*found, *exact)),
                Mode::Bound => within(self.problem.output, found.to_f64(), *exact, *magnitude, row.terms, lost),
            };
            let found = found.to_f64();
            let seen = Discrepancy { group: row.group, row: row.row, col, found, exact: *exact, bound };
            comparison.add(seen, *magnitude, right);
        }
        comparison
    }
}
