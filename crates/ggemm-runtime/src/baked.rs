//! Kernels that were made when a program was built, and are part of it.
//!
//! [`kernels!`](crate::kernels) writes these types; a plan reads them. A set is passed explicitly, there is no registry.

use std::fmt;
use std::io::Read;

use flate2::read::GzDecoder;
use ggemm_codegen::kernels::quantize::QuantizeNameError;
use ggemm_codegen::kernels::realign::RealignNameError;
use ggemm_codegen::{Arch, Contract, KernelSpec, QuantizeSpec, RealignSpec, SpecNameError};

#[doc(hidden)]
pub mod __private {
    //! What the expansion of `kernels!` needs and nobody else.
    pub use ggemm_macros::kernels;
}

/// Bakes kernel variants into the crate that calls it: a module with one [`KernelSet`](crate::baked::KernelSet) named
/// `KERNELS`.
///
/// ```
/// ggemm_runtime::kernels! {
///     /// The expert projections of one model.
///     pub mod experts {
///         ops: [forward, grad_x],
///         dtypes: [bf16],
///         arch: [sm_80, sm_90a],
///         shape: { n: 1536, k: 2048 },
///         tiles: [128x128x64],
///     }
/// }
/// assert!(experts::KERNELS.iter().all(|kernel| kernel.source().contains(kernel.name)));
/// ```
///
/// | key | value |
/// | --- | --- |
/// | `ops` | operations: a list of `forward`, `grad_x`, `grad_w`, or `all` |
/// | `dtypes` | types of the operands: a list of `bf16`, `f16`, or `all` |
/// | `outputs` | optional; types of the output, a list of `bf16`, `f16`, `f32`, or `all`. Default: the operands' own type, and for grad_w `f32` too |
/// | `arch` | architectures that the program will run on: a list such as `[sm_80, sm_90a]`, or `all` |
/// | `weights` | optional; which weight layouts: `nk` (\[N, K\], the default), `kn`, or `all` |
/// | `shape` | optional; `{ n: …, k: … }` as numbers. What cannot run for that shape with dense rows is left out, except for one variant without any demand on strides |
/// | `tiles` | optional; `auto` (the default: from the catalogue, what suits the shape), `shipped` (from the catalogue, all that can run), or a list such as `[128x256x64]` (rows x columns x depth) |
/// | `specs` | instead of all but `arch`: a list of whole spec names, as `ggemm list` prints them, or `shipped`: all that ship, those of fp8 among them |
/// | `quantizers` | instead of all but `arch`: `all`, the kernels that quantize to fp8 |
/// | `realigners` | instead of all but `arch`: `all`, the kernels that copy operands to aligned rows |
/// | `table` | instead of all but `arch`: a file that `ggemm tune --table` wrote, relative to the folder of `Cargo.toml`. The fastest variants of its entries for `arch` are baked, and the entries with them, so that [`Planner::with`](crate::Planner::with) chooses by them on the machine that they were measured on |
///
/// Source and contract of each variant are always baked. With the environment variable `GGEMM_BAKE=cubin` the compiler
/// runs too, and machine code for each target is baked beside them; a missing compiler is then an error.
/// `GGEMM_BAKE=cubin:sm_90a` does so for the listed ones of the targets alone, separated by commas. Without the variable, or with `GGEMM_BAKE=source`, the build needs no compiler, GPU or network. Cargo builds anew when
/// `GGEMM_BAKE`, or with cubins `GGEMM_NVCC`, `CUDA_HOME` or `CUDA_PATH` changes; it does not notice another compiler in
/// the same place.
///
/// Mistakes are compile errors on the token that made them, all at once:
///
/// ```compile_fail
/// ggemm_runtime::kernels! {
///     mod experts { ops: [forwards], dtypes: [bf16], arch: [sm_90] }
/// }
/// ```
#[macro_export]
macro_rules! kernels {
    ($($request:tt)*) => {
        $crate::baked::__private::kernels! { [$crate] $($request)* }
    };
}

/// The kernels that one [`kernels!`](crate::kernels) made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KernelSet {
    /// The name of the module that holds the set.
    pub name: &'static str,
    /// The kernels, in a fixed order, no two with one name.
    pub kernels: &'static [BakedKernel],
    /// The entries of the tuning table that they were baked for, as lines; empty where there was none.
    pub table: &'static str,
}

impl KernelSet {
    #[doc(hidden)]
    pub const fn new(name: &'static str, kernels: &'static [BakedKernel]) -> Self {
        KernelSet { name, kernels, table: "" }
    }

    #[doc(hidden)]
    pub const fn tuned(name: &'static str, kernels: &'static [BakedKernel], table: &'static str) -> Self {
        KernelSet { name, kernels, table }
    }

    /// The kernels, in their order.
    pub fn iter(&self) -> std::slice::Iter<'static, BakedKernel> {
        self.kernels.iter()
    }

    /// The kernel of this name.
    pub fn find(&self, name: &str) -> Option<&'static BakedKernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
}

impl IntoIterator for KernelSet {
    type Item = &'static BakedKernel;
    type IntoIter = std::slice::Iter<'static, BakedKernel>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for &KernelSet {
    type Item = &'static BakedKernel;
    type IntoIter = std::slice::Iter<'static, BakedKernel>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One kernel variant: its text, what its host must know, and machine code where it was asked for.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct BakedKernel {
    /// The spec's name, which is also the kernel's symbol.
    pub name: &'static str,
    /// The CUDA C++ text in parts. Kernels of a set share what is the same.
    pub source: &'static [&'static str],
    /// The contract between kernel and host, as JSON.
    pub contract: &'static str,
    /// Machine code, one for each target; empty unless `GGEMM_BAKE=cubin` was set when the program was built.
    pub cubins: &'static [BakedCubin],
}

