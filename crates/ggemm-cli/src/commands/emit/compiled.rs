//! What the compiler says of a variant's text, where there is a compiler.

use std::fmt;

use ggemm_codegen::{Arch, Generated};
use ggemm_compile::{Cache, CacheLocation, Compiler, Nvcc, Nvrtc, Options, Request, Target};
use serde::Serialize;

/// The compiler's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Compiled {
    /// Its name and version.
    compiler: String,
    /// Registers of a thread.
    registers: u32,
    /// Bytes that a thread stores and loads for want of registers.
    spill_store_bytes: u32,
    spill_load_bytes: u32,
    /// Bytes of a thread's stack.
    stack_bytes: u32,
    /// What it warns of.
    warnings: Vec<String>,
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiled { compiler, registers, spill_store_bytes, spill_load_bytes, stack_bytes, warnings } = self;
        let spilled = spill_store_bytes + spill_load_bytes;
        write!(f, "{registers} registers, {spilled} bytes spilled, {stack_bytes} bytes of stack ({compiler})")?;
        warnings.iter().try_for_each(|warning| write!(f, "\n{warning}"))
    }
}

/// Compiles a variant with nvcc, else NVRTC, or finds that it was compiled before.
///
/// # Errors
/// Why there is no report, in a line.
pub(super) fn compile(kernel: &Generated, target: Arch) -> Result<Compiled, String> {
    let compiler = match Nvcc::find() {
        Ok(nvcc) => Compiler::from(nvcc),
        // An explicit choice is never passed over.
        Err(error) if std::env::var_os("GGEMM_NVCC").is_some_and(|chosen| !chosen.is_empty()) => {
            return Err(error.to_string());
        }
        Err(_) => match Nvrtc::find() {
            Ok(nvrtc) => Compiler::from(nvrtc),
            Err(_) => return Err("there is no nvcc and no NVRTC: set CUDA_HOME to a CUDA toolkit's root".to_owned()),
        },
    };
    let name: Target = target.name().parse().map_err(|error| format!("{error}"))?;
    let source = kernel.source();
    let request = Request { name: &kernel.name, source: &source, target: &name, options: Options::default() };
    let (cubin, origin) = Cache::open(CacheLocation::from_env())
        .get_or_compile(&compiler, &request)
        .map_err(|error| first_line(&error))?;
    tracing::debug!(target: "compile", kernel = kernel.name, %target, "{origin}");
    let facts = cubin.facts.ok_or_else(|| format!("{compiler} does not say what the code uses"))?;
    Ok(Compiled {
        compiler: compiler.identity(),
        registers: facts.registers,
        spill_store_bytes: facts.spill_store_bytes,
        spill_load_bytes: facts.spill_load_bytes,
        stack_bytes: facts.stack_bytes,
        warnings: cubin.warnings,
    })
}

/// What went wrong, without the compiler's log.
fn first_line(error: &dyn fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
