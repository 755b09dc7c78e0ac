//! Why a file of measurements cannot be used.

use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no file of this kind.
    #[error("{} is no {kind}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it should be.
        kind: &'static str,
        /// What was met instead.
        reason: String,
    },
    /// Records that are not of one machine and program.
    #[error("records can be read as one where their {what} is one: {first} and {other}")]
    Apart {
        /// What differs.
        what: &'static str,
        /// What the first says.
        first: String,
        /// What another says.
        other: String,
    },
    /// A picture that cannot be drawn.
    #[error("the chart cannot be drawn: {reason}")]
    Chart {
        /// What the drawing library said.
        reason: String,
    },
}
