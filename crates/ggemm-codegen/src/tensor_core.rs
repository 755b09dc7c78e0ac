//! What fp8 tensor cores add up, and how much of it they may lose.
//!
//! The model is the truncated fused sum of Xie, Wang, Yang and Yang, "MMA-Sim: Bit-Accurate Reference Model of Tensor Cores and
//! Matrix Cores" (arXiv 2511.10909), who found it equal to the hardware to the bit: `wgmma` of fp8 on Hopper, in steps of 32
//! products, and `mma.sync` of fp8 on Ada, in steps of 16. A number is a significand in [1, 2) times a power of two, its
//! *weight*; below the normal range of a format the weight is that of its smallest normal value. One step adds products to
//! an accumulator of 13 bits of fraction:
//!
//! 1. A product's weight is the product of its factors' weights, so that its significand may reach 4. The largest weight of
//!    all products that are not 0, and of the accumulator, is the step's.
//! 2. Every product and the accumulator are cut off, towards zero, to multiples of 2⁻¹³ of the step's weight.
//! 3. Their sum is exact, and is cut off, towards zero, to 13 bits of fraction.
//!
//! Tensor cores that widen fp8 operands first (Hopper's `mma.sync`, Blackwell) keep 25 bits, which f32's roundings cover.

use std::ops::Range;

use crate::arch::Arch;
use crate::dtype::Dtype;
use crate::scaling::SCALE_BLOCK;
use crate::spec::Accumulation;

/// Bits of an accumulator's fraction.
const FRACTION_BITS: i32 = 13;

/// A last place of the accumulator, as a part of its weight.
const LAST_PLACE: f64 = 1.0 / (1_u32 << FRACTION_BITS) as f64;

/// The tensor cores of an architecture, for operands of two fp8 formats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorCore {
    /// Products that are added in one step.
    step: usize,
    /// The smallest normal value of each format.
    smallest: [f64; 2],
}

impl TensorCore {
    /// Those of `arch` for products of an `a` and a `b`; `None` where these are no fp8 formats.
    pub fn new(arch: Arch, a: Dtype, b: Dtype) -> Option<Self> {
        // A step of 32 bounds what wider accumulators lose as well, since it is monotone in their last place.
        let step = if arch == Arch::Sm89 { 16 } else { 32 };
        Some(TensorCore { step, smallest: [smallest(a)?, smallest(b)?] })
    }

    /// Elements of a, without their scales.
    pub fn a(&self, elements: Vec<f64>) -> Factors {
        Factors::new(elements, self.smallest[0])
    }

    /// Elements of b, without their scales.
    pub fn b(&self, elements: Vec<f64>) -> Factors {
        Factors::new(elements, self.smallest[1])
    }

    /// What an accumulator holds that was 0 before: the sum of these products, cut off at every step. Of finite elements.
    pub fn sum(&self, a: &Factors, b: &Factors, part: Range<usize>) -> f64 {
        self.steps(a, b, part).fold(0.0, |sum, step| {
            let last_place = step.weight().max(weight(sum)) * LAST_PLACE;
            if last_place == 0.0 {
                return sum;
            }
            let cut = |term: f64| (term / last_place).trunc() * last_place;
            cut_fraction(step.a.iter().zip(step.b).map(|(a, b)| cut(a * b)).sum::<f64>() + cut(sum))
        })
    }

    /// How far [`TensorCore::sum`] may be from the exact sum, for tensor cores of this model and of any that keep more bits.
    ///
    /// A running analysis: with s the exact sum so far and ε the bound so far, the accumulator's magnitude is from |s| − ε to
    /// |s| + ε, so that the step's weight has a least and a largest possible value. What a product loses at the largest is
    /// known exactly, and at no smaller weight, another power of two, does it lose more. The accumulator loses less than a
    /// last place, and nothing where it is certain to have the largest weight. The sum consists of multiples of a last place,
    /// so that it loses only places by which its weight passes the step's. While ε is 0 the accumulator is known.
    pub fn lost(&self, a: &Factors, b: &Factors, part: Range<usize>) -> f64 {
        let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
        for step in self.steps(a, b, part) {
            let products = step.weight();
            if products == 0.0 {
                continue;
            }
            let (least, most) = ((sum.abs() - lost).max(0.0), sum.abs() + lost);
            let last_place = products.max(weight(most)) * LAST_PLACE;
            let places = 1.0 / last_place;
            let of_accumulator = match lost {
                0.0 => fraction(sum.abs() * places) * last_place,
                _ if weight(least) < products => most.min(products * LAST_PLACE),
                _ => 0.0,
            };
            let (mut added, mut cut_off) = ([0.0; LANES], [0.0; LANES]);
            in_lanes(step.a, step.b, |lane, a, b| {
                added[lane] += a * b;
                cut_off[lane] += fraction((a * b).abs() * places);
            });
            sum += added.iter().sum::<f64>();
            lost += cut_off.iter().sum::<f64>() * last_place + of_accumulator;
            lost += match lost {
                0.0 => (sum - cut_fraction(sum)).abs(),
                _ => (weight(sum.abs() + lost) - products.max(weight(least))).max(0.0) * LAST_PLACE,
            };
        }
        lost
    }

