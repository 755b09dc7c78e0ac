#![allow(dead_code, unreachable_pub)] // each test binary uses a part
//! Random ragged problems in the form that kernels see, with a reference of their own.

use std::fmt;

use ggemm_codegen::interp::{Buffer, Memory};
use ggemm_codegen::{
    Contraction, CopyPath, GroupForm, IndexType, KernelSpec, Major, Operation, Problem, Ragged, Tail, WeightLayout,
    WeightSharing,
};

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}

/// A problem with its data.
pub struct Case {
    pub contraction: Contraction,
    problem: Problem,
    /// What the device array holds.
    groups: Vec<i64>,
    /// Rows of each group, after all clipping.
    runs: Vec<(usize, usize)>,
    integers: bool,
    seed: u64,
    /// A, B, and what D holds before, of every index.
    values: [Vec<f32>; 3],
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with groups {:?}, seed {}", self.problem, self.groups, self.seed)
    }
}

/// `count` random problems that `spec` takes.
pub fn cases(spec: &KernelSpec, count: usize, seed: u64) -> Vec<Case> {
    (0..count as u64).map(|n| Case::random(spec, seed * 1000 + n, true)).collect()
}

impl Case {
    pub fn random_reals(spec: &KernelSpec, seed: u64) -> Case {
        Case::random(spec, seed, false)
    }

    fn random(spec: &KernelSpec, seed: u64, integers: bool) -> Case {
        let mut dice = Dice(seed);
        // Sizes around the tile's own, empty groups, single rows; now and then more groups than a window holds.
        let interesting = [0, 0, 1, spec.tile.m as usize - 1, spec.tile.m as usize, spec.tile.m as usize + 1, 7, 20];
        let count = if dice.below(4) == 0 { 33 + dice.below(40) } else { 1 + dice.below(6) };
        let sizes: Vec<i64> = (0..count)
            .map(|_| if count > 8 { dice.below(5) } else { interesting[dice.below(interesting.len())] } as i64)
            .collect();
        let total: i64 = sizes.iter().sum();
        let rows = total as usize + if dice.below(2) == 0 { 0 } else { 1 + dice.below(20) };
        let ends = dice.below(2) == 0;
        let values = if ends {
            sizes
                .iter()
                .scan(0, |end, s| {
                    *end += s;
                    Some(*end)
                })
                .collect()
        } else {
            sizes
        };
        Case::new(spec, values, ends, rows, integers, seed)
    }

    /// Groups as given, sane or not, of a matrix of `rows` rows.
    pub fn with_groups(spec: &KernelSpec, values: &[i64], ends: bool, rows: usize, seed: u64) -> Case {
        Case::new(spec, values.to_vec(), ends, rows, true, seed)
    }

    fn new(spec: &KernelSpec, groups: Vec<i64>, ends: bool, rows: usize, integers: bool, seed: u64) -> Case {
        let mut dice = Dice(seed ^ 0xabcd);
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
        let (operation, layout) = match (spec.ragged, spec.b_major) {
            (Ragged::Reduction, _) => (Operation::GradW, [WeightLayout::Nk, WeightLayout::Kn][dice.below(2)]),
            (Ragged::Rows, Major::K) => (Operation::Forward, WeightLayout::Nk),
            (Ragged::Rows, Major::Mn) => (Operation::Forward, WeightLayout::Kn),
        };
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
        if operation == Operation::GradW && spec.output == ggemm_codegen::Dtype::F32 {
            problem = problem.accumulate(dice.below(2) == 0);
        }
        // Strides that a 16-byte copy can address, or any.
        let stride = |dice: &mut Dice, len: usize| {
            if plain { len + dice.below(3) } else { (len + dice.below(9)).next_multiple_of(8) }
        };
        let (x, y, w) = (stride(&mut dice, k), stride(&mut dice, n), stride(&mut dice, problem.weight_shape().1));
        let group = stride(&mut dice, problem.weight_shape().0 * w);
        let problem = problem.x_row_stride(x).y_row_stride(y).w_row_stride(w).w_group_stride(group);
        problem.validate().expect("a problem composed of legal parts");

        let mut runs = Vec::new();
        let mut before = 0i128;
        for v in &groups {
            let start = before;
            let v = i128::from(*v).clamp(0, rows as i128);
            before = if ends { before.max(v) } else { before + v }.min(rows as i128);
            runs.push((start as usize, before as usize));
        }
        if spec.ragged == Ragged::Reduction && problem.weight_sharing == WeightSharing::Shared {
            runs = vec![(0, before as usize)];
        }
        let contraction = problem.contraction();
        let mut dice = Dice(seed ^ 0x1234);
        let mut value = |_| {
            let (small, real) = (dice.below(7) as f32 - 3.0, dice.below(20001) as f32 / 10000.0 - 1.0);
            if integers { small } else { real }
        };
        let values =
            [&contraction.a, &contraction.b, &contraction.d].map(|t| (0..t.elements()).map(&mut value).collect());
        Case { contraction, problem, groups, runs, integers, seed, values }
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
    pub fn check(&self, memory: &Memory) -> Result<(), String> {
        let mut written = vec![false; memory.d.len()];
        let mut rounded = Buffer::poisoned(memory.d.kind(), 1);
        for (i, g, r, c) in self.outputs() {
            let (value, must) = self.expected(g, r, c, i);
            written[i] = must;
            let got = memory.d.get(i);
            if must && self.integers {
                rounded.set(0, value as f32);
                if got.to_bits() != rounded.get(0).to_bits() && !(got == 0.0 && rounded.get(0) == 0.0) {
                    return Err(format!("element {i} (group {g}, row {r}, column {c}) is {got}, not {value}"));
                }
            }
        }
        for (i, must) in written.into_iter().enumerate() {
            if memory.d.was_written(i) != must {
                return Err(format!("element {i} is {}written", if must { "not " } else { "" }));
            }
        }
        Ok(())
    }
}
