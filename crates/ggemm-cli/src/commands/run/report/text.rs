//! The report for people.

use std::fmt;
use std::time::Duration;

use ggemm_codegen::{Operation, Tail, WeightLayout, WeightSharing};

use super::{CheckReport, Element, OperationReport, Report};
use crate::files::shape;
use crate::numbers::{Number, percent, rate, time};
use crate::table;

/// Sizes that are listed; of more, only what describes them is.
const LISTED_SIZES: usize = 16;

impl Report {
    /// Problem and device.
    pub(crate) fn head(&self) -> String {
        let problem = &self.problem;
        let layout = match (problem.weight_sharing, problem.weight_layout) {
            (WeightSharing::Shared, WeightLayout::Nk) => "[N, K], one for all groups",
            (WeightSharing::Shared, WeightLayout::Kn) => "[K, N], one for all groups",
            (WeightSharing::PerExpert, WeightLayout::Nk) => "[G, N, K], one for each group",
            (WeightSharing::PerExpert, WeightLayout::Kn) => "[G, K, N], one for each group",
        };
        let mut lines = Lines::default();
        lines.title(
            "problem",
            &format!("G = {}, M = {}, N = {}, K = {}", problem.groups, problem.m, problem.n, problem.k),
        );
        let operands = match &problem.fp8 {
            None => format!("{} operands", problem.dtype),
            Some(fp8) => {
                format!("{} operands with {} scales, quantized from {}", fp8.format, fp8.scaling, problem.dtype)
            }
        };
        lines.add("types", &format!("{operands}, f32 sums, {} outputs", problem.output_dtype));
        lines.add("x", &format!("{} = [M, K]", shape(&problem.x)));
        lines.add("w", &format!("{} = {layout}", shape(&problem.w)));
        lines.add("dy", &format!("{} = [M, N]", shape(&problem.dy)));
        lines.add("sizes", &format!("{} ({})", sizes(&problem.sizes), problem.sizes_from));
        if problem.tail > 0 {
            let policy = match problem.tail_policy {
                Some(Tail::Untouched) => "left as they are",
                _ => "zeroed",
            };
            lines.add("tail", &format!("rows past the last group: {}, {policy} in y and dx", problem.tail));
        }
        if problem.accumulate {
            lines.add("accumulate", "grad_w adds to what dw holds");
        }
        lines.add("data", &problem.data);
        for note in &problem.notes {
            lines.add("note", note);
        }
        let device = &self.device;
        let mut text = device.kind.clone();
        match &device.arch {
            Some(arch) if device.interpreted => text += &format!(", interpreting kernels for {arch}"),
            Some(arch) => text += &format!(", {} ({arch})", device.name),
            None => {}
        }
        if let Some(threads) = device.threads {
            text += &format!(", {threads} threads");
        }
        lines.title("device", &text);
        if device.interpreted {
            lines.add("note", "the interpreter checks a kernel's every step: it is slow, and times no kernel");
        }
        if let Some(why) = &device.no_gpu {
            lines.add("no GPU", why);
        }
        lines.0.push('\n');
        lines.0
    }

    /// A table of all operations and the last line.
    pub(crate) fn summary(&self) -> String {
        let mut table = table::table(["operation", "time", "TFLOP/s", "max abs", "max rel", "result"], 1..5);
        for part in &self.operations {
            let error =
                |value: fn(&CheckReport) -> f64| part.check.as_ref().map_or("-".to_owned(), |c| error(value(c)));
            table.add_row([
                part.operation.to_string(),
                seconds(part.time.median_seconds),
                part.time.tflops.map_or("-".to_owned(), rate),
                error(|check| check.max_abs),
                error(|check| check.max_rel),
                result(part.passed).to_owned(),
            ]);
        }
        let mut text = table::text(&table);
        if let Some(path) = &self.output {
            text += &format!("\nwrote {path}\n");
        }
        let total = self.operations.len();
        let good = self.operations.iter().filter(|part| part.passed == Some(true)).count();
        let last = match self.passed {
            Some(true) => format!("PASS: {good} of {total} operations match the f64 reference"),
            Some(false) => {
                let bad = self.operations.iter().filter(|part| part.passed == Some(false));
                let names: Vec<&str> = bad.map(|part| part.operation.name()).collect();
                format!("FAIL: {} of {total} operations wrong: {}", names.len(), names.join(", "))
            }
            None => {
                let names: Vec<&str> = self.operations.iter().map(|part| part.operation.name()).collect();
                format!("NOT CHECKED: timed {}", names.join(", "))
            }
        };
        text + "\n" + &last + "\n"
    }
}

