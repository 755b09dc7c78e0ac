//! Runs the cases and counts what came of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ggemm_codegen::KernelSpec;
use ggemm_runtime::verify::{Case, Extent, Failure, Fault, Ground, Passed};
use ggemm_runtime::{Error, Mode};
use rayon::prelude::*;

use crate::progress::Progress;

/// What came of one variant.
#[derive(Debug)]
pub(super) struct Tally {
    /// The variant.
    pub(super) spec: KernelSpec,
    /// Cases that ran.
    pub(super) cases: u64,
    /// Cases that were right to the bit on small integers.
    pub(super) exact_cases: u64,
    /// The largest error on real values, as a share of its bound.
    pub(super) worst_of_bound: f64,
    /// The failure with the smallest seed.
    pub(super) failure: Option<Box<Failure>>,
}

impl Tally {
    fn new(spec: KernelSpec) -> Self {
        Tally { spec, cases: 0, exact_cases: 0, worst_of_bound: 0.0, failure: None }
    }

    fn add(&mut self, result: Result<Passed, Box<Failure>>) {
        self.cases += 1;
        match result {
            Ok(passed) => {
                self.exact_cases += 1;
                self.worst_of_bound = self.worst_of_bound.max(passed.worst_of_bound);
            }
            Err(failure) => {
                // Integers come first.
                self.exact_cases += u64::from(failure.mode == Mode::Bound);
                if let (Fault::Output(comparison), Mode::Bound) = (&failure.fault, failure.mode) {
                    let worst = comparison.worst.map_or(0.0, |worst| worst.of_bound());
                    self.worst_of_bound = self.worst_of_bound.max(worst);
                }
                if self.failure.as_ref().is_none_or(|known| failure.case.seed() < known.case.seed()) {
                    self.failure = Some(failure);
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
pub(super) fn run(variants: &[KernelSpec], ground: &Ground, extent: Extent, seed: u64, cases: u64) -> Vec<Tally> {
    let tallies: Vec<Mutex<Tally>> = variants.iter().map(|spec| Mutex::new(Tally::new(*spec))).collect();
    let failed: Vec<AtomicBool> = variants.iter().map(|_| AtomicBool::new(false)).collect();
    let (lost, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let total = cases.saturating_mul(variants.len() as u64);
    let progress = Progress::new(format!("{} variants, {cases} problems each", variants.len()));
    (0..total).into_par_iter().for_each(|job| {
        let (index, offset) = ((job / cases) as usize, job % cases);
        let (Some(spec), Some(tally), Some(failed)) = (variants.get(index), tallies.get(index), failed.get(index))
        else {
            return;
        };
        if !failed.load(Ordering::Relaxed) && !lost.load(Ordering::Relaxed) {
            let result = Case::random(spec, seed.wrapping_add(offset), extent).check(ground);
            if let Err(failure) = &result {
                failed.store(true, Ordering::Relaxed);
                if matches!(&failure.fault, Fault::Runtime(error) if !matches!(error, Error::Finding(_))) {
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
    use ggemm_codegen::{Arch, catalogue};
    use ggemm_runtime::Device;

    use super::*;

    fn smallest() -> KernelSpec {
        let specs = catalogue::shipped();
        specs.into_iter().min_by_key(|s| s.tile.m * s.tile.n * s.tile.k).expect("variants ship")
    }

    #[test]
    fn every_case_counts() {
        let spec = smallest();
        let ground = Ground::Interpreter(Arch::Sm80);
        let [tally] = &run(&[spec], &ground, Extent::Tiles, 3, 4)[..] else { panic!("one variant") };
        assert!(tally.passed(4), "{tally:?}");
        assert!(!tally.passed(5) && tally.exact_cases == 4 && tally.worst_of_bound <= 1.0, "{tally:?}");
    }

    #[test]
    fn a_device_that_refuses_ends_everything() {
        let tallies = run(&[smallest(); 40], &Ground::Device(Device::cpu()), Extent::Tiles, 3, 50);
        assert!(tallies.iter().all(|tally| !tally.passed(50)));
        assert!(tallies.iter().any(|tally| tally.failure.is_some()));
        assert!(tallies.iter().map(|tally| tally.cases).sum::<u64>() < 100);
    }
}
