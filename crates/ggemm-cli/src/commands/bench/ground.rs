//! Where variants are timed, and which.

use std::time::Duration;

use ggemm_codegen::{Arch, KernelSpec};
use ggemm_runtime::tune::{self, Bench, Clock, CpuClock, Task, Turns, worth_timing};
use ggemm_runtime::{Candidate, Device, DeviceKind, Error, NoDevice, Planner};

use super::args::BenchArgs;
use super::error::BenchError;
use crate::commands::run::BackendArg;
use crate::commands::verify;
use crate::error::CliError;
use crate::names::matches;

/// A device, ready to time on.
pub(super) enum Ground {
    /// The host's processors.
    Cpu,
    /// A GPU.
    Gpu { planner: Box<Planner>, arch: Arch, bench: Box<dyn Bench> },
}

/// Which variants of those that compute a problem.
pub(super) enum Which {
    /// What a plan takes.
    Chosen,
    /// Those whose names match a pattern, and those of a whole name that do not ship.
    Named(Vec<String>),
    /// Those whose predicted time is within a factor of the least, and what a plan takes.
    All { within: f64 },
}

/// One variant that is timed.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    /// `None`: the CPU backend.
    pub(super) spec: Option<KernelSpec>,
    /// Whether a plan takes it.
    pub(super) chosen: bool,
    /// Whether a plan takes it that has no table.
    pub(super) by_model: bool,
    pub(super) predicted_us: Option<f64>,
}

impl Contender {
    pub(super) fn name(&self) -> String {
        self.spec.map_or_else(|| "cpu".to_owned(), |spec| spec.to_string())
    }
}

impl BenchArgs {
    /// The device that the flags name, for what they ask of it.
    pub(super) fn ground(&self) -> Result<(Device, Ground), CliError> {
        let device = match self.how.backend {
            BackendArg::Interpret => return Err(BenchError::Interpreter.into()),
            BackendArg::Cpu => Device::cpu(),
            BackendArg::Cuda => self.gpu()?,
            BackendArg::Auto if self.how.gpu.is_some() => self.gpu()?,
            BackendArg::Auto => Device::best(),
        };
        if device.kind() == DeviceKind::Cpu {
            self.refuse_on_cpu(&device)?;
            return Ok((device, Ground::Cpu));
        }
        let planner = Planner::new(device.clone());
        let bench = tune::on_gpu(&planner).map_err(BenchError::from)?;
        let arch = device.arch().ok_or_else(|| BenchError::NoArch { device: device.to_string() })?;
        if !self.variants.variants.is_empty() {
            verify::products(&self.variants.variants, arch)?;
        }
        Ok((device, Ground::Gpu { planner: Box::new(planner), arch, bench }))
    }

    fn gpu(&self) -> Result<Device, NoDevice> {
        self.how.gpu.map_or_else(Device::probe, Device::cuda)
    }

    fn refuse_on_cpu(&self, device: &Device) -> Result<(), BenchError> {
        let flags = [
            ("--variant", !self.variants.variants.is_empty()),
            ("--all", self.variants.all),
            ("--launch-cost", self.how.launch_cost),
        ];
        let why = device.why_not_gpu().map_or_else(String::new, |why| format!(" ({why})"));
        match flags.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(BenchError::OnCpu { flag, why }),
            None => Ok(()),
        }
    }

    /// Which variants are timed.
    pub(super) fn which(&self) -> Which {
        match (self.variants.all, self.variants.variants.as_slice()) {
            (true, _) => Which::All { within: self.variants.within.unwrap_or(f64::INFINITY) },
            (false, []) => Which::Chosen,
            (false, patterns) => Which::Named(patterns.to_vec()),
        }
    }
}

impl Ground {
    /// What takes part in timing a task.
    pub(super) fn contenders(&self, task: &Task, which: &Which) -> Result<Vec<Contender>, Error> {
        match self {
            Ground::Cpu => Ok(vec![Contender { spec: None, chosen: true, by_model: true, predicted_us: None }]),
            Ground::Gpu { planner, arch, .. } => contenders(planner, *arch, task, which),
        }
    }

