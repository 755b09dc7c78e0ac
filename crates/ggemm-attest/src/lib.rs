//! Attestations: what `ggemm verify` found on a GPU, committed as files, so that tests without a GPU know what has run
//! on one.
//!
//! A file tells of one kind of device and one target: `attestations/sm_90a/nvidia-h200.json`. Each variant's entry
//! carries the [hash](CubinHash) of the cubin that ran. A change of a kernel changes its cubin, and so the entry is
//! stale until somebody runs `ggemm verify --attest` again. A [`Ledger`] holds a folder of files against the cubins of
//! today.

#![forbid(unsafe_code)]

mod attestation;
mod compiler;
mod date;
mod entry;
mod error;
mod hash;
mod ledger;

pub use attestation::{Attestation, Producer, SCHEMA};
pub use compiler::compiler_of;
pub use date::Date;
pub use entry::{Entry, Verdict};
pub use error::{AttestError, DateError, Defect, HashError};
pub use hash::CubinHash;
pub use ledger::{Cubins, ENOUGH_CASES, Ledger, Standing};
