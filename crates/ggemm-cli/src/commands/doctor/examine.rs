//! Makes the checks, one after the other.

use std::panic::{self, AssertUnwindSafe};

use serde::{Deserialize, Serialize};

use super::checks::{self, Check};
use super::finding::Finding;
use super::machine::{Gpu, Kernels, Machine};

/// What all checks found.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    pub(super) gpus: Vec<Gpu>,
    pub(super) kernels: Vec<Kernels>,
}

/// A check that took its process with it, and how, in words: it is reported and not made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) check: String,
    pub(super) how: String,
}

/// Makes all checks but those that are lost. `begins` is told of each before it is made.
pub(super) fn examine(lost: &[Lost], mut begins: impl FnMut(&str)) -> Examined {
    let mut machine = Machine::default();
    let mut findings = Vec::new();
    quietly(|| {
        for check in &checks::ALL {
            if let Some(Lost { how, .. }) = lost.iter().find(|lost| lost.check == check.name) {
                findings.push(Finding::problem(check.name, how, check.remedy));
                continue;
            }
            begins(check.name);
            findings.extend(guarded(check, &mut machine));
        }
    });
    Examined { findings, gpus: machine.gpus.iter().map(Gpu::new).collect(), kernels: machine.kernels }
}

/// Makes one check. Where a library panics under it (for want of a symbol, say), that is a finding as well.
fn guarded(check: &Check, machine: &mut Machine) -> Vec<Finding> {
    panic::catch_unwind(AssertUnwindSafe(|| (check.run)(machine))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        vec![Finding::problem(check.name, format!("the check broke down: {text}"), check.remedy)]
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

    #[test]
    fn what_is_lost_is_reported_in_its_place_and_not_made() {
        // All but the first: the machine's own state is no matter here.
        let lost = |check: &Check| Lost { check: check.name.to_owned(), how: "by signal".to_owned() };
        let lost: Vec<Lost> = checks::ALL.iter().skip(1).map(lost).collect();
        let mut begun = Vec::new();
        let examined = examine(&lost, |check| begun.push(check.to_owned()));
        assert_eq!(begun, [checks::ALL[0].name]);
        let last: Vec<_> = examined.findings.iter().rev().take(lost.len()).rev().collect();
        for (finding, check) in last.iter().zip(&checks::ALL[1..]) {
            assert_eq!(**finding, Finding::problem(check.name, "by signal", check.remedy));
        }
    }
}
