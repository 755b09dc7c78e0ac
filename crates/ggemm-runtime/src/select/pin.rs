//! A variant that the caller chose.

use std::fmt;

use ggemm_codegen::{Arch, KernelSpec, Problem};

use super::Candidate;
use super::demand::Unmet;
use super::variant::{self, Family, ReadSet, Variant};
use super::ways::Ways;
use crate::error::Error;

/// Why a pinned variant cannot compute a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{spec} is pinned and cannot compute `{problem}` on {arch}: {unmet}; {}remove the pin", Instead(*nearest))]
#[non_exhaustive]
pub struct PinError {
    /// The pinned variant.
    pub spec: KernelSpec,
    /// The problem.
    pub problem: Problem,
    /// Where it was to be computed.
    pub arch: Arch,
    /// What the variant does not meet.
    pub unmet: Unmet,
    /// The variant most like it that can compute the problem.
    pub nearest: Option<KernelSpec>,
}

struct Instead(Option<KernelSpec>);

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(spec) => write!(f, "pin {spec}, or "),
            None => Ok(()),
        }
    }
}

/// The kernel of `spec`, baked or made now, if it can compute the problem; on copies of operands where it must.
pub(super) fn find(
    sets: &[&'static ReadSet],
    spec: KernelSpec,
    problem: &Problem,
    ways: &Ways,
) -> Result<Candidate, Error> {
    let baked = variant::of_family(sets, Family::of(&spec))?.find(|v| *v.spec() == spec);
    let baked = match baked {
        None => made(&spec, ways.direct.arch)?,
        found => found,
    };
    if let Some(candidate) = baked.and_then(|variant| ways.pinned(variant)) {
        return Ok(candidate);
    }
    let unmet = ways.unmet(&spec, baked.map(Variant::contract)).unwrap_or(Unmet::NotBaked);
    let able = variant::of_family(sets, ways.direct.family())?.filter(|v| ways.candidate(v).is_some());
    let nearest = able.map(Variant::spec).min_by_key(|able| distance(&spec, able)).copied();
    Err(Error::Pin(Box::new(PinError { spec, problem: problem.clone(), arch: ways.direct.arch, unmet, nearest })))
}

/// The kernel of a spec that no set holds, where this program can make one and the architecture can run it.
#[cfg(feature = "generate")]
fn made(spec: &KernelSpec, arch: Arch) -> Result<Option<&'static Variant>, Error> {
    use super::generated;
    let valid = ggemm_codegen::ValidSpec::new(*spec, arch).ok();
    valid.map(|valid| generated::variant(&valid)).transpose()
}

#[cfg(not(feature = "generate"))]
fn made(_spec: &KernelSpec, _arch: Arch) -> Result<Option<&'static Variant>, Error> {
    Ok(None)
}

/// How unlike two variants compute: by their tiles first, then by the rest.
fn distance(a: &KernelSpec, b: &KernelSpec) -> impl Ord + use<> {
    let tile = a.tile.m.abs_diff(b.tile.m) + a.tile.n.abs_diff(b.tile.n) + a.tile.k.abs_diff(b.tile.k);
    let warps = a.warps.m.abs_diff(b.warps.m) + a.warps.n.abs_diff(b.warps.n);
    (tile, a.copy != b.copy, a.even_k != b.even_k, warps, a.stages.abs_diff(b.stages), *b)
}
