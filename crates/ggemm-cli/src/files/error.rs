//! What is wrong with a file.

use std::path::PathBuf;

use ggemm_runtime::ElementType;
use safetensors::Dtype;

/// Why a file cannot serve as input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// The system refused.
    #[error("{} cannot be read: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// Too short for a header's length.
    #[error("{} has {bytes} bytes: a safetensors file starts with the 8-byte length of its header", path.display())]
    NoHeader { path: PathBuf, bytes: u64 },
    /// A header that does not fit the file.
    #[error(
        "{} says that its header has {header} bytes, and {follow} follow: it is truncated, or no safetensors file",
        path.display()
    )]
    HeaderLength { path: PathBuf, header: u64, follow: u64 },
    /// A header past what the format allows.
    #[error("{} says that its header has {header} bytes: the format allows {limit}", path.display())]
    HeaderTooLarge { path: PathBuf, header: u64, limit: u64 },
    /// A header that is no description of tensors.
    #[error("the header of {} is not valid: {reason}", path.display())]
    Header { path: PathBuf, reason: String },
    /// Fewer or more bytes than the header describes.
    #[error(
        "the header of {} describes {described} bytes of tensors, and {follow} follow it: {}",
        path.display(),
        if follow < described { "the file is truncated" } else { "something was appended to the file" }
    )]
    DataLength { path: PathBuf, described: u64, follow: u64 },
    /// A tensor that is not there.
    #[error("{} has no tensor `{name}` (name another with {flag}); it has {present}", path.display())]
    Missing { path: PathBuf, name: String, flag: &'static str, present: String },
    /// Neither sizes nor expert ids.
    #[error(
        "{} has neither `{sizes}` nor `{ids}`: name a tensor of sizes with --sizes-name or one of expert ids with --ids-name, or give --sizes or --router; it has {present}",
        path.display()
    )]
    NoGroups { path: PathBuf, sizes: String, ids: String, present: String },
    /// Both sizes and expert ids.
    #[error(
        "{} has both `{sizes}` and `{ids}`: say which to use with --sizes-name or --ids-name",
        path.display()
    )]
    TwoGroupings { path: PathBuf, sizes: String, ids: String },
    /// Groups both in the file and in flags.
    #[error("{} has `{tensor}`, and {flag} is given too: drop the flag", path.display())]
    GroupsInFile { path: PathBuf, tensor: String, flag: &'static str },
    /// A tensor of a type that cannot play its part.
    #[error("`{name}` holds {found}, and {expected} is needed: convert it first")]
    Dtype { name: String, found: Dtype, expected: &'static str },
    /// Operands of two types.
    #[error("`{name}` holds {found} and `{other}` {other_found}: both operands have one type")]
    MixedDtypes { name: String, found: Dtype, other: String, other_found: Dtype },
    /// A tensor of another rank.
    #[error("`{name}` has shape {found}, and {expected} is needed")]
    Rank { name: String, found: String, expected: &'static str },
    /// A dimension that another tensor contradicts.
    #[error("`{name}` has shape {found}, and {expected} is needed: {why}")]
    Shape { name: String, found: String, expected: String, why: String },
    /// A weight neither of whose dimensions is K.
    #[error("`{name}` has shape {found}, and none of its last two dimensions is K = {k} of {x}")]
    NoReduction { name: String, found: String, k: usize, x: String },
    /// A weight that is laid out the other way.
    #[error("`{name}` has shape {found}, which is not {expected} with K = {k} of {x}: it is --weight-layout {other}")]
    OtherLayout { name: String, found: String, expected: &'static str, k: usize, x: String, other: &'static str },
    /// An expert that does not exist.
    #[error("`{name}` says expert {id} for token {token}, and there are {groups}: ids are 0 to {}", groups.saturating_sub(1))]
    ExpertId { name: String, token: usize, id: i64, groups: usize },
    /// Expert ids that would make more groups than anybody has.
    #[error("`{name}` has expert ids up to {largest}: say how many experts there are with --groups")]
    InferredGroups { name: String, largest: i64 },
    /// A flag that the file contradicts.
    #[error("{flag} says {given}, and {tensor} of the file makes it {found}: drop the flag or give another file")]
    Flag { flag: &'static str, given: String, tensor: String, found: String },
}

/// Why a file cannot be written. Whatever was there before is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// The system refused.
    #[error("{} cannot be written: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// Nowhere to write to.
    #[error("{} cannot be written: there is no folder {}", path.display(), folder.display())]
    NoFolder { path: PathBuf, folder: PathBuf },
    /// Output over input.
    #[error("--output and --input are one file, {}: give another for the output", path.display())]
    OverInput { path: PathBuf },
    /// A type that the file format does not have.
    #[error("a safetensors file cannot hold {ty}: choose another type for the output")]
    Dtype { ty: ElementType },
    /// A header that cannot be made.
    #[error("{} cannot be written: {reason}", path.display())]
    Header { path: PathBuf, reason: String },
}
