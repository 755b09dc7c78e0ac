//! Faults planted into kernels that quantize: each is noticed, or is listed with the reason why it changes nothing.

use ggemm_codegen::QuantizeSpec;
use ggemm_codegen::dsl::verify;
use ggemm_codegen::interp::{Policy, Settings};
use ggemm_codegen::kernels::quantize::{QuantizeScenario, build};
use ggemm_codegen::mutate::{self, Mutant, MutationKind, is_like};
use rayon::prelude::*;

use MutationKind::{AddSub, Constant, Division, ForceBranch, LoopEnd, Reorder};

use super::case::Case;

/// What each is there to show: two copies of one read, whole columns of groups, blocks in both layouts, whole rows; whole
/// columns and rows that clusters divide.
const SUBJECTS: [&str; 6] = [
    "ggemm_quantize_bf16_e4m3_block_ragged_rows_colst_sm89",
    "ggemm_quantize_f16_e5m2_row_ragged_colst_sm89",
    "ggemm_quantize_bf16_e5m2_block_blocks_blockst_sm89",
    "ggemm_quantize_f32_e4m3_row_rows_sm89",
    "ggemm_quantize_bf16_e4m3_row_ragged_colst_w8_c4_sm90a",
    "ggemm_quantize_f16_e4m3_row_rows_w4_c8_sm90a",
];

/// Faults of each subject that the tests plant; `planted_faults_all` plants every one.
const SAMPLE: usize = 8;

/// Faults after which a kernel does what it did.
struct Equivalent {
    of: &'static str,
    sites: &'static [&'static str],
    kinds: &'static [MutationKind],
    changes: &'static [&'static str],
    /// Why nothing changes.
    #[allow(dead_code)]
    reason: &'static str,
}

const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: "*",
        sites: &["mod: *store_scales *"],
        kinds: &[Division],
        changes: &[
            "origin: (tile_col / 128) becomes",
            "origin: (tile_row / 128) becomes",
            "origin: (first_col / 128) becomes",
            "origin: (first_row / 128) becomes",
        ],
        reason: "blocks begin at multiples of 128",
    },
    Equivalent {
        of: "*_ragged_*",
        sites: &["walk: loop > loop > if > assign start"],
        kinds: &[AddSub, Constant],
        changes: &["value: (group_count - first_group) becomes", "value: 1 becomes 2", "value: 32 becomes 31"],
        reason: "any lane but the tail's can hold the merged group",
    },
    Equivalent {
        of: "*_row_rows_*",
        sites: &["mod: loop > for block_rounded"],
        kinds: &[LoopEnd],
        changes: &["end: blocks + 1"],
        reason: "of a block past the end nothing is written",
    },
    Equivalent {
        of: "*_row_*",
        sites: &["mod: loop > for block_rounded > if"],
        kinds: &[Constant, ForceBranch],
        changes: &["condition: 2 becomes 1 in (block_rounded < 2)", "the condition is always false"],
        reason: "blocks that are in registers or kept are read again, and are the same",
    },
    Equivalent {
        of: "*_row_rows_*",
        sites: &["jobs: loop > let blocks"],
        kinds: &[Constant],
        changes: &["value: 2048 becomes 2047", "value: 1024 becomes 1023"],
        reason: "as many blocks, or more past the last column: of those nothing is read or written",
    },
    Equivalent {
        of: "*_row_rows_*_c8_*",
        sites: &["jobs: loop > let own_blocks"],
        kinds: &[AddSub, Constant, Division],
        changes: &[
            "value: (((blocks + 7) - rank) / 8) becomes",
            "value: ((blocks + 7) - rank) becomes ((blocks + 7) + rank)",
            "value: 7 becomes 8",
            "value: 8 becomes 7",
        ],
        reason: "no fewer blocks, and of those past the end nothing is read or written",
    },
    Equivalent {
        of: "*_row_*_c?_*",
        sites: &["mod: loop > cluster_arrive", "mod: loop > cluster_wait"],
        kinds: &[Reorder],
        changes: &["cluster_arrive comes before", "cluster_wait comes before"],
        reason: "a number is computed before, and the CTA's own tile read: neither is the cluster's matter",
    },
    Equivalent {
        of: "*_row_*_c?_*",
        sites: &["mod: loop > if"],
        kinds: &[Constant],
        changes: &["condition: 0 becomes 1 in (rank == 0)"],
        reason: "all CTAs of the cluster have the same scales, and any may write them",
    },
    Equivalent {
        of: "*_row_*",
        sites: &["mod: loop > barrier #2"],
        kinds: &[Reorder],
        changes: &["barrier comes before"],
        reason: "only registers and device memory are touched between the tile's read and the barrier",
    },
    Equivalent {
        of: "*_row_*",
        sites: &["jobs: let blocks_of_each", "jobs: let col_tiles"],
        kinds: &[Constant],
        changes: &["value: 8 becomes 7", "value: 64 becomes 63"],
        reason: "blocks past the last row or column write nothing, and matrices are told apart by as many",
    },
    Equivalent {
        of: "*_row_rows_*",
        sites: &["jobs: let blocks_of_each"],
        kinds: &[AddSub],
        changes: &["value: (ceil_div(rows, 8) * col_tiles) becomes"],
        reason: "one block more, past the last row, which writes nothing",
    },
    Equivalent {
        of: "*_row_rows_*",
        sites: &["jobs: loop > let first_row"],
        kinds: &[Division],
        changes: &["value: (block_of_matrix / col_tiles) becomes"],
        reason: "whole rows are one tile wide",
    },
];

