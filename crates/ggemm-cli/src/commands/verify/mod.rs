//! `ggemm verify`: random problems for every variant that ships, on a GPU or in the interpreter.

mod args;
mod attest;
mod error;
mod report;
mod select;
mod tally;
mod verified;

use std::io::Write;
use std::time::Instant;

use ggemm_codegen::Arch;
use ggemm_runtime::Device;
use ggemm_runtime::verify::{Extent, Ground};

pub(crate) use args::VerifyArgs;
pub(crate) use error::VerifyError;
pub(crate) use select::products;

use crate::Outcome;
use crate::error::CliError;
use args::defaults;
use attest::Provenance;
use report::{Report, Run};

impl VerifyArgs {
    /// Verifies the variants that the flags name and prints the report.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        // A name that is none is told of first, whether or not there is a GPU.
        let (ground, arch) = match self.ground() {
            Ok(found) => found,
            Err(error) => {
                select::variants(&self.variants, defaults::ARCH)?;
                return Err(error.into());
            }
        };
        let variants = select::variants(&self.variants, arch)?;
        let provenance = match &self.attest {
            Some(_) => Some(Provenance::find(&ground.device(), arch, &variants)?),
            None => None,
        };
        let (cases, extent) = match self.interpret {
            true => (defaults::INTERPRETED_CASES, Extent::Tiles),
            false => (defaults::CASES, Extent::Hundreds),
        };
        let (cases, extent) = (self.cases.unwrap_or(cases), self.extent.unwrap_or(extent));
        let mut stdout = std::io::stdout().lock();
        if !self.json {
            let seed = self.seed;
            writeln!(stdout, "{} variants for {arch}, {cases} random problems each from seed {seed}", variants.len())?;
            writeln!(stdout, "on {ground}\n")?;
            stdout.flush()?;
        }
        let start = Instant::now();
        let tallies = tally::run(&variants, &ground, extent, self.seed, cases);
        let seconds = start.elapsed().as_secs_f64();
        let mut written = None;
        if let (Some(provenance), Some(path)) = (provenance, &self.attest) {
            provenance.attestation(&self, cases, &tallies).write(path).map_err(VerifyError::from)?;
            written = Some(path.as_path());
        }
        let run = Run {
            ground: ground.to_string(),
            arch: arch.name(),
            seed: self.seed,
            cases,
            interpret: self.interpret,
            extent: self.extent,
            seconds,
            attestation: written,
        };
        let report = Report::new(&run, &tallies);
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, &report)?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", report.text())?;
        }
        stdout.flush()?;
        Ok(report.outcome())
    }

    fn ground(&self) -> Result<(Ground, Arch), VerifyError> {
        if self.interpret {
            let arch = self.arch.unwrap_or(defaults::ARCH);
            return Ok((Ground::Interpreter(arch), arch));
        }
        let device = Device::probe().map_err(VerifyError::NoGpu)?;
        let arch = device.arch().ok_or_else(|| VerifyError::NoArch { device: device.to_string() })?;
        Ok((Ground::Device(device), arch))
    }
}
