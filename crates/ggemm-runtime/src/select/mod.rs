//! Which variant computes a problem on an architecture: the one that was measured to be fastest where somebody tuned
//! the problem, or one near it, on this very machine; else of all that can, the one whose predicted time is least.

mod demand;
mod explain;
#[cfg(feature = "generate")]
mod generated;
mod memo;
mod pin;
mod shipped;
mod tuned;
mod variant;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use ggemm_codegen::cost::{self, Prediction};
use ggemm_codegen::{Arch, CopyPath, Dtype, KernelSpec, Problem};

use crate::error::Error;
use crate::plan::Choice;
use demand::Demand;

pub use demand::{Fp8Unmet, Unmet};
pub use explain::Explanation;
pub(crate) use memo::Memo;
pub use pin::PinError;
pub(crate) use tuned::Tuned;
pub use tuned::Tuning;
pub(crate) use variant::ReadSet;
pub use variant::Variant;

/// What decides beside the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The time, measured or predicted.
    Fastest,
    /// The time, measured or predicted, of a typical batch with the problem's N, K, types, layouts and strides, whatever M and G are:
    /// so the order in which a row is summed up does not depend on the other rows.
    BatchInvariant,
    /// The caller.
    Pinned(KernelSpec),
}

/// The groups that a batch-invariant choice assumes: a layer with many experts of which a batch reaches most.
pub const TYPICAL_GROUPS: usize = 64;
/// The rows that a batch-invariant choice assumes: 128 a group, where neither the smallest tiles nor the largest lose
/// much.
pub const TYPICAL_ROWS: usize = 8192;

impl Rule {
    /// The problem that variants are held against.
    fn weighed(self, problem: &Problem) -> Cow<'_, Problem> {
        if self != Rule::BatchInvariant {
            return Cow::Borrowed(problem);
        }
        let mut typical = problem.clone();
        (typical.groups, typical.m) = (TYPICAL_GROUPS, TYPICAL_ROWS);
        Cow::Owned(typical)
    }
}

/// A variant that can compute a problem, and the time predicted for it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The variant.
    pub variant: &'static Variant,
    /// Its time.
    pub prediction: Prediction,
}

impl Candidate {
    fn new(variant: &'static Variant, demand: &Demand) -> Self {
        let prediction = cost::predict(variant.spec(), variant.contract(), &demand.contraction, demand.arch);
        Candidate { variant, prediction }
    }

    /// Whether it comes before another. Ties stay with what was there first: an earlier set, an earlier place.
    fn beats(&self, other: &Option<Candidate>) -> bool {
        other.as_ref().is_none_or(|other| self.order(other).is_lt())
    }

    /// The fastest first; a plain variant only where no other will do, whatever is predicted.
    fn order(&self, other: &Candidate) -> Ordering {
        let plain = |c: &Candidate| c.variant.spec().copy == CopyPath::Plain;
        plain(self).cmp(&plain(other)).then(self.prediction.seconds.total_cmp(&other.prediction.seconds))
    }
}

/// The variant chosen for a problem on an architecture.
///
/// The problem's strides are known when it is made; the tensors' addresses arrive with each launch, and
/// [`Selection::for_addresses`] has the last word.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    rule: Rule,
    preferred: Candidate,
    /// What the preferred one's measurement was, where it was chosen for that.
    tuning: Option<Tuning>,
    /// The best predicted of the others.
    next: Option<Candidate>,
    fallback: Option<Candidate>,
    candidates: usize,
}

