//! One file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::entry::{Entry, Verdict};
use crate::error::{AttestError, Defect};

/// The version of the format.
pub const SCHEMA: u32 = 1;

/// What one run of `ggemm verify` found on one kind of device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the cubins were made for, such as `sm_90a`.
    pub target: String,
    /// The device as its driver names it.
    pub device: String,
    /// The driver's version.
    pub driver: String,
    /// The compiler that made the cubins, such as `13.0.88`.
    pub compiler: String,
    /// What ran.
    pub ggemm: Producer,
    /// When.
    pub date: Date,
    /// The first seed: case i is that of this seed plus i.
    pub seed: u64,
    /// The variants in the order of their names.
    pub variants: Vec<Entry>,
}

/// The program that attests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// The version of ggemm.
    pub version: String,
    /// The commit that it was built from: 40 digits, and `-dirty` where the tree had other contents.
    pub commit: String,
}

impl Attestation {
    /// Where the file belongs in the folder of all attestations: `sm_90a/nvidia-h200.json`.
    pub fn path(&self) -> PathBuf {
        Path::new(&self.target).join(format!("{}.json", slug(&self.device)))
    }

    /// Reads one file, and believes nothing that contradicts itself. A failing one reads well.
    ///
    /// # Errors
    /// [`AttestError::Read`], [`AttestError::Json`], [`AttestError::Defect`].
    pub fn read(path: &Path) -> Result<Self, AttestError> {
        let text = fs::read_to_string(path).map_err(|source| AttestError::Read { path: path.to_owned(), source })?;
        let attestation: Attestation =
            serde_json::from_str(&text).map_err(|source| AttestError::Json { path: path.to_owned(), source })?;
        attestation.validate().map_err(|defect| AttestError::Defect { path: path.to_owned(), defect })?;
        Ok(attestation)
    }

    /// The file's text: JSON with a line for each variant, so that a change of one is a change of one line.
    ///
    /// # Errors
    /// What contradicts itself.
    pub fn text(&self) -> Result<String, Defect> {
        self.validate()?;
        let head = Attestation { variants: Vec::new(), ..self.clone() };
        // Strings, whole and finite numbers: nothing that JSON lacks.
        let head = serde_json::to_string_pretty(&head).unwrap_or_default();
        let entries = self.variants.iter().map(|e| format!("\n    {}", serde_json::to_string(e).unwrap_or_default()));
        let entries: Vec<String> = entries.collect();
        Ok(head.replace("\"variants\": []", &format!("\"variants\": [{}\n  ]", entries.join(","))) + "\n")
    }

    /// Writes the file, with the folders that lead there.
    ///
    /// # Errors
    /// [`AttestError::Defect`], [`AttestError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), AttestError> {
        let text = self.text().map_err(|defect| AttestError::Defect { path: path.to_owned(), defect })?;
        let refused = |source| AttestError::Write { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(refused)?;
        }
        fs::write(path, text).map_err(refused)
    }

    /// The variants that failed.
    pub fn failing(&self) -> impl Iterator<Item = &str> {
        self.variants.iter().filter(|entry| entry.verdict == Verdict::Fail).map(|entry| entry.variant.as_str())
    }

    fn validate(&self) -> Result<(), Defect> {
        if self.schema != SCHEMA {
            return Err(Defect::Schema { found: self.schema, known: SCHEMA });
        }
        let texts = [
            ("device", &self.device),
            ("driver", &self.driver),
            ("compiler", &self.compiler),
            ("ggemm.version", &self.ggemm.version),
        ];
        if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(Defect::Empty { field });
        }
        let version = self.target.strip_prefix("sm_").unwrap_or_default();
        if version.is_empty() || !version.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Defect::Target { target: self.target.clone() });
        }
        let commit = self.ggemm.commit.strip_suffix("-dirty").unwrap_or(&self.ggemm.commit);
        if commit.len() != 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Defect::Commit { commit: self.ggemm.commit.clone() });
        }
        if self.variants.is_empty() {
            return Err(Defect::NoVariants);
        }
        if let Some(pair) = self.variants.windows(2).find(|pair| pair[0].variant >= pair[1].variant) {
            return Err(Defect::Order { variant: pair[1].variant.clone() });
        }
        self.variants.iter().find_map(Entry::defect).map_or(Ok(()), Err)
    }
}

