//! The kernels in this program: what machine code is baked, and what would have to be compiled on the GPUs here.

use ggemm_codegen::{Arch, catalogue};
use ggemm_compile::{Cache, CacheKey, CacheLocation, Compiler, Request, Target};
use ggemm_runtime::baked::BakedKernel;
use ggemm_runtime::catalogue as baked;

use super::super::finding::Finding;
use super::super::machine::{Code, Kernel, Kernels, Machine};

pub(super) fn check(machine: &mut Machine) -> Vec<Finding> {
    let cache = Cache::find(&CacheLocation::from_env()).ok().flatten();
    let here = machine.arches();
    let (mut all, mut findings, mut damage) = (Vec::new(), Vec::new(), Vec::new());
    for arch in Arch::ALL {
        let known = cache.as_ref().zip(machine.nvrtc.as_ref()).filter(|_| here.contains(&arch));
        let mut variants = Vec::new();
        for kernel in baked::KERNELS {
            match look(kernel, arch, known) {
                Ok(code) => variants.extend(code.map(|code| Kernel { name: kernel.name.to_owned(), code })),
                Err(reason) => damage.push(reason),
            }
        }
        findings.push(told(arch, &variants));
        all.push(Kernels { arch, variants });
    }
    for kernels in all.iter().filter(|kernels| here.contains(&kernels.arch)) {
        findings.push(compiled_here(kernels, machine.nvrtc.is_some()));
    }
    if let Some(first) = damage.first() {
        let found = format!("{} in this program are damaged; {first}", damage.len());
        findings.push(Finding::problem("kernels", found, "build the program anew"));
    }
    machine.kernels = all;
    findings
}

/// Where the kernel's machine code for `arch` is; `None` where it is not for `arch`. Everything baked is read.
fn look(kernel: &'static BakedKernel, arch: Arch, known: Option<(&Cache, &Compiler)>) -> Result<Option<Code>, String> {
    let spec = kernel.spec().map_err(|error| format!("`{}`: {error}", kernel.name))?;
    if catalogue::for_target(spec, arch).is_none() {
        return Ok(None);
    }
    kernel.contract().map_err(|error| error.to_string())?;
    if let Some(cubin) = kernel.cubin(arch) {
        return cubin.map(|_| Some(Code::Baked)).map_err(|error| error.to_string());
    }
    let cached = |(cache, nvrtc): (&Cache, &Compiler)| {
        let (source, target) = (kernel.source(), arch.name().parse::<Target>().ok()?);
        cache.peek(&CacheKey::of(nvrtc, &Request::new(kernel.name, &source, &target)))
    };
    Ok(Some(if known.and_then(cached).is_some() { Code::Cached } else { Code::Source }))
}

/// How many there are, and how they are baked.
fn told(arch: Arch, variants: &[Kernel]) -> Finding {
    let total = variants.len();
    let baked = variants.iter().filter(|kernel| kernel.code == Code::Baked).count();
    let how = match baked {
        0 => "baked as source".to_owned(),
        baked if baked == total => "baked as source and cubin".to_owned(),
        baked => format!("baked as source, {baked} of them as cubin too"),
    };
    Finding::ok(format!("kernels for {arch}"), format!("{total} variants, {how}"))
}

/// What a program that runs on this GPU would have to compile.
fn compiled_here(kernels: &Kernels, nvrtc: bool) -> Finding {
    let name = format!("machine code for {}", kernels.arch);
    let count = |code| kernels.variants.iter().filter(|kernel| kernel.code == code).count();
    let (baked, cached, source) = (count(Code::Baked), count(Code::Cached), count(Code::Source));
    let total = kernels.variants.len();
    if baked == total {
        return Finding::ok(name, "all of it is in this program");
    }
    if !nvrtc {
        // Even what is cached is asked for by NVRTC's version.
        let found = format!("{} of {total} variants have none in this program, and there is no NVRTC", total - baked);
        let remedy = "install NVRTC (see above), or build the program with GGEMM_BAKE=cubin";
        return Finding::problem(name, found, remedy);
    }
    if source == 0 {
        return Finding::ok(name, format!("{baked} variants in this program, {cached} in the cache"));
    }
    let found =
        format!("{source} of {total} variants would be compiled at their first use ({baked} baked, {cached} cached)");
    Finding::note(name, found, "`ggemm cache warm` compiles them now; `ggemm doctor --kernels` names them")
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    fn kernels(codes: &[Code]) -> Kernels {
        let variants = codes.iter().map(|code| Kernel { name: "k".to_owned(), code: *code }).collect();
        Kernels { arch: Arch::Sm90a, variants }
    }

    #[test]
    fn only_code_that_cannot_be_had_is_a_problem() {
        use Code::{Baked, Cached, Source};
        for (codes, nvrtc, status) in [
            (&[Baked, Baked][..], false, Status::Ok),
            (&[Baked, Cached], true, Status::Ok),
            (&[Baked, Cached], false, Status::Problem),
            (&[Baked, Source], true, Status::Note),
            (&[Source, Source], false, Status::Problem),
        ] {
            assert_eq!(compiled_here(&kernels(codes), nvrtc).status, status, "{codes:?} {nvrtc}");
        }
    }

    #[test]
    fn every_shipped_variant_is_told_of() {
        let mut machine = Machine::default();
        let findings = check(&mut machine);
        assert!(findings.iter().all(|finding| finding.status == Status::Ok), "{findings:?}");
        for kernels in &machine.kernels {
            assert_eq!(kernels.variants.len(), catalogue::shipped_for(kernels.arch).len(), "{}", kernels.arch);
        }
        assert_eq!(machine.kernels.len(), Arch::ALL.len());
    }
}
