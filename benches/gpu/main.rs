//! The kernels' speed on a GPU: `cargo bench --bench gpu -- --help`, or alone on a machine without Rust
//! (`cargo xtask bundle`).
//!
//! Each row is one operation of one layer of a known model (`suite.json`). Its variants take turns as they do when
//! ggemm tunes (`ggemm::tune`): in every round each has a block of launches, with the L2 cache flushed before each, on
//! several sets of inputs. What is told is the median over the rounds of the GPU's own time, and the useful operations
//! over it: padding does not count. Before a variant is timed, samples of its output are held against sums in f64.

mod case;
mod host;
mod machine;
mod report;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ggemm::tune::{GpuBench, Task, Turns, take_turns};
use ggemm::{Arch, Device, Dtype, KernelSpec, NoDevice, Operation, Planner, Scaling};

use report::{Report, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Options {
    /// Only these cases of the suite
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these operations
    #[arg(long, value_delimiter = ',')]
    operations: Vec<Operation>,
    /// Multiply fp8 of this type by e4m3, and not bf16
    #[arg(long, value_name = "FORMAT", value_parser = fp8)]
    fp8: Option<Dtype>,
    /// What shares a scale of fp8: row or block
    #[arg(long, default_value = "block", requires = "fp8")]
    scaling: Scaling,
    /// Sums of fp8 may stay in the tensor cores' accumulator
    #[arg(long, requires = "fp8")]
    fast_accumulation: bool,
    /// How many variants to time for each row: the chosen one, and those predicted to be next
    #[arg(long, default_value_t = 1)]
    variants: usize,
    /// Rounds of which the median is taken
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Write the results here too, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn fp8(name: &str) -> std::result::Result<Dtype, String> {
    let found = name.parse::<Dtype>().ok().filter(|dtype| dtype.is_fp8());
    found.ok_or_else(|| "expected e4m3 or e5m2".to_owned())
}

impl Options {
    fn fp8(&self) -> Option<case::Fp8> {
        let (scaling, fast) = (self.scaling, self.fast_accumulation);
        self.fp8.map(|format| case::Fp8 { format, scaling, fast })
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let device = match Device::probe() {
        Ok(device) => device,
        Err(why) => return skip(&why),
    };
    match run(&options, &device) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// No GPU is no failure: `cargo bench` runs everything there is.
fn skip(why: &NoDevice) -> ExitCode {
    eprintln!("nothing is timed: {why}");
    ExitCode::SUCCESS
}

fn run(options: &Options, device: &Device) -> Result<()> {
    let arch = device.arch().ok_or("the device has no architecture")?;
    let mut report = Report::new(device);
    println!("{}\n", report.head());
    println!("{}", Row::HEADER);
    let planner = Planner::new(device.clone());
    let mut bench = GpuBench::new(&planner)?;
    for layer in case::suite()? {
        if !options.only.is_empty() && !options.only.contains(&layer.name) {
            continue;
        }
        for &operation in &layer.operations {
            if !options.operations.is_empty() && !options.operations.contains(&operation) {
                continue;
            }
            for row in time(options, &planner, &mut bench, arch, &case::task(&layer, operation, options.fp8())?)? {
                println!("{row}");
                report.rows.push(row);
            }
        }
    }
    report.host = Some(host::measure(device)?);
    println!("\n{}", report.foot());
    if let Some(path) = &options.json {
        serde_json::to_writer_pretty(File::create(path)?, &report)?;
    }
    Ok(())
}

/// The chosen variant and some others, best predicted first.
fn time(options: &Options, planner: &Planner, bench: &mut GpuBench, arch: Arch, task: &Task) -> Result<Vec<Row>> {
    let explanation = planner.explain(task.problem(), arch)?;
    let mut candidates = explanation.candidates().to_vec();
    candidates.sort_by(|a, b| a.prediction.seconds.total_cmp(&b.prediction.seconds));
    let chosen: Vec<(KernelSpec, f64)> = candidates
        .iter()
        .take(options.variants.max(1))
        .map(|candidate| (*candidate.variant.spec(), candidate.prediction.seconds * 1e6))
        .collect();
    let specs: Vec<KernelSpec> = chosen.iter().map(|(spec, _)| *spec).collect();
    let mut clock = bench.prepare(task, &specs)?;
    for (candidate, spec) in specs.iter().enumerate() {
        clock.check(candidate).map_err(|wrong| format!("{task}: {spec}: {wrong}"))?;
    }
    let turns = Turns { rounds: options.rounds, ..Turns::default() };
    let times = take_turns(&mut clock, specs.len(), &turns, &mut |_| ())?;
    let rows = chosen.iter().zip(times).enumerate();
    Ok(rows.map(|(rank, ((spec, predicted), times))| Row::new(task, spec, rank, *predicted, &times)).collect())
}
