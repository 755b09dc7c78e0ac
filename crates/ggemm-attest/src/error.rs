//! What can be wrong with an attestation.

use std::path::PathBuf;

/// Why an attestation cannot be read, written or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The system refused to read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The system refused to write.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No JSON of this form.
    #[error("{} is no attestation: {source}: write it anew with `ggemm verify --attest`", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser met.
        source: serde_json::Error,
    },
    /// It contradicts itself.
    #[error("{}: {defect}: write it anew with `ggemm verify --attest`", path.display())]
    Defect {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        defect: Defect,
    },
    /// A file that does not stand where its contents say.
    #[error("{} attests {device} on {target}, which belongs into {}: move it there", path.display(), belongs.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// The device that it tells of.
        device: String,
        /// Its target.
        target: String,
        /// Where it belongs, in the folder of all attestations.
        belongs: PathBuf,
    },
    /// A variant that was wrong on a device.
    #[error(
        "{}: {} on {device}: {}: repair the kernel, then run `ggemm verify --attest` anew", path.display(),
        if variants.len() == 1 { "a variant failed" } else { "variants failed" }, variants.join(", ")
    )]
    Failing {
        /// The file.
        path: PathBuf,
        /// The device.
        device: String,
        /// The variants' names.
        variants: Vec<String>,
    },
}

/// What contradicts itself in an attestation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// Another format.
    #[error("its schema is {found}, and this version reads schema {known}")]
    Schema {
        /// The file's.
        found: u32,
        /// The one that is read.
        known: u32,
    },
    /// A field without a text.
    #[error("`{field}` is empty")]
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A target that is no folder's name.
    #[error("the target `{target}` is none such as sm_90a")]
    Target {
        /// The target.
        target: String,
    },
    /// A commit that is none.
    #[error("the commit `{commit}` is no hash of 40 digits")]
    Commit {
        /// The text.
        commit: String,
    },
    /// No variants.
    #[error("it attests no variant")]
    NoVariants,
    /// A variant twice, or out of order.
    #[error("`{variant}` stands twice, or not in the order of names")]
    Order {
        /// The second of the two.
        variant: String,
    },
    /// A name that is none.
    #[error("`{variant}` is no variant's name")]
    Name {
        /// The name.
        variant: String,
    },
    /// A claim about nothing.
    #[error("`{variant}` has no cases")]
    NoCases {
        /// The variant.
        variant: String,
    },
    /// More exact cases than cases.
    #[error("`{variant}` has {exact} exact cases of {cases}")]
    ExactCases {
        /// The variant.
        variant: String,
        /// Exact cases.
        exact: u64,
        /// All cases.
        cases: u64,
    },
    /// An error that is no number.
    #[error("the worst error of `{variant}` is {worst}, no share of a bound")]
    Worst {
        /// The variant.
        variant: String,
        /// The share.
        worst: f64,
    },
    /// A pass with an error that is too large.
    #[error("`{variant}` passes with an error of {worst} of its bound")]
    PassesOutsideBound {
        /// The variant.
        variant: String,
        /// The share.
        worst: f64,
    },
    /// A pass without exact integers.
    #[error("`{variant}` passes with {exact} exact cases of {cases}")]
    PassesInexactly {
        /// The variant.
        variant: String,
        /// Exact cases.
        exact: u64,
        /// All cases.
        cases: u64,
    },
}

/// A text that is no cubin's hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no BLAKE3 hash: expected 64 digits from 0 to f")]
pub struct HashError {
    /// The text.
    pub value: String,
}

/// A text that is no date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no date: expected a day of the calendar such as 2026-01-31")]
pub struct DateError {
    /// The text.
    pub value: String,
}
