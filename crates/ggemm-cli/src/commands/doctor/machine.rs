//! What earlier checks found, for later ones and for the report.

use ggemm_codegen::Arch;
use ggemm_compile::Compiler;
use ggemm_runtime::Device;
use serde::{Deserialize, Serialize};

/// What is known of the machine so far.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// The GPUs that ggemm has kernels for.
    pub(super) gpus: Vec<Device>,
    /// NVRTC, if it is there.
    pub(super) nvrtc: Option<Compiler>,
    /// The program's kernels for each architecture.
    pub(super) kernels: Vec<Kernels>,
}

impl Machine {
    /// The architectures of the GPUs, each once.
    pub(super) fn arches(&self) -> Vec<Arch> {
        let mut arches: Vec<Arch> = self.gpus.iter().filter_map(Device::arch).collect();
        arches.sort();
        arches.dedup();
        arches
    }
}

/// A GPU that can be used.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gpu {
    /// Such as `cuda:0`.
    pub(super) device: String,
    pub(super) name: String,
    pub(super) arch: Option<Arch>,
    pub(super) driver: Option<String>,
}

impl Gpu {
    pub(super) fn new(device: &Device) -> Self {
        Gpu {
            device: device.kind().to_string(),
            name: device.name().to_owned(),
            arch: device.arch(),
            driver: device.driver().map(str::to_owned),
        }
    }
}

/// The kernels in the program for one architecture.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kernels {
    pub(super) arch: Arch,
    pub(super) variants: Vec<Kernel>,
}

/// One of them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) code: Code,
}

/// Where a kernel's machine code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Code {
    /// In the program.
    Baked,
    /// In the cache, made by the NVRTC that is there.
    Cached,
    /// Nowhere: the program has the source alone. Of architectures that no GPU here has, the cache is not asked.
    Source,
}

impl Code {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Code::Baked => "baked",
            Code::Cached => "cached",
            Code::Source => "to be compiled",
        }
    }
}
