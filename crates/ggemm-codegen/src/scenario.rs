//! Random ragged problems for a variant: the one generator of the interpreter's cases, of the hunt for planted faults,
//! and of verification on devices. Values come from whoever runs them.
//!
//! A seed gives the same scenario on every machine.

use std::fmt;

use crate::dtype::Dtype;
use crate::interp::Dice;
use crate::kernels::{EXCHANGE_BLOCKS, MOST_UNITS};
use crate::problem::{GroupForm, IndexType, Operation, Problem, Tail, WeightLayout, WeightSharing};
use crate::spec::{Accumulation, CopyPath, KernelSpec, Major, Ragged};

/// A valid problem and what the device's array of groups holds for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The problem.
    pub problem: Problem,
    /// Its sizes or ends, sane or not; they fit the problem's index type.
    pub groups: Vec<i64>,
}

/// How large scenarios are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A few tiles: what an interpreter runs in a moment.
    Tiles,
    /// Up to a few hundred rows and columns, now and then thousands: what turns every ring several times, at little cost
    /// for a reference on the CPU.
    Hundreds,
}

impl Extent {
    /// All, from the smallest.
    pub const ALL: [Extent; 2] = [Extent::Tiles, Extent::Hundreds];

    /// `tiles` or `hundreds`.
    pub const fn name(self) -> &'static str {
        match self {
            Extent::Tiles => "tiles",
            Extent::Hundreds => "hundreds",
        }
    }
}

/// Multiply-adds of the largest scenario, about.
const MOST_WORK: usize = 1 << 26;

/// A reduction that is worth dividing where tiles are few.
fn long_reduction(dice: &mut Dice, spec: &KernelSpec) -> usize {
    let blocks = (MOST_UNITS * EXCHANGE_BLOCKS) as usize;
    (blocks + 1 + dice.below(2 * blocks)) * spec.tile.k as usize + dice.below(9)
}

/// Elements of the weights of all its groups, about.
const MOST_WEIGHTS: usize = 1 << 22;

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LISTED: usize = 12;
        write!(f, "{} with groups ", self.problem)?;
        if self.groups.len() <= LISTED {
            return write!(f, "{:?}", self.groups);
        }
        write!(f, "[")?;
        self.groups.iter().take(LISTED).try_for_each(|v| write!(f, "{v}, "))?;
        write!(f, "… {} in all]", self.groups.len())
    }
}

