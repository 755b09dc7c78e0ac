//! What there is to compute on.

use ggemm_runtime::{Device, DeviceKind};
use pyo3::prelude::*;

/// The device that ggemm would choose, and what is known of it.
#[pyclass(frozen, get_all, name = "Device", module = "ggemm._ggemm")]
pub(crate) struct DeviceInfo {
    /// `cpu`, or `cuda:N`.
    kind: String,
    /// `cpu`, or the GPU's name.
    name: String,
    /// The architecture that kernels are compiled for; `None` for the CPU.
    arch: Option<String>,
    /// The GPU's driver; `None` for the CPU.
    driver: Option<String>,
    /// For the CPU: why no GPU was taken.
    why_not_gpu: Option<String>,
}

#[pymethods]
impl DeviceInfo {
    /// Whether it is a GPU.
    #[getter]
    fn is_gpu(&self) -> bool {
        self.arch.is_some()
    }

    fn __repr__(&self) -> String {
        let DeviceInfo { kind, name, arch, driver, why_not_gpu } = self;
        match (arch, driver, why_not_gpu) {
            (Some(arch), driver, _) => {
                let driver = driver.as_deref().unwrap_or("unknown");
                format!("<ggemm.Device {kind}: {name}, {arch}, driver {driver}>")
            }
            (None, _, Some(why)) => format!("<ggemm.Device {kind}: {why}>"),
            (None, _, None) => format!("<ggemm.Device {kind}>"),
        }
    }
}

/// Looks for a GPU. It never fails: where there is none, the result is the CPU and says why.
#[pyfunction]
pub(crate) fn probe(py: Python<'_>) -> DeviceInfo {
    let device = py.detach(Device::best);
    DeviceInfo {
        kind: match device.kind() {
            DeviceKind::Cpu => "cpu".to_owned(),
            kind => kind.to_string(),
        },
        name: device.name().to_owned(),
        arch: device.arch().map(|arch| arch.name().to_owned()),
        driver: device.driver().map(str::to_owned),
        why_not_gpu: device.why_not_gpu().map(ToString::to_string),
    }
}
