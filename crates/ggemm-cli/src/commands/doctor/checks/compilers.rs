//! NVRTC, which compiles where programs run, and nvcc, which compiles where they are built. Both are tried.

use ggemm_codegen::Arch;
use ggemm_compile::{CompileError, Compiler, LookedAt, Nvcc, NvccError, Nvrtc, NvrtcError, Request, Target, compile};

use super::super::finding::Finding;
use super::super::machine::Machine;

/// A kernel that any compiler takes.
const TRIAL: &str = "extern \"C\" __global__ void trial(float* y) { y[threadIdx.x] *= 2.0f; }\n";

pub(super) fn nvrtc(machine: &mut Machine) -> Vec<Finding> {
    const NAME: &str = "NVRTC";
    let compiler = match Nvrtc::find() {
        Ok(nvrtc) => Compiler::from(nvrtc),
        // Whether anything needs it is for the kernels' check to say.
        Err(why @ NvrtcError::Absent { .. }) => {
            let remedy = "where kernels are to be compiled, install the CUDA toolkit (or the wheel nvidia-cuda-nvrtc) \
                          and set CUDA_HOME to its root";
            return vec![Finding::note(NAME, absent(&why), remedy)];
        }
        Err(why) => return vec![Finding::note(NAME, why.to_string(), "install a newer CUDA toolkit")],
    };
    let finding = tried(NAME, &compiler, compiler.identity(), &machine.arches());
    machine.nvrtc = Some(compiler);
    vec![finding]
}

fn absent(why: &NvrtcError) -> String {
    match why {
        NvrtcError::Absent { folders } if !folders.is_empty() => {
            let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            format!("none: neither the loader nor {} has one", folders.join(", "))
        }
        _ => "none: the loader has none, and CUDA_HOME and CUDA_PATH are not set".to_owned(),
    }
}

pub(super) fn nvcc(machine: &mut Machine) -> Vec<Finding> {
    const NAME: &str = "nvcc";
    let finding = match Nvcc::find() {
        Ok(nvcc) => {
            let found = format!("nvcc {}, {}", nvcc.version(), nvcc.path().display());
            tried(NAME, &Compiler::from(nvcc), found, &machine.arches())
        }
        Err(why) => no_nvcc(&why),
    };
    vec![finding]
}

/// An explicit choice that does not work is a problem; without one, only builds with machine code miss it.
fn no_nvcc(why: &NvccError) -> Finding {
    if why.looked_at.contains(&LookedAt::Unset("GGEMM_NVCC")) {
        // A folder of PATH without an nvcc says nothing.
        let broken = why.looked_at.iter().filter(|place| matches!(place, LookedAt::Path { path, .. } if path.exists()));
        let broken: Vec<String> = broken.map(LookedAt::to_string).collect();
        let found = match broken.is_empty() {
            true => "none in CUDA_HOME, CUDA_PATH or PATH".to_owned(),
            false => format!("none that works: {}", broken.join(", ")),
        };
        let remedy = "only builds with GGEMM_BAKE=cubin need it: for those, install the CUDA toolkit and set CUDA_HOME";
        return Finding::note("nvcc", found, remedy);
    }
    let places: Vec<String> = why.looked_at.iter().map(LookedAt::to_string).collect();
    Finding::problem("nvcc", format!("GGEMM_NVCC: {}", places.join(", ")), "set GGEMM_NVCC to an nvcc, or unset it")
}

/// Compiles a kernel for each of these architectures, or for the oldest where there are none.
fn tried(name: &str, compiler: &Compiler, found: String, arches: &[Arch]) -> Finding {
    let arches = if arches.is_empty() { &[Arch::Sm80] } else { arches };
    for arch in arches {
        let Ok(target) = arch.name().parse::<Target>() else { continue };
        if let Err(error) = compile(compiler, &Request::new("trial", TRIAL, &target)) {
            return broken(name, &found, *arch, &error);
        }
    }
    let names: Vec<&str> = arches.iter().map(|arch| arch.name()).collect();
    Finding::ok(name, format!("{found}; compiles for {}", names.join(", ")))
}

fn broken(name: &str, found: &str, arch: Arch, error: &CompileError) -> Finding {
    let remedy = match error {
        CompileError::Refused { .. } | CompileError::NoCode { .. } => {
            "install a CUDA toolkit that knows this architecture; for nvcc also a C++ compiler that it supports"
        }
        _ => "install the whole CUDA toolkit: a part of it is missing or cannot be used",
    };
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Finding::problem(name, format!("{found}; does not compile for {arch}: {}", lines.join(" | ")), remedy)
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    #[test]
    fn a_chosen_nvcc_that_does_not_work_is_a_problem_and_a_missing_one_is_none() {
        assert_eq!(no_nvcc(&Nvcc::find_in(|_| None).unwrap_err()).status, Status::Note);
        let chosen = Nvcc::find_in(|name| (name == "GGEMM_NVCC").then(|| "/nowhere/nvcc".into())).unwrap_err();
        let finding = no_nvcc(&chosen);
        assert_eq!(finding.status, Status::Problem);
        assert!(finding.found.starts_with("GGEMM_NVCC: /nowhere/nvcc ("), "{}", finding.found);
    }
}