impl Scenario {
    /// A problem that `spec` takes, in any form that leads to its kernel: sane groups as [`Scenario::random`] makes
    /// them, or at times groups that contradict the problem; forward or grad_x.
    pub fn any(spec: &KernelSpec, seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed ^ 0x9d5c);
        // Small ones look harder at the edges of tiles.
        let extent = if dice.below(4) == 0 { Extent::Tiles } else { extent };
        let scenario = if dice.below(6) == 0 {
            let rows = dice.below(3 * spec.tile.m as usize);
            let wide = dice.below(2) == 0;
            let count = if dice.below(4) == 0 { 33 + dice.below(40) } else { 1 + dice.below(6) };
            let groups: Vec<i64> = (0..count).map(|_| wild(&mut dice, rows, wide)).collect();
            Scenario::around(spec, &groups, dice.below(2) == 0, rows, seed, extent)
        } else {
            Scenario::random(spec, seed, extent)
        };
        if scenario.problem.operation == Operation::Forward && dice.below(2) == 0 {
            scenario.into_grad_x()
        } else {
            scenario
        }
    }

    /// A problem that `spec` takes: group sizes around the tile's own, empty groups, single rows, a tail; now and then
    /// more groups than a warp has lanes. Rows of a token are those of forward or grad_w.
    pub fn random(spec: &KernelSpec, seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed);
        let tile = spec.tile.m as usize;
        let interesting = [0, 0, 1, tile - 1, tile, tile + 1, 7, 20];
        let mut count = if dice.below(4) == 0 { 33 + dice.below(40) } else { 1 + dice.below(6) };
        let mut few = 5;
        if extent == Extent::Hundreds && dice.below(12) == 0 {
            // Past several windows of a walk over groups.
            (count, few) = (200 + dice.below(1200), 3);
        }
        let sizes: Vec<i64> = (0..count)
            .map(|_| {
                let size = if count > 8 {
                    dice.below(few)
                } else if extent == Extent::Hundreds && dice.below(3) == 0 {
                    match dice.below(12) {
                        0 => dice.below(1500),
                        1 => 3 * tile + 1,
                        _ => dice.below(250),
                    }
                } else {
                    interesting[dice.below(interesting.len())]
                };
                size as i64
            })
            .collect();
        let long = spec.stream_k && spec.ragged == Ragged::Reduction && dice.below(2) == 0;
        let sizes =
            if long { (0..=dice.below(3)).map(|_| long_reduction(&mut dice, spec) as i64).collect() } else { sizes };
        let total: i64 = sizes.iter().sum();
        let rows = total as usize + if dice.below(2) == 0 { 0 } else { 1 + dice.below(20) };
        let ends = dice.below(2) == 0;
        let values = if ends { ends_of(&sizes) } else { sizes };
        Scenario::around(spec, &values, ends, rows, seed, extent)
    }

    /// The same with rows of one operand or of both anywhere: the copy engine cannot address them.
    pub fn unaligned(self, seed: u64) -> Self {
        let Scenario { mut problem, groups } = self;
        let mut dice = Dice::new(seed ^ 0x0dd5);
        let (which, more) = (1 + dice.below(3), 1 + dice.below(7));
        let [x_is, w_is, y_is] = match problem.operation {
            Operation::Forward => [which & 1, which & 2, 0],
            Operation::GradX => [0, which & 2, which & 1],
            Operation::GradW => [which & 2, 0, which & 1],
        };
        let (x_cols, y_cols) = (problem.k, problem.n);
        let odd = |cols: usize| (cols + more) | 1;
        if x_is > 0 {
            problem.x_row_stride = Some(odd(x_cols));
        }
        if y_is > 0 {
            problem.y_row_stride = Some(odd(y_cols));
        }
        if w_is > 0 {
            let (rows, cols) = problem.weight_shape();
            problem.w_row_stride = Some(odd(cols));
            problem.w_group_stride = Some(rows * odd(cols) + more);
        }
        Scenario { problem, groups }
    }

    /// Groups as given, sane or not, of a token matrix of `rows` rows; the rest is random.
    pub fn around(spec: &KernelSpec, groups: &[i64], ends: bool, rows: usize, seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed ^ 0xabcd);
        let plain = spec.copy == CopyPath::Plain;
        let (tile_n, tile_k) = (spec.tile.n as usize, spec.tile.k as usize);
        let width = |dice: &mut Dice, tile: usize| {
            if extent == Extent::Hundreds && dice.below(2) == 0 {
                return match dice.below(24) {
                    0 => 0,
                    1 => 1 + dice.below(1500),
                    _ => 1 + dice.below(500),
                };
            }
            match dice.below(4) {
                0 => tile,
                1 => 1 + dice.below(tile + 9),
                2 => tile + 1 + dice.below(8),
                _ => 8 * (1 + dice.below(6)),
            }
        };
        let mut n = width(&mut dice, tile_n);
        let mut k = width(&mut dice, tile_k);
        if spec.even_k {
            k = tile_k * dice.below(if extent == Extent::Hundreds { 10 } else { 4 });
        } else if dice.below(8) == 0 {
            k = 0;
        }
        // Many groups' weights would be too many.
        let may_be_long = spec.stream_k && spec.ragged == Ragged::Rows && groups.len() <= 128;
        if may_be_long && dice.below(2) == 0 {
            k = long_reduction(&mut dice, spec);
        }
        if extent == Extent::Hundreds || spec.stream_k {
            // The reduction of ragged rows stays: it is what turns the ring, and what even_k speaks of.
            let most = |other: usize| {
                let work = MOST_WORK / (rows * other).max(1);
                work.min(MOST_WEIGHTS / (groups.len() * other).max(1)).max(8)
            };
            n = n.min(most(k));
            if spec.ragged == Ragged::Reduction {
                k = k.min(most(n));
            }
        }
        let (operation, mut layout) = operation_of(spec);
        if operation == Operation::GradW {
            layout = [WeightLayout::Nk, WeightLayout::Kn][dice.below(2)];
        }
        let cols = if operation == Operation::GradW && layout == WeightLayout::Nk { &mut k } else { &mut n };
        *cols = cols.next_multiple_of(columns_together(spec));
        let index = match groups.iter().all(|v| i32::try_from(*v).is_ok()) && dice.below(2) == 0 {
            true => IndexType::I32,
            false => IndexType::I64,
        };
        let form = if ends { GroupForm::Ends } else { GroupForm::Sizes };
        let mut problem = with_operands(Problem::new(operation, groups.len(), rows, n, k).weight_layout(layout), spec)
            .output(spec.output)
            .group_array(form, index)
            .tail([Tail::Undeclared, Tail::Zero, Tail::Untouched][dice.below(3)])
            .weight_sharing([WeightSharing::PerExpert, WeightSharing::Shared][usize::from(dice.below(3) == 0)]);
        if operation == Operation::GradW && spec.output == Dtype::F32 {
            problem = problem.accumulate(dice.below(2) == 0);
        }
        // Strides that a 16-byte copy can address, or any.
        let pieces = elements_of_piece(spec);
        let stride = |dice: &mut Dice, len: usize, is_d: bool| match plain || (is_d && spec.d_by_threads) {
            true => len + dice.below(3),
            false => (len + dice.below(9)).next_multiple_of(pieces),
        };
        let is_weight = operation == Operation::GradW;
        // Copies that lie along the reduction have rows of their own.
        let [first, second, _] = problem.tensors();
        let (k_row, n_row) = if problem.reduction_blocks { (second.cols, first.cols) } else { (k, n) };
        let (x, y) = (stride(&mut dice, k_row, false), stride(&mut dice, n_row, !is_weight));
        let w = stride(&mut dice, problem.weight_shape().1, is_weight);
        let group = stride(&mut dice, problem.weight_shape().0 * w, is_weight);
        let problem = problem.x_row_stride(x).y_row_stride(y).w_row_stride(w).w_group_stride(group);
        Scenario { problem, groups: groups.to_vec() }
    }

    /// The grad_x that is the same contraction as this forward: N and K, x and y, and the weights' dimensions change
    /// places.
    fn into_grad_x(self) -> Self {
        let Scenario { problem: forward, groups } = self;
        let mut problem = forward.clone().with_operation(Operation::GradX);
        (problem.n, problem.k) = (forward.k, forward.n);
        (problem.x_row_stride, problem.y_row_stride) = (forward.y_row_stride, forward.x_row_stride);
        problem.weight_layout = match forward.weight_layout {
            WeightLayout::Nk => WeightLayout::Kn,
            WeightLayout::Kn => WeightLayout::Nk,
        };
        Scenario { problem, groups }
    }
}

