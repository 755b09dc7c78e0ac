//! Which variant computes a problem on an architecture: the one that was measured to be fastest where somebody tuned
//! the problem on this very machine; else of all that can, the one whose predicted time is least, corrected by what was
//! measured nearby.

mod calibration;
mod demand;
mod explain;
#[cfg(feature = "generate")]
mod generated;
mod memo;
mod pin;
mod shipped;
mod tuned;
mod variant;
mod ways;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use ggemm_codegen::cost::Prediction;
use ggemm_codegen::kernels::realign::Realigned;
use ggemm_codegen::{Arch, CopyPath, Dtype, KernelSpec, Problem};

use crate::error::Error;
use crate::plan::Choice;

pub use calibration::Calibrated;
use calibration::Calibration;
pub use demand::{Fp8Unmet, Unmet};
pub use explain::Explanation;
pub(crate) use memo::Memo;
pub use pin::PinError;
pub use shipped::table as shipped_table;
pub(crate) use tuned::Tuned;
pub use tuned::Tuning;
pub(crate) use variant::ReadSet;
pub use variant::Variant;
use ways::Ways;

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
    /// Its time by the cost model, with that of copies.
    pub prediction: Prediction,
    /// What that is to be multiplied by, as measurements of problems nearby say; 1 without any.
    pub correction: f64,
    /// The operands that it computes on copies of, whose rows are aligned.
    pub realigned: Realigned,
}

/// The time by the cost model, and what it is the time of.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prediction)?;
        match self.realigned {
            Realigned { a: false, b: false } => Ok(()),
            Realigned { a: true, b: true } => write!(f, ", on copies of A and B"),
            Realigned { a: true, b: false } => write!(f, ", on a copy of A"),
            Realigned { a: false, b: true } => write!(f, ", on a copy of B"),
        }
    }
}

impl Candidate {
    /// With the correction that measurements nearby say.
    fn corrected(self, calibration: Option<&Calibration>) -> Self {
        let correction = calibration.map_or(1.0, |calibration| calibration.of(self.variant.spec()));
        Candidate { correction, ..self }
    }

    /// The time that is expected of one launch, in seconds: the prediction, corrected.
    pub fn seconds(&self) -> f64 {
        self.prediction.seconds * self.correction
    }

    /// The alignments in bytes that the addresses of A, B and D must have: none of what is copied.
    pub(crate) fn alignments(&self) -> [u32; 3] {
        let [operands, d] = self.variant.contract().alignments();
        let of = |is_copied: bool| if is_copied { self.variant.spec().operand.size_bytes() } else { operands };
        [of(self.realigned.a), of(self.realigned.b), d]
    }

    /// Whether it comes before another. Ties stay with what was there first: an earlier set, an earlier place.
    fn beats(&self, other: &Option<Candidate>) -> bool {
        other.as_ref().is_none_or(|other| self.order(other).is_lt())
    }

