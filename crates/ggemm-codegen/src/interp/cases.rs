//! Ragged problems with data and a reference of their own, in the form that kernels see.
//!
//! Values are small integers, so that every sum is exact and results are held bit for bit. Memory that is no part of
//! the problem (other groups' rows, stride padding, tails) holds NaN, so that what leaks in shows.

use std::fmt;

use super::schedule::Dice;
use super::{Buffer, Memory};
use crate::contraction::Contraction;
use crate::dtype::Dtype;
use crate::problem::{GroupForm, IndexType, Operation, Problem, ProblemError, Tail, WeightLayout, WeightSharing};
use crate::spec::{CopyPath, KernelSpec, Major, Ragged};

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
}

/// What the operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Integers from -3 to 3: every sum is exact.
    Integers,
    /// Reals between -1 and 1: only what is written is checked, not the values.
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

/// The operation whose contraction is a family's, with the form of the weights that leads to it.
pub fn operation_of(spec: &KernelSpec) -> (Operation, WeightLayout) {
    match (spec.ragged, spec.b_major) {
        (Ragged::Reduction, _) => (Operation::GradW, WeightLayout::Nk),
        (Ragged::Rows, Major::K) => (Operation::Forward, WeightLayout::Nk),
        (Ragged::Rows, Major::Mn) => (Operation::Forward, WeightLayout::Kn),
    }
}

impl Case {
    /// A random problem that `spec` takes: sizes around the tile's own, empty groups, single rows; now and then more
    /// groups than a warp has lanes.
    pub fn random(spec: &KernelSpec, seed: u64, data: Data) -> Case {
        let mut dice = Dice::new(seed);
        let interesting = [0, 0, 1, spec.tile.m as usize - 1, spec.tile.m as usize, spec.tile.m as usize + 1, 7, 20];
        let count = if dice.below(4) == 0 { 33 + dice.below(40) } else { 1 + dice.below(6) };
        let sizes: Vec<i64> = (0..count)
            .map(|_| if count > 8 { dice.below(5) } else { interesting[dice.below(interesting.len())] } as i64)
            .collect();
        let total: i64 = sizes.iter().sum();
        let rows = total as usize + if dice.below(2) == 0 { 0 } else { 1 + dice.below(20) };
        let ends = dice.below(2) == 0;
        let values = if ends { ends_of(&sizes) } else { sizes };
        Case::around(spec, &values, ends, rows, seed, data)
    }

    /// Groups as given, sane or not, of a token matrix of `rows` rows; the rest is random.
    pub fn with_groups(spec: &KernelSpec, values: &[i64], ends: bool, rows: usize, seed: u64) -> Case {
        Case::around(spec, values, ends, rows, seed, Data::Integers)
    }

    fn around(spec: &KernelSpec, groups: &[i64], ends: bool, rows: usize, seed: u64, data: Data) -> Case {
        let mut dice = Dice::new(seed ^ 0xabcd);
        let plain = spec.copy == CopyPath::Plain;
        let (tile_n, tile_k) = (spec.tile.n as usize, spec.tile.k as usize);
        let width = |dice: &mut Dice, tile: usize| match dice.below(4) {
            0 => tile,
            1 => 1 + dice.below(tile + 9),
            2 => tile + 1 + dice.below(8),
            _ => 8 * (1 + dice.below(6)),
        };
        let n = width(&mut dice, tile_n);
        let mut k = width(&mut dice, tile_k);
        if spec.even_k {
            k = tile_k * dice.below(4);
        } else if dice.below(8) == 0 {
            k = 0;
        }
        let (operation, mut layout) = operation_of(spec);
        if operation == Operation::GradW {
            layout = [WeightLayout::Nk, WeightLayout::Kn][dice.below(2)];
        }
        let index = match groups.iter().all(|v| i32::try_from(*v).is_ok()) && dice.below(2) == 0 {
            true => IndexType::I32,
            false => IndexType::I64,
        };
        let form = if ends { GroupForm::Ends } else { GroupForm::Sizes };
        let mut problem = Problem::new(operation, groups.len(), rows, n, k)
            .operand(spec.operand)
            .output(spec.output)
            .weight_layout(layout)
            .group_array(form, index)
            .tail([Tail::Undeclared, Tail::Zero, Tail::Untouched][dice.below(3)])
            .weight_sharing([WeightSharing::PerExpert, WeightSharing::Shared][usize::from(dice.below(3) == 0)]);
        if operation == Operation::GradW && spec.output == Dtype::F32 {
            problem = problem.accumulate(dice.below(2) == 0);
        }
        // Strides that a 16-byte copy can address, or any.
        let stride = |dice: &mut Dice, len: usize| {
            if plain { len + dice.below(3) } else { (len + dice.below(9)).next_multiple_of(8) }
        };
        let (x, y, w) = (stride(&mut dice, k), stride(&mut dice, n), stride(&mut dice, problem.weight_shape().1));
        let group = stride(&mut dice, problem.weight_shape().0 * w);
        let problem = problem.x_row_stride(x).y_row_stride(y).w_row_stride(w).w_group_stride(group);
        match Case::new(problem, groups, seed, data) {
            Ok(case) => case,
            Err(error) => unreachable!("the strides above are no shorter than the rows: {error}"),
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
        let values =
            [&contraction.a, &contraction.b, &contraction.d].map(|t| (0..t.elements()).map(&mut value).collect());
        Ok(Case { contraction, problem, groups: groups.to_vec(), runs, data, seed, values })
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
            for g in 0..t.groups {
                for row in (0..t.rows).filter(|r| !ragged || in_group(*r)) {
                    for col in 0..t.cols {
                        let i = g * t.group_stride + row * t.row_stride + col;
                        buffer.set(i, self.values[which][i]);
                    }
                }
            }
        }
        if c.accumulate {
            for i in self.outputs().map(|(i, ..)| i).collect::<Vec<_>>() {
                memory.d.set(i, self.values[2][i]);
            }
        }
        memory
    }

