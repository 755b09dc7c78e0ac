//! `ggemm doctor`: whether this machine has what ggemm needs, and what to do where it has not.

mod checks;
mod finding;
mod machine;
mod report;

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};

use clap::Args;

use crate::Outcome;
use crate::error::CliError;
use checks::Check;
use finding::Finding;
use machine::Machine;
use report::Report;

/// Look at this machine: driver, GPUs, compilers, the compile cache, the kernels in this program, and one tiny launch
///
/// Each finding is `ok`, a `note` (all works, but you may want to know) or a `problem`, the last two with a remedy. The
/// launch is a random problem on each GPU, checked as `ggemm verify` does; without a GPU it is one on the CPU, held
/// against the f64 reference. Nothing is changed on the machine, but for what a launch compiles into the cache.
///
/// The exit code is 0 where there are no problems, notes or not, and 1 where there is one.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Count it as a problem if no GPU can be used
    #[arg(long)]
    require_gpu: bool,
    /// List each kernel for the GPUs here, and where its machine code is
    #[arg(long, conflicts_with = "json")]
    kernels: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl DoctorArgs {
    /// Makes the checks and prints what they found.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        let mut machine = Machine::default();
        let mut findings: Vec<Finding> =
            quietly(|| checks::ALL.iter().flat_map(|check| guarded(check, &mut machine)).collect());
        if self.require_gpu && machine.gpus.is_empty() {
            findings.push(Finding::problem("--require-gpu", "no GPU can be used", "see above, or drop --require-gpu"));
        }
        let report = Report::new(findings, &machine);
        let mut stdout = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, &report)?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", report.text(self.kernels))?;
        }
        stdout.flush()?;
        Ok(report.outcome())
    }
}

/// Makes one check. A library that breaks down under it (a driver that is none, say) is a finding as well.
fn guarded(check: &Check, machine: &mut Machine) -> Vec<Finding> {
    panic::catch_unwind(AssertUnwindSafe(|| (check.run)(machine))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        let found = format!("the check broke down: {text}");
        vec![Finding::problem(check.name, found, check.remedy)]
    })
}

/// Does something without the lines that a panic prints: what is caught is reported.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let done = work();
    panic::set_hook(hook);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_breaks_down_is_a_problem() {
        let check = Check { name: "driver", remedy: "reinstall it", run: |_| panic!("no symbol {}", "cuInit") };
        let found = quietly(|| guarded(&check, &mut Machine::default()));
        assert_eq!(found, [Finding::problem("driver", "the check broke down: no symbol cuInit", "reinstall it")]);
    }
}