impl Selection {
    pub(crate) fn new(
        sets: &[&'static ReadSet],
        tuned: &Tuned,
        problem: &Problem,
        arch: Arch,
        rule: Rule,
    ) -> Result<Self, Error> {
        if problem.operand == Dtype::F32 && !problem.allow_tf32 {
            return Err(Error::NeedsTf32 { problem: problem.to_string(), arch });
        }
        let weighed = rule.weighed(problem);
        let demand = Demand::new(&weighed, arch);
        if let Rule::Pinned(spec) = rule {
            let preferred = Candidate::new(pin::find(sets, spec, problem, &demand)?, &demand);
            return Ok(Selection { rule, preferred, tuning: None, next: None, fallback: None, candidates: 1 });
        }
        let (mut best, mut next, mut fallback) = (None, None, None);
        let mut candidates = 0;
        for variant in variant::of_family(sets, demand.family())?.filter(|v| demand.met_by(v)) {
            let candidate = Candidate::new(variant, &demand);
            candidates += 1;
            if takes_any_alignment(variant) && candidate.beats(&fallback) {
                fallback = Some(candidate);
            }
            if candidate.beats(&best) {
                next = best.replace(candidate);
            } else if candidate.beats(&next) {
                next = Some(candidate);
            }
        }
        let Some(predicted) = best else {
            let problem_text = problem.to_string();
            return Err(match problem.operand.is_fp8() {
                true => {
                    let reason = demand.fp8_unmet(variant::of_family(sets, demand.family())?);
                    Error::NoFp8Kernel { problem: problem_text, arch, reason }
                }
                false => Error::NoVariant { problem: problem_text, arch },
            });
        };
        let Some((measured, tuning)) = tuned.choose(sets, &weighed, &demand, rule)? else {
            return Ok(Selection { rule, preferred: predicted, tuning: None, next, fallback, candidates });
        };
        if !std::ptr::eq(measured, predicted.variant) {
            next = Some(predicted);
        }
        let preferred = Candidate::new(measured, &demand);
        Ok(Selection { rule, preferred, tuning: Some(tuning), next, fallback, candidates })
    }

    /// The best variant, for tensors whose addresses are as aligned as it needs.
    pub fn preferred(&self) -> Candidate {
        self.preferred
    }

    /// What was measured of the best variant, where it was chosen for that.
    pub fn tuning(&self) -> Option<Tuning> {
        self.tuning
    }

    /// The best variant that takes tensors at any address; `None` where a variant is pinned that does not.
    pub fn fallback(&self) -> Option<Candidate> {
        self.fallback.or_else(|| takes_any_alignment(self.preferred.variant).then_some(self.preferred))
    }

    /// The variant for tensors at these addresses (the operands' and the output's); `None` where the pinned variant
    /// needs more alignment than they have.
    pub fn for_addresses(&self, addresses: &[u64]) -> Option<Candidate> {
        let needed = u64::from(self.preferred.variant.contract().alignment.max(1));
        let aligned = addresses.iter().all(|address| address.is_multiple_of(needed));
        if aligned { Some(self.preferred) } else { self.fallback() }
    }

    /// The chosen variant's name, and why it was chosen.
    pub fn choice(&self) -> Choice {
        Choice::new(self.preferred.variant.name(), self.to_string())
    }
}

/// No more than the elements' own.
fn takes_any_alignment(variant: &Variant) -> bool {
    variant.contract().alignment <= variant.spec().operand.size_bytes()
}

/// The reason in a phrase.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selection { rule, preferred: Candidate { prediction, .. }, tuning, next, candidates, .. } = self;
        match rule {
            Rule::Fastest => {}
            Rule::BatchInvariant => write!(f, "batch-invariant, as for G={TYPICAL_GROUPS} M={TYPICAL_ROWS}: ")?,
            Rule::Pinned(_) => return write!(f, "pinned; {prediction}"),
        }
        let named = |next: &Candidate| format!("{} at {:.1} us", next.variant.name(), next.prediction.seconds * 1e6);
        match (tuning, next) {
            (Some(tuning), None) => write!(f, "{tuning}; {prediction}, the only candidate"),
            (Some(tuning), Some(next)) => write!(f, "{tuning}; {prediction}, of the others best: {}", named(next)),
            (None, None) => write!(f, "{prediction}, the only candidate"),
            (None, Some(next)) => {
                write!(f, "{prediction}, best of {candidates} candidates; next: {}", named(next))
            }
        }
    }
}