    /// How far a kernel's sum of all these products may be from the exact one, where `scale` is what a block of
    /// [`SCALE_BLOCK`] of them is multiplied by: of each accumulator that the sum passes through. Kernels that promote serve a
    /// problem that allows fast accumulation as well.
    pub fn lost_by_kernels(
        &self,
        accumulation: Accumulation,
        a: &Factors,
        b: &Factors,
        scale: impl Fn(usize) -> f64,
    ) -> f64 {
        let parts = (0..a.len()).step_by(SCALE_BLOCK).map(|start| start..start + SCALE_BLOCK);
        let promoted = parts.enumerate().map(|(block, part)| self.lost(a, b, part) * scale(block).abs()).sum();
        match accumulation {
            Accumulation::Promoted => promoted,
            Accumulation::Fast => promoted.max(self.lost(a, b, 0..a.len()) * scale(0).abs()),
        }
    }

    fn steps<'a>(&self, a: &'a Factors, b: &'a Factors, part: Range<usize>) -> impl Iterator<Item = Step<'a>> {
        let end = part.end.min(a.elements.len()).min(b.elements.len());
        (part.start..end).step_by(self.step).map(move |start| {
            let own = start..end.min(start + self.step);
            let weights = [&a.weights[own.clone()], &b.weights[own.clone()]];
            Step { a: &a.elements[own.clone()], b: &b.elements[own], weights }
        })
    }
}

/// Elements of an operand along a sum, and their weights: 0 for 0, else at least the smallest normal value of their format.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    elements: Vec<f64>,
    weights: Vec<f64>,
}

impl Factors {
    fn new(elements: Vec<f64>, smallest: f64) -> Self {
        let of = |element: &f64| if *element == 0.0 { 0.0 } else { weight(*element).max(smallest) };
        let weights = elements.iter().map(of).collect();
        Factors { elements, weights }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// What is added at once.
struct Step<'a> {
    a: &'a [f64],
    b: &'a [f64],
    weights: [&'a [f64]; 2],
}

impl Step<'_> {
    /// The largest weight of the products that are not 0; 0 where all are.
    fn weight(&self) -> f64 {
        let [a, b] = self.weights;
        let mut largest = [0.0; LANES];
        in_lanes(a, b, |lane, a, b| largest[lane] = if a * b > largest[lane] { a * b } else { largest[lane] });
        largest.into_iter().fold(0.0, f64::max)
    }
}

/// Results that a loop over products has side by side, so that it becomes vector code.
const LANES: usize = 8;

/// Hands over all pairs, each with one of the lanes.
#[inline(always)]
fn in_lanes(a: &[f64], b: &[f64], mut with: impl FnMut(usize, f64, f64)) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            with(lane, a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        with(lane, *a, *b);
    }
}

/// The smallest normal value of an fp8 format.
fn smallest(dtype: Dtype) -> Option<f64> {
    match dtype {
        Dtype::E4m3 => Some(1.0 / 64.0),
        Dtype::E5m2 => Some(1.0 / 16384.0),
        Dtype::Bf16 | Dtype::F16 | Dtype::F32 => None,
    }
}

/// The largest power of two that is not above a magnitude; 0 for 0.
#[inline(always)]
fn weight(value: f64) -> f64 {
    f64::from_bits(value.to_bits() & 0x7ff0_0000_0000_0000)
}

/// A number cut off to the accumulator's bits.
fn cut_fraction(value: f64) -> f64 {
    let others = 52 - FRACTION_BITS;
    f64::from_bits(value.to_bits() >> others << others)
}

