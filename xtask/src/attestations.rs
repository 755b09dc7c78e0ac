//! `cargo xtask release-check`, and what `check-cubins` says of attestations: the cubins of today held against what ran
//! on a GPU.

use std::fmt;
use std::path::Path;

use ggemm_attest::{ENOUGH_CASES, Ledger, Standing};

use crate::cargo::cargo;
use crate::check_cubins::Report;
use crate::{Result, check_cubins, root};

/// Where attestations are, in the workspace.
const FOLDER: &str = "attestations";

/// The committed attestations beside the cubins of a report.
pub(crate) fn ledger(report: &Report) -> Ledger {
    Ledger::open(&root().join(FOLDER), &report.cubins)
}

/// Compiles all that ships, and fails unless every attested target is attested completely and the tables that ship are of
/// these kernels.
pub(crate) fn release_check(threads: usize) -> Result<()> {
    let report = check_cubins::all(threads)?;
    println!("{report}");
    let ledger = ledger(&report);
    print!("{}", Listing(&ledger));
    report.verdict()?;
    trusted(&ledger)?;
    complete(&ledger)?;
    let of_tables = "tables_that_ship_are_of_these_kernels";
    cargo(&["test", "--package", "ggemm-runtime", "--lib", of_tables, "--", "--ignored"], &[])
}

/// Fails on a file that cannot be believed, and on one in which a variant failed.
pub(crate) fn trusted(ledger: &Ledger) -> Result<()> {
    if ledger.errors.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = ledger.errors.iter().map(|error| format!("\n  {error}")).collect();
    Err(format!("{} attestations cannot stand:{}", ledger.errors.len(), lines.concat()).into())
}

/// Fails on a variant of an attested target that today's cubin is not attested of, saying what to run.
fn complete(ledger: &Ledger) -> Result<()> {
    if ledger.complete() {
        return Ok(());
    }
    let mut text = "what ships has not run on a GPU as it is:".to_owned();
    for target in ledger.standings.keys() {
        let open = ledger.variants(target, |standing| standing != Standing::Attested).len();
        if open == 0 {
            continue;
        }
        let files = ledger.files.iter().filter(|(_, file)| file.target == *target);
        let (devices, paths): (Vec<&str>, Vec<String>) = files
            .map(|(_, file)| (file.device.as_str(), Path::new(FOLDER).join(file.path()).display().to_string()))
            .unzip();
        text += &format!(
            "\n  {target}: {open} variants\n    run `cargo xtask bundle --target {target}` here, and in the bundle on a \
             machine with {}:\n      ./ggemm verify --attest FILE\n    then commit FILE as {}",
            devices.join(" or "),
            paths.join(" or ")
        );
    }
    Err(text.into())
}