impl Equivalent {
    fn is(&self, mutant: &Mutant, name: &str) -> bool {
        is_like(self.of, name)
            && self.sites.iter().any(|site| is_like(site, &mutant.site))
            && self.kinds.contains(&mutant.kind)
            && self.changes.iter().any(|change| mutant.description.starts_with(change))
    }
}

/// Cases under schedules, all of which the right kernel passes; the limit of statements is what it took, with patience.
struct Ground(Vec<(Case, Settings)>);

impl Ground {
    /// `all`: also those that show a fault or two, and take long.
    fn new(spec: &QuantizeSpec, all: bool) -> Self {
        let kernel = build(spec);
        let mut trials = Vec::new();
        let many: Vec<i64> = (0..33).map(|g| (g * 7 + 3) % 5 % 3).collect();
        let full: Vec<i64> = (0..32).map(|g| 1 + g % 2).collect();
        // Sizes, rows, columns and the dice: ends, i64, merged, padded rows, unaligned.
        let plans: [(&[i64], usize, usize, u64); 23] = [
            (&[129, 0, 0, 3, 130], 262 + 9, 144, 0),
            (&[129, 0, 0, 3, 130], 262, 133, 1 + 4 + 8),
            (&[5, 5, 140, 140], 150, 16, 2 + 8),
            (&[0, 0, 0], 4, 16, 0),
            (&many, 40, 16, 4),
            (&full, 48 + 5, 16, 1),
            (&full[..31], 47, 16, 1 + 2),
            (&[-5, 3, 900, 2], 40, 272, 0),
            (&[9, 3, 20, -4, 17, 900], 40, 16, 2 + 4),
            (&[1 << 33, 1, 3, i64::MAX], 30, 16, 4 + 1),
            // Starts and widths next to a block's, weights of them, and so many blocks that their numbers show.
            (&[127, 1, 1], 130, 128, 0),
            (&[127, 1, 1], 129, 129, 1),
            (&[60, 4], 64, 129, 16),
            (&[384], 384, 144, 0),
            (&[32], 32, 256, 16 + 32),
            (&[1, 1], 2, 16_400, 0),
            (&[16_400], 16_400, 16, 0),
            // More than two long blocks, of which those past the second are read again; and groups that end just before one.
            (&[1040], 1040, 80, 1),
            (&[1030], 1030, 67, 2),
            (&[1023, 1], 1024, 16, 0),
            (&[9], 9, 4097, 1),
            // The same of a cluster's CTAs.
            (&[2310], 2310, 67, 2),
            (&[9], 9, 16_411, 1),
        ];
        let is_short = |(_, rows, cols, _): &(&[i64], usize, usize, u64)| all || rows * cols < 1 << 17;
        for (n, (values, rows, cols, pick)) in (0u64..).zip(plans.into_iter().filter(is_short)) {
            let values = if spec.form().ragged { values } else { &[0; 2] };
            let ctas = [1, 2, 3][n as usize % 3] * spec.ctas() as usize;
            for policy in [Policy::Random, Policy::Starve] {
                let scenario = QuantizeScenario::of(spec, values, rows, cols, pick | (n % 2) << 7);
                let case = Case::new(spec, scenario, n);
                let settings = Settings { policy, seed: n, ctas, ..Settings::default() };
                let mut memory = case.memory();
                let done = case.run(&kernel, &mut memory, settings).unwrap_or_else(|f| panic!("{case}\n{f}"));
                case.check(&memory).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
                trials.push((case, Settings { limit: 4 * done.statements + 1000, ..settings }));
            }
        }
        trials.sort_by_key(|(_, settings)| settings.limit);
        Ground(trials)
    }

