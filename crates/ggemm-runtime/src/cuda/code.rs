//! Machine code for a baked kernel: baked with it, else from the cache on disk, else compiled now.

use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

use ggemm_codegen::Arch;
use ggemm_compile::{Cache, CacheLocation, Compiler, Nvrtc, NvrtcError, Origin, Request, Target};

use crate::baked::BakedKernel;

/// Where a kernel's machine code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CodeOrigin {
    /// The program: it was compiled when the program was built (`GGEMM_BAKE=cubin`).
    Baked,
    /// The cache on disk, `GGEMM_CACHE_DIR` or the user's cache folder.
    Cached,
    /// NVRTC, in this process.
    Compiled,
}

impl fmt::Display for CodeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CodeOrigin::Baked => "baked",
            CodeOrigin::Cached => "cached",
            CodeOrigin::Compiled => "compiled",
        })
    }
}

/// Why there is no machine code for a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The program has none, and NVRTC is not there to make it.
    #[error(
        "this program has no machine code of {kernel} for {target}, and NVRTC, which would make it, is missing: \
         {reason}. Or build the program with GGEMM_BAKE=cubin, and it needs no NVRTC"
    )]
    NoCompiler {
        /// The kernel.
        kernel: &'static str,
        /// The architecture.
        target: Arch,
        /// What was looked for.
        reason: NvrtcError,
    },
    /// NVRTC did not compile the kernel.
    #[error("{kernel} cannot be compiled for {target}: {reason}")]
    NotCompiled {
        /// The kernel.
        kernel: &'static str,
        /// The architecture.
        target: Arch,
        /// What the compiler said.
        reason: String,
    },
    /// The program's machine code is damaged.
    #[error("{reason}")]
    Damaged {
        /// The kernel.
        kernel: &'static str,
        /// The architecture.
        target: Arch,
        /// The damage and its remedy.
        reason: String,
    },
}

/// Machine code, and where it came from.
pub(crate) struct Code {
    pub(crate) cubin: Vec<u8>,
    pub(crate) origin: CodeOrigin,
}

impl Code {
    /// Machine code of `kernel` for `target`.
    pub(crate) fn find(kernel: &'static BakedKernel, target: Arch) -> Result<Self, CodeError> {
        match kernel.cubin(target) {
            Some(Ok(cubin)) => Ok(Code { cubin, origin: CodeOrigin::Baked }),
            Some(Err(damage)) => Err(CodeError::Damaged { kernel: kernel.name, target, reason: damage.to_string() }),
            None => Self::make(kernel, target),
        }
    }

    /// From the cache, else from NVRTC. The cache is asked by the compiler too, so that even a hit needs NVRTC.
    fn make(kernel: &'static BakedKernel, target: Arch) -> Result<Self, CodeError> {
        let nvrtc = Nvrtc::find().map_err(|reason| CodeError::NoCompiler { kernel: kernel.name, target, reason })?;
        let not_compiled = |reason: String| CodeError::NotCompiled { kernel: kernel.name, target, reason };
        let name: Target = target.name().parse().map_err(|e| not_compiled(format!("{e}")))?;
        let source = kernel.source();
        let request = Request::new(kernel.name, &source, &name);
        tracing::debug!(target: "compile", kernel = kernel.name, %target, "looking for machine code");
        let start = Instant::now();
        let (cubin, origin) = cache()
            .get_or_compile(&Compiler::from(nvrtc), &request)
            .map_err(|error| not_compiled(error.to_string()))?;
        let milliseconds = start.elapsed().as_millis();
        match &origin {
            Origin::Hit => tracing::debug!(target: "compile", kernel = kernel.name, %target, milliseconds, "cached"),
            _ => tracing::info!(target: "compile", kernel = kernel.name, %target, milliseconds, "{origin}"),
        }
        let origin = if origin == Origin::Hit { CodeOrigin::Cached } else { CodeOrigin::Compiled };
        Ok(Code { cubin: cubin.bytes, origin })
    }
}

/// The process' one cache, where the environment says.
fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| Cache::open(CacheLocation::from_env()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    /// No GPU is needed to compile; where NVRTC is missing too, the error says so and names both remedies.
    #[test]
    fn machine_code_is_found_or_its_absence_explained() {
        let kernel = &catalogue::KERNELS.kernels[0];
        match Code::find(kernel, Arch::Sm80) {
            Ok(code) => assert!(code.cubin.starts_with(b"\x7fELF")),
            Err(error @ CodeError::NoCompiler { .. }) => {
                let text = error.to_string();
                assert!(text.contains(kernel.name) && text.contains("for sm_80"), "{text}");
                assert!(text.contains("CUDA_HOME") && text.contains("GGEMM_BAKE=cubin"), "{text}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
