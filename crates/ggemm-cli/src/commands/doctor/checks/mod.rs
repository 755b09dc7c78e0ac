//! The checks, one file each.
//!
//! A further one is a file here and an entry in [`ALL`].

mod cache;
mod compilers;
mod gpu;
mod kernels;
mod launch;
mod table;

use super::finding::Finding;
use super::machine::Machine;

/// Something that is looked at.
pub(super) struct Check {
    /// What it is called where it breaks down itself. No two are alike.
    pub(super) name: &'static str,
    /// What to do then.
    pub(super) remedy: &'static str,
    /// Looks, and adds what later checks need to the machine.
    pub(super) run: fn(&mut Machine) -> Vec<Finding>,
}

/// All checks. Each may use what those before it found.
pub(super) const ALL: [Check; 7] = [
    Check {
        name: "driver",
        remedy: "restart the machine; if that does not help, reinstall the NVIDIA driver",
        run: gpu::check,
    },
    Check {
        name: "NVRTC",
        remedy: "reinstall the CUDA toolkit that CUDA_HOME or LD_LIBRARY_PATH leads to, and the driver: a library of one of \
                 them is damaged",
        run: compilers::nvrtc,
    },
    Check { name: "nvcc", remedy: "reinstall the CUDA toolkit", run: compilers::nvcc },
    Check { name: "cache", remedy: "set GGEMM_CACHE_DIR to another folder", run: cache::check },
    Check { name: "table", remedy: "set GGEMM_TABLE to another file", run: table::check },
    Check { name: "kernels", remedy: "build the program anew", run: kernels::check },
    Check {
        name: "launch",
        remedy: "see `nvidia-smi` and the kernel's log; where the GPU is well, report it with this output",
        run: launch::check,
    },
];
