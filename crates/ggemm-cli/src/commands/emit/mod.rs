//! `ggemm emit`: the CUDA text, the contract or an explanation of one variant.

mod compiled;
mod explain;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use ggemm_codegen::explain::explain;
use ggemm_codegen::{
    Arch, KernelSpec, QuantizeSpec, RealignSpec, SpecNameError, ValidSpec, Violation, catalogue, generate,
    generate_quantizer, generate_realigner,
};
use serde::Serialize;

use crate::Outcome;
use crate::error::CliError;
use crate::files::StagedFile;
use crate::names::likely;
use crate::parsers;

/// Print the CUDA text of a kernel variant.
#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    /// The variant's name, as `ggemm list` prints it; any other legal spec will do too
    #[arg(value_name = "SPEC")]
    spec: String,
    /// The architecture that has to be able to run it [default: the oldest that can]
    #[arg(long, value_parser = parsers::arch())]
    target: Option<Arch>,
    /// Print what the host must know to launch it, as JSON
    #[arg(long)]
    contract: bool,
    /// Print what it takes and does: registers, shared memory, bank conflicts, coalescing, boxes, products, intensity
    ///
    /// Everything is computed from the kernel; registers and spills are also the compiler's, where nvcc or NVRTC is found.
    #[arg(long, conflicts_with = "contract")]
    explain: bool,
    /// Print the explanation as JSON
    #[arg(long, requires = "explain")]
    json: bool,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Why there is no such kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmitError {
    /// No spec's name.
    #[error("{source}{}", Nearest(near))]
    Name {
        /// What is wrong with it.
        source: SpecNameError,
        /// Variants that ship with names like it.
        near: Vec<String>,
    },
    /// A kernel that multiplies nothing.
    #[error("{name} is no product, and only products are explained: print its text or its --contract")]
    NotExplained {
        /// The kernel's name.
        name: String,
    },
    /// A target without the instructions.
    #[error("{name} converts to fp8, which {target} has no instruction for: sm_89 and later have one")]
    NoConversion {
        /// The kernel's name.
        name: String,
        /// Where it was to run.
        target: Arch,
    },
    /// A spec that breaks rules.
    #[error("{name} is not legal on {target}:\n{}{}", Listed(violations), Nearest(near))]
    Illegal {
        /// The spec's name.
        name: String,
        /// Where it was to run.
        target: Arch,
        /// The rules.
        violations: Vec<Violation>,
        /// Variants that ship for the target with names like it.
        near: Vec<String>,
    },
}

/// Rules, one a line.
struct Listed<'a>(&'a [Violation]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|violation| format!("  {violation}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Names, one a line.
pub(crate) struct Nearest<'a>(pub(crate) &'a [String]);

impl std::fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.is_empty() {
            write!(f, "\nThe nearest that ship:")?;
        }
        self.0.iter().try_for_each(|name| write!(f, "\n  {name}"))
    }
}

/// Names that a message suggests.
pub(crate) const SUGGESTED: usize = 3;

impl EmitArgs {
    /// Prints the kernel.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let quantizer = self.spec.parse::<QuantizeSpec>().ok();
        let realigner = self.spec.parse::<RealignSpec>().ok();
        if self.explain && (quantizer.is_some() || realigner.is_some()) {
            return Err(EmitError::NotExplained { name: self.spec }.into());
        }
        let kernel = match &quantizer {
            Some(spec) => match self.target {
                Some(target) if !target.executes(spec.arch()) => {
                    return Err(EmitError::NoConversion { name: self.spec, target }.into());
                }
                _ => generate_quantizer(spec),
            },
            None => match &realigner {
                Some(spec) => generate_realigner(spec),
                None => generate(&valid(&self.spec, self.target)?),
            },
        };
        let text = if self.contract {
            json(&kernel.contract)?
        } else if self.explain {
            let spec = valid(&self.spec, self.target)?;
            let report = explain::Report::new(explain(&spec), compiled::compile(&kernel, spec.target()));
            if self.json { json(&report)? } else { report.text() }
        } else {
            kernel.source()
        };
        match &self.output {
            Some(path) => StagedFile::create(path)?.commit(|file| file.write_all(text.as_bytes()))?,
            None => std::io::stdout().lock().write_all(text.as_bytes())?,
        }
        Ok(Outcome::Success)
    }
}

/// A value as JSON, for a file of its own.
fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// The spec of this name, checked for the target.
pub(crate) fn valid(name: &str, target: Option<Arch>) -> Result<ValidSpec, EmitError> {
    let spec: KernelSpec = name.parse().map_err(|source| EmitError::Name {
        source,
        near: likely(name, catalogue::shipped().iter().map(KernelSpec::to_string), SUGGESTED),
    })?;
    let somewhere = || Arch::ALL.into_iter().find(|target| ValidSpec::new(spec, *target).is_ok());
    let target = target.or_else(somewhere).unwrap_or(spec.arch);
    ValidSpec::new(spec, target).map_err(|violations| EmitError::Illegal {
        name: spec.to_string(),
        target,
        violations,
        near: likely(name, catalogue::shipped_for(target).iter().map(|s| s.spec().to_string()), SUGGESTED),
    })
}
