//! `cargo xtask check-cubins`: every kernel that ships compiles cleanly.
//!
//! Each is compiled by the pinned nvcc for each architecture it ships for. A spill, a stack frame or a compiler's
//! warning is a failure: each of them costs speed that no test on a CPU would miss. Results are cached by the source's
//! hash, so that a change compiles only what it changed; and what came out clean is written down ([`Compiled`]), so that
//! the tests compile only what is not. Then the cubins are held against the committed attestations: stale and missing ones
//! are listed, malformed and failing ones are failures.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use ggemm_attest::{CubinHash, Cubins};
use ggemm_codegen::{Arch, QuantizeSpec, RealignSpec, catalogue, generate, generate_quantizer, generate_realigner};
use ggemm_compile::{Cache, CacheKey, CacheLocation, Compiler, Cubin, Origin, Request, Target};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::attestations::{self, Listing};
use crate::compiled::{Clean, Compiled};
use crate::{Result, cuda};

/// One kernel for one architecture.
pub(crate) struct Job {
    /// The kernel's name.
    pub(crate) name: String,
    /// Its CUDA C++.
    pub(crate) source: String,
    /// What it is compiled for.
    pub(crate) target: Target,
    /// Whether it ships, and so is to be attested.
    pub(crate) ships: bool,
}

/// The architectures that cubins are checked for: one of each kind of limits and instructions.
const TARGETS: [Arch; 4] = [Arch::Sm80, Arch::Sm90a, Arch::Sm100a, Arch::Sm120a];

/// Texts of the kernels that show statements which no shipped variant uses yet, as codegen's tests keep them.
const SHOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/ggemm-codegen/tests/hopper/snapshots");

/// Every shipped variant for every target that its constraints admit, what only tests show, and what is to be measured.
fn jobs() -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    let mut shown: Vec<_> = fs::read_dir(SHOWN)?.collect::<std::io::Result<_>>()?;
    shown.sort_by_key(fs::DirEntry::path);
    for path in shown.iter().map(fs::DirEntry::path).filter(|p| p.extension().is_some_and(|e| e == "cu")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace(".snap.cu", "");
        let name = name.rsplit("__").next().unwrap_or_default().to_owned();
        jobs.push(Job { name, source: fs::read_to_string(&path)?, target: Arch::Sm90a.name().parse()?, ships: false });
    }
    for spec in catalogue::unshipped().into_iter().filter_map(|spec| catalogue::for_target(spec, Arch::Sm90a)) {
        let (generated, target) = (generate(&spec), Arch::Sm90a.name().parse()?);
        jobs.push(Job { source: generated.source(), name: generated.name, target, ships: false });
    }
    for arch in TARGETS {
        let target: Target = arch.name().parse()?;
        for spec in catalogue::shipped_for(arch) {
            let generated = generate(&spec);
            jobs.push(Job { source: generated.source(), name: generated.name, target: target.clone(), ships: true });
        }
        for spec in QuantizeSpec::all().filter(|spec| arch.executes(spec.arch())) {
            let generated = generate_quantizer(&spec);
            jobs.push(Job { source: generated.source(), name: generated.name, target: target.clone(), ships: true });
        }
        for spec in RealignSpec::all().filter(|spec| arch.executes(spec.arch())) {
            let generated = generate_realigner(&spec);
            jobs.push(Job { source: generated.source(), name: generated.name, target: target.clone(), ships: true });
        }
    }
    Ok(jobs)
}

/// Which kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All, and what came out clean is written down.
    All,
    /// Those of which nothing is written down, and a sample of the others.
    Unknown,
}

/// Of a hundred kernels that are known to be clean, so many are compiled all the same.
const SAMPLE_PERCENT: u64 = 4;

/// Compiles what ships, prints a summary, and fails if anything is wrong.
pub(crate) fn run(extent: Extent, threads: usize) -> Result<()> {
    let report = check(jobs()?, extent, threads)?;
    println!("{report}");
    let ledger = attestations::ledger(&report);
    print!("{}", Listing(&ledger));
    report.verdict()?;
    if extent == Extent::All {
        report.compiled.write()?;
    }
    attestations::trusted(&ledger)
}

/// Compiles all that ships.
pub(crate) fn all(threads: usize) -> Result<Report> {
    check(jobs()?, Extent::All, threads)
}

