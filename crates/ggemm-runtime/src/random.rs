//! Seeded random problems: ragged sizes, operands, and poison around them. For tests, benchmarks and verification.
//!
//! The same seed gives the same bits on every machine and with any number of threads.

use std::fmt;
use std::str::FromStr;

use ggemm_codegen::{
    GroupForm, IndexType, Operation, Problem, Ragged, SCALE_BLOCK, ScaleShape, TensorShape, WeightSharing,
};
use rayon::prelude::*;

use crate::args::Args;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::element::ElementType;
use crate::error::Error;
use crate::groups::{self, Runs};
use crate::operand::Operand;
use crate::real::{Real, with_real};

/// A random number generator: xoshiro256++ by Blackman and Vigna, seeded through SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Rng(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias of the multiplication is below 2⁻³² for every bound that fits memory's indices here.
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Close to a standard normal: mean 0, variance 1, within ±3.47 (a sum of four uniforms).
    pub fn normal(&mut self) -> f32 {
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| bits >> (16 * i) & 0xffff).sum();
        // Each uniform has variance 2³² / 12, the four together 2³² / 3.
        (sum as f32 - 131_070.0) * (3.0_f32.sqrt() / 65_536.0)
    }
}

/// How rows are spread over groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spread {
    /// Every group the same, as far as the rows divide.
    Balanced,
    /// [`zipf`] with [`Spread::EXPONENT`].
    Zipf,
    /// One group has all rows.
    OneHot,
    /// Cuts at random rows; about one group in four is empty.
    Ragged,
}

impl Spread {
    /// All of them.
    pub const ALL: [Spread; 4] = [Spread::Balanced, Spread::Zipf, Spread::OneHot, Spread::Ragged];

    /// How unlike a router's groups are where nothing else is said.
    pub const EXPONENT: f64 = ggemm_codegen::cost::SKEW;

    /// `balanced`, `zipf`, `one-hot` or `ragged`.
    pub const fn name(self) -> &'static str {
        match self {
            Spread::Balanced => "balanced",
            Spread::Zipf => "zipf",
            Spread::OneHot => "one-hot",
            Spread::Ragged => "ragged",
        }
    }

    /// Sizes of `groups` groups that own `rows` rows together; none for no groups.
    pub fn sizes(self, groups: usize, rows: usize, rng: &mut Rng) -> Vec<usize> {
        let mut sizes = vec![0; groups];
        if groups == 0 {
            return sizes;
        }
        match self {
            Spread::Balanced => {
                for (g, size) in sizes.iter_mut().enumerate() {
                    *size = rows / groups + usize::from(g < rows % groups);
                }
            }
            Spread::Zipf => return zipf(groups, rows, Spread::EXPONENT, rng),
            Spread::OneHot => sizes[rng.below(groups)] = rows,
            Spread::Ragged => {
                let mut live: Vec<usize> = (0..groups).filter(|_| rng.below(4) > 0).collect();
                if live.is_empty() {
                    live.push(rng.below(groups));
                }
                let mut cuts: Vec<usize> = (1..live.len()).map(|_| rng.below(rows + 1)).collect();
                cuts.sort_unstable();
                cuts.push(rows);
                let mut start = 0;
                for (g, end) in live.into_iter().zip(cuts) {
                    sizes[g] = end - start;
                    start = end;
                }
            }
        }
        sizes
    }
}

