//! Which variants patterns name.

use ggemm_codegen::{Arch, KernelSpec, catalogue};

use super::error::VerifyError;
use crate::commands::emit::{self, SUGGESTED};
use crate::error::CliError;
use crate::names::{likely, matches};

/// The variants that ship for `arch` and that a pattern names, in the order of names; all where there is no pattern.
pub(crate) fn variants(patterns: &[String], arch: Arch) -> Result<Vec<KernelSpec>, CliError> {
    let mut shipped: Vec<(String, KernelSpec)> =
        catalogue::shipped_for(arch).iter().map(|s| (s.spec().to_string(), *s.spec())).collect();
    shipped.sort();
    for pattern in patterns {
        if !shipped.iter().any(|(name, _)| matches(pattern, name)) {
            return Err(nothing(pattern, arch, &shipped));
        }
    }
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
    Ok(shipped.into_iter().filter(|(name, _)| wanted(name)).map(|(_, spec)| spec).collect())
}

/// Why a pattern names nothing.
fn nothing(pattern: &str, arch: Arch, shipped: &[(String, KernelSpec)]) -> CliError {
    let pattern = pattern.to_owned();
    if pattern.contains('*') {
        return VerifyError::NoMatch { pattern, arch }.into();
    }
    if let Err(error) = emit::valid(&pattern, Some(arch)) {
        return error.into();
    }
    let near = likely(&pattern, shipped.iter().map(|(name, _)| name.clone()), SUGGESTED);
    VerifyError::NotShipped { name: pattern, arch, near }.into()
}
