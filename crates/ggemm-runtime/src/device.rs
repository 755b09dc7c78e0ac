//! Where a product is computed.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "cuda")]
use std::sync::OnceLock;

use ggemm_codegen::Arch;

use crate::error::Error;

/// What kind of machine a [`Device`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The host's processors.
    Cpu,
    /// An NVIDIA GPU, by its ordinal in the driver's order.
    Cuda(usize),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// Where a product is computed and a buffer lies. Cloning is cheap; two clones are equal.
#[derive(Clone, Debug)]
pub struct Device(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: DeviceKind,
    name: String,
    arch: Option<Arch>,
    compute_capability: Option<(u32, u32)>,
    driver: Option<String>,
    why_not_gpu: Option<NoDevice>,
    /// The GPU, once its context exists.
    #[cfg(feature = "cuda")]
    gpu: OnceLock<&'static crate::cuda::Gpu>,
}

impl Device {
    /// The host's processors.
    pub fn cpu() -> Self {
        Self::host(None)
    }

    fn host(why_not_gpu: Option<NoDevice>) -> Self {
        Device(Arc::new(Inner {
            kind: DeviceKind::Cpu,
            name: "cpu".into(),
            arch: None,
            compute_capability: None,
            driver: None,
            why_not_gpu,
            #[cfg(feature = "cuda")]
            gpu: OnceLock::new(),
        }))
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn found(
        ordinal: usize,
        name: String,
        arch: Arch,
        compute_capability: (u32, u32),
        driver: String,
    ) -> Self {
        Device(Arc::new(Inner {
            kind: DeviceKind::Cuda(ordinal),
            name,
            arch: Some(arch),
            compute_capability: Some(compute_capability),
            driver: Some(driver),
            why_not_gpu: None,
            gpu: OnceLock::new(),
        }))
    }

    /// The first GPU that ggemm can use.
    ///
    /// # Errors
    /// Why there is none. Nothing panics where no driver is installed.
    pub fn probe() -> Result<Self, NoDevice> {
        #[cfg(feature = "cuda")]
        return crate::cuda::probe::first();
        #[cfg(not(feature = "cuda"))]
        Err(NoDevice::NotBuilt)
    }

    /// The GPU of this ordinal in the driver's order, which `CUDA_VISIBLE_DEVICES` changes.
    ///
    /// # Errors
    /// Why it cannot be used. Nothing panics where no driver is installed.
    pub fn cuda(ordinal: usize) -> Result<Self, NoDevice> {
        #[cfg(feature = "cuda")]
        return crate::cuda::probe::at(ordinal);
        #[cfg(not(feature = "cuda"))]
        {
            _ = ordinal;
            Err(NoDevice::NotBuilt)
        }
    }

    /// The first GPU that ggemm can use, else the CPU, which then remembers why ([`Device::why_not_gpu`]).
    pub fn best() -> Self {
        Self::probe().unwrap_or_else(|why| Self::host(Some(why)))
    }

    /// Waits until all that was asked of the device is done. The CPU has always done it.
    ///
    /// # Errors
    /// [`Error::Cuda`], where among others the faults of kernels show that ran since.
    pub fn synchronize(&self) -> Result<(), Error> {
        match self.kind() {
            DeviceKind::Cpu => Ok(()),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda(_) => Ok(self.gpu()?.synchronize()?),
            #[cfg(not(feature = "cuda"))]
            DeviceKind::Cuda(_) => Err(Error::NoBackend { device: self.to_string() }),
        }
    }

    /// The stream of [`Plan::run`](crate::Plan::run) and of the buffers' copies.
    ///
    /// # Errors
    /// [`Error::NotAGpu`] for the CPU, [`Error::Cuda`] where the driver refuses.
    #[cfg(feature = "cuda")]
    pub fn stream(&self) -> Result<crate::cuda::Stream, Error> {
        Ok(self.gpu()?.own_stream()?.clone())
    }

    /// The GPU itself, whose context is made at the first call.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Result<&'static crate::cuda::Gpu, Error> {
        if let Some(gpu) = self.0.gpu.get() {
            return Ok(gpu);
        }
        match (self.kind(), self.arch()) {
            (DeviceKind::Cuda(ordinal), Some(arch)) => {
                let gpu = crate::cuda::Gpu::open(ordinal, &self.to_string(), arch)?;
                Ok(self.0.gpu.get_or_init(|| gpu))
            }
            _ => Err(Error::NotAGpu { device: self.to_string() }),
        }
    }

