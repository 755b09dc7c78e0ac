//! The flags of `ggemm tune`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use ggemm_codegen::{Arch, Dtype, Operation};

use crate::commands::run::Router;
use crate::parsers::{self, Layout, Sizes, Weights};

/// What is tuned where nobody says otherwise.
pub(super) mod defaults {
    pub(in crate::commands::tune) const WITHIN: f64 = 2.0;
    pub(in crate::commands::tune) const ROUNDS: u32 = 9;
    pub(in crate::commands::tune) const RANKS: usize = 1;
    pub(in crate::commands::tune) const SEED: u64 = 0;
}

/// Time the kernel variants on this GPU and keep which is fastest, for every later plan on it
///
/// Variants that the cost model gives no chance are left out. The others take turns in an order drawn anew each round,
/// each turn a block of launches with the L2 cache overwritten before each; the median over the rounds counts. The
/// fastest is verified against the f64 reference, then kept in a table. Stop with Ctrl-C at any moment: what was done is
/// in the table, and the same command goes on from there. Several may run at once, one on each GPU: they share the work.
///
/// Programs choose by the table from then on, on this GPU with this driver and this version of ggemm.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["model", "suite", "groups", "sizes"]).required(true))]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(super) what: WhatArgs,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
}

/// Which problems.
#[derive(Debug, Args)]
#[command(next_help_heading = "Problems: a model, a suite, or one layer")]
pub(super) struct WhatArgs {
    /// The experts of a model: its config.json, or the folder that has it
    #[arg(long, value_name = "FILE", requires = "tokens")]
    pub(super) model: Option<PathBuf>,
    /// Tokens of a batch on each GPU, separated by commas; one serves batches up to four times as large or small
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', value_parser = parsers::count, requires = "model")]
    pub(super) tokens: Vec<usize>,
    /// GPUs that share the model's experts [default: 1]
    #[arg(long, value_name = "GPUS", value_parser = parsers::count, requires = "model")]
    pub(super) expert_parallel: Option<usize>,
    /// The layers of a file such as benches/gpu/suite.json
    #[arg(long, value_name = "FILE")]
    pub(super) suite: Option<PathBuf>,
    /// Rows (tokens) of each group (expert) of one layer, separated by commas
    #[arg(long, value_name = "ROWS,…", requires_all = ["n", "k"], conflicts_with_all = ["rows", "router"])]
    pub(super) sizes: Option<Sizes>,
    /// G, the number of groups of one layer
    #[arg(short, long, value_name = "G", value_parser = parsers::count, requires_all = ["rows", "n", "k"])]
    pub(super) groups: Option<usize>,
    /// M, the rows of all groups together
    #[arg(short = 'm', long, value_name = "M", value_parser = parsers::count, requires = "groups")]
    pub(super) rows: Option<usize>,
    /// N, the columns of y
    #[arg(short, long, value_name = "N", value_parser = parsers::count, requires = "k")]
    pub(super) n: Option<usize>,
    /// K, the columns of x
    #[arg(short, long, value_name = "K", value_parser = parsers::count, requires = "n")]
    pub(super) k: Option<usize>,
    /// How to spread --rows over --groups [default: zipf]
    #[arg(long, value_enum, requires = "groups")]
    pub(super) router: Option<Router>,
}

/// In which form.
#[derive(Debug, Args)]
#[command(next_help_heading = "Form")]
pub(super) struct FormArgs {
    /// Operations, separated by commas [default: forward,grad_x,grad_w, or what the suite says]
    #[arg(long, value_delimiter = ',', value_name = "OP,…", value_parser = parsers::operation())]
    pub(super) ops: Vec<Operation>,
    /// Type of the operands [default: bf16, or the model's]
    #[arg(long, value_parser = parsers::operand())]
    pub(super) dtype: Option<Dtype>,
    /// Type of the outputs [default: the operands']
    #[arg(long, value_name = "DTYPE", value_parser = parsers::output())]
    pub(super) output_dtype: Option<Dtype>,
    /// Weights: one for all groups, or one for each [default: per-expert]
    #[arg(long, value_enum)]
    pub(super) weights: Option<Weights>,
    /// Order of a weight's dimensions in memory [default: nk]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(super) weight_layout: Option<Layout>,
    /// grad_w adds to what dw holds, in f32
    #[arg(long)]
    pub(super) accumulate: bool,
}

/// How.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub(super) struct HowArgs {
    /// The table [default: GGEMM_TABLE, else tuned.jsonl beside the compile cache]
    #[arg(long, value_name = "FILE")]
    pub(super) table: Option<PathBuf>,
    /// Time the variants whose predicted time is within this factor of the least
    #[arg(long, value_name = "FACTOR", default_value_t = defaults::WITHIN, value_parser = factor)]
    pub(super) within: f64,
    /// Turns of each variant
    #[arg(long, value_name = "N", default_value_t = defaults::ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    /// Tune what the table has already, too
    #[arg(long)]
    pub(super) again: bool,
    /// The GPU, by its number in the driver's order [default: the first]
    #[arg(long, value_name = "N", value_parser = parsers::count)]
    pub(super) gpu: Option<usize>,
    /// Print what would be timed, and its predicted times; needs no GPU
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The architecture of a dry run [default: this GPU's, else sm_90a]
    #[arg(long, value_parser = parsers::arch(), requires = "dry_run")]
    pub(super) arch: Option<Arch>,
    /// Print the results as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

fn factor(text: &str) -> Result<f64, FactorError> {
    text.parse().ok().filter(|factor: &f64| *factor >= 1.0).ok_or(FactorError)
}

/// Not a factor.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected a number, at least 1: 1 times the best predicted variant alone, inf all of them")]
struct FactorError;
