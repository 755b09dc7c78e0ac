//! Finding GPUs without touching a symbol that may not be there, and without making a context.

use std::fs;

use cudarc::driver::{result, sys};
use ggemm_codegen::Arch;

use super::failure::code;
use crate::device::{Device, NoDevice};

/// CUDA 12.0, as `cuDriverGetVersion` counts.
const NEEDED: i32 = 12_000;

/// The first GPU whose architecture has kernels.
pub(crate) fn first() -> Result<Device, NoDevice> {
    let driver = Driver::load()?;
    let mut unusable = NoDevice::NoGpu;
    for ordinal in 0..driver.count {
        match driver.device(ordinal) {
            Ok(device) => return Ok(device),
            // The first GPU's reason is the one to tell.
            Err(why) if unusable == NoDevice::NoGpu => unusable = why,
            Err(_) => {}
        }
    }
    Err(unusable)
}

/// The GPU of this ordinal.
pub(crate) fn at(ordinal: usize) -> Result<Device, NoDevice> {
    let driver = Driver::load()?;
    if ordinal >= driver.count {
        return Err(NoDevice::NoSuchGpu { ordinal, count: driver.count });
    }
    driver.device(ordinal)
}

/// An initialized driver.
struct Driver {
    name: String,
    count: usize,
}

impl Driver {
    fn load() -> Result<Self, NoDevice> {
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
        Ok(Driver { name: release(version), count: usize::try_from(count).unwrap_or(0) })
    }

    fn device(&self, ordinal: usize) -> Result<Device, NoDevice> {
        let number = i32::try_from(ordinal).unwrap_or(i32::MAX);
        let device = checked("cuDeviceGet", result::device::get(number))?;
        let name = checked("cuDeviceGetName", result::device::get_name(device))?;
        let attribute = |attribute| {
            // SAFETY: `device` is what `cuDeviceGet` returned.
            checked("cuDeviceGetAttribute", unsafe { result::device::get_attribute(device, attribute) })
        };
        let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let capability = u32::try_from(major).ok().zip(u32::try_from(minor).ok());
        let arch = capability.and_then(|(major, minor)| Arch::for_compute_capability(major, minor));
        match arch.zip(capability) {
            Some((arch, capability)) => Ok(Device::found(ordinal, name, arch, capability, self.name.clone())),
            None => Err(NoDevice::UnsupportedCapability { name, major, minor }),
        }
    }
}

/// The driver's release, such as `580.95.05`, where the system tells it; else the CUDA version that it supports.
fn release(version: i32) -> String {
    // The kernel module's own version; `libcuda` goes with it.
    let module = fs::read_to_string("/sys/module/nvidia/version").ok();
    let module = module.or_else(|| {
        let text = fs::read_to_string("/proc/driver/nvidia/version").ok()?;
        text.split_whitespace().find(|word| is_release(word)).map(str::to_owned)
    });
    match module.as_deref().map(str::trim).filter(|word| is_release(word)) {
        Some(release) => release.to_owned(),
        None => format!("CUDA {}.{}", version / 1000, version % 1000 / 10),
    }
}

/// Numbers with points between.
fn is_release(word: &str) -> bool {
    word.contains('.') && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Keeps the raw code: formatting a `DriverError` would call the driver.
fn checked<T>(call: &'static str, result: Result<T, result::DriverError>) -> Result<T, NoDevice> {
    result.map_err(|error| NoDevice::Driver { call, code: code(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_told_from_other_words() {
        assert!(is_release("580.95.05"));
        for word in ["NVRM", "580", "x86_64", "580.", "12:00.5a", ""] {
            assert!(!is_release(word), "{word}");
        }
        assert!(!release(13_000).is_empty());
    }
}
