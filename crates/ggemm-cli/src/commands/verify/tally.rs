//! Runs the cases and counts what came of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ggemm_runtime::verify::{Extent, Ground, Passed};
use rayon::prelude::*;

use super::verified::{Failed, Verified};
use crate::progress::Progress;

/// What came of one variant.
#[derive(Debug)]
pub(super) struct Tally {
    /// The variant.
    pub(super) variant: Verified,
    /// Cases that ran.
    pub(super) cases: u64,
    /// Cases that were right to the bit on small integers.
    pub(super) exact_cases: u64,
    /// The largest error on real values, as a share of its bound.
    pub(super) worst_of_bound: f64,
    /// The failure with the smallest seed.
    pub(super) failure: Option<Box<Failed>>,
}

impl Tally {
    fn new(variant: Verified) -> Self {
        Tally { variant, cases: 0, exact_cases: 0, worst_of_bound: 0.0, failure: None }
    }

    fn add(&mut self, result: Result<Passed, Box<Failed>>) {
        self.cases += 1;
        match result {
            Ok(passed) => {
                self.exact_cases += 1;
                self.worst_of_bound = self.worst_of_bound.max(passed.worst_of_bound);
            }
            Err(failed) => {
                self.exact_cases += u64::from(failed.was_exact);
                self.worst_of_bound = self.worst_of_bound.max(failed.of_bound.unwrap_or(0.0));
                if self.failure.as_ref().is_none_or(|known| failed.seed < known.seed) {
                    self.failure = Some(failed);
                }
            }
        }
    }

    /// Whether all of `cases` ran and were right.
    pub(super) fn passed(&self, cases: u64) -> bool {
        self.failure.is_none() && self.cases == cases
    }
}

/// Runs `cases` cases of every variant on all cores. A variant stops at its first failure, and all stop where the device
/// itself failed: nothing that comes after it means anything.
pub(super) fn run(variants: &[Verified], ground: &Ground, extent: Extent, seed: u64, cases: u64) -> Vec<Tally> {
    let tallies: Vec<Mutex<Tally>> = variants.iter().map(|variant| Mutex::new(Tally::new(*variant))).collect();
    let failed: Vec<AtomicBool> = variants.iter().map(|_| AtomicBool::new(false)).collect();
    let (lost, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let total = cases.saturating_mul(variants.len() as u64);
    let progress = Progress::new(format!("{} variants, {cases} problems each", variants.len()));
    (0..total).into_par_iter().for_each(|job| {
        let (index, offset) = ((job / cases) as usize, job % cases);
        let (Some(variant), Some(tally), Some(failed)) = (variants.get(index), tallies.get(index), failed.get(index))
        else {
            return;
        };
        if !failed.load(Ordering::Relaxed) && !lost.load(Ordering::Relaxed) {
            let result = variant.check(ground, seed.wrapping_add(offset), extent);
            if let Err(failure) = &result {
                failed.store(true, Ordering::Relaxed);
                if failure.is_lost {
                    lost.store(true, Ordering::Relaxed);
                }
            }
            tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(result);
        }
        progress.show((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / total as f64);
    });
    tallies.into_iter().map(|tally| tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Arch, KernelSpec, QuantizeSpec, catalogue};
    use ggemm_runtime::Device;

    use super::*;

    fn smallest() -> KernelSpec {
        let specs = catalogue::shipped();
        specs.into_iter().min_by_key(|s| s.tile.m * s.tile.n * s.tile.k).expect("variants ship")
    }

    #[test]
    fn every_case_counts() {
        let quantizer = QuantizeSpec::all().next().expect("kernels ship");
        let ground = Ground::Interpreter(Arch::Sm90a);
        for variant in [Verified::Product(smallest()), Verified::Quantizer(quantizer)] {
            let [tally] = &run(&[variant], &ground, Extent::Tiles, 3, 4)[..] else { panic!("one variant") };
            assert!(tally.passed(4), "{tally:?}");
            assert!(!tally.passed(5) && tally.exact_cases == 4 && tally.worst_of_bound <= 1.0, "{tally:?}");
        }
    }

    #[test]
    fn a_device_that_refuses_ends_everything() {
        let tallies = run(&[Verified::Product(smallest()); 40], &Ground::Device(Device::cpu()), Extent::Tiles, 3, 50);
        assert!(tallies.iter().all(|tally| !tally.passed(50)));
        assert!(tallies.iter().any(|tally| tally.failure.is_some()));
        assert!(tallies.iter().map(|tally| tally.cases).sum::<u64>() < 100);
    }
}
