//! What is verified: a variant that multiplies, or a kernel of a pass before products.

use std::fmt;

use ggemm_codegen::{KernelSpec, QuantizeSpec, RealignSpec};
use ggemm_runtime::verify::{Case, Extent, Failure, Fault, Ground, Passed, QuantizeCase, QuantizeFailure};
use ggemm_runtime::{Error, Mode};

/// A kernel that ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// One that multiplies.
    Product(KernelSpec),
    /// One that quantizes.
    Quantizer(QuantizeSpec),
    /// One that copies operands to aligned rows, in products of its copies.
    Realigner(RealignSpec),
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verified::Product(spec) => spec.fmt(f),
            Verified::Quantizer(spec) => spec.fmt(f),
            Verified::Realigner(spec) => spec.fmt(f),
        }
    }
}

/// A case that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) seed: u64,
    pub(super) problem: String,
    pub(super) groups: Vec<i64>,
    pub(super) fault: String,
    /// All of it, for people.
    pub(super) text: String,
    /// The part on small integers, which comes first, was right.
    pub(super) was_exact: bool,
    /// How far off a real value was, as a share of its bound.
    pub(super) of_bound: Option<f64>,
    /// The device itself failed: nothing that comes after it means anything.
    pub(super) is_lost: bool,
}

impl Verified {
    /// Runs the case of this seed.
    pub(super) fn check(&self, ground: &Ground, seed: u64, extent: Extent) -> Result<Passed, Box<Failed>> {
        match self {
            Verified::Product(spec) => {
                Case::random(spec, seed, extent).check(ground).map_err(|f| Box::new(Failed::from(f)))
            }
            Verified::Realigner(spec) => match Case::realigned(spec, seed, extent) {
                Some(case) => case.check(ground).map_err(|f| Box::new(Failed::from(f))),
                None => Ok(Passed::default()),
            },
            Verified::Quantizer(spec) => {
                QuantizeCase::random(spec, seed, extent).check(ground).map_err(|f| Box::new(Failed::from(f)))
            }
        }
    }
}

/// The device, or the driver, is what failed.
fn is_lost(fault: &Fault) -> bool {
    matches!(fault, Fault::Runtime(error) if !matches!(error, Error::Finding(_)))
}

impl From<Box<Failure>> for Failed {
    fn from(failure: Box<Failure>) -> Self {
        let of_bound = match (&failure.fault, failure.mode) {
            (Fault::Output(comparison), Mode::Bound) => comparison.worst.map(|worst| worst.of_bound()),
            _ => None,
        };
        Failed {
            seed: failure.case.seed(),
            problem: failure.case.problem().to_string(),
            groups: failure.case.groups().to_vec(),
            fault: failure.fault.to_string(),
            text: failure.to_string(),
            was_exact: failure.mode == Mode::Bound,
            of_bound,
            is_lost: is_lost(&failure.fault),
        }
    }
}

impl From<Box<QuantizeFailure>> for Failed {
    fn from(failure: Box<QuantizeFailure>) -> Self {
        let scenario = failure.case.scenario();
        Failed {
            seed: failure.case.seed(),
            problem: scenario.to_string(),
            groups: scenario.groups.clone(),
            fault: failure.fault.to_string(),
            text: failure.to_string(),
            was_exact: false,
            of_bound: None,
            is_lost: is_lost(&failure.fault),
        }
    }
}
