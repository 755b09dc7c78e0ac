//! What a run found, as data: printed as text for people ([`text`]) or as JSON for programs.

mod text;

use std::path::Path;
use std::time::Duration;

use ggemm_codegen::{Arch, Dtype, Operation, Tail, TensorShape, WeightLayout, WeightSharing};
use ggemm_runtime::{Device, DeviceKind, Discrepancy, Mode};
use serde::Serialize;

use crate::Outcome;
use crate::commands::run::case::Case;
use crate::commands::run::check::Check;
use crate::commands::run::measure::Measured;
use crate::numbers::Number;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of the command.
    ggemm: &'static str,
    problem: ProblemReport,
    device: DeviceReport,
    operations: Vec<OperationReport>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// Whether everything that was checked is right; absent where nothing was.
    passed: Option<bool>,
}

/// What was computed.
#[derive(Debug, Serialize)]
struct ProblemReport {
    /// G.
    groups: usize,
    /// M.
    m: usize,
    /// N.
    n: usize,
    /// K.
    k: usize,
    /// Rows of each group.
    sizes: Vec<usize>,
    /// How they came about.
    sizes_from: String,
    /// Rows past the last group.
    tail: usize,
    tail_policy: Option<Tail>,
    dtype: &'static str,
    /// What operands are quantized to, and how they are scaled.
    fp8: Option<Fp8Report>,
    output_dtype: &'static str,
    weight_sharing: WeightSharing,
    weight_layout: WeightLayout,
    accumulate: bool,
    x: Vec<usize>,
    w: Vec<usize>,
    dy: Vec<usize>,
    /// Where values come from.
    data: String,
    seed: u64,
    notes: Vec<String>,
}

/// Where it was computed.
#[derive(Debug, Serialize)]
struct DeviceReport {
    /// `cpu`, `cuda:0`.
    kind: String,
    name: String,
    arch: Option<String>,
    /// Threads of the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    /// Whether a GPU's kernels were interpreted, so that times are no kernel's.
    interpreted: bool,
    /// Why there is no GPU, where the CPU is what was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_gpu: Option<String>,
}

/// One operation.
#[derive(Debug, Serialize)]
pub(crate) struct OperationReport {
    operation: Operation,
    /// The problem on one line.
    problem: String,
    /// The output's name.
    tensor: &'static str,
    /// The output's shape.
    shape: Vec<usize>,
    dtype: &'static str,
    variant: String,
    why: String,
    /// Absent where nothing was checked.
    check: Option<CheckReport>,
    time: TimeReport,
    /// Whether every run left the same bits.
    repeatable: bool,
    passed: Option<bool>,
}

/// How an output compares with the reference.
#[derive(Debug, Serialize)]
struct CheckReport {
    passed: bool,
    /// What was allowed, in words.
    bound: String,
    elements: usize,
    max_abs: f64,
    /// In relation to the sum of the magnitudes of an element's terms.
    max_rel: f64,
    /// The element whose difference is the largest part of what it may be.
    worst: Option<Element>,
    /// The element with the largest difference.
    largest: Option<Element>,
    zeros: usize,
    reference_zeros: usize,
    outside_bound: usize,
    first_outside: Option<Element>,
    /// Elements outside the problem that were written all the same.
    overwritten: usize,
    first_overwritten: Option<usize>,
}

/// An element of an output and of the reference.
#[derive(Debug, Serialize)]
struct Element {
    /// The group whose matrix it is in; none for a row or a shared matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    row: usize,
    col: usize,
    /// The row's place in the file, where tokens were sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<usize>,
    computed: Number,
    reference: Number,
    /// How far apart the two may be.
    bound: Number,
}

/// The fp8 operands of a run.
#[derive(Debug, Serialize)]
struct Fp8Report {
    format: &'static str,
    scaling: &'static str,
}