/// A device's name as a file's: `NVIDIA H200` is `nvidia-h200`.
fn slug(device: &str) -> String {
    let words = device.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hash::CubinHash;

    pub(crate) fn entry(variant: &str, cubin: &[u8]) -> Entry {
        Entry {
            variant: variant.to_owned(),
            cubin: CubinHash::of(cubin),
            cases: 200,
            exact_cases: 200,
            worst_of_bound: 0.73,
            verdict: Verdict::Pass,
        }
    }

    pub(crate) fn attestation(variants: Vec<Entry>) -> Attestation {
        Attestation {
            schema: SCHEMA,
            target: "sm_90a".to_owned(),
            device: "NVIDIA H200".to_owned(),
            driver: "580.159.04".to_owned(),
            compiler: "13.0.88".to_owned(),
            ggemm: Producer { version: "0.1.0".to_owned(), commit: "0123456789".repeat(4) },
            date: "2026-01-31".parse().unwrap(),
            seed: 1,
            variants,
        }
    }

    #[test]
    fn what_is_written_reads_back_and_has_a_line_for_each_variant() {
        let folder = tempfile::tempdir().unwrap();
        let written = attestation(vec![entry("a", b"1"), entry("b", b"2")]);
        assert_eq!(written.path(), Path::new("sm_90a/nvidia-h200.json"));
        let path = folder.path().join(written.path());
        written.write(&path).unwrap();
        assert_eq!(Attestation::read(&path).unwrap(), written);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("\"cubin\"")).count(), 2);
        assert_eq!(slug("NVIDIA H100 80GB HBM3"), "nvidia-h100-80gb-hbm3");
    }

    /// Reads a good file's text with one part of it replaced.
    fn read_with(from: &str, to: &str) -> AttestError {
        let folder = tempfile::tempdir().unwrap();
        let text = attestation(vec![entry("a", b"1"), entry("b", b"2")]).text().unwrap();
        assert!(text.contains(from), "{from} in {text}");
        let path = folder.path().join("file.json");
        fs::write(&path, text.replace(from, to)).unwrap();
        Attestation::read(&path).expect_err(from)
    }

    #[test]
    fn malformed_files_are_refused_with_the_reason() {
        let json = [
            ("{\n  \"schema\"", "\n  \"schema\""),
            ("\"seed\": 1", "\"seed\": -1"),
            ("\"driver\": \"580.159.04\",", ""),
            ("\"seed\": 1,", "\"seed\": 1, \"weather\": \"fair\","),
            ("2026-01-31", "2026-02-31"),
            ("\"cubin\":\"", "\"cubin\":\"x"),
            ("\"pass\"", "\"fine\""),
        ];
        for (from, to) in json {
            let error = read_with(from, to);
            assert!(matches!(error, AttestError::Json { .. }), "{from}: {error}");
            assert!(error.to_string().ends_with("write it anew with `ggemm verify --attest`"), "{error}");
        }
        let defects = [
            ("\"schema\": 1", "\"schema\": 2", Defect::Schema { found: 2, known: 1 }),
            ("13.0.88", " ", Defect::Empty { field: "compiler" }),
            ("sm_90a", "../sm", Defect::Target { target: "../sm".into() }),
            (
                "\"commit\": \"0",
                "\"commit\": \"x",
                Defect::Commit { commit: format!("x{}", &"0123456789".repeat(4)[1..]) },
            ),
            ("\"variant\":\"b\"", "\"variant\":\"a\"", Defect::Order { variant: "a".into() }),
            ("\"variant\":\"a\"", "\"variant\":\"a a\"", Defect::Name { variant: "a a".into() }),
            ("\"cases\":200", "\"cases\":0", Defect::NoCases { variant: "a".into() }),
            (
                "\"exact_cases\":200",
                "\"exact_cases\":201",
                Defect::ExactCases { variant: "a".into(), exact: 201, cases: 200 },
            ),
            (
                "\"exact_cases\":200",
                "\"exact_cases\":199",
                Defect::PassesInexactly { variant: "a".into(), exact: 199, cases: 200 },
            ),
            ("0.73", "-0.5", Defect::Worst { variant: "a".into(), worst: -0.5 }),
            ("0.73", "1.5", Defect::PassesOutsideBound { variant: "a".into(), worst: 1.5 }),
        ];
        for (from, to, expected) in defects {
            match read_with(from, to) {
                AttestError::Defect { defect, .. } => assert_eq!(defect, expected),
                other => panic!("{from}: {other}"),
            }
        }
        assert_eq!(attestation(Vec::new()).text(), Err(Defect::NoVariants));
    }
}
