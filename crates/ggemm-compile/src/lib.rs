//! Compiles CUDA C++ to cubins, and keeps them.
//!
//! This crate finds a compiler (nvcc, or NVRTC inside the process), runs it, reads what it says about the code it
//! made, and keeps the result on disk for the next process. It knows nothing of kernels or devices.
//!
//! ```no_run
//! use ggemm_compile::{Cache, CacheLocation, Compiler, Nvcc, Request};
//!
//! let compiler = Compiler::from(Nvcc::find()?);
//! let cache = Cache::open(CacheLocation::from_env());
//! let source = "extern \"C\" __global__ void saxpy(float* y) { y[threadIdx.x] *= 2.0f; }";
//! let target = "sm_90a".parse()?;
//! let request = Request::new("saxpy", source, &target);
//! let (cubin, origin) = cache.get_or_compile(&compiler, &request)?;
//! println!("{} bytes, {origin}", cubin.bytes.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(feature = "nvrtc"), forbid(unsafe_code))]
#![cfg_attr(feature = "nvrtc", deny(unsafe_code))]

mod cache;
mod compile;
mod facts;
#[cfg(feature = "nvrtc")]
mod nvrtc;
mod target;
#[cfg(test)]
#[cfg(unix)]
mod testing;
mod toolchain;

pub use cache::{
    Bypass, Cache, CacheKey, CacheLocation, Condition, Entry, Origin, Outcome, PruneRule, Pruned, Reason, Removal,
    trust,
};
pub use compile::{CompileError, Cubin, Options, Request, compile};
pub use facts::{Facts, warnings};
#[cfg(feature = "nvrtc")]
pub use nvrtc::{Nvrtc, NvrtcError};
pub use target::{Target, TargetError};
pub use toolchain::{Compiler, LookedAt, Nvcc, NvccError};
