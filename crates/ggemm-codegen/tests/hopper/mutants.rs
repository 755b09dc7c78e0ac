//! Faults planted into the small kernels are noticed: a sample on each run, all of them with `GGEMM_MUTANTS=all`.

use std::collections::BTreeMap;

use ggemm_codegen::dsl::verify;
use ggemm_codegen::interp::cases::Case;
use ggemm_codegen::interp::{Policy, Settings, run};
use ggemm_codegen::ir::Kernel;
use ggemm_codegen::mutate::{Mutant, MutationKind, is_like, mutants, sample};

use crate::ground::{Subject, Wrong, copy_memory, subjects};
use crate::kernels;

/// Faults of each kernel on each run.
const SAMPLE: usize = 24;

/// Faults that change nothing, for one reason.
struct Equivalent {
    /// The kernels of which it is true.
    of: &'static [&'static str],
    /// The site, or what it ends with; a `?` stands for a character, a `*` for anything.
    site: &'static str,
    /// What the description starts with.
    change: &'static str,
    #[allow(dead_code)]
    reason: &'static str,
}

const ALL: &[&str] = &[
    "gemm",
    "two_warpgroups",
    "cluster",
    "pingpong",
    "swapped",
    "swapped_f32",
    "reduction",
    "reduction_added",
    "dynamic_copy",
];
const GEMMS: &[&str] =
    &["gemm", "two_warpgroups", "cluster", "pingpong", "swapped", "swapped_f32", "reduction", "reduction_added"];
const ONE_WARPGROUP: &[&str] = &["gemm", "cluster", "reduction", "reduction_added"];
const BUT_PINGPONG: &[&str] =
    &["gemm", "two_warpgroups", "cluster", "swapped", "swapped_f32", "reduction", "reduction_added"];
const ONE_MEETING: &[&str] = &["gemm", "cluster", "swapped", "swapped_f32", "reduction", "reduction_added"];
const WITHOUT_CLUSTER: &[&str] =
    &["gemm", "two_warpgroups", "pingpong", "swapped", "swapped_f32", "reduction", "reduction_added", "dynamic_copy"];

