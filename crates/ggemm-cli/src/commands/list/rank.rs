//! `ggemm list --op …`: the variants that can compute a problem, by predicted time.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use ggemm_codegen::{Arch, Dtype, Operation, Problem, WeightLayout, WeightSharing};
use ggemm_runtime::{Candidate, Device, Error, Planner};
use serde::Serialize;

use super::{Format, Variant};
use crate::commands::run::UsageError;
use crate::error::CliError;
use crate::fp8::Fp8Args;
use crate::numbers::time;
use crate::parsers::{self, Layout, Weights};
use crate::table;

/// The architecture that is predicted for where none is given.
const DEFAULT_ARCH: Arch = Arch::Sm90a;

/// A problem to rank variants for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ranking for a problem")]
pub(crate) struct RankArgs {
    /// Rank for this operation on --arch [default: sm_90a]
    #[arg(long, value_name = "OP", value_parser = parsers::operation(), requires_all = ["groups", "rows", "n", "k"])]
    op: Option<Operation>,
    /// G, the number of groups
    #[arg(short, long, value_name = "G", value_parser = parsers::count, requires = "op")]
    groups: Option<usize>,
    /// M, the rows of all groups together
    #[arg(short = 'm', long, value_name = "M", value_parser = parsers::count, requires = "op")]
    rows: Option<usize>,
    /// N, the columns of y
    #[arg(short, long, value_name = "N", value_parser = parsers::count, requires = "op")]
    n: Option<usize>,
    /// K, the columns of x
    #[arg(short, long, value_name = "K", value_parser = parsers::count, requires = "op")]
    k: Option<usize>,
    /// Type of the operands [default: bf16]
    #[arg(long, value_parser = parsers::operand(), requires = "op")]
    dtype: Option<Dtype>,
    /// Type of the output [default: the operands']
    #[arg(long, value_name = "DTYPE", value_parser = parsers::output(), requires = "op")]
    output_dtype: Option<Dtype>,
    /// Weights: one for all groups, or one for each [default: per-expert]
    #[arg(long, value_enum, requires = "op")]
    weights: Option<Weights>,
    /// Order of a weight's dimensions in memory [default: nk]
    #[arg(long, value_enum, value_name = "LAYOUT", requires = "op")]
    weight_layout: Option<Layout>,
    #[command(flatten)]
    fp8: Fp8Args,
}

impl RankArgs {
    /// The problem, where one is given.
    pub(super) fn problem(&self) -> Result<Option<Problem>, CliError> {
        let (Some(op), Some(groups), Some(m), Some(n), Some(k)) = (self.op, self.groups, self.rows, self.n, self.k)
        else {
            return if self.fp8.is_given() { Err(UsageError::NothingToRank.into()) } else { Ok(None) };
        };
        let operand = self.dtype.unwrap_or(Dtype::Bf16);
        let problem = Problem::new(op, groups, m, n, k)
            .operand(operand)
            .output(self.output_dtype.unwrap_or(operand))
            // Without, there would be nothing to rank.
            .allow_tf32(operand == Dtype::F32)
            .weight_sharing(self.weights.map_or(WeightSharing::PerExpert, Weights::into))
            .weight_layout(self.weight_layout.map_or(WeightLayout::Nk, Layout::into));
        let problem = self.fp8.apply(problem);
        problem.validate()?;
        Ok(Some(problem))
    }
}

/// A variant and its predicted time.
#[derive(Clone, Debug, Serialize)]
struct Ranked {
    name: String,
    predicted_seconds: f64,
    tiles: f64,
    waves: f64,
    ctas_per_sm: u32,
    bound_by: String,
}

/// The variants that can compute the problem, by the planner's rule and the cost model alone.
fn rank(problem: &Problem, arch: Arch) -> Result<Vec<Ranked>, CliError> {
    let explanation = match Planner::new(Device::cpu()).explain(problem, arch) {
        Err(Error::NoVariant { .. } | Error::NoFp8Kernel { .. }) => return Ok(Vec::new()),
        explanation => explanation?,
    };
    let ranked = explanation.candidates().iter().map(|Candidate { variant, prediction, .. }| Ranked {
        name: variant.name().to_owned(),
        predicted_seconds: prediction.seconds,
        tiles: prediction.tiles,
        waves: prediction.waves,
        ctas_per_sm: prediction.ctas_per_sm,
        bound_by: prediction.bound.to_string(),
    });
    Ok(ranked.collect())
}

/// Prints the variants that can compute `problem`, fastest first.
pub(super) fn print(
    out: &mut impl Write,
    problem: &Problem,
    arch: Option<Arch>,
    variants: Vec<Variant>,
    format: Format,
) -> Result<(), CliError> {
    let arch = arch.unwrap_or(DEFAULT_ARCH);
    let ranked = rank(problem, arch)?;
    match format {
        Format::Names => ranked.iter().try_for_each(|ranked| writeln!(out, "{}", ranked.name))?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &ranked)?;
            writeln!(out)?;
        }
        Format::Table => {
            writeln!(out, "{problem} on {arch}, dense rows\n")?;
            write!(out, "{}", text(problem, &ranked))?;
            let count = ranked.len();
            writeln!(out, "\n{count} of {} variants on {arch} can; times are the cost model's", on(arch, &variants))?;
        }
    }
    Ok(())
}

fn on(arch: Arch, variants: &[Variant]) -> usize {
    variants.iter().filter(|variant| variant.on(arch).is_some()).count()
}

fn text(problem: &Problem, ranked: &[Ranked]) -> String {
    let mut table = table::table(["variant", "predicted", "TFLOP/s", "tiles", "waves", "CTAs/SM", "bound by"], 1..6);
    for ranked in ranked {
        table.add_row([
            ranked.name.clone(),
            time(Duration::try_from_secs_f64(ranked.predicted_seconds).unwrap_or_default()),
            format!("{:.1}", problem.flops() / ranked.predicted_seconds / 1e12),
            format!("{:.0}", ranked.tiles),
            format!("{:.1}", ranked.waves),
            ranked.ctas_per_sm.to_string(),
            ranked.bound_by.clone(),
        ]);
    }
    table::text(&table)
}
