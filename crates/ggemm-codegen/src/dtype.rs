//! Element types of operands, accumulators and outputs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The type of a matrix element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dtype {
    /// OCP's E4M3, without infinities (E4M3FN): 4 bits of exponent, 3 of fraction. See [`fp8`](crate::fp8).
    E4m3,
    /// OCP's E5M2: 5 bits of exponent, 2 of fraction.
    E5m2,
    /// bfloat16: 8 bits of exponent, 7 of fraction.
    Bf16,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
}

impl Dtype {
    /// Every type, in the order in which tables list them.
    pub const ALL: [Dtype; 5] = [Dtype::E4m3, Dtype::E5m2, Dtype::Bf16, Dtype::F16, Dtype::F32];

    /// The types that operands may have.
    pub const OPERANDS: [Dtype; 5] = Dtype::ALL;

    /// The types that outputs may have.
    pub const OUTPUTS: [Dtype; 3] = [Dtype::Bf16, Dtype::F16, Dtype::F32];

    /// Whether operands of the type have scales.
    pub const fn is_fp8(self) -> bool {
        matches!(self, Dtype::E4m3 | Dtype::E5m2)
    }

    /// The size of one element in bytes.
    pub const fn size_bytes(self) -> u32 {
        match self {
            Dtype::E4m3 | Dtype::E5m2 => 1,
            Dtype::Bf16 | Dtype::F16 => 2,
            Dtype::F32 => 4,
        }
    }

    /// The name used in spec names, flags and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::E4m3 => "e4m3",
            Dtype::E5m2 => "e5m2",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
            Dtype::F32 => "f32",
        }
    }

    /// Bits of precision of the significand, the hidden one included: half a unit in the last place of a normal value
    /// x is at most |x| · 2⁻ᵖ.
    pub const fn precision_bits(self) -> u32 {
        match self {
            Dtype::E4m3 => 4,
            Dtype::E5m2 => 3,
            Dtype::Bf16 => 8,
            Dtype::F16 => 11,
            Dtype::F32 => 24,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an element type: expected e4m3, e5m2, bf16, f16 or f32")]
pub struct UnknownDtype(pub String);

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Dtype::ALL.into_iter().find(|d| d.name() == s).ok_or_else(|| UnknownDtype(s.to_owned()))
    }
}
