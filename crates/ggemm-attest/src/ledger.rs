//! All attestations held against the cubins of today.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::attestation::Attestation;
use crate::error::AttestError;
use crate::hash::CubinHash;

/// Cubins by target and variant: what the compiler makes of the kernels today.
pub type Cubins = BTreeMap<String, BTreeMap<String, CubinHash>>;

/// Cases that a variant needs for a release.
pub const ENOUGH_CASES: u64 = 200;

/// What is known of one variant on one target. Of several devices' entries the best counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Today's cubin passed [`ENOUGH_CASES`].
    Attested,
    /// Today's cubin passed fewer.
    Thin {
        /// How many.
        cases: u64,
    },
    /// Another cubin of this name passed.
    Stale,
    /// No file of the target names it.
    Missing,
}

/// Attestation files and what they say of today's cubins.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The files that can be believed, each where it belongs.
    pub files: Vec<(PathBuf, Attestation)>,
    /// What is wrong with the others, and every file in which a variant failed.
    pub errors: Vec<AttestError>,
    /// Each target that at least one file attests, with each of its variants.
    ///
    /// A target that no file attests owes nothing: nobody had its hardware yet. Once one file does, every variant that
    /// ships for the target is to be attested.
    pub standings: BTreeMap<String, BTreeMap<String, Standing>>,
    /// Variants of files that no longer ship, by target.
    pub retired: BTreeMap<String, Vec<String>>,
}

impl Ledger {
    /// Reads `folder`, which need not exist: `<target>/<device>.json`. Files of other names are left alone.
    pub fn open(folder: &Path, cubins: &Cubins) -> Self {
        let mut ledger = Ledger::default();
        for path in json_files(folder, &mut ledger.errors) {
            match Attestation::read(&path) {
                Ok(attestation) => ledger.add(folder, path, attestation),
                Err(error) => ledger.errors.push(error),
            }
        }
        ledger.judge(cubins);
        ledger
    }

    fn add(&mut self, folder: &Path, path: PathBuf, attestation: Attestation) {
        let belongs = folder.join(attestation.path());
        if belongs != path {
            let Attestation { device, target, .. } = attestation;
            self.errors.push(AttestError::Place { path, device, target, belongs });
            return;
        }
        let variants: Vec<String> = attestation.failing().map(str::to_owned).collect();
        if !variants.is_empty() {
            let device = attestation.device.clone();
            self.errors.push(AttestError::Failing { path: path.clone(), device, variants });
        }
        self.files.push((path, attestation));
    }

    fn judge(&mut self, cubins: &Cubins) {
        for (_, file) in &self.files {
            let ships = cubins.get(&file.target);
            let standings = self.standings.entry(file.target.clone()).or_insert_with(|| {
                ships.into_iter().flatten().map(|(variant, _)| (variant.clone(), Standing::Missing)).collect()
            });
            for entry in &file.variants {
                let Some(cubin) = ships.and_then(|ships| ships.get(&entry.variant)) else {
                    let retired = self.retired.entry(file.target.clone()).or_default();
                    if !retired.contains(&entry.variant) {
                        retired.push(entry.variant.clone());
                    }
                    continue;
                };
                let standing = match entry.verdict {
                    crate::Verdict::Fail => continue,
                    crate::Verdict::Pass if entry.cubin != *cubin => Standing::Stale,
                    crate::Verdict::Pass if entry.cases < ENOUGH_CASES => Standing::Thin { cases: entry.cases },
                    crate::Verdict::Pass => Standing::Attested,
                };
                if let Some(known) = standings.get_mut(&entry.variant) {
                    *known = better(*known, standing);
                }
            }
        }
    }

    /// The variants of `target` with a standing that `wanted` picks.
    pub fn variants(&self, target: &str, wanted: impl Fn(Standing) -> bool) -> Vec<&str> {
        let standings = self.standings.get(target).into_iter().flatten();
        standings.filter(|(_, standing)| wanted(**standing)).map(|(variant, _)| variant.as_str()).collect()
    }

    /// Whether every file can be believed and every variant of every attested target is [`Standing::Attested`].
    pub fn complete(&self) -> bool {
        let attested = |standing: &Standing| *standing == Standing::Attested;
        self.errors.is_empty() && self.standings.values().flat_map(BTreeMap::values).all(attested)
    }
}

fn better(a: Standing, b: Standing) -> Standing {
    match (a, b) {
        (Standing::Thin { cases: a }, Standing::Thin { cases: b }) => Standing::Thin { cases: a.max(b) },
        _ => a.min(b),
    }
}

