//! The flags of `ggemm bench`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use ggemm_report::{Axis, Rates};

use crate::commands::run::BackendArg;
use crate::parsers;
use crate::workload::{FormArgs, WhatArgs};

/// What is timed where nobody says otherwise.
pub(super) mod defaults {
    pub(in crate::commands::bench) const ROUNDS: u32 = 9;
    /// Powers of two.
    pub(in crate::commands::bench) const ROWS: std::ops::RangeInclusive<i32> = 6..=16;
    pub(in crate::commands::bench) const SKEWS: [f64; 7] = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5];
}

/// Measure how fast layers are, and hold that against the hardware, peers, and earlier measurements
///
/// Variants take turns in an order drawn anew each round, each turn a block of launches; on a GPU the L2 cache is
/// overwritten before each launch and its own clock counts, on the CPU caches are as the last run left them. A time is
/// the median over the rounds of a block's median, and ± is how far rounds scatter. Samples of the output are held against
/// sums in f64: of every variant, or with --all of the chosen and the fastest.
///
/// The floor of a problem is about the least time that it can take: its operations at the rate that the device sustains,
/// or its bytes at its bandwidth, whichever is longer. Padding counts as neither. A cool card may pass it a little.
///
/// --compare tells of a row's change where it is further than five times the noise from what most rows do, and from none:
/// the noise is the standard error of both medians, by how far rounds scatter, and how far the rows' changes scatter
/// about each other. What most rows do is the card's own drift; it is told of beyond 6 %. Of fewer than eight rows nobody knows what most do: then
/// 6 % are the least that counts, unless --tolerance says otherwise. The exit code is 1 where something takes more time.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["model", "suite", "groups", "sizes", "from"]).required(true))]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(super) what: WhatArgs,
    #[command(flatten)]
    pub(super) form: FormArgs,
    #[command(flatten)]
    pub(super) sweep: SweepArgs,
    #[command(flatten)]
    pub(super) variants: VariantArgs,
    #[command(flatten)]
    pub(super) how: HowArgs,
    #[command(flatten)]
    pub(super) report: ReportArgs,
}

/// Sweeps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sweep")]
pub(super) struct SweepArgs {
    /// Time each layer for several numbers of rows (of a model, for its --tokens), or several skews of the router
    #[arg(long, value_enum, value_name = "AXIS", conflicts_with_all = ["sizes", "from"])]
    pub(super) sweep: Option<AxisArg>,
    /// Where on the axis, separated by commas [default: 64, 128, … 65536 rows; skews of 0, 0.25, … 1.5]
    #[arg(long, value_name = "NUMBER,…", value_delimiter = ',', allow_negative_numbers = true, requires = "sweep")]
    pub(super) points: Vec<f64>,
}

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AxisArg {
    /// M, the rows of all groups together
    M,
    /// The power s by which group i has rows in proportion to 1 / i^s: 0 is all alike, 0.6 a usual router
    Skew,
}

impl From<AxisArg> for Axis {
    fn from(axis: AxisArg) -> Self {
        match axis {
            AxisArg::M => Axis::M,
            AxisArg::Skew => Axis::Skew,
        }
    }
}

/// Which variants.
#[derive(Debug, Args)]
#[command(next_help_heading = "Variants: the chosen one, or")]
pub(super) struct VariantArgs {
    /// Those of this name; `*` stands for any letters. May be given more than once. A whole name need not ship
    #[arg(long = "variant", value_name = "SPEC", conflicts_with_all = ["all", "from"])]
    pub(super) variants: Vec<String>,
    /// Every one that computes the problem; then tells what choosing well would have saved
    #[arg(long, conflicts_with = "from")]
    pub(super) all: bool,
    /// Of all, those whose predicted time is within this factor of the least [default: inf]
    #[arg(long, value_name = "FACTOR", value_parser = parsers::factor, requires = "all")]
    pub(super) within: Option<f64>,
}

/// How.
#[derive(Debug, Args)]
#[command(next_help_heading = "Measuring")]
pub(super) struct HowArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) backend: BackendArg,
    /// The GPU, by its number in the driver's order [default: the first]
    #[arg(long, value_name = "N", value_parser = parsers::count)]
    pub(super) gpu: Option<usize>,
    /// Turns of each variant
    #[arg(long, value_name = "N", default_value_t = defaults::ROUNDS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,
    /// Measure also what the first problem's launch costs, on the host and in a graph
    #[arg(long, conflicts_with = "from")]
    pub(super) launch_cost: bool,
    /// What the device sustains, for the floor: TFLOP/s on 16-bit operands, on 8-bit operands, and GB/s [default: what
    /// was measured, on an H100 80GB HBM3: 700,1300,3080]
    #[arg(long, value_name = "TFLOPS,TFLOPS,GBPS", value_parser = sustained)]
    pub(super) sustained: Option<Rates>,
}

fn sustained(text: &str) -> Result<Rates, SustainedError> {
    let numbers: Vec<f64> = text.split(',').filter_map(|part| parsers::positive(part.trim()).ok()).collect();
    match (numbers.as_slice(), text.split(',').count()) {
        (&[wide, narrow, gbytes], 3) => {
            Ok(Rates { flops_16_bit: wide * 1e12, flops_8_bit: narrow * 1e12, bytes: gbytes * 1e9 })
        }
        _ => Err(SustainedError),
    }
}

/// Not what a device sustains.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected three numbers above 0: TFLOP/s on 16-bit and on 8-bit operands, and GB/s, such as 700,1300,3080")]
pub(super) struct SustainedError;

/// What comes of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Report")]
pub(super) struct ReportArgs {
    /// Report what was measured before, and measure nothing: files of --json, or tables of `ggemm tune`, separated by commas
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub(super) from: Vec<PathBuf>,
    /// Choose anew among what was timed, as this program would with a table that knows nothing of the layers that are
    /// judged; then tell what choosing well would have saved
    #[arg(long, requires = "from", conflicts_with_all = ["model", "suite", "groups", "sizes"])]
    pub(super) choose: bool,
    /// The table to choose by [default: what ships]
    #[arg(long, value_name = "FILE", requires = "choose")]
    pub(super) table: Option<PathBuf>,
    /// Write the results here, after each problem anew: a run that is stopped leaves what it has
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Go on where a run with this --json was stopped: what the file has is not measured again
    #[arg(long, requires = "json", conflicts_with = "from")]
    pub(super) resume: bool,
    /// Draw them: speeds beside peers' stored ones, shares of the floor, sweeps
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Races of peers to stand beside, separated by commas; those on the same device count [default: what is built in]
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub(super) peers: Vec<PathBuf>,
    /// Tell what has changed since these results, beyond the noise
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
    /// Changes that are never told of, in percent [default: 2, and 6 for fewer than eight rows]
    #[arg(long, value_name = "PERCENT", value_parser = parsers::positive, requires = "compare")]
    pub(super) tolerance: Option<f64>,
}