    /// The contenders, ready to run.
    pub(super) fn clock(&mut self, task: &Task, contenders: &[Contender]) -> Result<Box<dyn Clock + '_>, Error> {
        match self {
            Ground::Cpu => Ok(Box::new(CpuClock::new(task)?)),
            Ground::Gpu { bench, .. } => {
                let specs: Vec<KernelSpec> = contenders.iter().filter_map(|contender| contender.spec).collect();
                bench.clock(task, &specs)
            }
        }
    }

    /// How contenders take turns. On the CPU a launch may take seconds, and its clock follows nothing that a warm-up
    /// would settle.
    pub(super) fn turns(&self, rounds: usize) -> Turns {
        match self {
            Ground::Gpu { .. } => Turns { rounds, ..Turns::default() },
            Ground::Cpu => Turns {
                rounds,
                warm_up: Duration::ZERO,
                counted: Duration::from_millis(50),
                fewest: 1,
                ..Turns::default()
            },
        }
    }
}

/// Best predicted first, by a caller who says how rows are spread.
fn contenders(planner: &Planner, arch: Arch, task: &Task, which: &Which) -> Result<Vec<Contender>, Error> {
    let planner = planner.clone().routing(task.routing());
    let explanation = planner.explain(task.problem(), arch)?;
    let spec = |candidate: &Candidate| *candidate.variant.spec();
    let chosen = spec(&explanation.selection().preferred());
    let by_model = explanation.by_model().map(spec);
    let worth: Vec<KernelSpec> = match which {
        Which::All { within } => worth_timing(explanation.candidates(), *within).iter().map(spec).collect(),
        _ => Vec::new(),
    };
    let takes_part = |candidate: &Candidate| match which {
        Which::Chosen => spec(candidate) == chosen,
        Which::Named(patterns) => patterns.iter().any(|pattern| matches(pattern, candidate.variant.name())),
        Which::All { .. } => {
            let spec = spec(candidate);
            spec == chosen || Some(spec) == by_model || worth.contains(&spec)
        }
    };
    let contender = |candidate: &Candidate| Contender {
        spec: Some(spec(candidate)),
        chosen: spec(candidate) == chosen,
        by_model: Some(spec(candidate)) == by_model,
        predicted_us: Some(candidate.prediction.seconds * 1e6),
    };
    let mut found: Vec<Contender> = Vec::new();
    for candidate in explanation.candidates().iter().filter(|candidate| takes_part(candidate)) {
        // The caller's sets and the shipped one may hold the same variant.
        if found.iter().all(|known| known.spec != Some(spec(candidate))) {
            found.push(contender(candidate));
        }
    }
    if let Which::Named(patterns) = which {
        // A whole name need not ship. Of one that cannot compute the problem, there is nothing to say.
        for named in patterns.iter().filter_map(|pattern| pattern.parse::<KernelSpec>().ok()) {
            if found.iter().any(|known| known.spec == Some(named)) {
                continue;
            }
            if let Ok(pinned) = planner.clone().pin(named).select(task.problem(), arch) {
                found.push(contender(&pinned.preferred()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::Problem;

    use super::*;

    fn of(which: &Which) -> Vec<Contender> {
        let task = Task::new("t", Problem::forward(8, 4096, 1536, 2048), vec![512; 8]).unwrap();
        contenders(&Planner::new(Device::cpu()), Arch::Sm90a, &task, which).unwrap()
    }

    #[test]
    fn those_take_part_that_are_asked_for() {
        let chosen = of(&Which::Chosen);
        assert!(chosen.len() == 1 && chosen[0].chosen && chosen[0].by_model, "{chosen:?}");
        let all = of(&Which::All { within: f64::INFINITY });
        assert!(all.len() > 5 && all.iter().filter(|contender| contender.chosen).count() == 1);
        let few = of(&Which::All { within: 1.0 });
        assert!(few.len() < all.len() && few.iter().any(|contender| contender.chosen), "{few:?}");
        let pingpong = of(&Which::Named(vec!["*_pingpong_tma*".into()]));
        assert!(!pingpong.is_empty() && pingpong.len() < all.len());
        assert!(pingpong.iter().all(|contender| contender.name().contains("_pingpong_tma")));
        assert!(of(&Which::Named(vec!["ggemm_reduction_*".into()])).is_empty());
    }

    #[test]
    fn a_whole_name_need_not_ship() {
        let named = |name: &str| of(&Which::Named(vec![name.into()]));
        let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_192x128x64_w1x4_s5_pingpong_tma_swapped";
        let found = named(name);
        assert!(found.len() == 1 && found[0].name() == name && !found[0].chosen, "{found:?}");
        assert!(named(&name.replace("rows_ak_bk", "rows_ak_bn")).is_empty(), "it reads weights that lie otherwise");
    }
}
