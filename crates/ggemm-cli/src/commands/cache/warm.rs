//! `ggemm cache warm`: compiles ahead of time what programs would compile at its first use.

use std::io::Write;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Args, ValueEnum};
use ggemm_codegen::Arch;
use ggemm_compile::{Bypass, Cache, CacheLocation, CompileError, Compiler, Condition, Nvcc, Nvrtc, Origin, Request};
use ggemm_runtime::{Device, NoDevice};
use serde::Serialize;

use super::CacheError;
use super::wanted::{self, Wanted};
use crate::Outcome;
use crate::commands::run::{MemoryArgs, ProblemArgs, RunArgs, problems};
use crate::error::CliError;
use crate::parsers;
use crate::progress::Progress;
use crate::workload::{SuiteArg, WorkloadError};

/// Compile kernels into the cache, so that no program has to wait for the compiler
///
/// With no flags: every kernel that ships for this machine's GPU. With a suite of layers, or a problem in the flags of
/// `ggemm run`: those that would be chosen for it, and those that take over where a tensor's address is not a multiple
/// of 16 bytes. --arch makes it work without a GPU. Entries serve programs whose NVRTC has the same version.
#[derive(Debug, Args)]
pub(crate) struct WarmArgs {
    /// Architectures to compile for, separated by commas [default: that of the first GPU]
    #[arg(long, value_delimiter = ',', value_name = "ARCH,…", value_parser = parsers::arch())]
    arch: Vec<Arch>,
    /// Warm for the layers of a file in the form of benches/gpu/suite.json, or of a suite that is built in: public, which
    /// it is without a word, held-out or calibration
    #[arg(
        long, value_name = "FILE", num_args = 0..=1, default_missing_value = SuiteArg::DEFAULT,
        conflicts_with_all = ["ProblemArgs", "MemoryArgs"]
    )]
    suite: Option<SuiteArg>,
    /// Whose entries to make
    #[arg(long, value_enum, default_value = "nvrtc")]
    compiler: CompilerArg,
    /// Kernels compiled at a time [default: one for each core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    problem: Option<ProblemArgs>,
    #[command(flatten)]
    memory: Option<MemoryArgs>,
}

/// Which compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompilerArg {
    /// What programs look for when they run
    Nvrtc,
    /// What builds with GGEMM_BAKE=cubin look for
    Nvcc,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Report<'a> {
    folder: &'a Path,
    compiler: String,
    kernels: Vec<Kernel>,
    seconds: f64,
}

/// A kernel that the cache has now.
#[derive(Debug, Serialize)]
struct Kernel {
    kernel: &'static str,
    arch: Arch,
    /// Whether the cache had it before.
    cached: bool,
}

