//! Ragged problems with data and a reference of their own, in the form that kernels see.
//!
//! Where values are small integers every sum is exact and results are held bit for bit; real values are held to the
//! bound of f32 sums. Memory that is no part of the problem (other groups' rows, stride padding, tails) holds NaN, so
//! that what leaks in shows.

use std::fmt;

use super::memory::{decode, encode};
use super::schedule::Dice;
use super::{Buffer, Memory};
use crate::bound::{rounded_products, roundings, within};
use crate::contraction::Contraction;
use crate::dtype::Dtype;
use crate::problem::{GroupForm, Operation, Problem, ProblemError, TensorShape, WeightSharing};
use crate::scaling::{SCALE_BLOCK, ScaleShape};
use crate::scenario::{Extent, Scenario};
use crate::spec::{KernelSpec, Major, Ragged};

/// A problem with its data.
#[derive(Clone, Debug)]
pub struct Case {
    contraction: Contraction,
    problem: Problem,
    /// What the device array holds.
    groups: Vec<i64>,
    /// Rows of each group, after all clipping.
    runs: Vec<(usize, usize)>,
    data: Data,
    seed: u64,
    /// A, B, and what D holds before, of every index.
    values: [Vec<f32>; 3],
    /// The scales of A and of B, of every index.
    scales: [Vec<f32>; 2],
}

/// What the operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Integers from -3 to 3, and scales that are powers of two: every sum is exact.
    Integers,
    /// Reals between -1 and 1: results are held to the [bound](crate::bound).
    Reals,
}

/// An output that is not what the problem asks for.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WrongOutput {
    /// A wrong value.
    #[error("element {index} (group {group}, row {row}, column {col}) is {found}, not {expected}")]
    Value {
        /// The element.
        index: usize,
        /// The matrix it is in.
        group: usize,
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
        /// What it holds.
        found: f32,
        /// What it should hold, before rounding.
        expected: f64,
    },
    /// A value further off than sums in f32 explain.
    #[error("element {index} (group {group}, row {row}, column {col}) is {found}, not {expected} within {bound}")]
    Outside {
        /// The element.
        index: usize,
        /// The matrix it is in.
        group: usize,
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
        /// What it holds.
        found: f32,
        /// What it should hold, before rounding.
        expected: f64,
        /// How far off it may be.
        bound: f64,
    },
    /// An element that was not written.
    #[error("element {index} is not written")]
    NotWritten {
        /// The element.
        index: usize,
    },
    /// An element that is no part of the output, and was written.
    #[error("element {index} is written, and should keep what it holds")]
    Written {
        /// The element.
        index: usize,
    },
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with groups {:?}, seed {}", self.problem, self.groups, self.seed)
    }
}

/// `count` random problems that `spec` takes, all different for different seeds.
pub fn random(spec: &KernelSpec, count: usize, seed: u64) -> Vec<Case> {
    (0..count as u64).map(|n| Case::random(spec, seed * 1000 + n, Data::Integers)).collect()
}

impl Case {
    /// A random problem that `spec` takes: sizes around the tile's own, empty groups, single rows; now and then more
    /// groups than a warp has lanes.
    pub fn random(spec: &KernelSpec, seed: u64, data: Data) -> Case {
        Case::of(Scenario::random(spec, seed, Extent::Tiles), seed, data)
    }

    /// Groups as given, sane or not, of a token matrix of `rows` rows; the rest is random.
    pub fn with_groups(spec: &KernelSpec, values: &[i64], ends: bool, rows: usize, seed: u64) -> Case {
        Case::of(Scenario::around(spec, values, ends, rows, seed, Extent::Tiles), seed, Data::Integers)
    }

    fn of(Scenario { problem, groups }: Scenario, seed: u64, data: Data) -> Case {
        match Case::new(problem, &groups, seed, data) {
            Ok(case) => case,
            Err(error) => unreachable!("scenarios are valid problems: {error}"),
        }
    }

    /// A problem with these groups and random data.
    ///
    /// # Errors
    /// What is wrong with the problem.
    pub fn new(problem: Problem, groups: &[i64], seed: u64, data: Data) -> Result<Case, ProblemError> {
        problem.validate()?;
        let rows = problem.m as i128;
        let mut runs = Vec::new();
        let mut before = 0i128;
        for v in groups {
            let start = before;
            let v = i128::from(*v).clamp(0, rows);
            before = match problem.group_form {
                GroupForm::Ends => before.max(v),
                GroupForm::Sizes => (before + v).min(rows),
            };
            runs.push((start as usize, before as usize));
        }
        if problem.operation == Operation::GradW && problem.weight_sharing == WeightSharing::Shared {
            runs = vec![(0, before as usize)];
        }
        let contraction = problem.contraction();
        let mut dice = Dice::new(seed ^ 0x1234);
        let mut value = |_| {
            let (small, real) = (dice.below(7) as f32 - 3.0, dice.below(20001) as f32 / 10000.0 - 1.0);
            if data == Data::Integers { small } else { real }
        };
        // What the memory will hold: rounded to each tensor's type.
        let values = [&contraction.a, &contraction.b, &contraction.d]
            .map(|t| (0..t.elements()).map(&mut value).map(|v| decode(t.dtype, encode(t.dtype, v))).collect());
        let mut scale = |_| {
            let (power, real) = (0.5 * (1 << dice.below(3)) as f32, 0.5 + dice.below(10001) as f32 / 10000.0);
            if data == Data::Integers { power } else { real }
        };
        let scales = contraction.scales.map_or_else(Default::default, |shapes| {
            shapes.map(|shape| (0..shape.elements()).map(&mut scale).collect())
        });
        Ok(Case { contraction, problem, groups: groups.to_vec(), runs, data, seed, values, scales })
    }

