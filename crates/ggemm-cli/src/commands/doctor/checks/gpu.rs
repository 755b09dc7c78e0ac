//! The driver, and the GPUs that it shows.

use std::path::Path;

use ggemm_runtime::{Device, NoDevice};

use super::super::finding::Finding;
use super::super::machine::Machine;

/// What a driver leaves in the system, whether or not its library is found.
const TRACES: [&str; 2] = ["/proc/driver/nvidia/version", "/dev/nvidiactl"];

pub(super) fn check(machine: &mut Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ordinal in 0.. {
        let name = format!("GPU {ordinal}");
        match Device::cuda(ordinal) {
            Ok(device) => {
                let arch = device.arch().map_or("an unknown architecture", |arch| arch.name());
                findings.push(Finding::ok(name, format!("{}, {arch}", device.name())));
                machine.gpus.push(device);
            }
            Err(NoDevice::NoSuchGpu { count, .. }) if count > 0 => break,
            Err(why @ NoDevice::UnsupportedCapability { .. }) => {
                let remedy = "compute on another GPU, or on the CPU; CUDA_VISIBLE_DEVICES chooses GPUs";
                findings.push(Finding::note(name, why.to_string(), remedy));
            }
            Err(why) if ordinal == 0 => return vec![missing(&why)],
            // The driver said that there is one more.
            Err(why) => {
                findings.push(Finding::problem(
                    name,
                    why.to_string(),
                    "see `nvidia-smi`: the GPU or its driver failed",
                ));
                break;
            }
        }
    }
    findings.insert(0, driver(machine.gpus.first()));
    findings
}

/// A driver that shows GPUs.
fn driver(first: Option<&Device>) -> Finding {
    Finding::ok("driver", first.and_then(Device::driver).unwrap_or("is there"))
}

/// Why there is not a single GPU.
fn missing(why: &NoDevice) -> Finding {
    match why {
        NoDevice::NoDriver => no_driver(TRACES.into_iter().find(|path| Path::new(path).exists())),
        NoDevice::NoGpu | NoDevice::NoSuchGpu { .. } => no_gpu(std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref()),
        NoDevice::DriverTooOld { .. } => Finding::problem(
            "driver",
            why.to_string(),
            "install a newer NVIDIA driver; in a container, on the machine that runs it",
        ),
        NoDevice::NotBuilt => Finding::note("driver", why.to_string(), "build ggemm with its default features"),
        _ => Finding::problem(
            "driver",
            why.to_string(),
            "see `nvidia-smi` and the kernel's log; after an update of the driver, restart the machine",
        ),
    }
}

/// No library: on a machine without a GPU as it should be, and else a sign of one that was lost.
fn no_driver(trace: Option<&str>) -> Finding {
    match trace {
        None => Finding::note(
            "driver",
            "none: the loader finds no libcuda, so that programs compute on the CPU",
            "on a machine with an NVIDIA GPU, install its driver",
        ),
        Some(trace) => Finding::problem(
            "driver",
            format!("{trace} is there, but the loader finds no libcuda"),
            "in a container, pass the driver in (`--gpus all`); else add the folder of libcuda.so.1 to LD_LIBRARY_PATH",
        ),
    }
}

/// A driver that shows no GPU: somebody may have wanted it so.
fn no_gpu(visible: Option<&str>) -> Finding {
    match visible {
        Some(visible) => Finding::note(
            "driver",
            format!("shows no GPU, with CUDA_VISIBLE_DEVICES set to `{visible}`: programs compute on the CPU"),
            "unset CUDA_VISIBLE_DEVICES to use GPUs",
        ),
        None => Finding::problem(
            "driver",
            "is there and shows no GPU",
            "see `nvidia-smi`; in a container, pass a GPU in (`--gpus all`)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    #[test]
    fn what_is_meant_to_be_there_and_is_not_is_a_problem() {
        assert_eq!(no_driver(None).status, Status::Note);
        assert_eq!(no_driver(Some("/dev/nvidiactl")).status, Status::Problem);
        assert_eq!(no_gpu(Some("")).status, Status::Note);
        assert_eq!(no_gpu(None).status, Status::Problem);
        let old = missing(&NoDevice::DriverTooOld { version: 11_040 });
        assert_eq!(old.status, Status::Problem);
        assert!(old.found.contains("CUDA 11.4") && old.remedy.unwrap().contains("newer"), "{}", old.found);
        let failed = missing(&NoDevice::Driver { call: "cuInit", code: 999 });
        assert_eq!(failed.status, Status::Problem);
        assert!(failed.found.starts_with("cuInit failed"), "{}", failed.found);
    }
}
