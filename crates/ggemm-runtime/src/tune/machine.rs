//! This machine, as tables name it.

use ggemm_table::Machine;

use crate::catalogue;
use crate::device::Device;

/// What a time on `device` depends on; `None` for the CPU, which has one way to compute.
pub(crate) fn machine(device: &Device) -> Option<Machine> {
    let (major, minor) = device.compute_capability()?;
    Some(Machine {
        gpu: device.name().to_owned(),
        compute_capability: format!("{major}.{minor}"),
        driver: device.driver().unwrap_or("unknown").to_owned(),
        ggemm: env!("CARGO_PKG_VERSION").to_owned(),
        kernels: catalogue::fingerprint().to_owned(),
    })
}
