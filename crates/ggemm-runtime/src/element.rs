//! The types that a buffer's elements may have.

use std::fmt;

use ggemm_codegen::{Dtype, IndexType};
use half::{bf16, f16};

use crate::fp8::{e4m3, e5m2};
use crate::host::HostElement;

/// The type of a buffer's elements: a matrix type, or an integer of the array that describes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ElementType {
    /// OCP's E4M3, without infinities.
    E4m3,
    /// OCP's E5M2.
    E5m2,
    /// bfloat16.
    Bf16,
    /// IEEE 754 binary16.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
}

impl ElementType {
    /// The size of one element in bytes.
    pub const fn size_bytes(self) -> usize {
        match self {
            ElementType::E4m3 | ElementType::E5m2 => 1,
            ElementType::Bf16 | ElementType::F16 => 2,
            ElementType::F32 | ElementType::I32 => 4,
            ElementType::I64 => 8,
        }
    }

    /// The name that messages use.
    pub const fn name(self) -> &'static str {
        match self {
            ElementType::E4m3 => "e4m3",
            ElementType::E5m2 => "e5m2",
            ElementType::Bf16 => "bf16",
            ElementType::F16 => "f16",
            ElementType::F32 => "f32",
            ElementType::I32 => "i32",
            ElementType::I64 => "i64",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl TryFrom<Dtype> for ElementType {
    type Error = Dtype;

    /// Fails, with the type itself, for a matrix type that the runtime holds no buffers of.
    fn try_from(dtype: Dtype) -> Result<Self, Dtype> {
        match dtype {
            Dtype::E4m3 => Ok(ElementType::E4m3),
            Dtype::E5m2 => Ok(ElementType::E5m2),
            Dtype::Bf16 => Ok(ElementType::Bf16),
            Dtype::F16 => Ok(ElementType::F16),
            Dtype::F32 => Ok(ElementType::F32),
            other => Err(other),
        }
    }
}

impl From<IndexType> for ElementType {
    fn from(index: IndexType) -> Self {
        match index {
            IndexType::I32 => ElementType::I32,
            IndexType::I64 => ElementType::I64,
        }
    }
}

/// A Rust type that buffers hold: [`e4m3`], [`e5m2`], [`bf16`], [`f16`](struct@f16), `f32`, `i32` or `i64`.
pub trait Element: HostElement + bytemuck::Pod + Send + Sync + fmt::Debug {
    /// What the runtime calls the type.
    const TYPE: ElementType;
}

impl Element for e4m3 {
    const TYPE: ElementType = ElementType::E4m3;
}

impl Element for e5m2 {
    const TYPE: ElementType = ElementType::E5m2;
}

impl Element for bf16 {
    const TYPE: ElementType = ElementType::Bf16;
}

impl Element for f16 {
    const TYPE: ElementType = ElementType::F16;
}

impl Element for f32 {
    const TYPE: ElementType = ElementType::F32;
}

impl Element for i32 {
    const TYPE: ElementType = ElementType::I32;
}

impl Element for i64 {
    const TYPE: ElementType = ElementType::I64;
}

/// Evaluates `$body` with `$element` the Rust type of an [`ElementType`].
macro_rules! with_element {
    ($ty:expr, $element:ident => $body:expr) => {
        match $ty {
            $crate::ElementType::E4m3 => {
                type $element = $crate::e4m3;
                $body
            }
            $crate::ElementType::E5m2 => {
                type $element = $crate::e5m2;
                $body
            }
            $crate::ElementType::Bf16 => {
                type $element = $crate::bf16;
                $body
            }
            $crate::ElementType::F16 => {
                type $element = $crate::f16;
                $body
            }
            $crate::ElementType::F32 => {
                type $element = f32;
                $body
            }
            $crate::ElementType::I32 => {
                type $element = i32;
                $body
            }
            $crate::ElementType::I64 => {
                type $element = i64;
                $body
            }
        }
    };
}
pub(crate) use with_element;
