//! Why nothing could be done with the compile cache.

use std::path::PathBuf;

use ggemm_compile::{Bypass, NvccError, NvrtcError, TargetError};
use ggemm_runtime::NoDevice;

/// Why `ggemm cache` could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// A cache that cannot be used.
    #[error("{0}")]
    Unusable(Bypass),
    /// A cache that takes nothing.
    #[error(
        "the cache folder {} cannot be written: {reason}; make it writable, or set GGEMM_CACHE_DIR to a folder that is",
        folder.display()
    )]
    ReadOnly {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No architecture to warm the cache for.
    #[error("cache warm compiles for this machine's GPU unless --arch names an architecture: {0}")]
    NoGpu(NoDevice),
    /// No NVRTC.
    #[error("cache warm needs NVRTC, which programs compile with when they run: {0}")]
    NoNvrtc(NvrtcError),
    /// No nvcc.
    #[error("--compiler nvcc: {0}")]
    NoNvcc(NvccError),
    /// An architecture that no compiler knows by this name.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Kernels that were not compiled.
    #[error("{failed} of {total} kernels could not be compiled; {kernel} for {arch}: {reason}")]
    NotCompiled {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// One of them.
        kernel: &'static str,
        /// Its architecture.
        arch: &'static str,
        /// What the compiler said.
        reason: String,
    },
    /// Kernels that were compiled and are not kept.
    #[error("{failed} of {total} kernels were compiled and could not be kept: {reason}")]
    NotKept {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// Why one of them is not.
        reason: Bypass,
    },
    /// Entries that could not be removed.
    #[error("{failed} entries could not be removed; {}: {reason}: remove them by hand", path.display())]
    NotRemoved {
        /// How many.
        failed: usize,
        /// One of them.
        path: PathBuf,
        /// What the system said of it.
        reason: String,
    },
}