    /// The problem as kernels see it.
    pub fn contraction(&self) -> &Contraction {
        &self.contraction
    }

    /// Operands with NaN wherever nothing may be read, and an output of NaN (or of what is added to).
    pub fn memory(&self) -> Memory {
        let c = &self.contraction;
        let mut memory = Memory::for_problem(c);
        memory.groups.set_integers(&self.groups);
        let in_group = |row: usize| self.runs.iter().any(|(s, e)| (*s..*e).contains(&row));
        for (which, t, ragged) in [(0, &c.a, true), (1, &c.b, c.ragged == Ragged::Reduction)] {
            let buffer = if which == 0 { &mut memory.a } else { &mut memory.b };
            if c.reduction_blocks {
                self.fill_blocks(buffer, which, t);
                continue;
            }
            for g in 0..t.groups {
                for row in (0..t.rows).filter(|r| !ragged || in_group(*r)) {
                    for col in 0..t.cols {
                        let i = g * t.group_stride + row * t.row_stride + col;
                        buffer.set(i, self.values[which][i]);
                    }
                }
            }
        }
        self.fill_scales(&mut memory.scales);
        if c.accumulate {
            for i in self.outputs().map(|(i, ..)| i).collect::<Vec<_>>() {
                memory.d.set(i, self.values[2][i]);
            }
        }
        memory
    }

    /// An operand that lies along the reduction: what groups have, and zeros behind it in the last block of each.
    fn fill_blocks(&self, buffer: &mut Buffer, which: usize, t: &TensorShape) {
        for (group, (start, end)) in self.runs.iter().copied().enumerate() {
            let (first, length) = (self.contraction.reduction_start(start, group), end - start);
            for (row, k) in (0..t.rows).flat_map(|row| (0..length.next_multiple_of(SCALE_BLOCK)).map(move |k| (row, k)))
            {
                let i = row * t.row_stride + first + k;
                buffer.set(i, if k < length { self.values[which][i] } else { 0.0 });
            }
        }
    }

    /// The scales that some group's products have. Those of rows past the groups, and of groups without rows, stay NaN.
    fn fill_scales(&self, scales: &mut [Buffer; 2]) {
        let c = &self.contraction;
        let Some(shapes) = c.scales else { return };
        for (group, (start, end)) in self.runs.iter().copied().enumerate().filter(|(_, (s, e))| s < e) {
            let (rows, length) = match c.ragged {
                Ragged::Rows => (start..end, c.reduction),
                Ragged::Reduction => (0..c.rows, end - start),
            };
            for (which, outer) in [rows, 0..c.cols].into_iter().enumerate() {
                for (outer, block) in outer.flat_map(|o| (0..length.div_ceil(SCALE_BLOCK)).map(move |b| (o, b))) {
                    let i = shapes[which].index(group, outer, c.first_block(start, group) + block);
                    scales[which].set(i, self.scales[which][i]);
                }
            }
        }
    }

    /// What an element's products are multiplied by, in the block of the reduction that holds `k`.
    fn scale(&self, group: usize, (row, col): (usize, usize), k: usize) -> f64 {
        let c = &self.contraction;
        let Some(shapes) = c.scales else { return 1.0 };
        let block = c.first_block(self.runs[group].0, group) + k / SCALE_BLOCK;
        let of = |which: usize, outer: usize| {
            let shape: &ScaleShape = &shapes[which];
            f64::from(self.scales[which][shape.index(group, outer, block)])
        };
        of(0, row) * of(1, col)
    }

    /// Every element of D that exists: its index, group, row and column.
    fn outputs(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + '_ {
        let d = &self.contraction.d;
        (0..d.groups).flat_map(move |g| {
            (0..d.rows)
                .flat_map(move |r| (0..d.cols).map(move |c| (g * d.group_stride + r * d.row_stride + c, g, r, c)))
        })
    }

