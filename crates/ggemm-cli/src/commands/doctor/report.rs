//! What all checks found, as text for people and as JSON for programs.

use serde::Serialize;

use super::examine::Examined;
use super::finding::Status;
use crate::Outcome;
use crate::table;

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The version of the command.
    ggemm: &'static str,
    /// Whether there is no problem.
    healthy: bool,
    problems: usize,
    notes: usize,
    #[serde(flatten)]
    examined: Examined,
}

impl Report {
    /// The report of what was found.
    pub(super) fn new(examined: Examined) -> Self {
        let count = |status| examined.findings.iter().filter(|finding| finding.status == status).count();
        let (problems, notes) = (count(Status::Problem), count(Status::Note));
        Report { ggemm: env!("CARGO_PKG_VERSION"), healthy: problems == 0, problems, notes, examined }
    }

    /// Whether anything stands in ggemm's way.
    pub(super) fn outcome(&self) -> Outcome {
        if self.healthy { Outcome::Success } else { Outcome::ProblemFound }
    }

    /// The findings, the kernels if wanted, and the last line.
    pub(super) fn text(&self, kernels: bool) -> String {
        let mut findings = table::table(["", "looked at", "found"], []);
        for finding in &self.examined.findings {
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
        let Examined { gpus, kernels, .. } = &self.examined;
        for kernels in kernels.iter().filter(|kernels| gpus.iter().any(|gpu| gpu.arch == Some(kernels.arch))) {
            for kernel in &kernels.variants {
                table.add_row([&kernel.name, kernels.arch.name(), kernel.code.word()]);
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
    use ggemm_codegen::Arch;

    use super::super::finding::Finding;
    use super::super::machine::{Code, Gpu, Kernel, Kernels};
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let findings = vec![
            Finding::ok("driver", "580.95.05"),
            Finding::note("nvcc", "none", "install it"),
            Finding::problem("cache", "not trusted: others can write it", "chmod go-w /somewhere"),
        ];
        let kernels = |arch| {
            let kernel = |name: &str, code| Kernel { name: format!("{name} for {arch}"), code };
            Kernels { arch, variants: vec![kernel("a", Code::Baked), kernel("b", Code::Source)] }
        };
        let gpu = Gpu { device: "cuda:0".into(), name: "H100".into(), arch: Some(Arch::Sm90a), driver: None };
        let kernels = vec![kernels(Arch::Sm80), kernels(Arch::Sm90a)];
        let report = Report::new(Examined { findings, gpus: vec![gpu], kernels });
        assert_eq!(report.outcome(), Outcome::ProblemFound);
        insta::assert_snapshot!(report.text(true));
    }

    #[test]
    fn a_note_is_no_problem() {
        let findings = vec![Finding::ok("driver", "580.95.05"), Finding::note("nvcc", "none", "install it")];
        let report = Report::new(Examined { findings, ..Examined::default() });
        assert_eq!(report.outcome(), Outcome::Success);
        assert!(
            report.text(true).ends_with("no GPU here runs any of the kernels\n\nggemm 0.1.0: 0 problems, 1 note\n")
        );
    }
}