/// Sizes of `groups` groups of which each of `rows` rows picks one with probability in proportion to
/// 1 / (i + 1)^`exponent`, i a group's rank; ranks are shuffled. An exponent of 0 gives every group the same chance.
pub fn zipf(groups: usize, rows: usize, exponent: f64, rng: &mut Rng) -> Vec<usize> {
    let mut sizes = vec![0; groups];
    if groups == 0 {
        return sizes;
    }
    let mut ranks: Vec<usize> = (0..groups).collect();
    for i in (1..groups).rev() {
        ranks.swap(i, rng.below(i + 1));
    }
    let mut total = 0.0;
    let cumulative: Vec<f64> = (0..groups)
        .map(|i| {
            total += (i as f64 + 1.0).powf(-exponent);
            total
        })
        .collect();
    for _ in 0..rows {
        let point = rng.unit() * total;
        let rank = cumulative.partition_point(|c| *c <= point).min(groups - 1);
        sizes[ranks[rank]] += 1;
    }
    sizes
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Spread`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a spread of rows over groups: expected balanced, zipf, one-hot or ragged")]
pub struct UnknownSpread(pub String);

impl FromStr for Spread {
    type Err = UnknownSpread;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Spread::ALL.into_iter().find(|d| d.name() == s).ok_or_else(|| UnknownSpread(s.to_owned()))
    }
}

/// What operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Values {
    /// [`Rng::normal`], rounded to the operand's type.
    Normal,
    /// Integers so small that every sum of the problem is exact in f32, whatever its order: at most 4 in magnitude, and
    /// less where the reduction is longer than a million. Their scales are powers of two.
    SmallIntegers,
}

/// Elements of poison after each matrix.
const MARGIN: usize = 9;

/// The tensors of a problem in the host's memory. Whatever lies in them outside the problem is NaN: stride padding, gaps
/// between groups' weights, the operands' tail rows, a margin at the end, and the scales of all that. The output is NaN throughout, except that an
/// output to accumulate into holds values.
#[derive(Debug)]
pub struct Tensors {
    /// The operation.
    pub operation: Operation,
    /// The first operand.
    pub lhs: Buffer,
    /// The second operand.
    pub rhs: Buffer,
    /// The scales of both, for fp8.
    pub scales: Option<[Buffer; 2]>,
    /// Sizes or ends, as the problem says.
    pub groups: Buffer,
    /// The output before the run.
    pub out: Buffer,
}

impl Tensors {
    /// Random tensors for `problem`, with these rows a group (missing ones are 0).
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::Groups`] for sizes that contradict it,
    /// [`Error::OutOfMemory`].
    pub fn random(problem: &Problem, sizes: &[usize], values: Values, seed: u64) -> Result<Self, Error> {
        problem.validate()?;
        let sizes = (0..problem.groups).map(|g| sizes.get(g).copied().unwrap_or(0));
        let sizes: Vec<i64> = sizes.map(|s| i64::try_from(s).unwrap_or(i64::MAX)).collect();
        let by_size = problem.clone().group_array(GroupForm::Sizes, problem.group_index);
        Runs::checked(&by_size, sizes.iter().copied())?;
        let mut end = 0_i64;
        let array = sizes.iter().map(|size| {
            end = end.saturating_add(*size);
            if problem.group_form == GroupForm::Ends { end } else { *size }
        });
        Self::with_groups(problem, &array.collect::<Vec<_>>(), values, seed)
    }

    /// Random tensors for `problem`, with this array of sizes or ends, sane or not (missing ones are 0). It is read as
    /// kernels read it outside checked mode ([`Runs::clamped`]): rows that are then of no group hold NaN.
    ///
    /// # Errors
    /// [`Error::Problem`] for a problem that means nothing, [`Error::OutOfMemory`].
    pub fn with_groups(problem: &Problem, groups: &[i64], values: Values, seed: u64) -> Result<Self, Error> {
        problem.validate()?;
        let groups: Vec<i64> = (0..problem.groups).map(|g| groups.get(g).copied().unwrap_or(0)).collect();
        let groups = group_array(problem, &groups)?;
        let mut runs = Runs::clamped(problem, groups::values(&groups.view()));
        let [first, second, out] = problem.tensors();
        let live = |shape: &TensorShape| {
            if problem.reduction_blocks {
                shape.rows
            } else if shape.rows_are_tokens(problem) {
                runs.total()
            } else {
                shape.rows
            }
        };
        let integers = (values == Values::SmallIntegers).then(|| largest_integer(problem));
        let before = if problem.accumulate { out.rows } else { 0 };
        let mut lhs = poisoned(&first, live(&first), integers, seed, 0)?;
        let mut rhs = poisoned(&second, live(&second), integers, seed, 1)?;
        if problem.weight_sharing == WeightSharing::Shared && problem.operation == Operation::GradW {
            runs = runs.merged();
        }
        if problem.reduction_blocks {
            poison_between_groups(&mut lhs, &first, problem, &runs);
            poison_between_groups(&mut rhs, &second, problem, &runs);
        }
        let scales = random_scales(problem, &runs, values, seed)?;
        Ok(Tensors {
            operation: problem.operation,
            lhs,
            rhs,
            scales,
            groups,
            out: poisoned(&out, before, integers, seed, 2)?,
        })
    }

    /// The arguments of a run that writes to `out`, which starts as a clone of [`Tensors::out`].
    pub fn args<'a>(&'a self, out: &'a mut Buffer) -> Args<'a> {
        let [lhs, rhs] = self.operands();
        Args::new(self.operation, lhs, rhs, &self.groups, out)
    }

    /// The operands with their scales.
    pub fn operands(&self) -> [Operand<'_>; 2] {
        match &self.scales {
            None => [(&self.lhs).into(), (&self.rhs).into()],
            Some([lhs, rhs]) => [Operand::scaled(&self.lhs, lhs), Operand::scaled(&self.rhs, rhs)],
        }
    }
}

/// Which tensors have one row a token, so that their last rows may belong to no group.
trait RowsAreTokens {
    fn rows_are_tokens(&self, problem: &Problem) -> bool;
}

