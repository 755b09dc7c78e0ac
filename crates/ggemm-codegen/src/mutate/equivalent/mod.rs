//! Faults that are none: changes after which a kernel does what it did, for every problem and schedule.

mod multistage;
mod stream_k;
mod tiles;
mod warp_specialized;

use super::{Mutant, MutationKind, Subject};
use crate::spec::KernelSpec;

/// Faults that change nothing a program could observe, for one reason.
#[derive(Clone, Copy, Debug)]
pub struct Equivalent {
    /// The variants of which it is true.
    pub of: fn(&KernelSpec) -> bool,
    /// The sites, as [`is_like`] matches them.
    pub sites: &'static [&'static str],
    /// The kinds of fault.
    pub kinds: &'static [MutationKind],
    /// What the description starts with.
    pub changes: &'static [&'static str],
    /// Why nothing changes.
    pub reason: &'static str,
}

/// All of them.
pub fn equivalents() -> impl Iterator<Item = &'static Equivalent> {
    [tiles::EQUIVALENT, multistage::EQUIVALENT, warp_specialized::EQUIVALENT, stream_k::EQUIVALENT]
        .into_iter()
        .flatten()
}

impl Equivalent {
    /// Whether this is about `mutant`.
    pub fn is(&self, subject: &Subject, mutant: &Mutant) -> bool {
        (self.of)(subject.spec.spec())
            && self.sites.iter().any(|site| is_like(site, &mutant.site))
            && self.kinds.contains(&mutant.kind)
            && self.changes.iter().any(|c| mutant.description.starts_with(c))
    }
}

/// The entry that says why a fault changes nothing, if it is known to change nothing.
pub fn equivalent(subject: &Subject, mutant: &Mutant) -> Option<&'static Equivalent> {
    equivalents().find(|e| e.is(subject, mutant))
}

/// Whether a site is what a pattern says, in which a `?` stands for any character and a `*` for any number of them.
pub fn is_like(pattern: &str, site: &str) -> bool {
    let mut more = pattern.chars();
    match more.next() {
        None => site.is_empty(),
        Some('*') => {
            site.char_indices().map(|(i, _)| i).chain([site.len()]).any(|i| is_like(more.as_str(), &site[i..]))
        }
        Some(expected) => {
            let mut rest = site.chars();
            let is_here = rest.next().is_some_and(|c| expected == '?' || expected == c);
            is_here && is_like(more.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn stars_stand_for_anything() {
        let like =
            [("a", "a"), ("a*", "a"), ("a*", "abc"), ("*c", "abc"), ("a*c*e", "abcde"), ("*", ""), ("a?c", "abc")];
        for (pattern, site) in like {
            assert!(is_like(pattern, site), "{pattern} {site}");
        }
        for (pattern, site) in [("a", "ab"), ("a*c", "abd"), ("*b", "abc"), ("a*b*c", "ac"), ("", "a"), ("a?", "a")] {
            assert!(!is_like(pattern, site), "{pattern} {site}");
        }
    }
}
