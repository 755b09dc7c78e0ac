//! The flags of `ggemm tune`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use ggemm_codegen::Arch;

use crate::parsers;
use crate::workload::{FormArgs, WhatArgs};

/// What is tuned where nobody says otherwise.
pub(super) mod defaults {
    pub(in crate::commands::tune) const WITHIN: f64 = 2.0;
    pub(in crate::commands::tune) const ROUNDS: u32 = 9;
}

/// Time the kernel variants on this GPU and keep which is fastest, for every later plan on it
///
/// Variants that the cost model gives no chance are left out. The others take turns in an order drawn anew each round,
/// each turn a block of launches with the L2 cache overwritten before each; the median over the rounds counts. Rows that
/// a router draws are drawn three times, which share the rounds: then the mean over the draws counts. The
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

/// How.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tuning")]
pub(super) struct HowArgs {
    /// The table [default: GGEMM_TABLE, else tuned.jsonl beside the compile cache]
    #[arg(long, value_name = "FILE")]
    pub(super) table: Option<PathBuf>,
    /// Time the variants whose predicted time is within this factor of the least
    #[arg(long, value_name = "FACTOR", default_value_t = defaults::WITHIN, value_parser = parsers::factor)]
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