    /// Every element of D that exists: its index, group, row and column.
    fn outputs(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + '_ {
        let d = &self.contraction.d;
        (0..d.groups).flat_map(move |g| {
            (0..d.rows)
                .flat_map(move |r| (0..d.cols).map(move |c| (g * d.group_stride + r * d.row_stride + c, g, r, c)))
        })
    }

    /// What one element must be, and whether it must be written at all.
    fn expected(&self, group: usize, row: usize, col: usize, index: usize) -> (f64, bool) {
        let c = &self.contraction;
        let x = |r: usize, i: usize| f64::from(self.values[0][r * c.a.row_stride + i]);
        match c.ragged {
            Ragged::Rows => {
                let Some(g) = self.runs.iter().position(|(s, e)| (*s..*e).contains(&row)) else {
                    return (0.0, c.zero_tail);
                };
                let b = |k: usize| {
                    let (r, i) = if c.b_major == Major::K { (col, k) } else { (k, col) };
                    f64::from(self.values[1][g * c.b.group_stride + r * c.b.row_stride + i])
                };
                ((0..c.reduction).map(|k| x(row, k) * b(k)).sum(), true)
            }
            Ragged::Reduction => {
                let (start, end) = self.runs[group];
                let b = |r: usize, i: usize| f64::from(self.values[1][r * c.b.row_stride + i]);
                let sum: f64 = (start..end).map(|r| x(r, row) * b(r, col)).sum();
                let before = if c.accumulate { f64::from(self.values[2][index]) } else { 0.0 };
                (sum + before, !c.accumulate || end > start)
            }
        }
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
            let (value, must) = self.expected(g, r, c, i);
            if must {
                expected[i] = Some((value, g, r, c));
            }
        }
        Reference { expected, data: self.data }
    }
}

/// What the output of a [`Case`] must be.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Of each element that must be written: its value, group, row and column.
    expected: Vec<Option<(f64, usize, usize, usize)>>,
    data: Data,
}

impl Reference {
    /// Holds the output against the reference: what must be written is written and right, everything else is not
    /// touched.
    ///
    /// # Errors
    /// The first element that is wrong.
    pub fn check(&self, memory: &Memory) -> Result<(), WrongOutput> {
        let mut rounded = Buffer::poisoned(memory.d.kind(), 1);
        for (index, expected) in self.expected.iter().enumerate() {
            match (expected, memory.d.was_written(index)) {
                (None, true) => return Err(WrongOutput::Written { index }),
                (Some(_), false) => return Err(WrongOutput::NotWritten { index }),
                (Some((expected, group, row, col)), true) if self.data == Data::Integers => {
                    rounded.set(0, *expected as f32);
                    let (found, right) = (memory.d.get(index), rounded.get(0));
                    if found.to_bits() != right.to_bits() && !(found == 0.0 && right == 0.0) {
                        let (group, row, col, expected) = (*group, *row, *col, *expected);
                        return Err(WrongOutput::Value { index, group, row, col, found, expected });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The ends of groups of these sizes.
pub fn ends_of(sizes: &[i64]) -> Vec<i64> {
    sizes
        .iter()
        .scan(0, |end, s| {
            *end += s;
            Some(*end)
        })
        .collect()
}
