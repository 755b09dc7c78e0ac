//! Faults planted into kernels are noticed: a sample of all on each run, and some that must be known by their finding.

use ggemm_codegen::mutate::{
    Effort, Equivalent, Ground, Mutant, MutationKind, Subject, Verdict, equivalent, equivalents, hunt, mutants, sample,
    subjects,
};
use ggemm_codegen::{Arch, ValidSpec, kernels};
use rayon::prelude::*;

/// Faults of each variant on each run; `cargo xtask mutants` hunts all.
const SAMPLE: usize = 24;

fn seed() -> u64 {
    std::env::var("GGEMM_MUTANTS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// A sample of the faults that can be caught is.
///
/// Of listed ones, which nothing ends early, one of each entry survives two policies once: no entry is left behind when the
/// kernels change. The hunt of all faults runs them as often as all others.
#[test]
fn faults_of_a_sample_are_caught_and_listed_ones_survive() {
    let faults = |subject: &Subject| mutants(&kernels::build(&subject.spec));
    let mut unused: Vec<&Equivalent> = equivalents().collect();
    let mut chosen = Vec::new();
    for subject in subjects() {
        let all = faults(&subject);
        let (found, none): (Vec<_>, Vec<_>) =
            unused.into_iter().partition(|entry| all.iter().any(|mutant| entry.is(&subject, mutant)));
        unused = none;
        chosen.push((subject, found));
    }
    let unused: Vec<_> = unused.into_iter().map(|entry| (entry.kinds, entry.sites, entry.changes)).collect();
    assert!(unused.is_empty(), "no fault is any of {unused:#?}");

    let wrong = |(subject, entries): &(Subject, Vec<&Equivalent>)| {
        let ground = Ground::new(&subject.spec).unwrap();
        let (listed, unlisted): (Vec<_>, Vec<_>) =
            faults(subject).into_iter().partition(|mutant| equivalent(subject, mutant).is_some());
        let survives = |mutant: &Mutant, effort| hunt(mutant, &ground, effort).unwrap() == Verdict::Survived;
        let mut wrong: Vec<String> = sample(unlisted, SAMPLE, seed())
            .iter()
            .filter(|mutant| survives(mutant, Effort::Often))
            .map(|mutant| format!("survives: {} {mutant}", subject.spec.spec()))
            .collect();
        let shown = entries.iter().filter_map(|entry| listed.iter().find(|mutant| entry.is(subject, mutant)));
        let caught = shown.filter(|mutant| !survives(mutant, Effort::Once));
        wrong.extend(caught.map(|mutant| format!("listed, but caught: {} {mutant}", subject.spec.spec())));
        wrong
    };
    let wrong: Vec<String> = chosen.par_iter().flat_map_iter(wrong).collect();
    assert!(wrong.is_empty(), "seed {}:\n{}", seed(), wrong.join("\n"));
}

fn subject(family: &str, feature: &str) -> Subject {
    subjects().into_iter().find(|s| s.family() == family && s.feature == feature).expect("a subject")
}

/// What notices the only fault of a kind at a site.
fn caught_by(subject: &Subject, site: &str, kind: MutationKind, change: &str) -> &'static str {
    let all = mutants(&kernels::build(&subject.spec));
    let found: Vec<&Mutant> =
        all.iter().filter(|m| m.site == site && m.kind == kind && m.description.starts_with(change)).collect();
    assert_eq!(found.len(), 1, "{site}, {kind}");
    let ground = Ground::new(&subject.spec).expect("the unchanged kernel passes");
    match hunt(found[0], &ground, Effort::Often).expect("the unchanged kernel passes") {
        Verdict::Caught { by } => by,
        Verdict::Survived => "nothing",
    }
}

#[test]
fn waits_and_barriers_are_missed_by_name() {
    let s = subject("rows", "cp.async, 3 stages");
    let here = "main_loop: loop > if";
    // Without a barrier the other warp's copy may not have begun, may be on its way, or may have landed unseen.
    let unseen: &[&str] = &["uninitialized read", "use before arrival", "unordered read"];
    let early: &[&str] = &["use before arrival"];
    let found: Vec<(&str, MutationKind, &[&str], &str)> = [
        ("barrier", MutationKind::Drop, unseen),
        ("for block > barrier", MutationKind::Drop, unseen),
        ("barrier #2", MutationKind::Drop, &["overwrite while read"]),
        ("await_copies", MutationKind::Drop, early),
        ("await_copies", MutationKind::WeakenWait, early),
        ("for block > await_copies", MutationKind::WeakenWait, early),
    ]
    .into_iter()
    .map(|(site, kind, expected)| (site, kind, expected, caught_by(&s, &format!("{here} > {site}"), kind, "")))
    .collect();
    assert!(found.iter().all(|(_, _, expected, by)| expected.contains(by)), "{found:#?}");
}

#[test]
fn a_forgotten_bound_reads_outside() {
    let s = subject("rows", "cp.async, 2 stages");
    let site = "main_loop: loop > if > for stage > if > copy_tile a_tiles";
    assert_eq!(caught_by(&s, site, MutationKind::DropBound, "rows"), "out of bounds");
    // What follows a row is the next one's, or padding; behind the last row there may be nothing.
    let by = caught_by(&s, site, MutationKind::DropBound, "cols");
    assert!(["wrong values", "out of bounds"].contains(&by), "{by}");
}

/// Where operands are swapped, a tile has panels without rows, which are passed over and keep their place among the stores.
#[test]
fn panels_without_rows_keep_their_place() {
    let spec = "ggemm_rows_ak_bk_bf16_f32_f32_sm90a_64x64x64_w1x4_s2_pingpong_tma_swapped";
    let spec = ValidSpec::new(spec.parse().expect("a name"), Arch::Sm90a).expect("a legal spec");
    let ground = Ground::new(&spec).expect("the unchanged kernel passes");
    let all = mutants(&kernels::build(&spec));
    // The second panel of the first warpgroup: what is done with rows, and without.
    let second = |m: &&Mutant| {
        m.site.starts_with("output: role consumer 0 > loop > if > if #11 > ") || m.site.contains("if #11 else")
    };
    let kinds = [MutationKind::Drop, MutationKind::Columns, MutationKind::Transpose];
    let faults: Vec<&Mutant> = all.iter().filter(second).filter(|m| kinds.contains(&m.kind)).collect();
    assert!(faults.len() > 6, "{}", faults.len());
    let survivors: Vec<String> = faults
        .into_iter()
        .filter(|mutant| hunt(mutant, &ground, Effort::Often).unwrap() == Verdict::Survived)
        .map(ToString::to_string)
        .collect();
    assert!(survivors.is_empty(), "{survivors:#?}");
}