impl WarmArgs {
    /// Compiles, and prints how much.
    pub(super) fn run(self) -> Result<Outcome, CliError> {
        let arches = self.arches()?;
        let wanted = self.wanted(&arches)?;
        let compiler = self.compiler()?;
        let location = CacheLocation::from_env();
        // Told before minutes are spent on what nothing would keep.
        if let Condition::ReadOnly { folder, reason } = location.examine() {
            return Err(CacheError::ReadOnly { folder, reason }.into());
        }
        let cache = Cache::open(location);
        let folder = match (cache.folder(), cache.bypass()) {
            (Some(folder), _) => folder,
            (None, bypass) => return Err(CacheError::Unusable(bypass.cloned().unwrap_or(Bypass::Disabled)).into()),
        };
        let names: Vec<&str> = arches.iter().map(|arch| arch.name()).collect();
        let label = format!("{} kernels for {} by {compiler}", wanted.len(), names.join(", "));
        let start = Instant::now();
        let kernels = self.compile(&cache, &compiler, &wanted, label.clone())?;
        let seconds = start.elapsed().as_secs_f64();
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let report = Report { folder, compiler: compiler.identity(), kernels, seconds };
            serde_json::to_writer_pretty(&mut stdout, &report)?;
            writeln!(stdout)?;
        } else {
            let cached = kernels.iter().filter(|kernel| kernel.cached).count();
            let compiled = kernels.len() - cached;
            writeln!(stdout, "{label}: {compiled} compiled, {cached} were there, in {seconds:.1} s")?;
            writeln!(stdout, "in {}", folder.display())?;
        }
        stdout.flush()?;
        Ok(Outcome::Success)
    }

    /// The architectures, each once.
    fn arches(&self) -> Result<Vec<Arch>, CacheError> {
        let mut arches = self.arch.clone();
        if arches.is_empty() {
            let device = Device::probe().map_err(CacheError::NoGpu)?;
            arches.push(device.arch().ok_or(CacheError::NoGpu(NoDevice::NoGpu))?);
        }
        arches.sort();
        arches.dedup();
        Ok(arches)
    }

    fn wanted(&self, arches: &[Arch]) -> Result<Vec<Wanted>, CliError> {
        if let Some(suite) = &self.suite {
            // How rows are spread over groups decides no kernel.
            let layers = suite.read().map_err(WorkloadError::from)?.layers;
            let tasks: Result<Vec<_>, _> = layers.iter().map(|layer| layer.tasks(&|problem| problem)).collect();
            let tasks = tasks.map_err(WorkloadError::from)?.concat();
            let problems: Vec<_> = tasks.iter().map(|task| task.problem().clone()).collect();
            return wanted::of(&problems, arches);
        }
        if self.problem.is_some() || self.memory.is_some() {
            let default = RunArgs::parse_flags(&[])?;
            let problem = self.problem.as_ref().unwrap_or(&default.problem);
            let memory = self.memory.as_ref().unwrap_or(&default.memory);
            return wanted::of(&problems(problem, memory)?, arches);
        }
        Ok(wanted::all(arches)?)
    }

    fn compiler(&self) -> Result<Compiler, CacheError> {
        match self.compiler {
            CompilerArg::Nvrtc => Nvrtc::find().map(Compiler::from).map_err(CacheError::NoNvrtc),
            CompilerArg::Nvcc => Nvcc::find().map(Compiler::from).map_err(CacheError::NoNvcc),
        }
    }

    fn compile(
        &self,
        cache: &Cache,
        compiler: &Compiler,
        wanted: &[Wanted],
        label: String,
    ) -> Result<Vec<Kernel>, CacheError> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = self.threads.map_or_else(cores, NonZero::get);
        let requests: Vec<Request<'_>> =
            wanted.iter().map(|wanted| Request::new(wanted.kernel.name, &wanted.source, &wanted.target)).collect();
        let results: Vec<Mutex<Option<Result<Origin, CompileError>>>> =
            wanted.iter().map(|_| Mutex::new(None)).collect();
        let (progress, done) = (Progress::new(label), AtomicUsize::new(0));
        cache.warm(compiler, &requests, threads, |index, result| {
            if let Some(place) = results.get(index) {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
            progress.show((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / requests.len() as f64);
        });
        drop(progress);
        summary(wanted, results.into_iter().map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What became of each kernel. An error where one has no entry now.
fn summary(
    wanted: &[Wanted],
    results: impl Iterator<Item = Option<Result<Origin, CompileError>>>,
) -> Result<Vec<Kernel>, CacheError> {
    let (mut kernels, mut failures, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for (wanted, result) in wanted.iter().zip(results) {
        let mut kept = |cached| kernels.push(Kernel { kernel: wanted.kernel.name, arch: wanted.arch, cached });
        match result {
            Some(Ok(Origin::Hit)) => kept(true),
            Some(Ok(Origin::Compiled)) => kept(false),
            Some(Ok(Origin::Bypassed(reason))) => lost.push(reason),
            Some(Err(error)) => failures.push((wanted, error.to_string())),
            Some(Ok(_)) | None => {}
        }
    }
    let total = wanted.len();
    if let Some((first, reason)) = failures.first() {
        return Err(CacheError::NotCompiled {
            failed: failures.len(),
            total,
            kernel: first.kernel.name,
            arch: first.arch.name(),
            reason: reason.clone(),
        });
    }
    match lost.first() {
        Some(reason) => Err(CacheError::NotKept { failed: lost.len(), total, reason: reason.clone() }),
        None => Ok(kernels),
    }
}
