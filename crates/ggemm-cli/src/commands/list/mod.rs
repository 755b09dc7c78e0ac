//! `ggemm list`: the catalogue, what each variant takes, and where it runs.

mod rank;

use std::io::Write;

use clap::Args;
use ggemm_codegen::cost::ctas_per_sm;
use ggemm_codegen::{Arch, KernelSpec, QuantizeSpec, ValidSpec, catalogue, generate};
use serde::Serialize;

use crate::Outcome;
use crate::error::CliError;
use crate::numbers::bytes;
use crate::{parsers, table};
use rank::RankArgs;

/// List the kernel variants that ship, with what they take and where they run.
///
/// Under each architecture stands how many CTAs of the variant share a multiprocessor, `-` where it cannot run.
/// Registers are an estimate. With --op, only variants that can compute the problem are listed, fastest first by the
/// cost model.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what runs on this architecture
    #[arg(long, value_parser = parsers::arch())]
    arch: Option<Arch>,
    /// Print names alone, one a line
    #[arg(long, conflicts_with = "json")]
    names: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Print the names of the kernels that quantize to fp8 instead, one a line
    #[arg(long, conflicts_with_all = ["json", "op"])]
    quantizers: bool,
    #[command(flatten)]
    rank: RankArgs,
}

/// A variant of the catalogue.
#[derive(Clone, Debug, Serialize)]
struct Variant {
    name: String,
    spec: KernelSpec,
    threads: u32,
    shared_bytes: u32,
    /// Registers of a thread, estimated.
    registers: u32,
    /// The architectures that run it.
    targets: Vec<Target>,
}

/// An architecture that runs a variant.
#[derive(Clone, Copy, Debug, Serialize)]
struct Target {
    arch: Arch,
    ctas_per_sm: u32,
}

impl Variant {
    /// A shipped variant, `None` where no architecture runs it.
    fn new(spec: KernelSpec) -> Option<Self> {
        let valid: Vec<ValidSpec> = Arch::ALL.into_iter().filter_map(|t| catalogue::for_target(spec, t)).collect();
        let contract = generate(valid.first()?).contract;
        let target =
            |s: &ValidSpec| Target { arch: s.target(), ctas_per_sm: ctas_per_sm(&contract, &s.target().limits()) };
        Some(Variant {
            name: contract.name.clone(),
            spec,
            threads: contract.threads,
            shared_bytes: contract.shared_bytes,
            registers: contract.registers,
            targets: valid.iter().map(target).collect(),
        })
    }

    fn on(&self, arch: Arch) -> Option<Target> {
        self.targets.iter().copied().find(|target| target.arch == arch)
    }
}

impl ListArgs {
    /// Prints the list.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        if self.quantizers {
            return self.print_quantizers();
        }
        let ranking = self.rank.problem()?;
        let mut variants: Vec<Variant> = catalogue::shipped().into_iter().filter_map(Variant::new).collect();
        if let Some(arch) = self.arch {
            variants.retain(|variant| variant.on(arch).is_some());
        }
        let mut stdout = std::io::stdout().lock();
        match ranking {
            Some(problem) => rank::print(&mut stdout, &problem, self.arch, variants, self.format())?,
            None => self.print(&mut stdout, &variants)?,
        }
        stdout.flush()?;
        Ok(Outcome::Success)
    }

    fn print_quantizers(&self) -> Result<Outcome, CliError> {
        let mut stdout = std::io::stdout().lock();
        let runs = |spec: &QuantizeSpec| self.arch.is_none_or(|arch| arch.executes(spec.arch()));
        QuantizeSpec::all().filter(runs).try_for_each(|spec| writeln!(stdout, "{spec}"))?;
        stdout.flush()?;
        Ok(Outcome::Success)
    }

    fn format(&self) -> Format {
        match (self.names, self.json) {
            (true, _) => Format::Names,
            (_, true) => Format::Json,
            _ => Format::Table,
        }
    }

    fn print(&self, out: &mut impl Write, variants: &[Variant]) -> Result<(), CliError> {
        match self.format() {
            Format::Names => variants.iter().try_for_each(|variant| writeln!(out, "{}", variant.name))?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, variants)?;
                writeln!(out)?;
            }
            Format::Table => write!(out, "{}", self.table(variants))?,
        }
        Ok(())
    }

    fn table(&self, variants: &[Variant]) -> String {
        let arches: Vec<Arch> = self.arch.map_or_else(|| Arch::ALL.to_vec(), |arch| vec![arch]);
        let fixed = ["variant", "threads", "shared", "registers"];
        let headings = fixed.into_iter().chain(arches.iter().map(|arch| arch.name()));
        let mut table = table::table(headings, 1..fixed.len() + arches.len());
        for variant in variants {
            let mut row = vec![
                variant.name.clone(),
                variant.threads.to_string(),
                bytes(variant.shared_bytes.into()),
                variant.registers.to_string(),
            ];
            row.extend(arches.iter().map(|&arch| match variant.on(arch) {
                Some(target) => target.ctas_per_sm.to_string(),
                None => "-".to_owned(),
            }));
            table.add_row(row);
        }
        let count = variants.len();
        format!(
            "{}\n{count} variants; under an architecture: CTAs that share a multiprocessor, by estimated registers\n",
            table::text(&table)
        )
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Table,
    Names,
    Json,
}
