//! GPU architectures: what a kernel may need and what a target offers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A GPU architecture, as the compiler names it.
///
/// It plays two parts. In a [`KernelSpec`](crate::spec::KernelSpec) it is the oldest architecture whose instructions
/// the kernel uses. As a *target* it is what a cubin is compiled for, with that chip's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Arch {
    /// A100.
    #[serde(rename = "sm_80")]
    Sm80,
    /// RTX 30 series, A10, A40.
    #[serde(rename = "sm_86")]
    Sm86,
    /// RTX 40 series, L4, L40.
    #[serde(rename = "sm_89")]
    Sm89,
    /// H100, H200, with their own instructions (wgmma, setmaxnreg).
    #[serde(rename = "sm_90a")]
    Sm90a,
    /// B200, with its own instructions.
    #[serde(rename = "sm_100a")]
    Sm100a,
    /// RTX 50 series, RTX PRO 6000, with their own instructions.
    #[serde(rename = "sm_120a")]
    Sm120a,
}

/// The limits and rates of a chip that validation and the cost model read.
///
/// Limits are those of the CUDA C++ Programming Guide, "Compute Capabilities". Rates are those of the largest common
/// chip of the architecture, in units of one multiprocessor or of the whole chip as named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArchLimits {
    /// Shared memory that one block may ask for, in bytes.
    pub shared_per_block: u32,
    /// Shared memory of a multiprocessor, in bytes (1 KiB of it is reserved for each resident block).
    pub shared_per_sm: u32,
    /// 32-bit registers of a multiprocessor.
    pub registers_per_sm: u32,
    /// Resident threads of a multiprocessor.
    pub threads_per_sm: u32,
    /// Multiprocessors of the chip.
    pub sms: u32,
    /// Dense 16-bit multiply-adds of one multiprocessor in a clock through `mma.sync`, measured or by datasheet.
    pub mma_per_clock: f64,
    /// The same of fp8 operands. Where `mma.sync` has no such instruction of its own, compilers widen operands to f16.
    pub mma_fp8_per_clock: f64,
    /// Sustained clock in GHz.
    pub clock_ghz: f64,
    /// DRAM bandwidth in bytes a second.
    pub dram_bytes_per_s: f64,
    /// L2 bandwidth in bytes a second.
    pub l2_bytes_per_s: f64,
}

impl Arch {
    /// Every architecture, oldest first.
    pub const ALL: [Arch; 6] = [Arch::Sm80, Arch::Sm86, Arch::Sm89, Arch::Sm90a, Arch::Sm100a, Arch::Sm120a];

    /// The compiler's name, such as `sm_90a`.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::Sm80 => "sm_80",
            Arch::Sm86 => "sm_86",
            Arch::Sm89 => "sm_89",
            Arch::Sm90a => "sm_90a",
            Arch::Sm100a => "sm_100a",
            Arch::Sm120a => "sm_120a",
        }
    }

    /// The architecture to compile for on a device of this compute capability, `None` for one older than 8.0 or
    /// unknown to this version.
    pub const fn for_compute_capability(major: u32, minor: u32) -> Option<Arch> {
        match (major, minor) {
            (8, 0) => Some(Arch::Sm80),
            (8, 6 | 7) => Some(Arch::Sm86),
            (8, 9) => Some(Arch::Sm89),
            (9, 0) => Some(Arch::Sm90a),
            (10, 0) => Some(Arch::Sm100a),
            (12, 0) => Some(Arch::Sm120a),
            _ => None,
        }
    }

    /// Whether a target of this architecture executes kernels that need `needed`: sm_80's instructions run everywhere,
    /// an architecture with its own instructions (the suffix `a`) runs them alone.
    pub const fn executes(self, needed: Arch) -> bool {
        match needed {
            Arch::Sm80 => true,
            Arch::Sm86 => !matches!(self, Arch::Sm80),
            Arch::Sm89 => !matches!(self, Arch::Sm80 | Arch::Sm86),
            Arch::Sm90a => matches!(self, Arch::Sm90a),
            Arch::Sm100a => matches!(self, Arch::Sm100a),
            Arch::Sm120a => matches!(self, Arch::Sm120a),
        }
    }

    /// Limits and rates of the chip.
    pub const fn limits(self) -> ArchLimits {
        const KIB: u32 = 1024;
        let (shared_per_block, shared_per_sm, threads_per_sm) = match self {
            Arch::Sm80 => (163 * KIB, 164 * KIB, 2048),
            Arch::Sm86 | Arch::Sm89 => (99 * KIB, 100 * KIB, 1536),
            Arch::Sm90a | Arch::Sm100a => (227 * KIB, 228 * KIB, 2048),
            Arch::Sm120a => (99 * KIB, 100 * KIB, 1536),
        };
        let (sms, mma_per_clock, clock_ghz, dram_bytes_per_s, l2_bytes_per_s) = match self {
            Arch::Sm80 => (108, 1024.0, 1.41, 1.4e12, 4.5e12),
            Arch::Sm86 => (84, 512.0, 1.70, 0.85e12, 2.5e12),
            Arch::Sm89 => (142, 512.0, 2.40, 0.80e12, 4.0e12),
            // mma.sync reaches about 0.6 of what wgmma does; fitted with the cost models' clocks on an H200, but for
            // DRAM, which is an H100's.
            Arch::Sm90a => (132, 1200.0, 1.75, 3.2e12, 7.5e12),
            Arch::Sm100a => (148, 1024.0, 1.85, 7.0e12, 9.0e12),
            Arch::Sm120a => (188, 512.0, 2.40, 1.6e12, 6.0e12),
        };
        let fp8_factor = if matches!(self, Arch::Sm89 | Arch::Sm120a) { 2.0 } else { 1.0 };
        ArchLimits {
            shared_per_block,
            shared_per_sm,
            registers_per_sm: 65536,
            threads_per_sm,
            sms,
            mma_per_clock,
            mma_fp8_per_clock: mma_per_clock * fp8_factor,
            clock_ghz,
            dram_bytes_per_s,
            l2_bytes_per_s,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no architecture ggemm knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an architecture ggemm knows: expected sm_80, sm_86, sm_89, sm_90a, sm_100a or sm_120a")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Arch::ALL.into_iter().find(|a| a.name() == s).ok_or_else(|| UnknownArch(s.to_owned()))
    }
}
