//! How far an element of an output may be from its exact value.

use crate::dtype::Dtype;
use crate::scaling::Scaling;

/// The rounding errors that a sum of `length` products may gather, each of at most 2⁻²⁴ Σ|a||b|: one a term, and where
/// operands have scales two more, of a block's sum multiplied by one scale and then by the other. a and b are what the
/// scaled elements stand for.
pub fn roundings(length: usize, scaling: Scaling) -> usize {
    match scaling {
        Scaling::None => length,
        Scaling::Row | Scaling::Block if length == 0 => 0,
        Scaling::Row | Scaling::Block => length.saturating_add(2),
    }
}

/// The same for f32 operands, whose products are not exact. The CPU rounds each product once more where it has no fused
/// multiply-add. Where TF32 is allowed, operands may be rounded to the nearest, that is by at most 2⁻¹¹ of each: a product is
/// off by at most 2⁻¹⁰ + 2⁻²² of itself, and so is Σ|a||b|.
pub fn rounded_products(length: usize, operand: Dtype, allow_tf32: bool) -> usize {
    match (operand, allow_tf32) {
        (Dtype::F32, true) if length > 0 => (1 << (24 - 10)) + (1 << (24 - 22)),
        (Dtype::F32, false) => length,
        _ => 0,
    }
}

/// The bound on an element's error, and whether it holds. `lost` is what fp8 tensor cores may cut off of it
/// ([`TensorCore::lost`](crate::tensor_core::TensorCore::lost)), 0 for all others.
///
/// An infinity is right where rounding may reach it. Where even Σ|a||b| passes the largest f32, partial sums may have
/// overflowed on the way, and anything that is not finite is right too.
pub fn within(dtype: Dtype, found: f64, exact: f64, magnitude: f64, terms: usize, lost: f64) -> (f64, bool) {
    if exact.is_nan() {
        return (0.0, found.is_nan());
    }
    if exact.is_infinite() {
        return (0.0, found == exact);
    }
    // Products and sums below the normal range of f32 are rounded to multiples of 2⁻¹⁴⁹.
    let underflow = terms as f64 * power_of_two(-150);
    let sums = terms as f64 * power_of_two(-24) * magnitude + underflow + lost;
    // What is rounded may have passed a power of two.
    let bound = half_ulp(dtype, exact.abs() + sums) + sums;
    let right = if found.is_finite() {
        (found - exact).abs() <= bound
    } else {
        let overflows = found.is_infinite()
            && found.is_sign_positive() == exact.is_sign_positive()
            && exact.abs() + sums >= overflow(dtype);
        overflows || magnitude + sums > f64::from(f32::MAX)
    };
    (bound, right)
}