/// `problem` with operands of the variant's types, which lie as it reads them, and scales as it takes them.
pub fn with_operands(problem: Problem, spec: &KernelSpec) -> Problem {
    let [a, b] = spec.operands();
    let exchanged = problem.contraction().operands_exchanged;
    let (first, second) = if exchanged { (b, a) } else { (a, b) };
    let along = a.is_fp8() && spec.ragged == Ragged::Reduction;
    let fast = a.is_fp8() && spec.accumulation == Accumulation::Fast;
    let problem = problem.operand(first).second_operand(second).scaling(spec.scaling);
    problem.reduction_blocks(along).fast_accumulation(fast).allow_tf32(a == Dtype::F32)
}

/// A size or an end that may be anything.
fn wild(dice: &mut Dice, rows: usize, wide: bool) -> i64 {
    let (least, most) = if wide { (i64::MIN, i64::MAX) } else { (i32::MIN.into(), i32::MAX.into()) };
    match dice.below(9) {
        0 => least,
        1 => most,
        2 => -1 - dice.below(100) as i64,
        3 => rows as i64 + 1 + dice.below(1 << 20) as i64,
        4 => most / 2 + 1,
        5 => 0,
        _ => dice.below(rows + 9) as i64,
    }
}

/// The operation whose contraction is a family's, with the form of the weights that leads to it.
pub fn operation_of(spec: &KernelSpec) -> (Operation, WeightLayout) {
    match (spec.ragged, spec.b_major) {
        (Ragged::Reduction, _) => (Operation::GradW, WeightLayout::Nk),
        (Ragged::Rows, Major::K) => (Operation::Forward, WeightLayout::Nk),
        (Ragged::Rows, Major::Mn) => (Operation::Forward, WeightLayout::Kn),
    }
}

/// Elements of 16 bytes of whatever has the smallest: rows that are multiples of them can be copied and stored by pieces.
pub fn elements_of_piece(spec: &KernelSpec) -> usize {
    16 / spec.operand.size_bytes().min(spec.output.size_bytes()) as usize
}

