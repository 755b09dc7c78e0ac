//! Predictions, corrected by what was measured nearby.
//!
//! A table's entries say for several variants how long they took, and the cost model how long they should have. What the
//! model gets wrong it gets wrong alike for like problems; so a variant's prediction is multiplied by what its measured
//! times were of its predicted ones, averaged over the entries near the problem with weights that fall with the distance
//! (the kernel regression of Nadaraya and Watson, on logarithms, drawn towards no correction). Far from all entries the
//! cost model stands alone; at an entry its own measurements decide.

use std::fmt;

use ggemm_codegen::KernelSpec;
use ggemm_codegen::cost::{self, Sizes};
use ggemm_table::{Distance, Entry, Found};

use super::demand::{Demand, spread};
use super::variant::{self, ReadSet, Variant};
use crate::error::Error;

// Chosen by leaving out problems of the table that ships, a part of all at a time (docs/tuning.md, "Hopper's cost model").

/// The octaves over which a measurement's weight falls by e.
const REACH: f64 = 0.5;

/// The weight of the belief that the cost model is right as it is: that of a measurement 0.8 octaves away.
const BELIEF: f64 = 0.2;

/// Entries that are weighed, the nearest ones.
const MOST: usize = 32;

/// Where a measurement's weight is so small that it does not count, in octaves.
const FARTHEST: f64 = 4.0;

/// What entries near a problem say of each variant.
pub(super) struct Calibration {
    near: Vec<Measured>,
    said: Calibrated,
}

/// One entry.
struct Measured {
    weight: f64,
    /// The logarithms of measured over predicted times.
    errors: Vec<(KernelSpec, f64)>,
    /// Their mean, for what was not timed: what the model gets wrong for all variants alike says nothing against one.
    mean: f64,
}

/// That predictions were corrected by measurements, and by which.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Calibrated {
    /// Problems that were measured nearby.
    pub entries: usize,
    /// How far the nearest of them is.
    pub nearest: Distance,
}

impl fmt::Display for Calibrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calibrated { entries, nearest } = self;
        let s = if *entries == 1 { "" } else { "s" };
        write!(f, "corrected by {entries} measured problem{s}, the nearest {:.1} octaves away", nearest.total())
    }
}

impl Calibration {
    /// What these entries, the nearest first, say; `None` where none is near.
    pub(super) fn new<'a>(
        sets: &[&'static ReadSet],
        demand: &Demand,
        near: impl Iterator<Item = Found<'a>>,
    ) -> Result<Option<Self>, Error> {
        let mut measured = Vec::new();
        let mut nearest = None;
        for Found { entry, distance } in near.take_while(|found| found.distance.total() <= FARTHEST).take(MOST) {
            let errors = errors(sets, demand, entry)?;
            if errors.is_empty() {
                continue;
            }
            let mean = errors.iter().map(|(_, error)| error).sum::<f64>() / errors.len() as f64;
            measured.push(Measured { weight: (-distance.total() / REACH).exp(), errors, mean });
            nearest.get_or_insert(distance);
        }
        let said = nearest.map(|nearest| Calibrated { entries: measured.len(), nearest });
        Ok(said.map(|said| Calibration { near: measured, said }))
    }

    /// What a prediction for this variant is to be multiplied by.
    pub(super) fn of(&self, spec: &KernelSpec) -> f64 {
        let (mut sum, mut weights) = (0.0, BELIEF);
        for Measured { weight, errors, mean } in &self.near {
            let own = errors.iter().find(|(other, _)| other == spec).map_or(*mean, |(_, error)| *error);
            sum += weight * own;
            weights += weight;
        }
        (sum / weights).exp()
    }

    pub(super) fn said(&self) -> Calibrated {
        self.said
    }
}

/// How far predictions for an entry's variants are from what was measured.
fn errors(sets: &[&'static ReadSet], demand: &Demand, entry: &Entry) -> Result<Vec<(KernelSpec, f64)>, Error> {
    let contraction = entry.problem.contraction();
    let sizes = Sizes::of(&contraction, spread(entry.routing));
    let mut errors = Vec::new();
    for timing in entry.timings() {
        let baked = |v: &&'static Variant| *v.spec() == timing.variant;
        if let Some(variant) = variant::of_family(sets, demand.family())?.find(baked) {
            let predicted =
                cost::predict(variant.spec(), variant.contract(), &contraction, &sizes, demand.arch).seconds;
            let error = (timing.microseconds * 1e-6 / predicted).ln();
            if error.is_finite() {
                errors.push((timing.variant, error));
            }
        }
    }
    Ok(errors)
}
