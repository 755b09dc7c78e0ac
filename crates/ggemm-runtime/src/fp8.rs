//! The fp8 types of operands: [`e4m3`] and [`e5m2`].

use std::fmt;

use ggemm_codegen::fp8;

use crate::real::Real;

macro_rules! fp8_type {
    ($(#[doc = $doc:literal])* $name:ident, $largest:expr, $widen:path, $narrow:path) => {
        $(#[doc = $doc])*
        #[allow(non_camel_case_types, reason = "a number, as half's are")]
        #[derive(Clone, Copy, Default)]
        #[repr(transparent)]
        pub struct $name(u8);

        impl $name {
            /// The largest finite value.
            pub const MAX: $name = $name($largest);

            /// The value of these bits.
            pub const fn from_bits(bits: u8) -> Self {
                $name(bits)
            }

            /// Its bits.
            pub const fn to_bits(self) -> u8 {
                self.0
            }

            /// The nearest value, ties to even. What is too large, infinities included, becomes the largest finite value
            /// of its sign; NaN stays NaN.
            #[inline(always)]
            pub fn from_f32(value: f32) -> Self {
                $name($narrow(value))
            }

            /// Its value. Exact.
            #[inline(always)]
            pub fn to_f32(self) -> f32 {
                $widen(self.0)
            }
        }

        /// As numbers: zeros are alike, NaN is unlike everything.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.to_f32(), f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_f32(), f)
            }
        }

        // SAFETY: a byte of which every value is one, zero included.
        unsafe impl bytemuck::Zeroable for $name {}
        // SAFETY: as above, without padding; the type is `Copy` and holds nothing else.
        unsafe impl bytemuck::Pod for $name {}

        impl Real for $name {
            fn from_f32(value: f32) -> Self {
                $name::from_f32(value)
            }

            fn to_f64(self) -> f64 {
                f64::from(self.to_f32())
            }
        }
    };
}

fp8_type!(
    /// OCP's E4M3 (E4M3FN): 4 bits of exponent, 3 of fraction, no infinities, at most 448.
    e4m3,
    0x7e,
    fp8::e4m3_to_f32,
    fp8::e4m3_from_f32
);
fp8_type!(
    /// OCP's E5M2: 5 bits of exponent, 2 of fraction, infinities, at most 57344.
    e5m2,
    0x7b,
    fp8::e5m2_to_f32,
    fp8::e5m2_from_f32
);
