//! The types of matrices, as numbers.

use half::{bf16, f16};

use crate::element::Element;

/// A matrix type: its values, and how f32 rounds to it (fp8 saturates).
pub(crate) trait Real: Element {
    /// To nearest, ties to even.
    fn from_f32(value: f32) -> Self;

    /// Exact.
    fn to_f64(self) -> f64;
}

impl Real for bf16 {
    fn from_f32(value: f32) -> Self {
        bf16::from_f32(value)
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f16 {
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

/// Evaluates `$body` with `$real` the Rust type of a [`Dtype`](ggemm_codegen::Dtype).
macro_rules! with_real {
    ($dtype:expr, $real:ident => $body:expr) => {
        match $dtype {
            ggemm_codegen::Dtype::F32 => {
                type $real = f32;
                $body
            }
            ggemm_codegen::Dtype::E4m3 => {
                type $real = $crate::e4m3;
                $body
            }
            ggemm_codegen::Dtype::E5m2 => {
                type $real = $crate::e5m2;
                $body
            }
            ggemm_codegen::Dtype::F16 => {
                type $real = half::f16;
                $body
            }
            // A problem of any other type is refused before it gets here.
            _ => {
                type $real = half::bf16;
                $body
            }
        }
    };
}
pub(crate) use with_real;
