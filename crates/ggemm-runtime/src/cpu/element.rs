//! Conversions between matrix types and f32, a row at a time.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::element::Element;
use crate::fp8::{e4m3, e5m2};

/// A type that operands have.
pub(super) trait Operand: Element {
    /// Converts as many elements as both slices hold. Exact.
    fn widen(from: &[Self], to: &mut [f32]);
}

impl Operand for e4m3 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.to_f32();
        }
    }
}

impl Operand for e5m2 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.to_f32();
        }
    }
}

impl Operand for bf16 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            // A NaN keeps its bits, which is all that products ask of it.
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
}

impl Operand for f32 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        let len = from.len().min(to.len());
        to[..len].copy_from_slice(&from[..len]);
    }
}

impl Operand for f16 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        let len = from.len().min(to.len());
        from[..len].convert_to_f32_slice(&mut to[..len]);
    }
}

/// A type that outputs have.
pub(super) trait Output: Element {
    /// Rounds as many sums as both slices hold, to nearest, ties to even.
    fn round(to: &mut [Self], sums: &[f32]);

    /// Adds the sums to what is there.
    fn add(to: &mut [Self], sums: &[f32]);
}

impl Output for f32 {
    #[inline(always)]
    fn round(to: &mut [Self], sums: &[f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = *sum;
        }
    }

    #[inline(always)]
    fn add(to: &mut [Self], sums: &[f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to += *sum;
        }
    }
}

impl Output for bf16 {
    #[inline(always)]
    fn round(to: &mut [Self], sums: &[f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = bf16::from_bits(round_to_bf16(*sum));
        }
    }

    #[inline(always)]
    fn add(to: &mut [Self], sums: &[f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = bf16::from_bits(round_to_bf16(to.to_f32() + sum));
        }
    }
}

/// What `bf16::from_f32` computes, without a branch, so that a loop of it becomes vector code.
#[inline(always)]
fn round_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    let quiet = (bits >> 16) as u16 | 0x40;
    if value.is_nan() { quiet } else { rounded }
}

impl Output for f16 {
    #[inline(always)]
    fn round(to: &mut [Self], sums: &[f32]) {
        let len = to.len().min(sums.len());
        to[..len].convert_from_f32_slice(&sums[..len]);
    }

    #[inline(always)]
    fn add(to: &mut [Self], sums: &[f32]) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = f16::from_f32(to.to_f32() + sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_to_bf16_is_that_of_half() {
        let mut bits = 0_u32;
        loop {
            let value = f32::from_bits(bits);
            assert_eq!(round_to_bf16(value), bf16::from_f32(value).to_bits(), "{value:e} ({bits:#x})");
            match bits.checked_add(1237) {
                Some(next) => bits = next,
                None => break,
            }
        }
        // The two ties: 1 + 2⁻⁸ goes down to an even 1, 1 + 3 · 2⁻⁸ up.
        let ties = [1.0 + 0.5_f32.powi(8), 1.0 + 3.0 * 0.5_f32.powi(8)];
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX].into_iter().chain(ties) {
            assert_eq!(round_to_bf16(value), bf16::from_f32(value).to_bits(), "{value:e}");
        }
    }

    #[test]
    fn widening_is_exact() {
        let bf: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let fp: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut wide = vec![0.0; 1 << 16];
        bf16::widen(&bf, &mut wide);
        assert!(bf.iter().zip(&wide).all(|(n, w)| w.is_nan() && n.is_nan() || n.to_f32() == *w));
        f16::widen(&fp, &mut wide);
        assert!(fp.iter().zip(&wide).all(|(n, w)| w.is_nan() && n.is_nan() || n.to_f32() == *w));
    }
}