    /// CPU, or GPU and which.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind
    }

    /// `cpu`, or the GPU's name as the driver gives it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The architecture to compile for; `None` for the CPU.
    pub fn arch(&self) -> Option<Arch> {
        self.0.arch
    }

    /// The GPU's compute capability, major and minor number; `None` for the CPU.
    pub fn compute_capability(&self) -> Option<(u32, u32)> {
        self.0.compute_capability
    }

    /// The GPU's driver, such as `580.95.05`, or `CUDA 13.0` where the system tells only what the driver supports;
    /// `None` for the CPU.
    pub fn driver(&self) -> Option<&str> {
        self.0.driver.as_deref()
    }

    /// For a CPU that [`Device::best`] fell back to: why no GPU was taken.
    pub fn why_not_gpu(&self) -> Option<&NoDevice> {
        self.0.why_not_gpu.as_ref()
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.arch {
            Some(arch) => write!(f, "{} ({}, {arch})", self.kind(), self.name()),
            None => write!(f, "{}", self.kind()),
        }
    }
}

/// Why [`Device::probe`] found no GPU to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDevice {
    /// Built without the feature `cuda`.
    #[error("ggemm was built without the feature `cuda`: enable it to use GPUs")]
    NotBuilt,
    /// No driver library.
    #[error("no NVIDIA driver is installed: the loader finds no libcuda")]
    NoDriver,
    /// A driver from before CUDA 12.
    #[error("the NVIDIA driver supports CUDA {}.{}, ggemm needs {}: update the driver", version / 1000, version % 1000 / 10, NEEDED_CUDA)]
    DriverTooOld {
        /// What the driver reports: 1000 times the major version plus 10 times the minor one.
        version: i32,
    },
    /// A driver, and no GPU that it shows.
    #[error("the NVIDIA driver shows no GPU: check CUDA_VISIBLE_DEVICES and, in a container, that a GPU is passed in")]
    NoGpu,
    /// Fewer GPUs than the ordinal asks for.
    #[error("there is no GPU {ordinal}: the NVIDIA driver shows {count}, counted from 0")]
    NoSuchGpu {
        /// The ordinal asked for.
        ordinal: usize,
        /// The GPUs that there are.
        count: usize,
    },
    /// GPUs, and none of a compute capability that ggemm has kernels for.
    #[error(
        "{name} has compute capability {major}.{minor}, for which ggemm has no kernels: it needs one of 8.0, 8.6, 8.7, 8.9, 9.0, 10.0 and 12.0"
    )]
    UnsupportedCapability {
        /// The GPU's name.
        name: String,
        /// Its compute capability's major number.
        major: i32,
        /// Its compute capability's minor number.
        minor: i32,
    },
    /// A call of the driver failed.
    #[error("{call} failed with CUresult {code}: the NVIDIA driver is not usable")]
    Driver {
        /// The driver's function.
        call: &'static str,
        /// The `CUresult`, unformatted: its text is the driver's to tell, and the driver may be the one missing.
        code: u32,
    },
}

/// The CUDA version that the driver must support.
const NEEDED_CUDA: &str = "12.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_for_a_gpu_never_panics() {
        match Device::probe() {
            Ok(device) => assert!(device.arch().is_some() && device == Device::best()),
            Err(why) => {
                let device = Device::best();
                assert_eq!((device.kind(), device.why_not_gpu()), (DeviceKind::Cpu, Some(&why)));
                assert_eq!(device, Device::cpu());
            }
        }
    }

    #[test]
    fn reasons_say_what_to_do() {
        let old = NoDevice::DriverTooOld { version: 11_040 };
        assert_eq!(old.to_string(), "the NVIDIA driver supports CUDA 11.4, ggemm needs 12.0: update the driver");
        let failed = NoDevice::Driver { call: "cuInit", code: 999 };
        assert_eq!(failed.to_string(), "cuInit failed with CUresult 999: the NVIDIA driver is not usable");
    }
}