/// Half a unit in the last place of `dtype` at `value`.
fn half_ulp(dtype: Dtype, value: f64) -> f64 {
    let exponent = (value.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    power_of_two(exponent.max(smallest_exponent(dtype)) - dtype.precision_bits() as i32)
}

/// The exponent of the smallest normal value.
fn smallest_exponent(dtype: Dtype) -> i32 {
    match dtype {
        Dtype::E4m3 => -6,
        Dtype::E5m2 | Dtype::F16 => -14,
        Dtype::Bf16 | Dtype::F32 => -126,
    }
}

/// The least magnitude that rounds to infinity.
fn overflow(dtype: Dtype) -> f64 {
    let exponent = match dtype {
        // Outputs are never fp8; of those conversions saturate.
        Dtype::E4m3 | Dtype::E5m2 => return f64::INFINITY,
        Dtype::F16 => 16,
        Dtype::Bf16 | Dtype::F32 => 128,
    };
    power_of_two(exponent) - power_of_two(exponent - 1 - dtype.precision_bits() as i32)
}

/// 2^exponent, for the exponents of normal f64 numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(1, 2046) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn half_an_ulp_is_half_the_distance_to_the_next_value() {
        for bits in [0x0001_u16, 0x0080, 0x3f80, 0x3fff, 0x4000, 0x7f7e] {
            let (value, next) = (bf16::from_bits(bits).to_f64(), bf16::from_bits(bits + 1).to_f64());
            assert_eq!(half_ulp(Dtype::Bf16, value), (next - value) / 2.0, "bf16 {bits:#x}");
        }
        for bits in [0x0001_u16, 0x0400, 0x3c00, 0x3fff, 0x4000, 0x7bfe] {
            let (value, next) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            assert_eq!(half_ulp(Dtype::F16, value), (next - value) / 2.0, "f16 {bits:#x}");
        }
        assert_eq!(half_ulp(Dtype::F32, 1.0), f64::from(f32::EPSILON) / 2.0);
        assert_eq!(half_ulp(Dtype::F32, 0.0), f64::from(f32::from_bits(1)) / 2.0);
    }

    #[test]
    fn overflow_is_where_rounding_reaches_infinity() {
        assert_eq!(overflow(Dtype::F16), 65_520.0);
        assert!(f16::from_f64(65_519.9).is_finite() && f16::from_f64(65_520.0).is_infinite());
        let (last, step) = (bf16::MAX.to_f64(), half_ulp(Dtype::Bf16, bf16::MAX.to_f64()));
        assert_eq!(overflow(Dtype::Bf16), last + step);
    }

    #[test]
    fn the_bound_is_rounding_plus_the_sum() {
        let right = |found, exact, magnitude, terms| within(Dtype::Bf16, found, exact, magnitude, terms, 0.0).1;
        let ulp = 2.0_f64.powi(-7);
        assert!(right(1.0, 1.0 + ulp / 2.0, 1.0, 0));
        assert!(!right(1.0, 1.0 + ulp * 0.51, 1.0, 0));
        // 2¹⁴ terms of magnitude 8 may lose 2⁻⁷.
        assert!(right(1.0, 1.0 + ulp * 1.5, 8.0 * 2.0_f64.powi(0), 1 << 14));
        assert!(!right(1.0, 1.0 + ulp * 1.51, 1.0, 1 << 14));
        assert!(!right(0.0, 1.0, 1.0, 1));
        assert!(within(Dtype::Bf16, 1.0, 1.0 + ulp * 1.5, 1.0, 0, ulp).1);
        // 2 − ulp / 4, off by ulp, is halfway between 2 and its next value, and may be rounded up.
        assert!(within(Dtype::Bf16, 2.0 + 2.0 * ulp, 2.0 - ulp / 4.0, 2.0, 0, 1.25 * ulp).1);
        assert!(!within(Dtype::Bf16, 2.0 + 2.0 * ulp, 2.0 - ulp / 4.0, 2.0, 0, 1.2 * ulp).1);
        assert!(!within(Dtype::Bf16, 1.0, 1.0 + ulp * 1.51, 1.0, 0, ulp).1);
    }

    #[test]
    fn tf32_loses_two_roundings_of_eleven_bits() {
        let bits = |x: f32| f64::from(f32::from_bits((x.to_bits() + 0x1000) & !0x1fff));
        // The worst of operands: half way between two neighbours at the low end of a binade.
        let x = 1.0 + 2.0_f32.powi(-11);
        let (found, exact) = (bits(x) * bits(x), f64::from(x) * f64::from(x));
        let terms = rounded_products(1, Dtype::F32, true) as f64 * 2.0_f64.powi(-24);
        assert!((found - exact).abs() <= terms * exact && (found - exact).abs() > 0.9 * terms * exact);
        assert_eq!(rounded_products(0, Dtype::F32, true) + rounded_products(7, Dtype::Bf16, false), 0);
        assert_eq!(rounded_products(7, Dtype::F32, false), 7);
    }

    #[test]
    fn what_is_not_finite_is_right_where_ieee_sends_it() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let right = |found, exact, magnitude| within(Dtype::F16, found, exact, magnitude, 4, 0.0).1;
        assert!(right(nan, nan, nan) && !right(0.0, nan, nan) && !right(inf, nan, nan));
        assert!(right(inf, inf, inf) && !right(-inf, inf, inf) && !right(nan, inf, inf) && !right(65_504.0, inf, inf));
        assert!(right(inf, 70_000.0, 70_000.0) && !right(-inf, 70_000.0, 70_000.0) && !right(nan, 70_000.0, 70_000.0));
        assert!(!right(inf, 1.0, 1.0) && !right(nan, 1.0, 1.0));
        // Partial sums past the largest f32.
        assert!(right(nan, 1.0, 1e39) && right(-inf, 1.0, 1e39) && right(1.0, 1.0, 1e39));
    }
}
