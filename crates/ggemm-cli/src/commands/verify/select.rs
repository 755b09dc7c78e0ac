//! Which variants patterns name.

use ggemm_codegen::{Arch, KernelSpec, QuantizeSpec, catalogue};

use super::error::VerifyError;
use super::verified::Verified;
use crate::commands::emit::{self, SUGGESTED};
use crate::error::CliError;
use crate::names::{likely, matches};

/// The variants that ship for `arch` and that a pattern names, in the order of names; all where there is no pattern.
pub(super) fn variants(patterns: &[String], arch: Arch) -> Result<Vec<Verified>, CliError> {
    let products = shipped_products(arch).map(Verified::Product);
    let quantizers = QuantizeSpec::all().filter(|s| arch.executes(s.arch())).map(Verified::Quantizer);
    named(patterns, arch, products.chain(quantizers))
}

/// Those of them that multiply.
pub(crate) fn products(patterns: &[String], arch: Arch) -> Result<Vec<KernelSpec>, CliError> {
    named(patterns, arch, shipped_products(arch))
}

fn shipped_products(arch: Arch) -> impl Iterator<Item = KernelSpec> {
    catalogue::shipped_for(arch).into_iter().map(|s| *s.spec())
}

fn named<T: ToString>(patterns: &[String], arch: Arch, shipped: impl Iterator<Item = T>) -> Result<Vec<T>, CliError> {
    let mut shipped: Vec<(String, T)> = shipped.map(|v| (v.to_string(), v)).collect();
    shipped.sort_by(|(a, _), (b, _)| a.cmp(b));
    for pattern in patterns {
        if !shipped.iter().any(|(name, _)| matches(pattern, name)) {
            return Err(nothing(pattern, arch, shipped.iter().map(|(name, _)| name.clone())));
        }
    }
    let wanted = |name: &str| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name));
    Ok(shipped.into_iter().filter(|(name, _)| wanted(name)).map(|(_, variant)| variant).collect())
}

/// Why a pattern names nothing.
fn nothing(pattern: &str, arch: Arch, shipped: impl Iterator<Item = String>) -> CliError {
    let pattern = pattern.to_owned();
    if pattern.contains('*') {
        return VerifyError::NoMatch { pattern, arch }.into();
    }
    if pattern.parse::<QuantizeSpec>().is_err()
        && let Err(error) = emit::valid(&pattern, Some(arch))
    {
        return error.into();
    }
    let near = likely(&pattern, shipped, SUGGESTED);
    VerifyError::NotShipped { name: pattern, arch, near }.into()
}