const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: ALL,
        site: "barriers: if #2 > elect",
        change: "all lanes",
        reason: "each lane initializes the barriers alike, before anyone uses them",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "barriers: if > elect",
        change: "all lanes",
        reason: "each lane initializes the barriers alike, before anyone uses them",
    },
    Equivalent {
        of: ALL,
        site: "kernels: if #2",
        change: "the condition is always true",
        reason: "each warp initializes the barriers alike, and the barrier after it makes them known",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "kernels: if",
        change: "the condition is always true",
        reason: "each warp initializes the barriers alike, and the barrier after it makes them known",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "fetch_add count*",
        change: "guard: ((lane == 0) & ((ended_before + 1) == ctacount)) becomes ((lane == 0) | ((ended_before + 1)",
        reason: "whoever is not the last has read 0, which it adds and takes away",
    },
    Equivalent {
        of: WITHOUT_CLUSTER,
        site: "elect > fence_barrier_init",
        change: "fence_barrier_init comes before",
        reason: "the barrier that misses the fence is one on which only threads of the CTA arrive",
    },
    Equivalent {
        of: GEMMS,
        site: "kernels: if",
        change: "the condition is always",
        reason: "a prefetch of a tensor map changes no result",
    },
    Equivalent {
        of: GEMMS,
        site: "kernels: if > elect",
        change: "all lanes",
        reason: "a prefetch of a tensor map changes no result",
    },
    Equivalent {
        of: ALL,
        site: "> fence_products",
        change: "fence_products comes before",
        reason: "the wait for the slot touches no sums",
    },
    Equivalent {
        of: &["gemm", "two_warpgroups", "cluster", "swapped", "swapped_f32"],
        site: "for group > loop > if",
        change: "the condition is always true",
        reason: "where the reduction is empty it is so for all tiles, and nobody loads or waits for a free slot",
    },
    Equivalent {
        of: &["reduction_added"],
        site: "for group > loop > if",
        change: "the condition is always true",
        reason: "groups without rows have no tiles",
    },
    Equivalent {
        of: ALL,
        site: "> if #2",
        change: "the condition is always true",
        reason: "warps that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: ALL,
        site: "> if #2 > elect",
        change: "all lanes",
        reason: "lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: ALL,
        site: "role consumers > if",
        change: "the condition is always true",
        reason: "warps that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: ALL,
        site: "role consumers > if > elect",
        change: "all lanes",
        reason: "lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "role copier > elect",
        change: "all lanes",
        reason: "lanes that stored nothing have no writes to wait for",
    },
    Equivalent { of: BUT_PINGPONG, site: "> meet", change: "meet is done twice", reason: "who has met may meet again" },
    Equivalent { of: ALL, site: "> meet #2", change: "meet is done twice", reason: "who has met may meet again" },
    Equivalent {
        of: ONE_MEETING,
        site: "> meet",
        change: "id: 1 becomes 2",
        reason: "who alone meets may do so at any barrier",
    },
    Equivalent {
        of: ONE_MEETING,
        site: "> meet #2",
        change: "id: 1 becomes 2",
        reason: "who alone meets may do so at any barrier",
    },
    Equivalent {
        of: ONE_WARPGROUP,
        site: " d_tiles",
        change: "slot: warpgroup becomes 0",
        reason: "the only warpgroup is number 0",
    },
    Equivalent {
        of: ONE_WARPGROUP,
        site: "store_fragment d_tiles",
        change: "row: 64 becomes",
        reason: "the only warpgroup is number 0",
    },
    Equivalent {
        of: &["gemm", "cluster", "reduction"],
        site: "bulk_store d_tiles",
        change: "coordinate: 64 becomes 6",
        reason: "the only warpgroup is number 0",
    },
    Equivalent {
        of: &["reduction_added"],
        site: "bulk_add d_tiles",
        change: "coordinate: 64 becomes 6",
        reason: "the only warpgroup is number 0",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "kernels: await_grid",
        change: "await_grid comes before",
        reason: "the barrier before it touches no device memory",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "arrive_expect arrived",
        change: "arrive_expect comes before",
        reason: "bytes may be announced before the tile is free: only the load has to wait",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "await number_empty",
        change: "await comes before",
        reason: "the shuffle before it is the warp's own",
    },
    Equivalent {
        of: &["dynamic_copy"],
        site: "role scheduler > loop > break",
        change: "condition: (count <= number_of_tile) becomes (count < number_of_tile)",
        reason: "a number too many is handed out, into a slot that nobody reads any more",
    },
    Equivalent {
        of: &["pingpong"],
        site: "for group > loop > if > if",
        change: "the condition is always true",
        reason: "where the reduction is empty it is so for all tiles, and nobody loads or waits for a free slot",
    },
    Equivalent {
        of: &["pingpong"],
        site: "> if > pass",
        change: "pass comes before",
        reason: "the other's turn may begin before a slot is freed: turns order no memory",
    },
    Equivalent {
        of: &["pingpong"],
        site: "kernels: role consumer ? > if",
        change: "the condition is always true",
        reason: "warps that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: &["pingpong"],
        site: "kernels: role consumer ? > if > elect",
        change: "all lanes",
        reason: "lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: &["pingpong"],
        site: "> meet #3",
        change: "meet is done twice",
        reason: "who has met may meet again",
    },
    Equivalent {
        of: &["pingpong"],
        site: "kernels: role consumer 1 * > meet #2",
        change: "id: 1 becomes 2",
        reason: "the barrier 3 is nobody else's",
    },
    Equivalent {
        of: &["pingpong"],
        site: "kernels: role consumer 1 * > meet #3",
        change: "id: 1 becomes 2",
        reason: "the barrier 3 is nobody else's",
    },
    Equivalent {
        of: &["pingpong"],
        site: "kernels: role consumer 0 * d_tiles",
        change: "slot: warpgroup becomes 0",
        reason: "its warpgroup is number 0",
    },
];

fn is_equivalent(subject: &str, mutant: &Mutant) -> bool {
    EQUIVALENT.iter().any(|e| {
        // A site of its own, or the end of a longer one.
        let ends_here = || !e.site.starts_with("kernels: ") && is_like(&format!("*{}", e.site), &mutant.site);
        let here = is_like(e.site, &mutant.site) || ends_here();
        e.of.contains(&subject) && here && mutant.description.starts_with(e.change)
    })
}

