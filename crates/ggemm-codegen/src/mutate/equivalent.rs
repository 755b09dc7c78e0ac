//! Faults that are none: changes after which a kernel does what it did, for every problem and schedule.

use super::{Mutant, MutationKind, Subject};

/// A family of faults that change nothing a program could observe.
#[derive(Clone, Copy, Debug)]
pub struct Equivalent {
    /// Part of the subject's spec name; empty: any.
    pub variant: &'static str,
    /// The site, or with `…` in front its end.
    pub site: &'static str,
    /// The kind of fault.
    pub kind: MutationKind,
    /// What the description starts with.
    pub change: &'static str,
    /// Why nothing changes.
    pub reason: &'static str,
}

/// All of them.
pub const EQUIVALENT: &[Equivalent] = &[];

impl Equivalent {
    /// Whether this is about `mutant`.
    pub fn is(&self, subject: &Subject, mutant: &Mutant) -> bool {
        let here = match self.site.strip_prefix('…') {
            Some(end) => mutant.site.ends_with(end),
            None => mutant.site == self.site,
        };
        here && self.kind == mutant.kind
            && mutant.description.starts_with(self.change)
            && subject.spec.to_string().contains(self.variant)
    }
}

/// The entry that says why a fault changes nothing, if it is known to change nothing.
pub fn equivalent(subject: &Subject, mutant: &Mutant) -> Option<&'static Equivalent> {
    EQUIVALENT.iter().find(|e| e.is(subject, mutant))
}
