//! Why a table cannot be read or written.

use std::io;
use std::path::PathBuf;

use ggemm_compile::trust::Distrust;

/// What is wrong with a table or its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is no file to use.
    #[error("no table is in use: {reason}; set GGEMM_TABLE to a file, or name one")]
    NoPlace {
        /// Why not.
        reason: String,
    },
    /// The file cannot be read.
    #[error("the table {} cannot be read: {source}; make it readable, or name another with GGEMM_TABLE", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, its folder or its lock cannot be written.
    #[error("the table {} cannot be written: {source}; make it writable, or name another with GGEMM_TABLE", path.display())]
    Write {
        /// What cannot be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user could have written the file.
    #[error("the table {} is not trusted: {distrust}; run `chmod go-w` on it if you know who wrote it, or copy it to a file of your own", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks.
        distrust: Distrust,
    },
    /// An entry that cannot be written as JSON.
    #[error("the entry of `{problem}` cannot be written: {source}")]
    Entry {
        /// The problem, printed.
        problem: String,
        /// What the writer said.
        source: serde_json::Error,
    },
    /// A line of a table that is to be whole.
    #[error("line {line} of the table is damaged: it was cut or changed; remove it, or tune again")]
    Damaged {
        /// Its number, from 1.
        line: usize,
    },
}
