//! A variant's machine code on a GPU.

use std::ffi::CString;

use cudarc::driver::{result, sys};
use ggemm_codegen::Contract;

use super::attributes;
use super::code::{Code, CodeOrigin};
use super::failure::Failure;
use super::gpu::Gpu;
use crate::baked::BakedKernel;
use crate::error::Error;

/// A kernel that a GPU can launch. Its module stays loaded for the life of the process, as the GPU's context does.
#[derive(Debug)]
pub(super) struct LoadedKernel {
    baked: &'static BakedKernel,
    function: sys::CUfunction,
    origin: CodeOrigin,
    /// CTAs that are resident on the GPU at once.
    resident: u32,
}

// SAFETY: a function is a handle that the driver lets any thread use, and nothing unloads its module.
unsafe impl Send for LoadedKernel {}
// SAFETY: as above.
unsafe impl Sync for LoadedKernel {}

impl LoadedKernel {
    /// Finds, compiles if need be, and loads the machine code of `baked`, whose contract this is.
    pub(super) fn load(gpu: &'static Gpu, baked: &'static BakedKernel, contract: &Contract) -> Result<Self, Error> {
        let code = Code::find(baked, gpu.arch())?;
        let _current = gpu.enter()?;
        let function = function(gpu, &code.cubin, baked.name)?;
        let shared = i32::try_from(contract.shared_bytes).unwrap_or(i32::MAX);
        let most_shared = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function was just loaded.
        let set = unsafe { result::function::set_function_attribute(function, most_shared, shared) };
        gpu.check("cuFuncSetAttribute", set)?;
        let resident = if contract.cluster > 1 {
            resident_in_clusters(gpu, function, contract)?
        } else {
            resident_alone(gpu, function, contract)?
        };
        tracing::debug!(target: "cuda", kernel = baked.name, origin = %code.origin, resident, "loaded");
        Ok(LoadedKernel { baked, function, origin: code.origin, resident })
    }

    pub(super) fn function(&self) -> sys::CUfunction {
        self.function
    }

    pub(super) fn origin(&self) -> CodeOrigin {
        self.origin
    }

    pub(super) fn resident(&self) -> u32 {
        self.resident
    }

    pub(super) fn name(&self) -> &'static str {
        self.baked.name
    }

    /// Whether it was loaded from this very text.
    pub(super) fn is_of(&self, baked: &BakedKernel) -> bool {
        std::ptr::eq(self.baked, baked) || self.baked.source == baked.source
    }
}

/// CTAs that the GPU holds at once.
fn resident_alone(gpu: &Gpu, function: sys::CUfunction, contract: &Contract) -> Result<u32, Failure> {
    let threads = i32::try_from(contract.threads).unwrap_or(i32::MAX);
    // SAFETY: the function is loaded.
    let each = unsafe {
        result::occupancy::max_active_block_per_multiprocessor(function, threads, contract.shared_bytes as usize)
    };
    let each = gpu.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", each)?;
    Ok(u32::try_from(each).unwrap_or(1).max(1).saturating_mul(gpu.multiprocessors()))
}

/// The same in clusters, which not all multiprocessors have neighbours for.
fn resident_in_clusters(gpu: &Gpu, function: sys::CUfunction, contract: &Contract) -> Result<u32, Failure> {
    let mut attributes = attributes::of(contract.cluster, false);
    let config = attributes::config(contract.cluster, contract.threads, contract.shared_bytes, None, &mut attributes);
    let mut clusters = 0;
    // SAFETY: the function is loaded; the configuration and its attributes live through the call.
    let counted = unsafe { sys::cuOccupancyMaxActiveClusters(&raw mut clusters, function, &raw const config) };
    gpu.check("cuOccupancyMaxActiveClusters", counted.result())?;
    Ok(u32::try_from(clusters).unwrap_or(1).max(1).saturating_mul(contract.cluster))
}

/// Loads a cubin and finds the one kernel in it.
fn function(gpu: &Gpu, cubin: &[u8], name: &str) -> Result<sys::CUfunction, Failure> {
    let symbol = CString::new(name).unwrap_or_default();
    // SAFETY: the image is a whole ELF file, which carries its own lengths: it comes from a compiler, the checked cache
    // or the program itself. The driver copies it.
    let module = gpu.check("cuModuleLoadData", unsafe { result::module::load_data(cubin.as_ptr().cast()) })?;
    // SAFETY: the module was just loaded.
    gpu.check("cuModuleGetFunction", unsafe { result::module::get_function(module, symbol) })
}
