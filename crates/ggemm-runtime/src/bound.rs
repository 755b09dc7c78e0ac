//! What counts as right to the bit. How far another result may be off is [`ggemm_codegen::bound`]'s to say.

use crate::real::Real;

/// Whether `found` is `exact`, which f32 holds, rounded once. One NaN is as good as another.
pub(crate) fn same<T: Real>(found: T, exact: f64) -> bool {
    let rounded = exact as f32;
    let expected = T::from_f32(rounded);
    let held = f64::from(rounded) == exact || exact.is_nan();
    let both_nan = exact.is_nan() && found.to_f64().is_nan();
    held && (both_nan || bytemuck::bytes_of(&found) == bytemuck::bytes_of(&expected))
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn exact_means_to_the_bit_after_one_rounding() {
        assert!(same(bf16::from_f32(256.0), 257.0) && !same(bf16::from_f32(258.0), 257.0));
        assert!(same(0.0_f32, 0.0) && !same(-0.0_f32, 0.0));
        assert!(same(f32::NAN, f64::NAN) && !same(0.0_f32, f64::NAN));
        // A sum that f32 does not hold is no exact one.
        assert!(!same(16_777_216.0_f32, 16_777_217.0));
    }
}
