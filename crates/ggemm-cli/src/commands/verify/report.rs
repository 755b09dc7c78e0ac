//! What verification found, as text for people and as JSON for programs.

use ggemm_attest::Verdict;
use ggemm_runtime::verify::Extent;
use serde::Serialize;

use super::tally::Tally;
use crate::Outcome;
use crate::table;

/// A whole verification.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of the command.
    ggemm: &'static str,
    /// Where cases ran.
    ground: String,
    arch: &'static str,
    seed: u64,
    /// Cases of each variant.
    cases: u64,
    variants: Vec<VariantReport>,
    passed: bool,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<String>,
    seconds: f64,
}

/// What came of one variant.
#[derive(Debug, Serialize)]
struct VariantReport {
    variant: String,
    /// Cases that ran.
    cases: u64,
    exact_cases: u64,
    worst_of_bound: f64,
    /// Absent where the run ended before all of the cases, through the failure of another variant.
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureReport>,
}

/// The first failure of a variant.
#[derive(Debug, Serialize)]
struct FailureReport {
    seed: u64,
    problem: String,
    groups: Vec<i64>,
    fault: String,
    /// The command that runs the case again.
    replay: String,
    #[serde(skip)]
    text: String,
}

/// What a report says of the whole run.
pub(super) struct Run<'a> {
    pub(super) ground: String,
    pub(super) arch: &'static str,
    pub(super) seed: u64,
    pub(super) cases: u64,
    pub(super) interpret: bool,
    /// Where it is not the default.
    pub(super) extent: Option<Extent>,
    pub(super) seconds: f64,
    pub(super) attestation: Option<&'a std::path::Path>,
}

impl Report {
    /// The report of these tallies.
    pub(super) fn new(run: &Run<'_>, tallies: &[Tally]) -> Self {
        let variants: Vec<VariantReport> = tallies.iter().map(|tally| VariantReport::new(run, tally)).collect();
        Report {
            ggemm: env!("CARGO_PKG_VERSION"),
            ground: run.ground.clone(),
            arch: run.arch,
            seed: run.seed,
            cases: run.cases,
            passed: variants.iter().all(|variant| variant.verdict == Some(Verdict::Pass)),
            variants,
            attestation: run.attestation.map(|path| path.display().to_string()),
            seconds: run.seconds,
        }
    }

    /// Whether everything is right.
    pub(super) fn outcome(&self) -> Outcome {
        if self.passed { Outcome::Success } else { Outcome::ComparisonFailed }
    }

    /// The table, the failures, and the last line.
    pub(super) fn text(&self) -> String {
        let mut table = table::table(["variant", "cases", "exact", "worst of bound", "verdict"], 1..4);
        for variant in &self.variants {
            table.add_row([
                variant.variant.clone(),
                variant.cases.to_string(),
                variant.exact_cases.to_string(),
                share(variant.worst_of_bound),
                variant.verdict.map_or("not run", |v| if v == Verdict::Pass { "pass" } else { "FAIL" }).to_owned(),
            ]);
        }
        let mut text = table::text(&table);
        for failure in self.variants.iter().filter_map(|variant| variant.failure.as_ref()) {
            text += &format!("\n{}\n  replay   {}\n", failure.text, failure.replay);
        }
        if let Some(path) = &self.attestation {
            text += &format!("\nwrote {path}\n");
        }
        let count = |verdict| self.variants.iter().filter(|variant| variant.verdict == verdict).count();
        let total = self.variants.len();
        let seed = self.seed;
        let last = if self.passed {
            let cases = self.cases;
            format!("PASS: {total} variants, {cases} problems each from seed {seed}, in {:.1} s", self.seconds)
        } else {
            let skipped = match count(None) {
                0 => String::new(),
                skipped => format!(", {skipped} not run to the end"),
            };
            format!("FAIL: {} of {total} variants wrong{skipped}, from seed {seed}", count(Some(Verdict::Fail)))
        };
        text + "\n" + &last + "\n"
    }
}

impl VariantReport {
    fn new(run: &Run<'_>, tally: &Tally) -> Self {
        let variant = tally.variant.to_string();
        let verdict = match &tally.failure {
            Some(_) => Some(Verdict::Fail),
            None => tally.passed(run.cases).then_some(Verdict::Pass),
        };
        let failure = tally.failure.as_ref().map(|failure| {
            let seed = failure.seed;
            let mut how = if run.interpret { format!(" --interpret --arch {}", run.arch) } else { String::new() };
            if let Some(extent) = run.extent {
                how += &format!(" --extent {}", extent.name());
            }
            FailureReport {
                seed,
                problem: failure.problem.clone(),
                groups: failure.groups.clone(),
                fault: failure.fault.clone(),
                replay: format!("ggemm verify --variant {variant} --seed {seed} --cases 1{how}"),
                text: failure.text.clone(),
            }
        });
        VariantReport {
            variant,
            cases: tally.cases,
            exact_cases: tally.exact_cases,
            worst_of_bound: tally.worst_of_bound.min(f64::MAX),
            verdict,
            failure,
        }
    }
}

/// A share of a bound, for people.
fn share(of_bound: f64) -> String {
    if of_bound < 10.0 { format!("{:.1}%", of_bound * 100.0) } else { format!("{of_bound:.1e} times") }
}

#[cfg(test)]
mod tests {
    use ggemm_runtime::verify::{Case, Failure, Fault};
    use ggemm_runtime::{Comparison, Discrepancy, Mode};

    use super::super::verified::{Failed, Verified};
    use super::*;

    #[test]
    fn a_failure_says_what_is_wrong_and_how_to_see_it_again() {
        let names = [
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_16x64x64_w1x4_s4_multistage_cpasync",
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_16x128x64_w1x4_s4_multistage_cpasync",
            "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_32x128x64_w1x4_s4_multistage_cpasync",
        ];
        let [bad, good, skipped] = names.map(|name| name.parse().expect("a spec"));
        let case = Case::random(&bad, 17, Extent::Tiles);
        let first = Discrepancy { group: Some(2), row: 5, col: 7, found: 1.5, exact: 1.0, bound: 0.25 };
        let comparison = Comparison {
            compared: 90,
            outside_bound: 3,
            max_abs: 0.5,
            worst: Some(first),
            first_outside: Some(first),
            ..Comparison::default()
        };
        let fault = Fault::Output(Box::new(comparison));
        let failure = Failed::from(Box::new(Failure { case, mode: Mode::Bound, fault }));
        let failure = Some(Box::new(failure));
        let tally = |spec, cases, failure| Tally {
            variant: Verified::Product(spec),
            cases,
            exact_cases: cases,
            worst_of_bound: 0.5,
            failure,
        };
        let run = Run {
            ground: "cuda:0".into(),
            arch: "sm_90a",
            seed: 10,
            cases: 200,
            interpret: true,
            extent: None,
            seconds: 1.0,
            attestation: None,
        };
        let tallies = [tally(bad, 8, failure), tally(good, 200, None), tally(skipped, 3, None)];
        let report = Report::new(&run, &tallies);
        assert_eq!(report.outcome(), Outcome::ComparisonFailed);
        insta::assert_snapshot!(report.text());
    }
}
