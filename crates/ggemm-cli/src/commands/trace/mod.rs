//! `ggemm trace`: a small problem in the interpreter, as the timeline of one CTA.

mod summary;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use ggemm_codegen::interp::{Policy, Settings};
use ggemm_codegen::trace::{Example, Timeline, chrome, record, svg};
use ggemm_codegen::{Arch, kernels};

use crate::Outcome;
use crate::commands::emit;
use crate::error::CliError;
use crate::files::StagedFile;
use crate::parsers::{self, Sizes};

/// Show what the warps of a CTA do, what its slots of shared memory hold and which phase its barriers are in
///
/// The variant runs a small problem in the interpreter, which checks it meanwhile. The timeline of one CTA is written as
/// a picture (SVG) and as a trace that ui.perfetto.dev and chrome://tracing open.
///
/// The axis is turns: in one, every warp of the launch that can go on executes one statement, on average. So the order is
/// the interpreter's own, and a wait is as long as what others do meanwhile; but a turn is no clock: a product takes one
/// like an addition, and loads land when the policy says.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The variant's name, as `ggemm list` prints it; any other legal spec will do too
    spec: String,
    /// The architecture that has to be able to run it [default: the oldest that can]
    #[arg(long, value_parser = parsers::arch())]
    target: Option<Arch>,
    /// The CTA whose timeline is written
    #[arg(long, value_name = "N", default_value_t = 0)]
    cta: usize,
    /// Where the picture goes [default: SPEC.svg, where --chrome is not given either]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Where the trace goes [default: SPEC.trace.json, where --svg is not given either]
    #[arg(long, value_name = "FILE")]
    chrome: Option<PathBuf>,
    #[command(flatten)]
    problem: ProblemArgs,
    #[command(flatten)]
    schedule: ScheduleArgs,
}

/// The problem, forward or grad_w by the variant.
#[derive(Debug, Args)]
#[command(next_help_heading = "Problem")]
struct ProblemArgs {
    /// Rows of each group [default: a few ragged ones and an empty one, for some four tiles a CTA]
    #[arg(long, value_name = "LIST")]
    sizes: Option<Sizes>,
    /// N, the columns of y [default: whole tiles]
    #[arg(short, long, value_name = "N", value_parser = parsers::count)]
    n: Option<usize>,
    /// K, the columns of x [default: six blocks of the reduction; of grad_w whole tiles]
    #[arg(short, long, value_name = "K", value_parser = parsers::count)]
    k: Option<usize>,
}

/// The schedule.
#[derive(Debug, Args)]
#[command(next_help_heading = "Schedule")]
struct ScheduleArgs {
    /// Who goes on first, and when loads land: eager and late let a warp run until it waits, and land loads at once or as
    /// late as can be; random interleaves; starve does too, and leaves out one warp while any other can go on
    #[arg(long, default_value = "random", value_parser = parsers::policy())]
    policy: Policy,
    /// Seed of the schedule and of the data
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// CTAs of the launch; whole clusters run
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    ctas: u16,
    /// Statements that a warp executes in a row at most, with random and starve; findings are replayed with 12
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    burst: u16,
}

/// Statements, summed over warps, after which a run is too long for a timeline.
const STATEMENTS: u64 = 2_000_000;

impl TraceArgs {
    /// Runs the problem and writes the timeline.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let spec = emit::valid(&self.spec, self.target)?;
        let kernel = kernels::build(&spec);
        let ScheduleArgs { policy, seed, ctas, burst } = self.schedule;
        let sizes = self.problem.sizes.as_ref().map(|sizes| sizes.0.clone());
        let example = Example { sizes, n: self.problem.n, k: self.problem.k, seed };
        let case = example.case(&spec, &kernel.contract)?;
        let settings = Settings { policy, seed, ctas: ctas.into(), limit: STATEMENTS, burst: burst.into() };
        let timeline = record(&kernel, &case, settings, self.cta)?;
        let files = self.write(&timeline)?;
        let mut stdout = std::io::stdout().lock();
        write!(stdout, "{}", summary::text(&timeline))?;
        for (file, what) in files {
            writeln!(stdout, "{} {what}", file.display())?;
        }
        stdout.flush()?;
        Ok(Outcome::Success)
    }

    /// Writes the files that are asked for, and says which.
    fn write(&self, timeline: &Timeline) -> Result<Vec<(PathBuf, &'static str)>, CliError> {
        let default = |ending: &str| PathBuf::from(format!("{}.{ending}", timeline.kernel));
        let (picture, trace) = match (&self.svg, &self.chrome) {
            (None, None) => (Some(default("svg")), Some(default("trace.json"))),
            (picture, trace) => (picture.clone(), trace.clone()),
        };
        let write =
            |path: &Path, text: String| StagedFile::create(path)?.commit(|file| file.write_all(text.as_bytes()));
        let mut files = Vec::new();
        if let Some(path) = picture {
            write(&path, svg::write(timeline))?;
            files.push((path, "is the picture"));
        }
        if let Some(path) = trace {
            write(&path, chrome::write(timeline))?;
            files.push((path, "is the trace: open it in ui.perfetto.dev or chrome://tracing"));
        }
        Ok(files)
    }
}
