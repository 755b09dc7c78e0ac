//! What a check found.

use serde::{Deserialize, Serialize};

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// All works, and something is worth knowing.
    Note,
    /// Something does not work.
    Problem,
}

impl Status {
    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Note => "note",
            Status::Problem => "problem",
        }
    }
}

/// What a check found. What is not as it should be comes with a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: String,
    pub(super) status: Status,
    pub(super) found: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { check: check.into(), status: Status::Ok, found: found.into(), remedy: None }
    }

    /// Worth knowing, and what to do where it is not wanted so.
    pub(super) fn note(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { check: check.into(), status: Status::Note, found: found.into(), remedy: Some(remedy.into()) }
    }

    /// Broken, and what to do.
    pub(super) fn problem(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { status: Status::Problem, ..Finding::note(check, found, remedy) }
    }
}