/// What a ledger says, for people.
pub(crate) struct Listing<'a>(pub(crate) &'a Ledger);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.0;
        for (_, file) in &ledger.files {
            writeln!(
                f,
                "attested on {} ({}, driver {}, compiler {}, {}): {} variants",
                file.device,
                file.target,
                file.driver,
                file.compiler,
                file.date,
                file.variants.len()
            )?;
        }
        if ledger.standings.is_empty() {
            return writeln!(f, "no target is attested");
        }
        for (target, standings) in &ledger.standings {
            let count = |wanted: fn(Standing) -> bool| ledger.variants(target, wanted).len();
            writeln!(
                f,
                "{target}: {} of {} variants attested, {} stale, {} missing, {} with fewer than {ENOUGH_CASES} cases",
                count(|s| s == Standing::Attested),
                standings.len(),
                count(|s| s == Standing::Stale),
                count(|s| s == Standing::Missing),
                count(|s| matches!(s, Standing::Thin { .. })),
            )?;
            for (variant, standing) in standings {
                match standing {
                    Standing::Attested => Ok(()),
                    Standing::Stale => writeln!(f, "  stale    {variant}"),
                    Standing::Missing => writeln!(f, "  missing  {variant}"),
                    Standing::Thin { cases } => writeln!(f, "  thin     {variant} ({cases} cases)"),
                }?;
            }
        }
        for (target, variants) in &ledger.retired {
            writeln!(f, "{target}: {} attested variants no longer ship", variants.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ggemm_attest::{Attestation, CubinHash, Cubins, Entry, Producer, SCHEMA, Verdict};

    use super::*;

    /// The ledger of variants `a` to `d`, of which the file has these entries.
    fn ledger(entries: Vec<Entry>) -> Ledger {
        let folder = tempfile::tempdir().unwrap();
        let file = Attestation {
            schema: SCHEMA,
            target: "sm_90a".into(),
            device: "NVIDIA H200".into(),
            driver: "580.1".into(),
            compiler: "13.0.88".into(),
            ggemm: Producer { version: "0.1.0".into(), commit: "0".repeat(40) },
            date: "2026-01-31".parse().unwrap(),
            seed: 1,
            variants: entries,
        };
        file.write(&folder.path().join(file.path())).unwrap();
        let ships = ["a", "b", "c", "d"].map(|name| (name.to_owned(), CubinHash::of(name.as_bytes())));
        Ledger::open(folder.path(), &Cubins::from([("sm_90a".to_owned(), ships.into())]))
    }

    fn entry(variant: &str) -> Entry {
        Entry {
            variant: variant.into(),
            cubin: CubinHash::of(variant.as_bytes()),
            cases: 200,
            exact_cases: 200,
            worst_of_bound: 0.5,
            verdict: Verdict::Pass,
        }
    }

    #[test]
    fn a_complete_ledger_releases() {
        let ledger = ledger(["a", "b", "c", "d"].map(entry).into());
        trusted(&ledger).and_then(|()| complete(&ledger)).unwrap();
        assert_eq!(
            Listing(&ledger).to_string(),
            "attested on NVIDIA H200 (sm_90a, driver 580.1, compiler 13.0.88, 2026-01-31): 4 variants\n\
             sm_90a: 4 of 4 variants attested, 0 stale, 0 missing, 0 with fewer than 200 cases\n"
        );
    }

    #[test]
    fn what_is_open_is_listed_and_refused_with_the_command() {
        let stale = Entry { cubin: CubinHash::of(b"old"), ..entry("b") };
        let thin = Entry { cases: 2, exact_cases: 2, ..entry("c") };
        let ledger = ledger(vec![entry("a"), stale, thin, entry("x")]);
        trusted(&ledger).unwrap();
        let listing = Listing(&ledger).to_string();
        let wanted = "1 of 4 variants attested, 1 stale, 1 missing, 1 with fewer than 200 cases\n  stale    b\n  thin     \
                      c (2 cases)\n  missing  d\nsm_90a: 1 attested variants no longer ship\n";
        assert!(listing.ends_with(wanted), "{listing}");
        let text = complete(&ledger).unwrap_err().to_string();
        assert!(text.contains("sm_90a: 3 variants") && text.contains("./ggemm verify --attest FILE"), "{text}");
        assert!(
            text.contains("machine with NVIDIA H200") && text.contains("attestations/sm_90a/nvidia-h200.json"),
            "{text}"
        );
    }

    #[test]
    fn a_failing_file_cannot_stand() {
        let ledger = ledger(vec![Entry { verdict: Verdict::Fail, ..entry("a") }]);
        let text = trusted(&ledger).unwrap_err().to_string();
        assert!(text.starts_with("1 attestations cannot stand:\n  ") && text.contains("a variant failed on"), "{text}");
    }

    #[test]
    fn nothing_attested_owes_nothing() {
        let ledger = Ledger::default();
        trusted(&ledger).and_then(|()| complete(&ledger)).unwrap();
        assert_eq!(Listing(&ledger).to_string(), "no target is attested\n");
    }

    /// The files of this very repository.
    #[test]
    fn committed_attestations_are_well_formed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(FOLDER);
        assert!(folder.is_dir(), "{}", folder.display());
        trusted(&Ledger::open(&folder, &Cubins::new())).unwrap();
    }
}