/// `<folder>/<any>/<any>.json` and `<folder>/<any>.json` (which is never in its place), in the order of names.
fn json_files(folder: &Path, errors: &mut Vec<AttestError>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(folder, errors) {
        let inside = if path.is_dir() { entries(&path, errors) } else { vec![path] };
        files
            .extend(inside.into_iter().filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"))));
    }
    files
}

fn entries(folder: &Path, errors: &mut Vec<AttestError>) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>());
    match listed {
        Ok(mut paths) => {
            paths.sort();
            paths
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => {
            errors.push(AttestError::Read { path: folder.to_owned(), source });
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::attestation::tests::{attestation, entry};
    use crate::{Entry, Verdict};

    /// Today's cubins: `a` and `b` for sm_90a, `a` for sm_80.
    fn cubins() -> Cubins {
        let of = |pairs: &[(&str, &[u8])]| pairs.iter().map(|(n, b)| ((*n).to_owned(), CubinHash::of(b))).collect();
        [("sm_90a".to_owned(), of(&[("a", b"1"), ("b", b"2")])), ("sm_80".to_owned(), of(&[("a", b"0")]))].into()
    }

    fn ledger(files: Vec<Attestation>) -> Ledger {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            file.write(&folder.path().join(file.path())).unwrap();
        }
        Ledger::open(folder.path(), &cubins())
    }

    fn standing(ledger: &Ledger, variant: &str) -> Standing {
        ledger.standings["sm_90a"][variant]
    }

    #[test]
    fn what_matches_todays_cubins_is_attested() {
        let ledger = ledger(vec![attestation(vec![entry("a", b"1"), entry("b", b"2")])]);
        assert!(ledger.complete());
        assert_eq!(ledger.standings.keys().collect::<Vec<_>>(), ["sm_90a"], "sm_80 owes nothing");
    }

    #[test]
    fn no_file_owes_nothing() {
        assert!(ledger(Vec::new()).complete());
        assert!(Ledger::open(Path::new("/no/such/folder"), &cubins()).complete());
    }

    #[test]
    fn other_cubins_are_stale_and_unnamed_variants_missing() {
        let ledger = ledger(vec![attestation(vec![entry("a", b"another")])]);
        assert_eq!((standing(&ledger, "a"), standing(&ledger, "b")), (Standing::Stale, Standing::Missing));
        assert!(ledger.errors.is_empty() && !ledger.complete());
        assert_eq!(ledger.variants("sm_90a", |s| s == Standing::Stale), ["a"]);
    }

    #[test]
    fn few_cases_do_not_suffice() {
        let thin = |cases| Entry { cases, exact_cases: cases, ..entry("a", b"1") };
        let ledger = ledger(vec![attestation(vec![thin(3), entry("b", b"2")])]);
        assert_eq!(standing(&ledger, "a"), Standing::Thin { cases: 3 });
        assert!(!ledger.complete());
        assert_eq!(better(Standing::Thin { cases: 3 }, Standing::Thin { cases: 9 }), Standing::Thin { cases: 9 });
    }

    #[test]
    fn the_best_of_several_devices_counts() {
        let other = Attestation { device: "NVIDIA H100".into(), ..attestation(vec![entry("a", b"old")]) };
        let ledger = ledger(vec![other, attestation(vec![entry("a", b"1"), entry("b", b"2")])]);
        assert!(ledger.complete());
        assert_eq!(ledger.files.len(), 2);
    }

    #[test]
    fn a_failing_variant_is_an_error_and_attests_nothing() {
        let failed = Entry { verdict: Verdict::Fail, worst_of_bound: 7.0, exact_cases: 1, ..entry("a", b"1") };
        let ledger = ledger(vec![attestation(vec![failed, entry("b", b"2")])]);
        assert_eq!(standing(&ledger, "a"), Standing::Missing);
        let [error @ AttestError::Failing { .. }] = &ledger.errors[..] else { panic!("{:?}", ledger.errors) };
        assert!(error.to_string().contains("a variant failed on NVIDIA H200: a: repair the kernel"), "{error}");
    }

    #[test]
    fn a_variant_that_no_longer_ships_is_no_fault() {
        let ledger = ledger(vec![attestation(vec![entry("a", b"1"), entry("b", b"2"), entry("c", b"3")])]);
        assert!(ledger.complete());
        assert_eq!(ledger.retired["sm_90a"], ["c"]);
    }

    #[test]
    fn malformed_and_misplaced_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sm_90a")).unwrap();
        fs::write(folder.path().join("sm_90a/broken.json"), "{").unwrap();
        fs::write(folder.path().join("sm_90a/README.md"), "not read").unwrap();
        let good = attestation(vec![entry("a", b"1"), entry("b", b"2")]);
        good.write(&folder.path().join("sm_80/nvidia-h200.json")).unwrap();
        good.write(&folder.path().join("nvidia-h200.JSON")).unwrap();
        let ledger = Ledger::open(folder.path(), &cubins());
        assert_eq!(ledger.errors.len(), 3, "{:?}", ledger.errors);
        assert!(matches!(&ledger.errors[2], AttestError::Json { .. }), "{:?}", ledger.errors);
        let text = ledger.errors[1].to_string();
        assert!(text.contains("attests NVIDIA H200 on sm_90a, which belongs into"), "{text}");
        assert!(ledger.standings.is_empty() && !ledger.complete());
    }
}