/// How long it took.
#[derive(Debug, Serialize)]
struct TimeReport {
    runs: usize,
    median_seconds: f64,
    min_seconds: f64,
    max_seconds: f64,
    /// 10^12 multiplications and additions a second, by the median; rows of the tail do not count. Absent where a kernel
    /// was interpreted.
    tflops: Option<f64>,
}

impl Report {
    /// A report without operations.
    pub(crate) fn new(case: &Case, device: &Device, output: Option<&Path>) -> Self {
        let base = &case.base;
        let [dy, x, _] = case.problem(Operation::GradW).tensors();
        let [_, w, _] = case.problem(Operation::Forward).tensors();
        let tail = base.m.saturating_sub(case.runs.total());
        let problem = ProblemReport {
            groups: base.groups,
            m: base.m,
            n: base.n,
            k: base.k,
            sizes: case.runs.iter().map(|run| run.len()).collect(),
            sizes_from: case.about.groups.clone(),
            tail,
            tail_policy: (tail > 0).then_some(base.tail),
            dtype: base.operand.name(),
            fp8: case.fp8.map(|fp8| Fp8Report { format: fp8.format.name(), scaling: fp8.scaling.name() }),
            output_dtype: base.output.name(),
            weight_sharing: base.weight_sharing,
            weight_layout: base.weight_layout,
            accumulate: base.accumulate,
            x: dims(&x, base.weight_sharing),
            w: dims(&w, base.weight_sharing),
            dy: dims(&dy, base.weight_sharing),
            data: case.about.data.clone(),
            seed: case.seed,
            notes: case.about.notes.clone(),
        };
        let is_cpu = device.kind() == DeviceKind::Cpu;
        let threads = std::thread::available_parallelism().ok().map(usize::from);
        let device = DeviceReport {
            kind: device.kind().to_string(),
            name: device.name().to_owned(),
            arch: device.arch().map(|arch| arch.to_string()),
            threads: threads.filter(|_| is_cpu),
            interpreted: false,
            no_gpu: device.why_not_gpu().map(ToString::to_string),
        };
        Report {
            ggemm: env!("CARGO_PKG_VERSION"),
            problem,
            device,
            operations: Vec::new(),
            output: output.map(|path| path.display().to_string()),
            passed: None,
        }
    }

    /// Says that kernels for `arch` are interpreted.
    pub(crate) fn interpreted(&mut self, arch: Arch) {
        self.device.interpreted = true;
        self.device.arch = Some(arch.to_string());
    }

    /// Adds an operation.
    pub(crate) fn add(&mut self, part: OperationReport) {
        self.passed = match (self.passed, part.passed) {
            (Some(before), Some(now)) => Some(before && now),
            (before, now) => before.or(now),
        };
        self.operations.push(part);
    }

    /// How the command ends.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.passed == Some(false) { Outcome::ComparisonFailed } else { Outcome::Success }
    }
}

impl OperationReport {
    /// What came of one operation; nothing was compared where there is no `check`.
    pub(crate) fn new(case: &Case, operation: Operation, measured: &Measured, check: Option<&Check>) -> Self {
        let problem = case.problem(operation);
        let [_, _, out] = problem.tensors();
        let check = check.map(|check| CheckReport::new(case, operation, check));
        let passed = match &check {
            Some(check) => Some(check.passed && measured.repeatable),
            // Without a reference, what is not repeatable is wrong all the same.
            None => (!measured.repeatable).then_some(false),
        };
        OperationReport {
            operation,
            problem: problem.to_string(),
            tensor: out.name,
            shape: dims(&out, case.base.weight_sharing),
            dtype: out.dtype.name(),
            variant: measured.variant.name().to_owned(),
            why: measured.variant.reason().to_owned(),
            check,
            time: TimeReport::new(&measured.times, (!measured.interpreted).then(|| case.flops())),
            repeatable: measured.repeatable,
            passed,
        }
    }
}