impl RowsAreTokens for TensorShape {
    fn rows_are_tokens(&self, problem: &Problem) -> bool {
        let [_, second, out] = problem.tensors();
        let weight = if problem.operation == Operation::GradW { out.name } else { second.name };
        self.name != weight
    }
}

/// The largest r such that sums of products of integers of magnitude r, and an accumulator of r, stay within 2²⁴. Scales
/// make products up to 4 times as large and count in quarters.
fn largest_integer(problem: &Problem) -> u32 {
    let length = match problem.operation {
        Operation::Forward => problem.k,
        Operation::GradX => problem.n,
        Operation::GradW => problem.m,
    };
    let spread = if problem.operand.is_fp8() { 16 } else { 1 };
    (1..=4_u32)
        .rev()
        .find(|r| length.saturating_add(1).saturating_mul((r * r) as usize * spread) <= 1 << 24)
        .unwrap_or(1)
}

/// Values in the first `live` rows of each matrix of `shape`, NaN elsewhere.
fn poisoned(shape: &TensorShape, live: usize, integers: Option<u32>, seed: u64, stream: u64) -> Result<Buffer, Error> {
    let ty = ElementType::try_from(shape.dtype).unwrap_or(ElementType::F32);
    let mut buffer = Buffer::zeros(&Device::cpu(), ty, shape.elements().saturating_add(MARGIN))?;
    with_real!(shape.dtype, T => {
        if let Some(elements) = buffer.as_mut_slice::<T>() {
            fill(elements, shape, live, integers, seed ^ stream << 62);
        }
    });
    Ok(buffer)
}

/// Of an operand that lies along the reduction: zeros behind each group's last block, NaN in the columns of no block.
fn poison_between_groups(buffer: &mut Buffer, shape: &TensorShape, problem: &Problem, runs: &Runs) {
    let c = problem.contraction();
    let mut owned = vec![None; shape.cols];
    for (group, run) in runs.iter().enumerate() {
        let start = c.reduction_start(run.start, group);
        owned[start..start + run.len()].fill(Some(true));
        owned[start + run.len()..start + run.len().next_multiple_of(SCALE_BLOCK)].fill(Some(false));
    }
    with_real!(shape.dtype, T => {
        let elements = buffer.as_mut_slice::<T>().unwrap_or_default();
        for row in elements.chunks_mut(shape.row_stride.max(1)).take(shape.rows) {
            for (element, owned) in row.iter_mut().zip(&owned) {
                match owned {
                    Some(true) => {}
                    Some(false) => *element = T::from_f32(0.0),
                    None => *element = T::from_f32(f32::NAN),
                }
            }
        }
    });
}

/// Random scales of both operands where the problem reads any, NaN elsewhere.
fn random_scales(problem: &Problem, runs: &Runs, values: Values, seed: u64) -> Result<Option<[Buffer; 2]>, Error> {
    let c = problem.contraction();
    let Some(shapes) = c.scales else { return Ok(None) };
    let mut rng = Rng::new(seed ^ 0x5ca1e);
    let mut draw = || match values {
        Values::Normal => (0.25 + rng.unit()) as f32,
        Values::SmallIntegers => [0.5, 1.0, 2.0][rng.below(3)],
    };
    let mut scales = [empty_scales(&shapes[0])?, empty_scales(&shapes[1])?];
    for (group, run) in runs.iter().enumerate().filter(|(_, run)| !run.is_empty()) {
        let first = c.first_block(run.start, group);
        let (rows, length) = match c.ragged {
            Ragged::Rows => (run, c.reduction),
            Ragged::Reduction => (0..c.rows, run.len()),
        };
        let blocks = first..first + length.div_ceil(SCALE_BLOCK);
        for ((buffer, shape), side) in scales.iter_mut().zip(&shapes).zip([rows, 0..c.cols]) {
            let elements = buffer.as_mut_slice::<f32>().unwrap_or_default();
            for outer in side.step_by(shape.outer_block) {
                blocks.clone().for_each(|block| elements[shape.index(group, outer, block)] = draw());
            }
        }
    }
    if c.operands_exchanged {
        scales.reverse();
    }
    Ok(Some(scales))
}

fn empty_scales(shape: &ScaleShape) -> Result<Buffer, Error> {
    let mut buffer = Buffer::zeros(&Device::cpu(), ElementType::F32, shape.elements().saturating_add(MARGIN))?;
    buffer.as_mut_slice().unwrap_or_default().fill(f32::NAN);
    Ok(buffer)
}