/// Compiles the jobs with the pinned nvcc, through a cache of their own that all clones share.
pub(crate) fn check(jobs: Vec<Job>, extent: Extent, threads: usize) -> Result<Report> {
    let compiler = Compiler::from(cuda::toolkit()?.nvcc);
    let cache = Cache::open(CacheLocation::At(cuda::user_cache()?.join("check-cubins")));
    if let Some(reason) = cache.bypass() {
        eprintln!("warning: {reason}");
    }
    let known = if extent == Extent::All { Compiled::default() } else { Compiled::read()? };
    Ok(check_with(jobs, threads, |job| {
        let request = Request::new(&job.name, &job.source, &job.target);
        let key = CacheKey::of(&compiler, &request).text();
        let clean = known.find(&job.target.to_string(), &job.name, &key).cloned();
        if let Some(clean) = clean.as_ref().filter(|clean| !known.samples(&clean.key, SAMPLE_PERCENT)) {
            return Ok(Outcome::Known(clean.clone()));
        }
        let (cubin, origin) = cache.get_or_compile(&compiler, &request).map_err(|error| error.to_string())?;
        match clean {
            Some(clean) if clean.cubin != CubinHash::of(&cubin.bytes) => Err(format!(
                "xtask/compiled.json has another cubin of it ({}); run `cargo xtask check-cubins`",
                clean.cubin.short()
            )),
            _ => Ok(Outcome::Compiled { key, cubin, origin }),
        }
    }))
}

/// What became of a job.
enum Outcome {
    /// It was compiled, from and by what `key` says.
    Compiled {
        /// The hash of all that decides.
        key: String,
        /// What came out.
        cubin: Cubin,
        /// Where it came from.
        origin: Origin,
    },
    /// It was compiled before.
    Known(Clean),
}

