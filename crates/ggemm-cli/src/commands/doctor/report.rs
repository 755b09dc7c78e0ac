//! What all checks found, as text for people and as JSON for programs.

use ggemm_codegen::Arch;
use ggemm_runtime::Device;
use serde::Serialize;

use super::finding::{Finding, Status};
use super::machine::{Kernels, Machine};
use crate::Outcome;
use crate::table;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    /// The version of the command.
    ggemm: &'static str,
    /// Whether there is no problem.
    healthy: bool,
    problems: usize,
    notes: usize,
    findings: Vec<Finding>,
    gpus: Vec<Gpu<'a>>,
    kernels: &'a [Kernels],
    #[serde(skip)]
    arches: Vec<Arch>,
}

/// A GPU that can be used.
#[derive(Debug, Serialize)]
struct Gpu<'a> {
    device: String,
    name: &'a str,
    arch: Option<Arch>,
    driver: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// The report of these findings.
    pub(super) fn new(findings: Vec<Finding>, machine: &'a Machine) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count();
        let (problems, notes) = (count(Status::Problem), count(Status::Note));
        let gpu = |device: &'a Device| Gpu {
            device: device.kind().to_string(),
            name: device.name(),
            arch: device.arch(),
            driver: device.driver(),
        };
        Report {
            ggemm: env!("CARGO_PKG_VERSION"),
            healthy: problems == 0,
            problems,
            notes,
            findings,
            gpus: machine.gpus.iter().map(gpu).collect(),
            kernels: &machine.kernels,
            arches: machine.arches(),
        }
    }

    /// Whether anything stands in ggemm's way.
    pub(super) fn outcome(&self) -> Outcome {
        if self.healthy { Outcome::Success } else { Outcome::ProblemFound }
    }

    /// The findings, the kernels if wanted, and the last line.
    pub(super) fn text(&self, kernels: bool) -> String {
        let mut findings = table::table(["", "looked at", "found"], []);
        for finding in &self.findings {
            findings.add_row([finding.status.word(), &finding.check, &finding.found]);
            if let Some(remedy) = &finding.remedy {
                findings.add_row(["", "", &format!("-> {remedy}")]);
            }
        }
        let mut text = table::text(&findings);
        if kernels {
            text += &self.kernels();
        }
        let plural = |count, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let (problems, notes) = (plural(self.problems, "problem"), plural(self.notes, "note"));
        text + &format!("\nggemm {}: {problems}, {notes}\n", self.ggemm)
    }

    /// The kernels for the GPUs here.
    fn kernels(&self) -> String {
        let mut table = table::table(["kernel", "arch", "machine code"], []);
        for kernels in self.kernels.iter().filter(|kernels| self.arches.contains(&kernels.arch)) {
            for kernel in &kernels.variants {
                table.add_row([kernel.name, kernels.arch.name(), kernel.code.word()]);
            }
        }
        if table.is_empty() {
            return "\nno GPU here runs any of the kernels\n".to_owned();
        }
        format!("\n{}", table::text(&table))
    }
}

#[cfg(test)]
mod tests {
    use super::super::machine::{Code, Kernel};
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let findings = || {
            vec![
                Finding::ok("driver", "580.95.05"),
                Finding::note("nvcc", "none", "install it"),
                Finding::problem("cache", "not trusted: others can write it", "chmod go-w /somewhere"),
            ]
        };
        let kernel = |name, code| Kernel { name, code };
        let variants = vec![kernel("a", Code::Baked), kernel("b", Code::Source)];
        let machine = Machine { kernels: vec![Kernels { arch: Arch::Sm90a, variants }], ..Machine::default() };
        let mut report = Report::new(findings(), &machine);
        report.arches = vec![Arch::Sm90a];
        assert_eq!(report.outcome(), Outcome::ProblemFound);
        insta::assert_snapshot!(report.text(true));
        let healthy = Report::new(findings()[..2].to_vec(), &machine);
        assert_eq!(healthy.outcome(), Outcome::Success, "a note is no problem");
        assert!(
            healthy.text(true).ends_with("no GPU here runs any of the kernels\n\nggemm 0.1.0: 0 problems, 1 note\n")
        );
    }
}