/// The part below 1 of a number from 0 to 2⁵¹, without a call that no vector has. Exact for products of fp8 elements.
#[inline(always)]
fn fraction(value: f64) -> f64 {
    const ROUNDS: f64 = (1_u64 << 52) as f64;
    let rest = value - ((value + ROUNDS) - ROUNDS);
    if rest < 0.0 { rest + 1.0 } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fp8::{e4m3_from_f32, e4m3_to_f32, e5m2_from_f32, e5m2_to_f32};
    use crate::interp::Dice;

    const FORMATS: [[Dtype; 2]; 4] = [
        [Dtype::E4m3, Dtype::E4m3],
        [Dtype::E5m2, Dtype::E4m3],
        [Dtype::E4m3, Dtype::E5m2],
        [Dtype::E5m2, Dtype::E5m2],
    ];
    const ARCHES: [Arch; 2] = [Arch::Sm89, Arch::Sm90a];

    /// The value of these bits; 0 for what is not finite.
    fn value(dtype: Dtype, bits: u8) -> f64 {
        let value = f64::from(if dtype == Dtype::E4m3 { e4m3_to_f32(bits) } else { e5m2_to_f32(bits) });
        if value.is_finite() { value } else { 0.0 }
    }

    impl TensorCore {
        fn sum_of(&self, a: &[f64], b: &[f64]) -> f64 {
            self.sum(&self.a(a.to_vec()), &self.b(b.to_vec()), 0..a.len())
        }

        fn lost_of(&self, a: &[f64], b: &[f64]) -> f64 {
            self.lost(&self.a(a.to_vec()), &self.b(b.to_vec()), 0..a.len())
        }
    }

    fn nearest(dtype: Dtype, x: f64) -> f64 {
        let bits = if dtype == Dtype::E4m3 { e4m3_from_f32(x as f32) } else { e5m2_from_f32(x as f32) };
        value(dtype, bits)
    }

    /// The kinds of data that the bound is held against.
    #[derive(Clone, Copy, Debug)]
    enum Kind {
        /// Any finite bits, subnormal ones and zeros among them.
        Bits,
        /// Close to normal, scaled as quantization does.
        Normal,
        /// The same, with one in sixteen 64 times as large.
        Outliers,
        /// One value throughout.
        Equal,
        /// Large products that cancel in pairs, among small ones.
        Cancelling,
        /// One product of 1, then products just below a last place of it.
        Swamped,
        /// A's below the normal range.
        Tiny,
    }

    const KINDS: [Kind; 7] =
        [Kind::Bits, Kind::Normal, Kind::Outliers, Kind::Equal, Kind::Cancelling, Kind::Swamped, Kind::Tiny];

    fn operands(kind: Kind, formats: [Dtype; 2], length: usize, dice: &mut Dice) -> [Vec<f64>; 2] {
        let unit = |dice: &mut Dice| dice.below(1 << 20) as f64 / f64::from(1 << 20);
        let normal = |dice: &mut Dice| (0..4).map(|_| unit(dice) - 0.5).sum::<f64>() * 3.0_f64.sqrt();
        let same = [0, 1].map(|which| value(formats[which], dice.below(256) as u8));
        let mut made = [Vec::new(), Vec::new()];
        for k in 0..length {
            for (which, (dtype, to)) in formats.into_iter().zip(&mut made).enumerate() {
                let largest = if dtype == Dtype::E4m3 { 448.0 } else { 57344.0 };
                to.push(match kind {
                    Kind::Tiny if which == 0 => value(dtype, (dice.below(4) | dice.below(2) << 7) as u8),
                    Kind::Bits | Kind::Tiny => value(dtype, dice.below(256) as u8),
                    Kind::Normal => nearest(dtype, normal(dice) / 3.5 * largest),
                    Kind::Outliers => {
                        let larger = if dice.below(16) == 0 { 64.0 } else { 1.0 };
                        nearest(dtype, normal(dice) / 224.0 * largest * larger)
                    }
                    Kind::Equal => same[which],
                    Kind::Cancelling => match (k % 4, which) {
                        (1, 0) => -256.0,
                        (0 | 1, _) => 256.0,
                        _ => nearest(dtype, normal(dice) / 8.0),
                    },
                    Kind::Swamped if k == 0 => 1.0,
                    // The largest significands below 2, times 2⁻¹⁴.
                    Kind::Swamped if which == 0 => (if dtype == Dtype::E4m3 { 1.875 } else { 1.75 }) / 32.0,
                    Kind::Swamped => 1.0 / 512.0,
                });
            }
        }
        made
    }

    /// Each kind, format and architecture, at lengths about those of steps; the error's largest share of the bound.
    #[test]
    fn no_sum_loses_more_than_the_bound() {
        let mut dice = Dice::new(7);
        for kind in KINDS {
            let (mut worst, mut of_magnitude) = (0.0_f64, 0.0_f64);
            for round in 0..400 {
                let formats = FORMATS[round % FORMATS.len()];
                let core = TensorCore::new(ARCHES[round / 4 % 2], formats[0], formats[1]).unwrap();
                let length = [1, 2, 5, 16, 17, 31, 32, 33, 64, 100, 128, 1000][dice.below(12)];
                let [a, b] = operands(kind, formats, length, &mut dice);
                let exact: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
                let (error, lost) = ((core.sum_of(&a, &b) - exact).abs(), core.lost_of(&a, &b));
                assert!(error <= lost, "{kind:?} of {length}, {core:?}: off by {error:e}, bound {lost:e}");
                if lost > 0.0 {
                    worst = worst.max(error / lost);
                    let magnitude: f64 = a.iter().zip(&b).map(|(a, b)| (a * b).abs()).sum();
                    of_magnitude = of_magnitude.max(error / magnitude);
                }
            }
            println!("{kind:?}: {worst:.2} of the bound, {:.2} · 2⁻¹³ Σ|a||b|", of_magnitude / LAST_PLACE);
            let reached = match kind {
                Kind::Swamped => 0.99,
                // Errors of both signs cancel.
                Kind::Bits | Kind::Normal | Kind::Outliers | Kind::Cancelling | Kind::Tiny | Kind::Equal => 0.25,
            };
            assert!(worst >= reached, "{kind:?}: at most {worst} of the bound");
        }
    }

    #[test]
    fn sums_of_small_integers_lose_nothing() {
        let core = TensorCore::new(Arch::Sm90a, Dtype::E4m3, Dtype::E4m3).unwrap();
        let a: Vec<f64> = (0..128).map(|k| f64::from(k % 15 - 7)).collect();
        let b: Vec<f64> = (0..128).map(|k| f64::from(k % 11 - 5)).collect();
        assert_eq!(core.lost_of(&a, &b), 0.0);
        assert_eq!(core.sum_of(&a, &b), a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>());
        assert_eq!(core.lost_of(&[], &[]), 0.0);
    }

    /// No multiple of 2⁻¹³ Σ|a||b| below 31 bounds one product of 32: a 1 and 31 products that fall below its last place.
    #[test]
    fn one_step_may_lose_almost_31_last_places() {
        let core = TensorCore::new(Arch::Sm90a, Dtype::E4m3, Dtype::E4m3).unwrap();
        let [a, b] = operands(Kind::Swamped, [Dtype::E4m3; 2], 32, &mut Dice::new(1));
        let magnitude: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        let places = (magnitude - core.sum_of(&a, &b)) / (LAST_PLACE * magnitude);
        assert_eq!(core.sum_of(&a, &b), 1.0);
        assert!(places > 28.0 && places < 31.0, "{places}");
        assert_eq!(core.lost_of(&a, &b), magnitude - 1.0);
    }

    /// By hand: 3 + 2⁻¹² has weight 2, whose last place is 2⁻¹², and adding 3 more doubles it.
    #[test]
    fn a_step_cuts_off_terms_and_then_their_sum() {
        let core = TensorCore::new(Arch::Sm90a, Dtype::E5m2, Dtype::E5m2).unwrap();
        let small = 2.0_f64.powi(-6);
        assert_eq!(core.sum_of(&[3.0, small], &[1.0, small]), 3.0 + 2.0_f64.powi(-12));
        assert_eq!(core.sum_of(&[3.0, small / 2.0], &[1.0, small]), 3.0);
        assert_eq!(core.sum_of(&[3.0, small, 3.0], &[1.0, small, 1.0]), 6.0);
        // Of 1.5 · 1.5 the weight is 1, though the product passes 2.
        assert_eq!(core.sum_of(&[1.5, small / 2.0], &[1.5, small]), 2.25);
        let three = [1.5, small / 2.0, 2.0_f64.powi(-7)];
        assert_eq!(core.sum_of(&three, &[1.5, small, 2.0_f64.powi(-6)]), 2.25 + 2.0_f64.powi(-12));
        assert_eq!(core.sum_of(&[-3.0, small], &[1.0, small]), -(3.0 - 2.0_f64.powi(-12)));
    }

    /// Promoted, each block is an accumulator of its own with its own scale; fast, there is one, or blocks as well.
    #[test]
    fn kernels_lose_what_each_accumulator_does() {
        let core = TensorCore::new(Arch::Sm90a, Dtype::E4m3, Dtype::E4m3).unwrap();
        let [a, b] = operands(Kind::Bits, [Dtype::E4m3; 2], 200, &mut Dice::new(3));
        let (a, b) = (core.a(a), core.b(b));
        let [first, second, all] = [0..128, 128..200, 0..200].map(|part| core.lost(&a, &b, part));
        assert!(first > 0.0 && second > 0.0 && all > first.max(second));
        let lost = |accumulation, scale: [f64; 2]| core.lost_by_kernels(accumulation, &a, &b, |block| scale[block]);
        assert_eq!(lost(Accumulation::Promoted, [2.0, -3.0]), first * 2.0 + second * 3.0);
        assert_eq!(lost(Accumulation::Fast, [2.0, 2.0]), 2.0 * all.max(first + second));
    }

    #[test]
    fn only_fp8_is_cut_off() {
        assert_eq!(TensorCore::new(Arch::Sm90a, Dtype::Bf16, Dtype::Bf16), None);
        assert_eq!(TensorCore::new(Arch::Sm90a, Dtype::E4m3, Dtype::F32), None);
    }
}