impl CheckReport {
    fn new(case: &Case, operation: Operation, check: &Check) -> Self {
        let comparison = &check.comparison;
        let element = |found: &Discrepancy| {
            let is_row = operation != Operation::GradW;
            let order = case.order.as_ref().filter(|_| is_row);
            Element {
                group: found.group.filter(|_| !is_row),
                row: found.row,
                col: found.col,
                token: order.and_then(|order| order.token(found.row)),
                computed: Number(found.found),
                reference: Number(found.exact),
                bound: Number(found.bound),
            }
        };
        CheckReport {
            passed: comparison.pass(),
            bound: bound(case, operation, check),
            elements: comparison.compared,
            max_abs: comparison.max_abs,
            max_rel: comparison.max_rel,
            worst: comparison.worst.as_ref().map(element),
            largest: comparison.largest.as_ref().map(element),
            zeros: check.zeros,
            reference_zeros: check.reference_zeros,
            outside_bound: comparison.outside_bound,
            first_outside: comparison.first_outside.as_ref().map(element),
            overwritten: comparison.overwritten,
            first_overwritten: comparison.first_overwritten,
        }
    }
}

impl TimeReport {
    fn new(times: &[Duration], flops: Option<f64>) -> Self {
        let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |index: usize| seconds.get(index).copied().unwrap_or(0.0);
        let middle = seconds.len() / 2;
        let median = if seconds.len().is_multiple_of(2) {
            (at(middle.saturating_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        };
        TimeReport {
            runs: seconds.len(),
            median_seconds: median,
            min_seconds: at(0),
            max_seconds: at(seconds.len().saturating_sub(1)),
            tflops: flops.map(|flops| if median > 0.0 { flops / median / 1e12 } else { 0.0 }),
        }
    }
}

/// What is allowed, in words.
fn bound(case: &Case, operation: Operation, check: &Check) -> String {
    if check.mode == Mode::Exact {
        return "equal to the exact sum, to the bit".to_owned();
    }
    let base = &case.base;
    let (a, b, mut terms) = match operation {
        Operation::Forward => ("x", "w", format!("{}", base.k)),
        Operation::GradX => ("dy", "w", format!("{}", base.n)),
        Operation::GradW if base.weight_sharing == WeightSharing::Shared => {
            ("dy", "x", format!("{}", case.runs.total()))
        }
        Operation::GradW => ("dy", "x", "rows of the group".to_owned()),
    };
    let accumulated = usize::from(base.accumulate && operation == Operation::GradW);
    // As `ggemm_codegen::bound::roundings` counts them.
    let more = accumulated + if case.fp8.is_some() { 2 } else { 0 };
    if more > 0 {
        terms = format!("({terms} + {more})");
    }
    // `ggemm_codegen::tensor_core::TensorCore::lost`.
    if case.fp8.is_some() && check.by_tensor_cores {
        terms += &format!(" · 2⁻²⁴ · Σ|{a}||{b}| + what fp8 accumulators may cut off of its products");
        return format!("half an ulp of {} + {terms}", base.output);
    }
    // As `ggemm_codegen::bound::rounded_products` counts them.
    let products = match (base.operand, base.allow_tf32 && case.fp8.is_none()) {
        (Dtype::F32, true) => format!(" + (2⁻¹⁰ + 2⁻²²) · Σ|{a}||{b}|"),
        (Dtype::F32, false) if case.fp8.is_none() => {
            terms = format!("2 · {terms}");
            String::new()
        }
        _ => String::new(),
    };
    format!("half an ulp of {} + {terms} · 2⁻²⁴ · Σ|{a}||{b}|{products}", base.output)
}

/// The dimensions of a tensor; a weight of one expert still has a dimension for experts.
fn dims(shape: &TensorShape, sharing: WeightSharing) -> Vec<usize> {
    if matches!(shape.name, "w" | "dw") && sharing == WeightSharing::PerExpert {
        vec![shape.groups, shape.rows, shape.cols]
    } else {
        vec![shape.rows, shape.cols]
    }
}

#[cfg(test)]
mod tests {
    use ggemm_runtime::{Planner, bf16};

    use super::*;
    use crate::commands::run::args::RunArgs;
    use crate::commands::run::measure::{Repeat, measure};
    use crate::commands::run::{check, synthetic};

    /// The report of a run whose every output `spoil` has changed.
    fn report(flags: &str, spoil: impl Fn(&mut Measured)) -> Report {
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let case = synthetic::build(&RunArgs::parse_flags(&flags).unwrap()).unwrap();
        let planner = Planner::new(Device::cpu());
        let mut report = Report::new(&case, planner.device(), None);
        for &operation in &case.operations {
            let mut measured = measure(&planner, &case, operation, Repeat::Exactly(1)).unwrap();
            spoil(&mut measured);
            let check = check::check(&case, operation, planner.device(), &measured.before, &measured.after).unwrap();
            report.add(OperationReport::new(&case, operation, &measured, Some(&check)));
        }
        report
    }

    const SMALL: &str = "--sizes 3,0,4 -n 5 -k 6 --weights per-expert --exact";

    #[test]
    fn what_is_right_passes() {
        let report = report(SMALL, |_| ());
        assert_eq!((report.passed, report.outcome()), (Some(true), Outcome::Success));
    }

    #[test]
    fn one_wrong_element_fails_the_command() {
        let report = report(SMALL, |measured| {
            let out = measured.after.as_mut_slice::<bf16>().unwrap();
            out[7] = bf16::from_f32(out[7].to_f32() + 2.0);
        });
        assert_eq!(report.outcome(), Outcome::ComparisonFailed);
        let forward = report.operations[0].to_string();
        assert!(forward.contains("\n  wrong      1 elements; the first: at [1, 2]: computed "), "{forward}");
        assert!(forward.contains(", 2 apart\n  ") && forward.contains("\n  result     FAIL\n"), "{forward}");
        let dw = report.operations[2].to_string();
        assert!(dw.contains("the first: at [0, 1, 1]: computed "), "{dw}");
        let text = report.summary();
        assert!(text.ends_with("\nFAIL: 3 of 3 operations wrong: forward, grad_x, grad_w\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["passed"], &json["operations"][0]["check"]["outside_bound"]), (&false.into(), &1.into()));
    }

    #[test]
    fn output_that_was_never_written_fails() {
        let report = report(SMALL, |measured| measured.after = measured.before.try_clone().unwrap());
        assert_eq!(report.outcome(), Outcome::ComparisonFailed);
        let text = report.operations[0].to_string();
        assert!(text.contains("wrong      35 elements; the first: at [0, 0]: computed NaN, reference "), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["operations"][0]["check"]["worst"]["computed"], "NaN");
    }

    #[test]
    fn a_write_outside_the_problem_fails() {
        let report = report(&format!("{SMALL} --y-row-stride 8"), |measured| {
            if let Some(out) = measured.after.as_mut_slice::<bf16>() {
                let last = out.len() - 1;
                out[last] = bf16::ONE;
            }
        });
        assert_eq!(report.outcome(), Outcome::ComparisonFailed);
        let text = report.operations[0].to_string();
        assert!(text.contains("overwrote  1 elements outside the problem, the first at index "), "{text}");
    }

    #[test]
    fn other_bits_in_another_run_fail() {
        let report = report(SMALL, |measured| measured.repeatable = false);
        assert_eq!(report.outcome(), Outcome::ComparisonFailed);
        assert!(report.operations[0].to_string().contains("repeats    FAIL: "));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |ms: &[u64]| {
            let times: Vec<Duration> = ms.iter().map(|&ms| Duration::from_millis(ms)).collect();
            let report = TimeReport::new(&times, Some(4e9));
            (report.median_seconds, report.min_seconds, report.max_seconds, report.tflops)
        };
        assert_eq!(of(&[4, 1, 2]), (0.002, 0.001, 0.004, Some(2.0)));
        assert_eq!(of(&[4, 1]), (0.0025, 0.001, 0.004, Some(1.6)));
        assert_eq!(of(&[]), (0.0, 0.0, 0.0, Some(0.0)));
    }
}
