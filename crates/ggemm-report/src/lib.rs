//! How fast kernels were, on file: what `ggemm bench` measured ([`Record`]), what peers needed for the same
//! ([`Race`]), what has changed between two records ([`Comparison`]), what better choices would have saved ([`regret`]),
//! and pictures of all that ([`picture`], [`chart`]).
//!
//! Nothing here measures, and nothing knows a device or a kernel but by name.

#![forbid(unsafe_code)]

pub mod chart;
mod compare;
mod error;
mod noise;
pub mod picture;
mod race;
mod rates;
mod record;
pub mod regret;
mod standing;

pub use compare::{Change, Comparison, DRIFT, TOLERANCE, Verdict};
pub use error::ReportError;
pub use noise::{Level, deviation, median};
pub use race::{Contestant, Race};
pub use rates::Rates;
pub use record::{Axis, LaunchCost, Point, Record, Row, SCHEMA, Subject};
pub use standing::{Product, Standing};
