//! What Python's caller gets: one of `ggemm`'s exceptions with the text of the error.

use ggemm_runtime::{Error, NoDevice};
use pyo3::{PyErr, import_exception};

import_exception!(ggemm._errors, ArgumentError);
import_exception!(ggemm._errors, ArgumentTypeError);
import_exception!(ggemm._errors, DeviceError);
import_exception!(ggemm._errors, UnsupportedError);

/// A call that cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// A tensor with another number of dimensions.
    #[error("{argument} has {found} dimensions, {expected}: reshape it")]
    Rank { argument: &'static str, found: usize, expected: &'static str },
    /// Two tensors that do not go together.
    #[error("{argument} has shape {found}, and {other} makes it {expected}: {remedy}")]
    Shape { argument: &'static str, found: String, other: String, expected: String, remedy: &'static str },
    /// A sizes or ends array of floats, or a matrix of integers.
    #[error("{argument} holds {found}, {expected}: convert it")]
    Type { argument: &'static str, found: &'static str, expected: &'static str },
    /// A type that is asked for, and that nothing is made in.
    #[error("{argument} is {found}, expected {expected}: choose one of them")]
    Target { argument: &'static str, found: &'static str, expected: &'static str },
    /// Tensors on several devices.
    #[error("{argument} lies on {found}, and {first} on {expected}: move them to one device")]
    Device { argument: &'static str, found: String, first: &'static str, expected: String },
    /// A tensor that is only described.
    #[error("{argument} has {elements} elements and no memory (a meta or fake tensor?): pass one that holds values")]
    NoMemory { argument: &'static str, elements: usize },
    /// A tensor between two elements.
    #[error("{argument} lies at {address:#x}, which is no multiple of its {size}-byte elements: copy it")]
    Misaligned { argument: &'static str, address: u64, size: usize },
    /// A tensor that may not be written.
    #[error("out is read-only: pass an array that may be written")]
    ReadOnly,
    /// A word that means nothing here.
    #[error("{argument} is \"{value}\", expected {expected}")]
    Word { argument: &'static str, value: String, expected: &'static str },
    /// A plan was run on tensors of another problem.
    #[error("the tensors make the problem `{found}`, the plan is for `{planned}`: plan for them")]
    OtherProblem { found: String, planned: String },
    /// A plan was run on tensors of another device.
    #[error("the tensors lie on {found}, the plan is for {planned}: plan there, or move them")]
    OtherDevice { found: String, planned: String },
    /// What is no DLPack tensor, or one that cannot be used.
    #[error("{reason}")]
    DlPack { reason: String },
    /// A tensor of a type that ggemm does not compute with.
    #[error(
        "a DLPack tensor holds {found}: ggemm takes float8_e4m3fn, float8_e5m2, bfloat16, float16, float32, int32 and int64"
    )]
    DlPackType { found: String },
    /// fp8 without scales.
    #[error("{argument} holds {found} and has no scales: pass {scales} (ggemm.quantize makes them)")]
    NoScales { argument: &'static str, found: &'static str, scales: String },
    /// Scales for what has none.
    #[error(
        "{argument} holds {found}, which has no scales: pass no {scales}, or float8_e4m3fn or float8_e5m2 operands"
    )]
    Scales { argument: &'static str, found: &'static str, scales: String },
    /// `m` for operands that do not need it.
    #[error("m is {m}, and {argument} holds {found}: only fp8 copies along the rows need it; pass none")]
    Rows { m: usize, argument: &'static str, found: &'static str },
    /// No GPU.
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    /// What the runtime says.
    #[error(transparent)]
    Runtime(#[from] Error),
}

impl From<Refusal> for PyErr {
    fn from(refusal: Refusal) -> PyErr {
        let text = refusal.to_string();
        match refusal {
            Refusal::Type { .. }
            | Refusal::Target { .. }
            | Refusal::DlPackType { .. }
            | Refusal::Runtime(Error::ArgumentType { .. } | Error::SourceType { .. }) => {
                ArgumentTypeError::new_err(text)
            }
            Refusal::Runtime(Error::NoFp8Kernel { .. } | Error::NoFp8Conversion { .. } | Error::NeedsTf32 { .. }) => {
                UnsupportedError::new_err(text)
            }
            Refusal::NoDevice(_) => DeviceError::new_err(text),
            Refusal::Runtime(error) if !is_of_arguments(&error) => DeviceError::new_err(text),
            _ => ArgumentError::new_err(text),
        }
    }
}

/// Whether other arguments would have done.
fn is_of_arguments(error: &Error) -> bool {
    matches!(
        error,
        Error::Problem(_)
            | Error::Groups(_)
            | Error::Pin(_)
            | Error::PinnedOnCpu { .. }
            | Error::AddressAlignment { .. }
            | Error::NoVariant { .. }
            | Error::CheckedInCapture
            | Error::NotFp8 { .. }
            | Error::MissingGroups { .. }
            | Error::ArgumentLength { .. }
            | Error::ArgumentDevice { .. }
            | Error::Operation { .. }
            | Error::Bytes { .. }
    )
}