    /// The fastest first; one whose threads move operands or D, or that needs copies, only where no other will do, whatever
    /// is expected.
    fn order(&self, other: &Candidate) -> Ordering {
        let for_any_rows = |c: &Candidate| {
            let spec = c.variant.spec();
            spec.copy == CopyPath::Plain || spec.d_by_threads || c.realigned != Realigned::NONE
        };
        for_any_rows(self).cmp(&for_any_rows(other)).then(self.seconds().total_cmp(&other.seconds()))
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
    /// What corrected the predictions.
    calibrated: Option<Calibrated>,
    /// The best of the others, by what is expected of them.
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
        copy_limit: usize,
    ) -> Result<Self, Error> {
        if problem.operand == Dtype::F32 && !problem.allow_tf32 {
            return Err(Error::NeedsTf32 { problem: problem.to_string(), arch });
        }
        let weighed = rule.weighed(problem);
        let ways = Ways::new(&weighed, arch, rule, copy_limit, tuned.routing);
        let demand = &ways.direct;
        if let Rule::Pinned(spec) = rule {
            let preferred = pin::find(sets, spec, problem, &ways)?;
            let (tuning, calibrated) = (None, None);
            return Ok(Selection { rule, preferred, tuning, calibrated, next: None, fallback: None, candidates: 1 });
        }
        let calibration = tuned.calibration(sets, &weighed, demand)?;
        let calibrated = calibration.as_ref().map(Calibration::said);
        let (mut best, mut next, mut fallback) = (None, None, None);
        let mut candidates = 0;
        let able = variant::of_family(sets, demand.family())?.filter_map(|v| ways.candidate(v));
        for candidate in able.map(|candidate| candidate.corrected(calibration.as_ref())) {
            candidates += 1;
            if takes_any_alignment(&candidate) && candidate.beats(&fallback) {
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
        let Some((measured, tuning)) = tuned.choose(sets, &weighed, &ways)? else {
            let (preferred, tuning) = (predicted, None);
            return Ok(Selection { rule, preferred, tuning, calibrated, next, fallback, candidates });
        };
        if !std::ptr::eq(measured.variant, predicted.variant) {
            next = Some(predicted);
        }
        let (preferred, tuning) = (measured.corrected(calibration.as_ref()), Some(tuning));
        Ok(Selection { rule, preferred, tuning, calibrated, next, fallback, candidates })
    }

    /// The best variant, for tensors whose addresses are as aligned as it needs.
    pub fn preferred(&self) -> Candidate {
        self.preferred
    }

    /// What was measured of the best variant, where it was chosen for that.
    pub fn tuning(&self) -> Option<Tuning> {
        self.tuning
    }

    /// Which measurements corrected the predictions, where any did.
    pub fn calibrated(&self) -> Option<Calibrated> {
        self.calibrated
    }

    /// The best variant that takes tensors at any address; `None` where a variant is pinned that does not.
    pub fn fallback(&self) -> Option<Candidate> {
        self.fallback.or_else(|| takes_any_alignment(&self.preferred).then_some(self.preferred))
    }

    /// The variant for tensors at these addresses (those of the contraction: A, B and D); `None` where the pinned variant
    /// needs more alignment than they have.
    pub fn for_addresses(&self, addresses: &[u64]) -> Option<Candidate> {
        let needed = self.preferred.alignments().map(|needed| u64::from(needed.max(1)));
        let aligned = addresses.iter().zip(needed).all(|(address, needed)| address.is_multiple_of(needed));
        if aligned { Some(self.preferred) } else { self.fallback() }
    }

    /// The chosen variant's name, and why it was chosen.
    pub fn choice(&self) -> Choice {
        Choice::new(self.preferred.variant.name(), self.to_string())
    }
}

/// No more than the elements' own, without copies.
fn takes_any_alignment(candidate: &Candidate) -> bool {
    let spec = candidate.variant.spec();
    let [operands, d] = candidate.variant.contract().alignments();
    let is_any = operands <= spec.operand.size_bytes() && d <= spec.output.size_bytes();
    is_any && candidate.realigned == Realigned::NONE
}

/// The reason in a phrase.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selection { rule, preferred, tuning, calibrated, next, candidates, .. } = self;
        match rule {
            Rule::Fastest => {}
            Rule::BatchInvariant => write!(f, "batch-invariant, as for G={TYPICAL_GROUPS} M={TYPICAL_ROWS}: ")?,
            Rule::Pinned(_) => return write!(f, "pinned; {preferred}"),
        }
        if let Some(tuning) = tuning {
            write!(f, "{tuning}; ")?;
        }
        write!(f, "{preferred}")?;
        if let Some(calibrated) = calibrated {
            write!(f, ", {:.1} us when {calibrated}", preferred.seconds() * 1e6)?;
        }
        let named = |next: &Candidate| format!("{} at {:.1} us", next.variant.name(), next.seconds() * 1e6);
        match (tuning, next) {
            (_, None) => f.write_str(", the only candidate"),
            (Some(_), Some(next)) => write!(f, ", of the others best: {}", named(next)),
            (None, Some(next)) => write!(f, ", best of {candidates} candidates; next: {}", named(next)),
        }
    }
}
