//! [`RealignSpec`]: one kernel that realigns, as a plain value with a one-line name.

use std::fmt;
use std::str::FromStr;

use crate::arch::Arch;
use crate::dtype::Dtype;

/// A kernel that copies matrices to rows that start at multiples of 16 bytes.
///
/// `Display` writes its one-line name, which is the kernel's symbol, and `FromStr` reads it back:
///
/// ```
/// use ggemm_codegen::RealignSpec;
/// let spec: RealignSpec = "ggemm_realign_bf16_sm90a".parse()?;
/// assert_eq!(spec.to_string(), "ggemm_realign_bf16_sm90a");
/// # Ok::<(), ggemm_codegen::kernels::realign::RealignNameError>(())
/// ```
///
/// Every value is a kernel that can be built. All but the type is a parameter: sizes or ends, i32 or i64, and whether the
/// matrices are those of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RealignSpec {
    element: Dtype,
}

impl RealignSpec {
    /// The types that are copied: those whose rows need not start at multiples of 16 bytes.
    pub const ELEMENTS: [Dtype; 2] = [Dtype::Bf16, Dtype::F16];

    /// The kernel for elements of this type; `None` where there is none.
    pub fn new(element: Dtype) -> Option<Self> {
        Self::ELEMENTS.contains(&element).then_some(RealignSpec { element })
    }

    /// Every kernel, in the order in which tables list them.
    pub fn all() -> impl Iterator<Item = RealignSpec> {
        Self::ELEMENTS.into_iter().map(|element| RealignSpec { element })
    }

    /// What is copied.
    pub const fn element(&self) -> Dtype {
        self.element
    }

    /// The only architecture whose products read the copies: the copy engine's.
    pub const fn arch(&self) -> Arch {
        Arch::Sm90a
    }

    /// Threads of a CTA: a warp for each of the rows that start at one offset from 16 bytes.
    pub const fn threads(&self) -> u32 {
        256
    }

    /// CTAs of a multiprocessor: together they have as many reads in flight as DRAM's speed asks for.
    pub const fn resident(&self) -> u32 {
        4
    }
}

const PREFIX: &str = "ggemm_realign_";

impl fmt::Display for RealignSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_{}", self.element, self.arch().name().replace('_', ""))
    }
}

/// A string that is no name of a kernel that realigns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a kernel that realigns (as ggemm_realign_bf16_sm90a is)")]
pub struct RealignNameError(pub String);

impl FromStr for RealignSpec {
    type Err = RealignNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        RealignSpec::all().find(|spec| spec.to_string() == name).ok_or_else(|| RealignNameError(name.to_owned()))
    }
}
