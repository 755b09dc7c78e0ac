//! Faults planted into the kernel that realigns: each is noticed, or is listed with the reason why it changes nothing.

use ggemm_codegen::RealignSpec;
use ggemm_codegen::dsl::verify;
use ggemm_codegen::interp::{Policy, Settings};
use ggemm_codegen::kernels::realign::{RealignScenario, build};
use ggemm_codegen::mutate::{self, Mutant, MutationKind, is_like};
use rayon::prelude::*;

use MutationKind::Constant;

use super::case::Case;

/// Faults after which a kernel does what it did.
struct Equivalent {
    sites: &'static [&'static str],
    kinds: &'static [MutationKind],
    changes: &'static [&'static str],
    /// Why nothing changes.
    #[allow(dead_code)]
    reason: &'static str,
}

const EQUIVALENT: &[Equivalent] = &[Equivalent {
    sites: &["mod: let col_blocks", "mod: let blocks_of_each"],
    kinds: &[Constant],
    changes: &["value: 256 becomes 255", "value: 32 becomes 31"],
    reason: "blocks past the last row or column copy nothing, and matrices are told apart by as many",
}];

impl Equivalent {
    fn is(&self, mutant: &Mutant) -> bool {
        self.sites.iter().any(|site| is_like(site, &mutant.site))
            && self.kinds.contains(&mutant.kind)
            && self.changes.iter().any(|change| mutant.description.starts_with(change))
    }
}

/// Cases under schedules, all of which the right kernel passes; the limit of statements is what it took, with patience.
fn trials(spec: &RealignSpec) -> Vec<(Case, Settings)> {
    let kernel = build(spec);
    let many: Vec<i64> = (0..33).map(|g| (g * 7 + 3) % 5 % 3).collect();
    // Sizes, rows, columns and the dice: shared, ends, i64, strides, tokens, distances between matrices, layouts.
    let plans: [(&[i64], usize, usize, u64); 10] = [
        (&[3, 0, 2], 33, 257, 8 + 128),
        (&[3, 0, 0, 2], 33, 255, 2 + 24),
        (&[0, 1, 0, 2], 2, 9, 2 + 4),
        (&[1, 0], 65, 513, 16 + 4 + 256),
        (&[5, 60], 66, 600, 8 + 32 + 64),
        (&[5, 60], 31, 256, 1 + 8),
        (&many, 3, 5, 2 + 8),
        (&many, 3, 5, 4),
        (&[-5, 3, 900, 2], 9, 17, 0),
        (&[2, 1], 1, 1, 128),
    ];
    let mut trials = Vec::new();
    for (n, (sizes, rows, cols, pick)) in (0u64..).zip(plans) {
        for policy in [Policy::Random, Policy::Starve] {
            let case = Case::new(RealignScenario::of(spec, sizes, rows, cols, pick));
            let settings = Settings { policy, seed: n, ctas: [1, 2, 3][n as usize % 3], ..Settings::default() };
            let mut memory = case.memory();
            let done = case.run(&kernel, &mut memory, settings).unwrap_or_else(|f| panic!("{case}\n{f}"));
            case.check(&memory).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
            trials.push((case, Settings { limit: 4 * done.statements + 1000, ..settings }));
        }
    }
    trials
}

#[test]
fn planted_faults_are_noticed() {
    let spec = RealignSpec::all().next().expect("there are two");
    let trials = trials(&spec);
    let is_noticed = |mutant: &Mutant| {
        !verify::defects(&mutant.kernel).is_empty()
            || trials.iter().any(|(case, settings)| {
                let mut memory = case.memory();
                case.run(&mutant.kernel, &mut memory, *settings).is_err() || case.check(&memory).is_err()
            })
    };
    let faults = mutate::mutants(&build(&spec));
    assert!(faults.len() > 50, "{} faults", faults.len());
    let unlisted = faults.into_par_iter().filter(|m| !EQUIVALENT.iter().any(|e| e.is(m)));
    let survivors: Vec<String> = unlisted.filter(|m| !is_noticed(m)).map(|m| m.to_string()).collect();
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}
