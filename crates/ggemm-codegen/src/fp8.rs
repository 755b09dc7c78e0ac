//! The two 8-bit floating-point formats of OCP's "8-bit Floating Point Specification" 1.0, as bits.
//!
//! | | exponent, fraction | largest | infinities | NaN |
//! | --- | --- | --- | --- | --- |
//! | e4m3 (E4M3FN) | 4, 3 bits, bias 7 | 448 | none | `0x7f`, `0xff` |
//! | e5m2 | 5, 2 bits, bias 15 | 57344 | `0x7c`, `0xfc` | the six patterns past them |
//!
//! Conversion from f32 rounds to nearest, ties to even, and saturates as the specification's saturating mode does: what is
//! too large, infinities included, becomes the largest finite value of its sign. NaN stays NaN and zeros keep their sign.

/// The largest finite e4m3.
pub const E4M3_MAX: f32 = 448.0;
/// The largest finite e5m2.
pub const E5M2_MAX: f32 = 57_344.0;

/// The value of an e4m3. Exact.
#[inline(always)]
pub fn e4m3_to_f32(bits: u8) -> f32 {
    let magnitude = u32::from(bits & 0x7f);
    // With the fraction in f32's place the exponent is 120 too small, for subnormal values too.
    let scaled = f32::from_bits(magnitude << 20) * f32::from_bits((120 + 127) << 23);
    let value = if magnitude == 0x7f { f32::NAN } else { scaled };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x80) << 24)
}

/// The value of an e5m2. Exact.
#[inline(always)]
pub fn e5m2_to_f32(bits: u8) -> f32 {
    let magnitude = u32::from(bits & 0x7f);
    let scaled = f32::from_bits(magnitude << 21) * f32::from_bits((112 + 127) << 23);
    let special = f32::from_bits(0x7f80_0000 | magnitude << 21);
    let value = if magnitude >= 0x7c { special } else { scaled };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x80) << 24)
}

/// The nearest e4m3, saturating.
#[inline(always)]
pub fn e4m3_from_f32(value: f32) -> u8 {
    round::<3, 7, 0x7e>(value)
}

/// The nearest e5m2, saturating.
#[inline(always)]
pub fn e5m2_from_f32(value: f32) -> u8 {
    round::<2, 15, 0x7b>(value)
}

/// The scale of elements of which the largest finite one is `amax` in magnitude, for a format whose largest is `largest`:
/// amax / largest, or the least power of two that is not below it.
///
/// It is at least 2⁻¹²⁶, so that its inverse is finite, and 1 for zeros. An element becomes the nearest value to itself
/// times the scale's inverse, both rounded to f32: what a kernel must do as well to find the same bits.
pub fn scale(amax: f32, largest: f32, power_of_two: bool) -> f32 {
    if amax == 0.0 {
        return 1.0;
    }
    let scale = (amax / largest).max(f32::MIN_POSITIVE);
    if !power_of_two {
        return scale;
    }
    const FRACTION: u32 = (1 << 23) - 1;
    f32::from_bits((scale.to_bits() + FRACTION) & !FRACTION)
}

