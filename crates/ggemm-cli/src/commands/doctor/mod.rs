//! `ggemm doctor`: whether this machine has what ggemm needs, and what to do where it has not.

mod checks;
mod examine;
mod finding;
mod machine;
mod report;
mod supervise;

use std::io::Write;

use clap::Args;

use crate::Outcome;
use crate::error::CliError;
use finding::Finding;
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
        if let Some(lost) = supervise::asked() {
            supervise::report(&lost)?;
            return Ok(Outcome::Success);
        }
        let mut examined = supervise::examined();
        if self.require_gpu && examined.gpus.is_empty() {
            let remedy = "see above, or drop --require-gpu";
            examined.findings.push(Finding::problem("--require-gpu", "no GPU can be used", remedy));
        }
        let report = Report::new(examined);
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