    /// What one element must be; `None` where it must not be written.
    fn expected(&self, group: usize, row: usize, col: usize, index: usize) -> Option<Expected> {
        let c = &self.contraction;
        let mut sum = Expected { group, row, col, ..Expected::default() };
        let x = |r: usize, i: usize| f64::from(self.values[0][r * c.a.row_stride + i]);
        let y = |r: usize, i: usize| f64::from(self.values[1][r * c.b.row_stride + i]);
        let (scaling, operand) = (self.problem.scaling, self.problem.operand);
        match c.ragged {
            Ragged::Rows => {
                let Some(g) = self.runs.iter().position(|(s, e)| (*s..*e).contains(&row)) else {
                    return c.zero_tail.then_some(sum);
                };
                for k in 0..c.reduction {
                    let (r, i) = if c.b_major == Major::K { (col, k) } else { (k, col) };
                    let product = x(row, k) * f64::from(self.values[1][g * c.b.group_stride + r * c.b.row_stride + i]);
                    sum.add(product * self.scale(g, (row, col), k));
                }
                sum.terms = roundings(sum.terms, scaling) + rounded_products(sum.terms, operand, true);
            }
            Ragged::Reduction => {
                let (start, end) = self.runs[group];
                if c.accumulate && start == end {
                    return None;
                }
                if c.accumulate {
                    sum.add(f64::from(self.values[2][index]));
                }
                let first = c.reduction_start(start, group);
                for k in 0..end - start {
                    let product = match c.a_major {
                        Major::K => x(row, first + k) * y(col, first + k),
                        Major::Mn => x(first + k, row) * y(first + k, col),
                    };
                    sum.add(product * self.scale(group, (row, col), k));
                }
                let length = end - start;
                sum.terms =
                    roundings(length, scaling) + rounded_products(length, operand, true) + usize::from(c.accumulate);
            }
        }
        Some(sum)
    }

    /// Holds the output against the reference: what must be written is written and right, everything else is not
    /// touched.
    ///
    /// # Errors
    /// The first element that is wrong.
    pub fn check(&self, memory: &Memory) -> Result<(), WrongOutput> {
        self.reference().check(memory)
    }

    /// What the output must be, computed once for many runs.
    pub fn reference(&self) -> Reference {
        let mut expected = vec![None; self.contraction.d.elements()];
        for (i, g, r, c) in self.outputs() {
            expected[i] = self.expected(g, r, c, i);
        }
        Reference { expected, data: self.data, output: self.contraction.output }
    }
}

/// What one element must be.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    group: usize,
    row: usize,
    col: usize,
    /// The exact sum, the sum of the terms' magnitudes, and how many there are.
    value: f64,
    magnitude: f64,
    terms: usize,
}

impl Expected {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitude += term.abs();
        self.terms += 1;
    }

    /// Holds an integer sum to the bit, one of reals to its bound.
    fn check(&self, index: usize, found: f32, data: Data, output: Dtype) -> Result<(), WrongOutput> {
        let Expected { group, row, col, value: expected, magnitude, terms } = *self;
        match data {
            Data::Integers => {
                let right = decode(output, encode(output, expected as f32));
                if found.to_bits() != right.to_bits() && !(found == 0.0 && right == 0.0) {
                    return Err(WrongOutput::Value { index, group, row, col, found, expected });
                }
            }
            Data::Reals => {
                let (bound, right) = within(output, found.into(), expected, magnitude, terms, 0.0);
                if !right {
                    return Err(WrongOutput::Outside { index, group, row, col, found, expected, bound });
                }
            }
        }
        Ok(())
    }
}

/// What the output of a [`Case`] must be.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Of each element that must be written.
    expected: Vec<Option<Expected>>,
    data: Data,
    output: Dtype,
}

impl Reference {
    /// Holds the output against the reference: what must be written is written and right, everything else is not
    /// touched.
    ///
    /// # Errors
    /// The first element that is wrong.
    pub fn check(&self, memory: &Memory) -> Result<(), WrongOutput> {
        for (index, expected) in self.expected.iter().enumerate() {
            match (expected, memory.d.was_written(index)) {
                (None, true) => return Err(WrongOutput::Written { index }),
                (Some(_), false) => return Err(WrongOutput::NotWritten { index }),
                (Some(expected), true) => expected.check(index, memory.d.get(index), self.data, self.output)?,
                (None, false) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;
    use crate::catalogue;
    use crate::interp::{Settings, run};
    use crate::kernels;

    /// Rounding is forgiven, a lost product is not.
    #[test]
    fn reals_are_held_to_the_bound() {
        let spec = catalogue::shipped_for(Arch::Sm80).into_iter().find(|s| s.ragged == Ragged::Rows).unwrap();
        let problem = Problem::forward(1, 4, 8, 64).operand(spec.operand).output(spec.output);
        let case = Case::new(problem, &[4], 3, Data::Reals).unwrap();
        let mut memory = case.memory();
        run(&kernels::build(&spec), case.contraction(), &mut memory, Settings::default()).unwrap();
        case.check(&memory).unwrap();
        let found = memory.d.get(9);
        memory.d.set(9, found * 1.02 + 0.02);
        let wrong = case.check(&memory).unwrap_err();
        assert!(matches!(wrong, WrongOutput::Outside { index: 9, row: 1, col: 1, .. }), "{wrong}");
    }
}