impl BakedKernel {
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        source: &'static [&'static str],
        contract: &'static str,
        cubins: &'static [BakedCubin],
    ) -> Self {
        BakedKernel { name, source, contract, cubins }
    }

    /// The whole CUDA C++ text.
    pub fn source(&self) -> String {
        self.source.concat()
    }

    /// The spec, read from the name.
    ///
    /// # Errors
    /// The name is none that this version of ggemm writes.
    pub fn spec(&self) -> Result<KernelSpec, SpecNameError> {
        self.name.parse()
    }

    /// What it quantizes, read from the name.
    ///
    /// # Errors
    /// The name is none of a kernel that quantizes.
    pub fn quantize_spec(&self) -> Result<QuantizeSpec, QuantizeNameError> {
        self.name.parse()
    }

    /// What it copies to aligned rows, read from the name.
    ///
    /// # Errors
    /// The name is none of a kernel that realigns.
    pub fn realign_spec(&self) -> Result<RealignSpec, RealignNameError> {
        self.name.parse()
    }

    /// The contract, read from its JSON.
    ///
    /// # Errors
    /// It is none that this version of ggemm writes.
    pub fn contract(&self) -> Result<Contract, UnreadableContract> {
        serde_json::from_str(self.contract).map_err(|source| UnreadableContract { kernel: self.name, source })
    }

    /// Machine code for `target`: `None` where none was baked.
    ///
    /// # Errors
    /// The bytes in the program are damaged.
    pub fn cubin(&self, target: Arch) -> Option<Result<Vec<u8>, DamagedCubin>> {
        let cubin = self.cubins.iter().find(|cubin| cubin.target == target.name())?;
        let damaged = |source| DamagedCubin { kernel: self.name, target, source };
        Some(cubin.decompress().map_err(damaged))
    }
}

/// Texts are long; their sizes say enough.
impl fmt::Debug for BakedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BakedKernel")
            .field("name", &self.name)
            .field("source_bytes", &self.source.iter().map(|part| part.len()).sum::<usize>())
            .field("contract_bytes", &self.contract.len())
            .field("cubins", &self.cubins)
            .finish()
    }
}

/// Machine code of a kernel for one target, compressed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct BakedCubin {
    /// The target's name, such as `sm_90a`.
    pub target: &'static str,
    /// The cubin in gzip's format.
    pub gzip: &'static [u8],
}

impl BakedCubin {
    #[doc(hidden)]
    pub const fn new(target: &'static str, gzip: &'static [u8]) -> Self {
        BakedCubin { target, gzip }
    }

    fn decompress(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for BakedCubin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes of gzip)", self.target, self.gzip.len())
    }
}

/// A baked cubin that does not decompress.
#[derive(Debug, thiserror::Error)]
#[error("the cubin of `{kernel}` for {target} in this program is damaged ({source}): build the program anew")]
#[non_exhaustive]
pub struct DamagedCubin {
    /// The kernel's name.
    pub kernel: &'static str,
    /// What the cubin was made for.
    pub target: Arch,
    /// What the decompression met.
    pub source: std::io::Error,
}

/// A baked contract that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("the contract of `{kernel}` in this program cannot be read ({source}): build the program anew")]
#[non_exhaustive]
pub struct UnreadableContract {
    /// The kernel's name.
    pub kernel: &'static str,
    /// What the parser met.
    pub source: serde_json::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    // The macro is used here by the crate that defines it: `$crate` is `crate`.
    crate::kernels! {
        mod nested {
            ops: [forward, grad_w],
            dtypes: [bf16],
            arch: [sm_80],
            shape: { n: 256, k: 512 },
        }
    }

    #[test]
    fn a_set_baked_in_this_very_crate_reads_back() {
        let set = nested::KERNELS;
        assert_eq!(set.name, "nested");
        assert!(set.kernels.len() > 1);
        for kernel in set {
            assert_eq!(kernel.spec().unwrap().to_string(), kernel.name);
            assert!(kernel.source().contains(kernel.name));
            assert_eq!(kernel.contract().unwrap().name, kernel.name);
            assert!(std::ptr::eq(set.find(kernel.name).unwrap(), kernel));
        }
        assert!(set.find("ggemm").is_none());
    }

    /// `printf 'ELF' | gzip -n`
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x73\xf5\x71\x03\x00\x95\x72\x63\x4a\x03\x00\x00\x00";

    #[test]
    fn what_is_damaged_is_noticed_and_named() {
        const GOOD: BakedKernel = BakedKernel::new("k", &["a", "b"], "{}", &[BakedCubin::new("sm_80", GZIP)]);
        let good = GOOD;
        assert_eq!(good.cubin(Arch::Sm80).unwrap().unwrap(), b"ELF");
        assert!(good.cubin(Arch::Sm90a).is_none());
        assert_eq!(
            format!("{good:?}"),
            r#"BakedKernel { name: "k", source_bytes: 2, contract_bytes: 2, cubins: [sm_80 (23 bytes of gzip)] }"#
        );
        let error = good.contract().unwrap_err();
        assert!(error.to_string().starts_with("the contract of `k` in this program cannot be read ("), "{error}");
        for length in 0..GZIP.len() {
            let cubins = vec![BakedCubin::new("sm_80", &GZIP[..length])].leak();
            let error = BakedKernel::new("k", &[], "{}", cubins).cubin(Arch::Sm80).unwrap().unwrap_err();
            assert!(
                error.to_string().starts_with("the cubin of `k` for sm_80 in this program is damaged ("),
                "{error}"
            );
        }
    }
}
