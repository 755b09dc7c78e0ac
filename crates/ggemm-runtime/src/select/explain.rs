//! A selection with all that was weighed for it.

use std::fmt;

use ggemm_codegen::{Arch, Problem};

use super::demand::Unmet;
use super::variant::{self, ReadSet, Variant};
use super::ways::Ways;
use super::{Candidate, Rule, Selection, Tuned};
use crate::error::Error;

/// What was chosen for a problem on an architecture, and why: every variant for this kind of product with its predicted
/// time, or with what it does not meet.
///
/// `Display` writes it as a few lines; the program's log shows them when a plan is made (target `select`, level debug).
#[derive(Clone, Debug)]
pub struct Explanation {
    problem: Problem,
    arch: Arch,
    selection: Selection,
    candidates: Vec<Candidate>,
    by_model: Option<Candidate>,
    left_out: Vec<(&'static Variant, Unmet)>,
}

impl Explanation {
    pub(crate) fn new(
        sets: &[&'static ReadSet],
        tuned: &Tuned,
        problem: &Problem,
        arch: Arch,
        rule: Rule,
        copy_limit: usize,
    ) -> Result<Self, Error> {
        let selection = Selection::new(sets, tuned, problem, arch, rule, copy_limit)?;
        let weighed = rule.weighed(problem);
        let ways = Ways::new(&weighed, arch, rule, copy_limit, tuned.routing);
        let calibration = tuned.calibration(sets, &weighed, &ways.direct)?;
        let (mut candidates, mut left_out) = (Vec::new(), Vec::new());
        for variant in variant::of_family(sets, ways.direct.family())? {
            match ways.candidate(variant) {
                Some(candidate) => candidates.push(candidate.corrected(calibration.as_ref())),
                None => {
                    let unmet = ways.unmet(variant.spec(), Some(variant.contract()));
                    left_out.push((variant, unmet.unwrap_or(Unmet::Outdone { arch })));
                }
            }
        }
        let uncorrected = candidates.iter().map(|candidate| candidate.corrected(None));
        let by_model = uncorrected.min_by(Candidate::order);
        // Stable, so that ties stand as the selection decides them.
        candidates.sort_by(Candidate::order);
        Ok(Explanation { problem: problem.clone(), arch, selection, candidates, by_model, left_out })
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// What was chosen.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// All variants that can compute the problem, those that are predicted to be fastest first.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The one that would be chosen if nothing had been measured, with its time by the cost model; `None` where none can
    /// compute the problem.
    pub fn by_model(&self) -> Option<&Candidate> {
        self.by_model.as_ref()
    }

    /// The variants for this kind of product that cannot compute the problem or are never worth it, and why not.
    pub fn left_out(&self) -> &[(&'static Variant, Unmet)] {
        &self.left_out
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { problem, arch, selection, candidates, left_out, .. } = self;
        writeln!(f, "{problem} on {arch}")?;
        write!(f, "chosen: {}", selection.choice())?;
        let needed = selection.preferred().alignments().into_iter().max().unwrap_or(1);
        match selection.fallback() {
            Some(other) if !std::ptr::eq(other.variant, selection.preferred().variant) => {
                write!(f, "\nwhere a tensor's address is no multiple of {needed} bytes: {}", other.variant.name())?;
            }
            Some(_) => {}
            None => write!(f, "\ntensors' addresses must be multiples of {needed} bytes")?,
        }
        write!(f, "\ncandidates:")?;
        for candidate in candidates {
            write!(f, "\n  {}::{}: {candidate}", candidate.variant.set(), candidate.variant.name())?;
            if selection.calibrated().is_some() {
                write!(f, ", {:.1} us corrected", candidate.seconds() * 1e6)?;
            }
        }
        if !left_out.is_empty() {
            write!(f, "\nleft out:")?;
        }
        for (variant, unmet) in left_out {
            write!(f, "\n  {}::{}: {unmet}", variant.set(), variant.name())?;
        }
        Ok(())
    }
}