/// Columns of D that a variant's stores write together, or not at all: D has a multiple of them.
pub fn columns_together(spec: &KernelSpec) -> usize {
    match spec.copy {
        CopyPath::Tma if !spec.d_by_threads => 16 / spec.output.size_bytes() as usize,
        CopyPath::CpAsync | CopyPath::Plain | CopyPath::Tma => 1,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    /// Everything that a kernel's contraction may meet is drawn for it, and nothing that it does not take.
    #[test]
    fn scenarios_are_what_the_variant_takes() {
        for spec in catalogue::shipped() {
            for seed in 0..60 {
                let Scenario { problem, groups } = Scenario::any(&spec, seed, Extent::Hundreds);
                problem.validate().unwrap_or_else(|e| panic!("{problem}: {e}"));
                let c = problem.contraction();
                assert_eq!((c.ragged, c.a_major, c.b_major), (spec.ragged, spec.a_major, spec.b_major), "{problem}");
                assert_eq!([c.a.dtype, c.b.dtype], spec.operands(), "{problem}");
                assert_eq!((c.output, problem.scaling), (spec.output, spec.scaling), "{problem}");
                assert!(spec.accumulation >= c.accumulation, "{problem}");
                let [of_operands, of_d] = spec.required_alignment();
                assert!(c.a.stride_alignment().min(c.b.stride_alignment()) >= of_operands, "{problem}");
                assert!(c.d.stride_alignment() >= of_d, "{problem}");
                assert!(!spec.even_k || c.reduction.is_multiple_of(spec.tile.k as usize), "{problem}");
                assert_eq!(groups.len(), problem.groups);
                let fits = |v: &i64| problem.group_index == IndexType::I64 || i32::try_from(*v).is_ok();
                assert!(groups.iter().all(fits), "{problem} {groups:?}");
                assert!(problem.m * problem.n * problem.k <= 2 * MOST_WORK, "{problem}");
                assert!(problem.groups * problem.n * problem.k <= 4 * MOST_WEIGHTS, "{problem}");
            }
        }
    }

    #[test]
    fn every_form_is_drawn() {
        let specs = catalogue::shipped();
        let drawn: Vec<Scenario> =
            (0..2000).map(|seed| Scenario::any(&specs[seed % specs.len()], seed as u64, Extent::Hundreds)).collect();
        let some = |what: &dyn Fn(&Problem) -> bool| drawn.iter().filter(|s| what(&s.problem)).count();
        for operation in Operation::ALL {
            for layout in [WeightLayout::Nk, WeightLayout::Kn] {
                assert!(some(&|p| (p.operation, p.weight_layout) == (operation, layout)) > 50, "{operation}");
            }
        }
        for tail in [Tail::Undeclared, Tail::Zero, Tail::Untouched] {
            assert!(some(&|p| p.tail == tail) > 300, "{tail:?}");
        }
        for (form, index) in [GroupForm::Sizes, GroupForm::Ends]
            .into_iter()
            .flat_map(|f| [IndexType::I32, IndexType::I64].map(|i| (f, i)))
        {
            assert!(some(&|p| (p.group_form, p.group_index) == (form, index)) > 200, "{form:?} {index:?}");
        }
        assert!(some(&|p| p.weight_sharing == WeightSharing::Shared) > 300);
        assert!(some(&|p| p.accumulate) > 30);
        assert!(some(&|p| p.m == 0) > 5 && some(&|p| p.n == 0) > 5 && some(&|p| p.k == 0) > 50);
        assert!(some(&|p| p.groups > 1000) > 5);
        let wild = |s: &&Scenario| s.groups.iter().any(|v| *v < 0 || *v > s.problem.m as i64);
        assert!(drawn.iter().filter(wild).count() > 100);
        let work: usize = drawn.iter().map(|s| s.problem.m * s.problem.n * s.problem.k).sum();
        assert!(work / drawn.len() < 1 << 24, "{} multiply-adds on average", work / drawn.len());
    }

    #[test]
    fn a_grad_x_is_the_same_contraction_as_its_forward() {
        for spec in catalogue::shipped().iter().filter(|s| s.ragged == Ragged::Rows) {
            let forward = Scenario::random(spec, 5, Extent::Tiles);
            let (a, b) = (forward.problem.contraction(), forward.into_grad_x().problem.contraction());
            let shape = |c: &crate::Contraction| {
                let strides = [&c.a, &c.b, &c.d].map(|t| (t.rows, t.cols, t.row_stride, t.group_stride));
                (c.rows, c.cols, c.reduction, c.b_major, strides)
            };
            assert_eq!(shape(&a), shape(&b));
        }
    }
}
