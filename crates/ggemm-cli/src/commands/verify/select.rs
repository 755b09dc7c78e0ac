//! Which variants patterns name.

use ggemm_codegen::{Arch, KernelSpec, QuantizeSpec, RealignSpec, catalogue};

use super::error::VerifyError;
use super::verified::Verified;
use crate::commands::emit;
use crate::error::CliError;
use crate::names::matches;

/// The variants for `arch` that a pattern names, in the order of names: of those that ship, or a product by its whole name,
/// which is made now where it does not. All that ship where there is no pattern.
pub(super) fn variants(patterns: &[String], arch: Arch) -> Result<Vec<Verified>, CliError> {
    let products = shipped_products(arch).map(Verified::Product);
    let quantizers = QuantizeSpec::all().filter(|s| arch.executes(s.arch())).map(Verified::Quantizer);
    let realigners = RealignSpec::all().filter(|s| arch.executes(s.arch())).map(Verified::Realigner);
    named(patterns, arch, products.chain(quantizers).chain(realigners), Verified::Product)
}

/// Those of them that multiply.
pub(crate) fn products(patterns: &[String], arch: Arch) -> Result<Vec<KernelSpec>, CliError> {
    named(patterns, arch, shipped_products(arch), |spec| spec)
}

fn shipped_products(arch: Arch) -> impl Iterator<Item = KernelSpec> {
    catalogue::shipped_for(arch).into_iter().map(|s| *s.spec())
}

fn named<T: ToString>(
    patterns: &[String],
    arch: Arch,
    shipped: impl Iterator<Item = T>,
    product: impl Fn(KernelSpec) -> T,
) -> Result<Vec<T>, CliError> {
    let mut variants: Vec<(String, T)> = shipped.map(|v| (v.to_string(), v)).collect();
    for pattern in patterns {
        if variants.iter().any(|(name, _)| matches(pattern, name)) {
            continue;
        }
        // All kernels of passes ship: a name of one that is not there is no product's either.
        let is_pass = pattern.parse::<QuantizeSpec>().is_ok() || pattern.parse::<RealignSpec>().is_ok();
        if pattern.contains('*') || is_pass {
            return Err(VerifyError::NoMatch { pattern: pattern.clone(), arch }.into());
        }
        let spec = *emit::valid(pattern, Some(arch))?.spec();
        variants.push((pattern.clone(), product(spec)));
    }
    variants.retain(|(name, _)| patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name)));
    variants.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(variants.into_iter().map(|(_, variant)| variant).collect())
}