/// Runs the jobs through `compile`, `threads` at a time.
fn check_with(jobs: Vec<Job>, threads: usize, compile: impl Fn(&Job) -> Result<Outcome, String> + Sync) -> Report {
    let start = Instant::now();
    let bar = progress_bar(jobs.len());
    let report = Mutex::new(Report { jobs: jobs.len(), ..Report::default() });
    let queue = Mutex::new(VecDeque::from(jobs));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(job) = lock(&queue).pop_front() {
                    bar.set_message(format!("{} {}", job.name, job.target));
                    let result = compile(&job);
                    lock(&report).add(&job, result);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut report = report.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    report.offenders.sort();
    report.wall = start.elapsed();
    report
}

/// A thread that panicked left the data whole: each holds the lock for one push or pop.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Drawn on a terminal only, and once there is something to wait for.
fn progress_bar(jobs: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(jobs as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// A job that fails the check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offender {
    /// The kernel.
    pub(crate) name: String,
    /// The architecture.
    pub(crate) target: Target,
    /// What is wrong, a line or more each.
    pub(crate) faults: Vec<String>,
}

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    jobs: usize,
    done: usize,
    hits: usize,
    known: usize,
    uncached: Option<String>,
    worst_registers: Option<(u32, String)>,
    spilling: usize,
    with_stack: usize,
    warned: usize,
    failed: usize,
    offenders: Vec<Offender>,
    /// The hash of each cubin that ships.
    pub(crate) cubins: Cubins,
    compiled: Compiled,
    wall: Duration,
}

impl Report {
    fn add(&mut self, job: &Job, result: Result<Outcome, String>) {
        self.done += 1;
        let target = job.target.to_string();
        let faults = match result {
            Err(error) => {
                self.failed += 1;
                vec![error]
            }
            Ok(Outcome::Known(clean)) => {
                self.known += 1;
                self.count_registers(job, clean.registers);
                self.owes_attestation(job, &clean.cubin);
                Vec::new()
            }
            Ok(Outcome::Compiled { key, cubin, origin }) => {
                match origin {
                    Origin::Hit => self.hits += 1,
                    Origin::Bypassed(reason) => self.uncached = Some(reason.to_string()),
                    _ => {}
                }
                let hash = CubinHash::of(&cubin.bytes);
                self.owes_attestation(job, &hash);
                let faults = self.judge(job, &cubin);
                if let Some(facts) = cubin.facts.filter(|_| faults.is_empty()) {
                    let clean = Clean { key, cubin: hash, registers: facts.registers };
                    self.compiled.insert(&target, &job.name, clean);
                }
                faults
            }
        };
        if !faults.is_empty() {
            self.offenders.push(Offender { name: job.name.clone(), target: job.target.clone(), faults });
        }
    }

    fn owes_attestation(&mut self, job: &Job, cubin: &CubinHash) {
        if job.ships {
            self.cubins.entry(job.target.to_string()).or_default().insert(job.name.clone(), cubin.clone());
        }
    }

    fn count_registers(&mut self, job: &Job, registers: u32) {
        if self.worst_registers.as_ref().is_none_or(|(worst, _)| registers > *worst) {
            self.worst_registers = Some((registers, format!("{} {}", job.name, job.target)));
        }
    }

    fn judge(&mut self, job: &Job, cubin: &Cubin) -> Vec<String> {
        let mut faults = Vec::new();
        match cubin.facts {
            None => {
                self.failed += 1;
                faults.push("the compiler reports no registers: the source holds no kernel".to_owned());
            }
            Some(facts) => {
                self.count_registers(job, facts.registers);
                if facts.spills() {
                    self.spilling += 1;
                    let (stores, loads) = (facts.spill_store_bytes, facts.spill_load_bytes);
                    faults.push(format!("spills: {stores} bytes stored, {loads} bytes loaded"));
                }
                if facts.stack_bytes > 0 {
                    self.with_stack += 1;
                    faults.push(format!("stack: {} bytes", facts.stack_bytes));
                }
            }
        }
        if !cubin.warnings.is_empty() {
            self.warned += 1;
            faults.extend(cubin.warnings.iter().cloned());
        }
        faults
    }

    /// An error that lists every offender, if there is one.
    pub(crate) fn verdict(&self) -> Result<()> {
        // A check of nothing proves nothing.
        if self.jobs == 0 {
            return Err("there is no kernel to check: the list of what ships is empty".into());
        }
        if self.done != self.jobs {
            return Err(format!("only {} of {} jobs were done", self.done, self.jobs).into());
        }
        if self.offenders.is_empty() {
            return Ok(());
        }
        let mut text = format!("{} of {} cubins are not clean:", self.offenders.len(), self.jobs);
        for Offender { name, target, faults } in &self.offenders {
            write!(text, "\n  {name} {target}")?;
            for line in faults.iter().flat_map(|fault| fault.lines()) {
                write!(text, "\n    {line}")?;
            }
        }
        Err(text.into())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.worst_registers.as_ref();
        let worst = worst.map_or_else(|| "-".to_owned(), |(registers, job)| format!("{registers} ({job})"));
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.add_row(["cubins", &self.jobs.to_string()]);
        table.add_row(["known to be clean", &self.known.to_string()]);
        table.add_row(["from the cache", &self.hits.to_string()]);
        table.add_row(["most registers", &worst]);
        table.add_row(["with spills", &self.spilling.to_string()]);
        table.add_row(["with a stack", &self.with_stack.to_string()]);
        table.add_row(["with warnings", &self.warned.to_string()]);
        table.add_row(["not compiled", &self.failed.to_string()]);
        table.add_row(["time", &format!("{:.1} s", self.wall.as_secs_f64())]);
        if let Some(reason) = &self.uncached {
            table.add_row(["not cached", reason]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "\
ptxas info    : Function properties for k
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers
";

    fn job(name: &str) -> Job {
        Job { name: name.to_owned(), source: String::new(), target: "sm_90a".parse().unwrap(), ships: true }
    }

    fn compiled(log: &str, origin: Origin) -> Result<Outcome, String> {
        Ok(Outcome::Compiled { key: "its key".to_owned(), cubin: Cubin::new(vec![1], log.to_owned()), origin })
    }

    /// Checks one job whose compiler says so.
    fn check_one(log: &str) -> Report {
        check_with(vec![job("k")], 1, |_| compiled(log, Origin::Compiled))
    }

    #[test]
    fn what_is_known_to_be_clean_counts_as_if_it_were_compiled() {
        let first = check_one(CLEAN);
        let known = first.compiled.find("sm_90a", "k", "its key").unwrap().clone();
        let report = check_with(vec![job("k")], 1, |_| Ok(Outcome::Known(known.clone())));
        report.verdict().unwrap();
        assert_eq!((report.known, report.worst_registers, report.cubins), (1, first.worst_registers, first.cubins));
        // What is not clean is not known.
        let spilling = check_one(&CLEAN.replace("0 bytes spill stores", "8 bytes spill stores"));
        assert_eq!(spilling.compiled, Compiled::default());
    }

    #[test]
    fn a_clean_cubin_passes() {
        let report = check_one(CLEAN);
        report.verdict().unwrap();
        assert_eq!(report.worst_registers, Some((168, "k sm_90a".to_owned())));
        assert_eq!(report.cubins["sm_90a"]["k"], CubinHash::of(&[1]));
    }

    #[test]
    fn what_only_tests_show_owes_no_attestation() {
        let shown = Job { ships: false, ..job("k") };
        let report = check_with(vec![shown], 1, |_| compiled(CLEAN, Origin::Compiled));
        report.verdict().unwrap();
        assert!(report.cubins.is_empty());
    }

    #[test]
    fn spills_stacks_and_warnings_fail_by_name() {
        let faults = [
            (CLEAN.replace("0 bytes spill stores", "8 bytes spill stores"), "spills: 8 bytes stored, 0 bytes loaded"),
            (CLEAN.replace("0 bytes spill loads", "8 bytes spill loads"), "spills: 0 bytes stored, 8 bytes loaded"),
            (CLEAN.replace("0 bytes stack", "16 bytes stack"), "stack: 16 bytes"),
            (format!("{CLEAN}ptxas warning : slow\n"), "ptxas warning : slow"),
            (format!("{CLEAN}ptxas info    : (C7511) Potential Performance Loss: x\n"), "(C7511)"),
            (String::new(), "no kernel"),
        ];
        for (log, expected) in faults {
            let text = check_one(&log).verdict().expect_err(expected).to_string();
            assert!(text.starts_with("1 of 1 cubins are not clean:\n  k sm_90a\n    "), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_refused_source_fails_and_the_others_are_still_checked() {
        let jobs = ["a", "b", "c", "d"].map(job).into();
        let report = check_with(jobs, 2, |job| match job.name.as_str() {
            "b" | "c" => Err(format!("no {}", job.name)),
            _ => compiled(CLEAN, Origin::Hit),
        });
        assert_eq!((report.done, report.hits, report.failed), (4, 2, 2));
        let names: Vec<_> = report.offenders.iter().map(|offender| offender.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        assert!(report.verdict().is_err());
    }

    #[test]
    fn checking_nothing_is_no_success() {
        let report = check_with(Vec::new(), 2, |_| Err(String::new()));
        assert!(report.verdict().expect_err("no jobs").to_string().contains("empty"));
    }

    #[test]
    fn the_summary_names_the_worst() {
        let report = check_with(vec![job("small"), job("large")], 1, |job| {
            let registers = if job.name == "large" { "200" } else { "100" };
            compiled(&CLEAN.replace("168", registers), Origin::Hit)
        });
        let text = report.to_string();
        assert!(text.contains("200 (large sm_90a)"), "{text}");
    }

    /// The pinned compiler on a small kernel, and on one that spills.
    #[test]
    #[ignore = "fetches the compiler"]
    fn with_the_real_compiler() {
        let saxpy = "extern \"C\" __global__ void saxpy(const float* x, float* y, float a) \
                     { y[threadIdx.x] += a * x[threadIdx.x]; }";
        let stack = "extern \"C\" __global__ void stack(const int* p, float* y) \
                     { float b[64]; for (int i = 0; i < 64; ++i) b[p[i] & 63] = p[i]; y[0] = b[p[0] & 63]; }";
        let job = |name: &str, source: &str, target: &str| Job {
            name: name.to_owned(),
            source: source.to_owned(),
            target: target.parse().unwrap(),
            ships: true,
        };
        let targets = ["sm_80", "sm_90a", "sm_100a", "sm_120a"];
        let report = check(targets.map(|target| job("saxpy", saxpy, target)).into(), Extent::All, 2).unwrap();
        println!("{report}");
        report.verdict().unwrap();
        let again = check(targets.map(|target| job("saxpy", saxpy, target)).into(), Extent::All, 2).unwrap();
        println!("{again}");
        assert_eq!(again.hits, 4);
        let report = check(vec![job("stack", stack, "sm_90a")], Extent::All, 2).unwrap();
        println!("{report}");
        let text = report.verdict().expect_err("a stack").to_string();
        assert!(text.contains("stack sm_90a") && text.contains("stack: 256 bytes"), "{text}");
    }
}