    fn notices(&self, mutant: &Mutant) -> bool {
        !verify::defects(&mutant.kernel).is_empty()
            || self.0.iter().any(|(case, settings)| {
                let mut memory = case.memory();
                case.run(&mutant.kernel, &mut memory, *settings).is_err() || case.check(&memory).is_err()
            })
    }
}

fn survivors(name: &str, sample: usize) -> Vec<String> {
    let spec: QuantizeSpec = name.parse().expect("a kernel's name");
    let ground = Ground::new(&spec, sample == usize::MAX);
    // The walk's faults are hunted in the kernels of products, but for what only these ask of it.
    let is_ours = |m: &Mutant| !m.site.starts_with("walk:") || m.site.contains("> if >");
    let faults: Vec<Mutant> = mutate::mutants(&build(&spec)).into_iter().filter(is_ours).collect();
    assert!(faults.len() > 50, "{name}: {} faults", faults.len());
    let faults: Vec<Mutant> = mutate::sample(faults, sample, 7);
    let unlisted = faults.into_par_iter().filter(|m| !EQUIVALENT.iter().any(|e| e.is(m, name)));
    unlisted.filter(|m| !ground.notices(m)).map(|m| format!("{name}: {m}")).collect()
}

/// A text that nothing planted has any more is a reason for nothing.
#[test]
fn equivalent_faults_are_planted() {
    let planted: Vec<(&str, Vec<Mutant>)> =
        SUBJECTS.iter().map(|name| (*name, mutate::mutants(&build(&name.parse().unwrap())))).collect();
    for e in EQUIVALENT {
        let is_planted = |change: &str| {
            planted
                .iter()
                .any(|(name, faults)| faults.iter().any(|m| e.is(m, name) && m.description.starts_with(change)))
        };
        for change in e.changes {
            assert!(is_planted(change), "{} at {:?}: no fault `{change}`", e.of, e.sites);
        }
    }
}

#[test]
fn planted_faults_are_noticed() {
    let survivors: Vec<String> = SUBJECTS.iter().flat_map(|name| survivors(name, SAMPLE)).collect();
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

#[test]
#[ignore = "a minute"]
fn planted_faults_all() {
    let survivors: Vec<String> = SUBJECTS.iter().flat_map(|name| survivors(name, usize::MAX)).collect();
    assert!(survivors.is_empty(), "{} survive:\n{}", survivors.len(), survivors.join("\n"));
}
