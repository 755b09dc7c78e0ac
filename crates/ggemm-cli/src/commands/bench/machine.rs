//! What times depend on beside the program: the processor's name, the card's state.

use std::process::Command;

use ggemm_runtime::{Device, DeviceKind};

/// The device, so that records of two machines are told apart: a GPU's name, or the processor's with the threads that
/// compute.
pub(super) fn name(device: &Device) -> String {
    if device.kind() != DeviceKind::Cpu {
        return device.name().to_owned();
    }
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor(&info).unwrap_or(std::env::consts::ARCH);
    format!("cpu ({processor}, {} threads)", rayon::current_num_threads())
}

fn processor(info: &str) -> Option<&str> {
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

/// A card's clocks, power and temperature now; `None` where there is no `nvidia-smi`.
pub(super) fn card(device: &Device) -> Option<String> {
    let DeviceKind::Cuda(ordinal) = device.kind() else { return None };
    let query = "--query-gpu=clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu";
    let id = format!("--id={ordinal}");
    let output = Command::new("nvidia-smi").args([query, "--format=csv,noheader", &id]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    output.status.success().then(|| format!("SM, memory and highest SM clock, power, its limit, temperature: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_a_name() {
        let info = "processor\t: 0\nvendor_id\t: X\nmodel name\t: X(R) Y 7 @ 2.00GHz\nmodel name\t: Z\n";
        assert_eq!(processor(info), Some("X(R) Y 7 @ 2.00GHz"));
        assert_eq!([processor(""), processor("model name\t: \n")], [None, None]);
        assert!(name(&Device::cpu()).starts_with("cpu ("));
    }
}
