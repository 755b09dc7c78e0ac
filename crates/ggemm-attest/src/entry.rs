//! What is known of one variant.

use serde::{Deserialize, Serialize};

use crate::error::Defect;
use crate::hash::CubinHash;

/// Whether every case of a variant was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every case was.
    Pass,
    /// One was not.
    Fail,
}

impl Verdict {
    /// `pass` or `fail`.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
        }
    }
}

/// What one variant did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub variant: String,
    /// The cubin that ran.
    pub cubin: CubinHash,
    /// Random problems that were held against the f64 reference.
    pub cases: u64,
    /// How many of them were right to the bit on small integers.
    pub exact_cases: u64,
    /// The largest error of real-valued data, as a share of what an element may be off.
    pub worst_of_bound: f64,
    /// Whether all were right.
    pub verdict: Verdict,
}

impl Entry {
    /// What contradicts itself in the entry.
    pub(crate) fn defect(&self) -> Option<Defect> {
        let variant = self.variant.clone();
        if self.variant.is_empty() || self.variant.contains(char::is_whitespace) {
            return Some(Defect::Name { variant });
        }
        if self.cases == 0 {
            return Some(Defect::NoCases { variant });
        }
        if self.exact_cases > self.cases {
            return Some(Defect::ExactCases { variant, exact: self.exact_cases, cases: self.cases });
        }
        let worst = self.worst_of_bound;
        if !worst.is_finite() || worst < 0.0 {
            return Some(Defect::Worst { variant, worst });
        }
        match self.verdict {
            Verdict::Fail => None,
            Verdict::Pass if worst > 1.0 => Some(Defect::PassesOutsideBound { variant, worst }),
            Verdict::Pass if self.exact_cases < self.cases => {
                Some(Defect::PassesInexactly { variant, exact: self.exact_cases, cases: self.cases })
            }
            Verdict::Pass => None,
        }
    }
}