impl fmt::Display for OperationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let definition = match self.operation {
            Operation::Forward => "y[r] = x[r] · w_gᵀ",
            Operation::GradX => "dx[r] = dy[r] · w_g",
            Operation::GradW => "dw_g = Σ dy[r]ᵀ x[r]",
        };
        let mut lines = Lines::default();
        lines.title(
            self.operation.name(),
            &format!("{definition}   {} {} {}", self.tensor, shape(&self.shape), self.dtype),
        );
        lines.add("variant", &format!("{} ({})", self.variant, self.why));
        if let Some(check) = &self.check {
            check.describe(&mut lines);
        }
        let of = &self.time;
        let spread = format!("{} to {}", seconds(of.min_seconds), seconds(of.max_seconds));
        let runs = if of.runs == 1 { "1 run".to_owned() } else { format!("median of {} runs, {spread},", of.runs) };
        match of.tflops {
            Some(tflops) => {
                lines.add("time", &format!("{}, {runs} after a warm-up", seconds(of.median_seconds)));
                lines.add("rate", &format!("{} TFLOP/s", rate(tflops)));
            }
            None => lines.add("time", &format!("{} in the interpreter, {runs}", seconds(of.median_seconds))),
        }
        if !self.repeatable {
            lines.add("repeats", "FAIL: further runs left other bits than the first");
        }
        lines.add("result", result(self.passed));
        lines.0.push('\n');
        f.write_str(&lines.0)
    }
}

impl CheckReport {
    fn describe(&self, lines: &mut Lines) {
        lines.add("error", &format!("max abs {}, max rel {} of Σ|a||b|", error(self.max_abs), error(self.max_rel)));
        if let Some(largest) = &self.largest {
            lines.add("largest", &largest.describe());
        }
        match &self.worst {
            Some(worst) => lines.add("worst", &worst.describe()),
            None => lines.add("worst", "nothing to compare: the output has no elements"),
        }
        let zeros = |count| format!("{count}/{} ({})", self.elements, percent(count, self.elements));
        lines.add("zeros", &format!("{}, in the reference {}", zeros(self.zeros), zeros(self.reference_zeros)));
        lines.add("bound", &self.bound);
        if let Some(first) = &self.first_outside {
            lines.add("wrong", &format!("{} elements; the first: {}", self.outside_bound, first.describe()));
        }
        if let Some(first) = self.first_overwritten {
            let text = format!("{} elements outside the problem, the first at index {first}", self.overwritten);
            lines.add("overwrote", &text);
        }
    }
}

impl Element {
    fn describe(&self) -> String {
        let mut place = format!("[{}, {}]", self.row, self.col);
        if let Some(group) = self.group {
            place = format!("[{group}, {}, {}]", self.row, self.col);
        }
        if let Some(token) = self.token {
            place += &format!(" (token {token} of the file)");
        }
        let Element { computed, reference, bound, .. } = self;
        let difference = (computed.0 - reference.0).abs();
        let equal = computed == reference || computed.0.is_nan() && reference.0.is_nan();
        let part = if equal {
            "equal".to_owned()
        } else if bound.0 > 0.0 && difference.is_finite() {
            format!("{} apart, {} of the bound", error(difference), percent_of(difference, bound.0))
        } else {
            format!("{} apart", Number(difference))
        };
        format!("at {place}: computed {computed}, reference {reference}, {part}")
    }
}

fn percent_of(part: f64, whole: f64) -> String {
    format!("{:.0}%", part / whole * 100.0)
}

/// An error with three digits that count.
fn error(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2e}") }
}

fn seconds(seconds: f64) -> String {
    time(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn result(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "not checked",
    }
}

/// All sizes, or what describes many.
fn sizes(sizes: &[usize]) -> String {
    if sizes.len() <= LISTED_SIZES {
        let listed: Vec<String> = sizes.iter().map(usize::to_string).collect();
        return listed.join(", ");
    }
    let listed: Vec<String> = sizes.iter().take(8).map(usize::to_string).collect();
    let (min, max) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
    let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    let empty = sizes.iter().filter(|&&size| size == 0).count();
    format!("{}, …: {min} to {max}, {mean:.1} on average, {empty} empty", listed.join(", "))
}

/// Lines of `name  value` under titles.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn title(&mut self, name: &str, value: &str) {
        self.0 += &format!("{name:<9} {value}\n");
    }

    fn add(&mut self, name: &str, value: &str) {
        self.0 += &format!("  {name:<10} {value}\n");
    }
}
