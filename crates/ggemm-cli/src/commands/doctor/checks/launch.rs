//! One tiny launch, verified: on each GPU as `ggemm verify` does it, without one on the CPU as `ggemm run` does.

use ggemm_codegen::Problem;
use ggemm_runtime::verify::{Case, Extent, Ground};
use ggemm_runtime::{Device, Planner};

use super::super::finding::Finding;
use super::super::machine::Machine;
use crate::commands::run::RunArgs;

/// The seed of the random problem. Any will do, and one that stays can be replayed.
const SEED: u64 = 1;

/// What is computed where there is no GPU: ragged groups, one of them empty, weights for each, all three operations.
const ON_CPU: [&str; 11] =
    ["--backend", "cpu", "--sizes", "5,0,33,2", "-n", "72", "-k", "40", "--weights", "per-expert", "--exact"];

pub(super) fn check(machine: &mut Machine) -> Vec<Finding> {
    if machine.gpus.is_empty() { vec![on_cpu()] } else { machine.gpus.iter().map(on_gpu).collect() }
}

fn on_gpu(device: &Device) -> Finding {
    let name = format!("launch on {}", device.kind());
    let remedy = "`ggemm verify` says more; see `nvidia-smi` and the findings above";
    let Some(arch) = device.arch() else {
        return Finding::problem(name, "the GPU has no architecture that kernels are made for", remedy);
    };
    let problem = Problem::forward(4, 256, 256, 256);
    let spec = match Planner::new(device.clone()).select(&problem, arch) {
        Ok(selection) => *selection.preferred().variant.spec(),
        Err(error) => return Finding::problem(name, error.to_string(), remedy),
    };
    match Case::random(&spec, SEED, Extent::Tiles).check(&Ground::Device(device.clone())) {
        Ok(passed) => Finding::ok(name, format!("{} elements by {spec} are right", passed.elements)),
        Err(failure) => {
            let replay = format!("ggemm verify --variant {spec} --seed {SEED} --cases 1 --extent tiles");
            Finding::problem(name, format!("{spec}: {}", failure.fault), format!("`{replay}` replays it; {remedy}"))
        }
    }
}

fn on_cpu() -> Finding {
    const NAME: &str = "launch";
    let found = "no GPU to launch on; on the CPU forward, grad_x and grad_w";
    let remedy = "`ggemm run --backend cpu` says more; report it";
    match RunArgs::parse_flags(&ON_CPU).and_then(|run| run.holds()) {
        Ok(true) => Finding::ok(NAME, format!("{found} equal the f64 reference")),
        Ok(false) => Finding::problem(NAME, format!("{found} do not equal the f64 reference"), remedy),
        Err(error) => Finding::problem(NAME, format!("{found} cannot be computed: {error}"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    #[test]
    fn what_cannot_be_launched_on_is_told_and_the_cpu_is_right() {
        assert_eq!(on_gpu(&Device::cpu()).status, Status::Problem);
        let finding = on_cpu();
        assert_eq!((finding.status, finding.remedy), (Status::Ok, None), "{}", finding.found);
    }
}
