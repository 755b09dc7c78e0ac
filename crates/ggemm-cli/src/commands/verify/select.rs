//! Which variants are verified.

use ggemm_codegen::{Arch, QuantizeSpec, catalogue};

use super::error::VerifyError;
use super::verified::Verified;
use crate::commands::emit::{self, SUGGESTED};
use crate::error::CliError;
use crate::names::{likely, matches};

/// The variants that ship for `arch` and that a pattern names, in the order of names; all where there is no pattern.
pub(super) fn variants(patterns: &[String], arch: Arch) -> Result<Vec<Verified>, CliError> {
    let products = catalogue::shipped_for(arch).into_iter().map(|s| Verified::Product(*s.spec()));
    let quantizers = QuantizeSpec::all().filter(|s| arch.executes(s.arch())).map(Verified::Quantizer);
    let mut shipped: Vec<(String, Verified)> = products.chain(quantizers).map(|v| (v.to_string(), v)).collect();
    shipped.sort_by(|(a, _), (b, _)| a.cmp(b));
    for pattern in patterns {
        if !shipped.iter().any(|(name, _)| matches(pattern, name)) {
            return Err(nothing(pattern, arch, &shipped));
        }
    }
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
    Ok(shipped.into_iter().filter(|(name, _)| wanted(name)).map(|(_, variant)| variant).collect())
}

/// Why a pattern names nothing.
fn nothing(pattern: &str, arch: Arch, shipped: &[(String, Verified)]) -> CliError {
    let pattern = pattern.to_owned();
    if pattern.contains('*') || pattern.parse::<QuantizeSpec>().is_ok() {
        return VerifyError::NoMatch { pattern, arch }.into();
    }
    if let Err(error) = emit::valid(&pattern, Some(arch)) {
        return error.into();
    }
    let near = likely(&pattern, shipped.iter().map(|(name, _)| name.clone()), SUGGESTED);
    VerifyError::NotShipped { name: pattern, arch, near }.into()
}