/// Without a branch, so that a loop of it becomes vector code.
#[inline(always)]
fn round<const FRACTION: u32, const BIAS: u32, const LARGEST: u32>(value: f32) -> u8 {
    let sign = (value.to_bits() >> 24 & 0x80) as u8;
    let bits = value.to_bits() & 0x7fff_ffff;
    let shift = 23 - FRACTION;
    let even = bits.wrapping_add((1 << (shift - 1)) - 1 + (bits >> shift & 1)) >> shift;
    let normal = even.wrapping_sub((127 - BIAS) << FRACTION);
    // A sum whose last place is that of subnormal values rounds as they do; its fraction counts them.
    let ruler = (127 + 1 - BIAS + 23 - FRACTION) << 23;
    let subnormal = (f32::from_bits(bits) + f32::from_bits(ruler)).to_bits().wrapping_sub(ruler);
    let is_small = bits < (127 + 1 - BIAS) << 23;
    let finite = if is_small { subnormal } else { normal }.min(LARGEST) as u8;
    sign | if bits > 0x7f80_0000 { 0x7f } else { finite }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values by the specification's own formula: (−1)^s · 2^(e − bias) · 1.f, or 2^(1 − bias) · 0.f.
    fn formula(bits: u8, fraction_bits: u32, bias: i32) -> f64 {
        let (exponent, fraction) =
            (i32::from(bits & 0x7f) >> fraction_bits, f64::from(bits & ((1 << fraction_bits) - 1)));
        let part = fraction / f64::from(1 << fraction_bits);
        let magnitude =
            if exponent == 0 { 2_f64.powi(1 - bias) * part } else { 2_f64.powi(exponent - bias) * (1.0 + part) };
        if bits & 0x80 == 0 { magnitude } else { -magnitude }
    }

    #[test]
    fn values_are_the_specifications() {
        for bits in 0..=u8::MAX {
            let (e4m3, e5m2) = (f64::from(e4m3_to_f32(bits)), f64::from(e5m2_to_f32(bits)));
            match bits & 0x7f {
                0x7f => assert!(e4m3.is_nan() && e5m2.is_nan()),
                0x7d.. => assert!(e4m3 == formula(bits, 3, 7) && e5m2.is_nan(), "{bits:#x}"),
                0x7c => assert!(e5m2.is_infinite() && e5m2.is_sign_negative() == (bits > 0x7f)),
                _ => {
                    assert_eq!(e4m3.to_bits(), formula(bits, 3, 7).to_bits(), "{bits:#x}");
                    assert_eq!(e5m2.to_bits(), formula(bits, 2, 15).to_bits(), "{bits:#x}");
                }
            }
        }
        assert_eq!((e4m3_to_f32(0x7e), e5m2_to_f32(0x7b)), (E4M3_MAX, E5M2_MAX));
    }

    /// Kernels divide by multiplying: what a first quotient leaves over is known exactly, and its share is added. Exponents
    /// change nothing down to where a scale is the smallest.
    #[test]
    fn kernels_quotients_are_rounded_right() {
        let fractions = (0..1 << 23).step_by(if cfg!(debug_assertions) { 61 } else { 1 });
        for largest in [E4M3_MAX, E5M2_MAX] {
            let inverse = 1.0 / largest;
            for (exponent, fraction) in
                [1, 9, 127, 254].into_iter().flat_map(|e| fractions.clone().map(move |f| (e, f)))
            {
                let most = f32::from_bits(exponent << 23 | fraction);
                let about = most * inverse;
                let quotient = (-about).mul_add(largest, most).mul_add(inverse, about);
                let scale = quotient.max(f32::MIN_POSITIVE);
                assert_eq!(scale.to_bits(), self::scale(most, largest, false).to_bits(), "{most:e} over {largest}");
            }
        }
    }

    #[test]
    fn scales_bring_the_largest_to_the_largest() {
        let amaxes = [f32::MAX, 1.0, 448.0, 447.9, 448.1, 57_344.0, 3e-5, f32::MIN_POSITIVE, 1e-45, 1e-40];
        for largest in [E4M3_MAX, E5M2_MAX] {
            for amax in amaxes {
                let (any, power) = (scale(amax, largest, false), scale(amax, largest, true));
                assert!(any >= f32::MIN_POSITIVE && any.is_finite() && (1.0 / any).is_finite(), "{amax:e}");
                assert!(power.to_bits().trailing_zeros() >= 23 && power >= any && power < 2.0 * any, "{amax:e}");
                // A rounding past the largest at most, which conversion takes back.
                let scaled = amax * (1.0 / any);
                assert!(scaled <= largest * (1.0 + 3.0 * f32::EPSILON), "{amax:e}");
                if any > f32::MIN_POSITIVE {
                    assert!(scaled >= largest * (1.0 - 3.0 * f32::EPSILON), "{amax:e}");
                }
            }
            assert_eq!((scale(0.0, largest, false), scale(0.0, largest, true)), (1.0, 1.0));
        }
        assert_eq!(scale(448.0, E4M3_MAX, true), 1.0);
        assert_eq!(scale(449.0, E4M3_MAX, true), 2.0);
    }

    /// Between any two neighbours the nearer one is taken, and in the middle the even one.
    #[test]
    fn rounding_is_to_nearest_even() {
        type Convert = (fn(u8) -> f32, fn(f32) -> u8, u8);
        let formats: [Convert; 2] = [(e4m3_to_f32, e4m3_from_f32, 0x7e), (e5m2_to_f32, e5m2_from_f32, 0x7b)];
        for (widen, narrow, largest) in formats {
            for bits in 0..=largest {
                let value = widen(bits);
                assert_eq!((narrow(value), narrow(-value)), (bits, bits | 0x80));
                if bits == largest {
                    continue;
                }
                let middle = (value + widen(bits + 1)) / 2.0;
                let (below, above) = (f32::from_bits(middle.to_bits() - 1), f32::from_bits(middle.to_bits() + 1));
                assert_eq!((narrow(below), narrow(above)), (bits, bits + 1), "{bits:#x}");
                assert_eq!(narrow(middle), bits + (bits & 1), "{bits:#x}");
            }
            for value in [widen(largest) * 1.2, f32::MAX, f32::INFINITY] {
                assert_eq!((narrow(value), narrow(-value)), (largest, largest | 0x80), "{value:e}");
            }
            assert!(widen(narrow(f32::NAN)).is_nan() && widen(narrow(-f32::NAN)).is_nan());
            assert_eq!((narrow(f32::MIN_POSITIVE), narrow(-1e-45)), (0, 0x80));
        }
    }
}