fn fill<T: Real>(elements: &mut [T], shape: &TensorShape, live: usize, integers: Option<u32>, seed: u64) {
    let poison = T::from_f32(f32::NAN);
    elements.par_iter_mut().with_min_len(1 << 16).for_each(|e| *e = poison);
    if shape.elements() == 0 || live == 0 {
        return;
    }
    let matrices: Vec<&mut [T]> = if shape.group_stride == 0 {
        vec![elements]
    } else {
        elements.chunks_mut(shape.group_stride).take(shape.groups).collect()
    };
    matrices.into_par_iter().enumerate().for_each(|(group, matrix)| {
        matrix.par_chunks_mut(shape.row_stride.max(1)).take(live).enumerate().for_each(|(row, elements)| {
            let mut rng = Rng::new(seed.wrapping_add((group as u64) << 32).wrapping_add(row as u64));
            for element in elements.iter_mut().take(shape.cols) {
                *element = T::from_f32(match integers {
                    Some(largest) => rng.below(2 * largest as usize + 1) as f32 - largest as f32,
                    None => rng.normal(),
                });
            }
        });
    });
}

/// The device's array. Values past an i32 saturate.
fn group_array(problem: &Problem, values: &[i64]) -> Result<Buffer, Error> {
    let narrow = |v: &i64| i32::try_from(*v).unwrap_or(if *v < 0 { i32::MIN } else { i32::MAX });
    match problem.group_index {
        IndexType::I32 => Buffer::from_slice(&Device::cpu(), &values.iter().map(narrow).collect::<Vec<_>>()),
        IndexType::I64 => Buffer::from_slice(&Device::cpu(), values),
    }
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Dtype, Tail};

    use super::*;

    #[test]
    fn sizes_sum_to_the_rows() {
        let mut rng = Rng::new(1);
        for spread in Spread::ALL {
            assert_eq!(spread.name().parse::<Spread>(), Ok(spread));
            for (groups, rows) in [(1, 0), (1, 9), (7, 3), (64, 4096), (4096, 100)] {
                let sizes = spread.sizes(groups, rows, &mut rng);
                assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (groups, rows), "{spread}");
            }
            assert!(spread.sizes(0, 5, &mut rng).is_empty());
        }
    }

    #[test]
    fn numbers_have_the_stated_distribution() {
        let mut rng = Rng::new(2);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(rng.normal())).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| v * v).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
        assert!((0..1000).all(|_| rng.below(7) < 7 && rng.unit() < 1.0));
        assert_eq!(rng.below(0), 0);
    }

    /// The values of one matrix after another, `None` for NaN.
    fn shown(buffer: &Buffer) -> Vec<Option<f32>> {
        let elements = buffer.as_slice::<f32>().unwrap();
        elements.iter().map(|v| (!v.is_nan()).then_some(*v)).collect()
    }

    #[test]
    fn poison_surrounds_what_the_problem_reads() {
        let shape =
            TensorShape { name: "w", dtype: Dtype::F32, groups: 2, rows: 2, cols: 2, row_stride: 3, group_stride: 7 };
        let live: Vec<bool> = shown(&poisoned(&shape, 2, Some(1), 3, 0).unwrap()).iter().map(Option::is_some).collect();
        let pattern: String = live.iter().map(|l| if *l { 'x' } else { '.' }).collect();
        assert_eq!(pattern, "xx.xx..xx.xx.........");
        let one_row = TensorShape { groups: 1, group_stride: 0, ..shape };
        let pattern: String = shown(&poisoned(&one_row, 1, None, 3, 0).unwrap())
            .iter()
            .map(|l| if l.is_some() { 'x' } else { '.' })
            .collect();
        assert_eq!(pattern, "xx............");
    }

    #[test]
    fn a_seed_decides_every_bit() {
        let problem = Problem::grad_w(3, 20, 5, 6).tail(Tail::Zero).output(Dtype::F32).accumulate(true);
        let of = |seed| Tensors::random(&problem, &[7, 0, 8], Values::Normal, seed).unwrap();
        let (a, b, c) = (of(1), of(1), of(2));
        assert_eq!(shown(&a.out), shown(&b.out));
        assert_ne!(shown(&a.out), shown(&c.out));
        // Neither do two tensors of one problem hold the same.
        let values = |buffer: &Buffer| buffer.as_slice::<half::bf16>().unwrap()[..5].to_vec();
        assert_ne!(values(&a.lhs), values(&a.rhs));
    }

    #[test]
    fn sums_of_small_integers_stay_exact() {
        assert_eq!(largest_integer(&Problem::forward(1, 1, 1, 4096)), 4);
        assert_eq!(largest_integer(&Problem::grad_w(1, 1 << 22, 1, 1)), 1);
        assert_eq!(largest_integer(&Problem::grad_x(1, 1, (1 << 22) - 1, 1)), 2);
    }
}
