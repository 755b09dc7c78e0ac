//! Finding a GPU without touching a symbol that may not be there.

use cudarc::driver::{result, sys};
use ggemm_codegen::Arch;

use crate::device::{Device, NoDevice};

/// CUDA 12.0, as `cuDriverGetVersion` counts.
const NEEDED: i32 = 12_000;

/// The first GPU whose architecture has kernels.
pub(crate) fn first() -> Result<Device, NoDevice> {
    // SAFETY: it only asks the loader for the library; libcuda's initializers are sound to run on any thread.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoDevice::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the library is present, every version of it has this symbol, and the pointer is to a live integer.
    checked("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&mut version) }.result())?;
    if version < NEEDED {
        return Err(NoDevice::DriverTooOld { version });
    }
    match result::init() {
        Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(NoDevice::NoGpu),
        other => checked("cuInit", other)?,
    }
    let count = checked("cuDeviceGetCount", result::device::get_count())?;
    let mut unsupported = None;
    for ordinal in 0..count {
        let device = checked("cuDeviceGet", result::device::get(ordinal))?;
        let name = checked("cuDeviceGetName", result::device::get_name(device))?;
        let attribute = |attribute| {
            // SAFETY: `device` is what `cuDeviceGet` returned.
            checked("cuDeviceGetAttribute", unsafe { result::device::get_attribute(device, attribute) })
        };
        let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let arch = match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) => Arch::for_compute_capability(major, minor),
            _ => None,
        };
        match (arch, usize::try_from(ordinal)) {
            (Some(arch), Ok(ordinal)) => return Ok(Device::cuda(ordinal, name, arch)),
            _ => _ = unsupported.get_or_insert(NoDevice::UnsupportedCapability { name, major, minor }),
        }
    }
    Err(unsupported.unwrap_or(NoDevice::NoGpu))
}

/// Keeps the raw code: formatting a `DriverError` would call the driver.
fn checked<T>(call: &'static str, result: Result<T, result::DriverError>) -> Result<T, NoDevice> {
    result.map_err(|e| NoDevice::Driver { call, code: e.0 as u32 })
}
