//! Which kernels a cache is warmed with.

use ggemm_codegen::{Arch, Problem, catalogue};
use ggemm_compile::Target;
use ggemm_runtime::baked::BakedKernel;
use ggemm_runtime::{Device, Planner, catalogue as baked};

use super::CacheError;
use crate::error::CliError;

/// One kernel for one architecture.
pub(super) struct Wanted {
    pub(super) kernel: &'static BakedKernel,
    pub(super) arch: Arch,
    /// Its text.
    pub(super) source: String,
    pub(super) target: Target,
}

impl Wanted {
    fn new(kernel: &'static BakedKernel, arch: Arch) -> Result<Self, CacheError> {
        Ok(Wanted { kernel, arch, source: kernel.source(), target: arch.name().parse()? })
    }
}

/// Every kernel that ships for one of these architectures.
pub(super) fn all(arches: &[Arch]) -> Result<Vec<Wanted>, CacheError> {
    let mut wanted = Vec::new();
    for &arch in arches {
        let runs = |kernel: &&BakedKernel| kernel.spec().is_ok_and(|spec| catalogue::for_target(spec, arch).is_some());
        let quantizes = |kernel: &&BakedKernel| kernel.quantize_spec().is_ok_and(|spec| arch.executes(spec.arch()));
        let realigns = |kernel: &&BakedKernel| kernel.realign_spec().is_ok_and(|spec| arch.executes(spec.arch()));
        let passes = baked::QUANTIZERS.iter().filter(quantizes).chain(baked::REALIGNERS.iter().filter(realigns));
        for kernel in baked::KERNELS.iter().filter(runs).chain(passes) {
            wanted.push(Wanted::new(kernel, arch)?);
        }
    }
    Ok(wanted)
}

/// The kernels that these problems would be computed with on these architectures: for each the one that is chosen, those
/// that make the copies that it reads, and the one that takes over where a tensor's address is not aligned enough. Each is there once.
pub(super) fn of(problems: &[Problem], arches: &[Arch]) -> Result<Vec<Wanted>, CliError> {
    let planner = Planner::new(Device::cpu());
    let mut wanted: Vec<Wanted> = Vec::new();
    for &arch in arches {
        for problem in problems {
            let selection = planner.select(problem, arch)?;
            for candidate in [Some(selection.preferred()), selection.fallback()].into_iter().flatten() {
                let contraction = problem.contraction();
                let copies = candidate.realigned.tasks(&contraction);
                let copying = copies.filter_map(|task| baked::REALIGNERS.find(&task.spec().to_string()));
                for kernel in copying.chain([candidate.variant.kernel()]) {
                    let known = |wanted: &Wanted| wanted.arch == arch && std::ptr::eq(wanted.kernel, kernel);
                    if !wanted.iter().any(known) {
                        wanted.push(Wanted::new(kernel, arch)?);
                    }
                }
            }
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{QuantizeSpec, RealignSpec};

    use super::*;

    #[test]
    fn all_is_what_ships_for_an_architecture() {
        for arch in Arch::ALL {
            let quantizers = QuantizeSpec::all().filter(|spec| arch.executes(spec.arch())).count();
            let realigners = RealignSpec::all().filter(|spec| arch.executes(spec.arch())).count();
            let shipped = catalogue::shipped_for(arch).len() + quantizers + realigners;
            assert_eq!(all(&[arch]).unwrap().len(), shipped, "{arch}");
        }
    }

    #[test]
    fn a_problem_wants_what_is_chosen_for_it_and_what_takes_any_address_once() {
        let problem = Problem::forward(8, 4096, 1536, 2048);
        let wanted = of(&[problem.clone(), problem.clone()], &[Arch::Sm90a]).unwrap();
        let selection = Planner::new(Device::cpu()).select(&problem, Arch::Sm90a).unwrap();
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.kernel.name).collect();
        assert_eq!(names, [selection.preferred().variant.name(), selection.fallback().unwrap().variant.name()]);
    }
}
