//! Which variants are verified.

use ggemm_codegen::{Arch, KernelSpec, catalogue};

use super::error::VerifyError;
use crate::commands::emit;
use crate::error::CliError;
use crate::names::matches;

/// The variants for `arch` that a pattern names, in the order of names: of those that ship, or one by its whole name, which
/// is made now where it does not. All that ship where there is no pattern.
pub(super) fn variants(patterns: &[String], arch: Arch) -> Result<Vec<KernelSpec>, CliError> {
    let shipped: Vec<(String, KernelSpec)> =
        catalogue::shipped_for(arch).iter().map(|s| (s.spec().to_string(), *s.spec())).collect();
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
    let mut chosen: Vec<(String, KernelSpec)> = shipped.iter().filter(|(name, _)| wanted(name)).cloned().collect();
    for pattern in patterns.iter().filter(|pattern| !shipped.iter().any(|(name, _)| matches(pattern, name))) {
        if pattern.contains('*') {
            return Err(VerifyError::NoMatch { pattern: pattern.clone(), arch }.into());
        }
        chosen.push((pattern.clone(), *emit::valid(pattern, Some(arch))?.spec()));
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen.into_iter().map(|(_, spec)| spec).collect())
}