/// Whether a fault is in what these kernels are there to show: Hopper's statements, the rings, and what guards them.
/// The arithmetic of their walk over tiles is not; that of the kernels that ship is hunted with them.
fn is_of_interest(mutant: &Mutant) -> bool {
    let statement = mutant.site.rsplit("> ").next().unwrap_or_default();
    let statement = statement.rsplit(": ").next().unwrap_or_default();
    let arithmetic = ["let", "assign", "for", "load_index", "shuffle"];
    match statement.split(' ').next().unwrap_or_default() {
        word if arithmetic.contains(&word) => mutant.site.starts_with("barriers: "),
        "if" => mutant.kind == MutationKind::ForceBranch,
        _ => true,
    }
}

fn chosen(kernel: &Kernel) -> Vec<Mutant> {
    let all: Vec<Mutant> = mutants(kernel).into_iter().filter(is_of_interest).collect();
    match std::env::var("GGEMM_MUTANTS") {
        Ok(word) if word == "all" => all,
        Ok(seed) => sample(all, SAMPLE, seed.parse().unwrap_or(1)),
        Err(_) => sample(all, SAMPLE, 1),
    }
}

/// Where mutants run: each case under each policy, with a limit of statements that only endless loops pass.
fn trials(subject: &Subject) -> Vec<(&Case, Settings)> {
    let mut trials = Vec::new();
    // What needs two warps to meet in an unlucky moment needs several.
    let policies = [Policy::Random, Policy::Late, Policy::Starve, Policy::Eager, Policy::Random, Policy::Starve];
    for (round, policy) in policies.into_iter().enumerate() {
        for (seed, case) in subject.cases.iter().enumerate() {
            let seed = (10 * round + seed) as u64;
            let settings = Settings { policy, seed, ctas: subject.ctas, ..Settings::default() };
            let Ok(statements) = subject.run(&subject.kernel, case, settings) else {
                panic!("{} fails without a fault", subject.name)
            };
            trials.push((case, Settings { limit: 4 * statements + 1000, ..settings }));
        }
    }
    trials
}

/// What notices a mutant.
fn hunt(mutant: &Mutant, run: impl Fn(&Kernel) -> Option<&'static str>) -> Option<&'static str> {
    if verify::defects(&mutant.kernel).is_empty() { run(&mutant.kernel) } else { Some("not well-formed") }
}

/// Every fault that is not noticed is listed, and every listed one is not noticed.
fn report(found: &[(String, Mutant, Option<&'static str>)]) {
    let mut table: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, mutant, by) in found {
        *table.entry((mutant.kind.name(), by.unwrap_or("survived"))).or_default() += 1;
    }
    for ((kind, by), count) in table {
        println!("{kind:16} {by:28} {count}");
    }
    let survivors = found.iter().filter(|(.., by)| by.is_none()).count();
    println!("{} faults, {survivors} not noticed", found.len());
    let wrong: Vec<String> = found
        .iter()
        .filter(|(name, mutant, by)| by.is_none() != is_equivalent(name, mutant))
        .map(|(name, mutant, by)| format!("{name}: {mutant}: {by:?}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}

#[test]
fn no_fault_in_a_gemm_survives_unlisted() {
    let mut found = Vec::new();
    for subject in subjects() {
        let trials = trials(&subject);
        for mutant in chosen(&subject.kernel) {
            let by = hunt(&mutant, |kernel| {
                trials.iter().find_map(|(case, settings)| match subject.run(kernel, case, *settings) {
                    Ok(_) => None,
                    Err(Wrong::Finding(finding)) => Some(finding.kind.name()),
                    Err(Wrong::Value(_)) => Some("wrong values"),
                })
            });
            found.push((subject.name.to_owned(), mutant, by));
        }
    }
    report(&found);
}

#[test]
fn no_fault_in_a_dynamic_walk_survives_unlisted() {
    let kernel = kernels::dynamic_copy();
    let mut found = Vec::new();
    for mutant in chosen(&kernel) {
        let by = hunt(&mutant, |kernel| {
            Policy::ALL.into_iter().flat_map(|p| [9, 100].map(|rows| (p, rows))).find_map(|(policy, rows)| {
                let (problem, mut memory) = copy_memory(rows);
                let settings = Settings { policy, seed: 1, ctas: 3, limit: 20_000, ..Settings::default() };
                match run(kernel, &problem, &mut memory, settings) {
                    Err(finding) => Some(finding.kind.name()),
                    Ok(_) => {
                        let right = |i| memory.d.was_written(i) && memory.d.get(i) == (i % 200) as f32;
                        (!(0..memory.d.len()).all(right)).then_some("wrong values")
                    }
                }
            })
        });
        found.push(("dynamic_copy".to_owned(), mutant, by));
    }
    report(&found);
}
