//! The compile cache: its folder, who can write it, and whether what it holds reads back.

use ggemm_compile::{Bypass, Cache, CacheLocation, Condition};

use super::super::finding::Finding;
use super::super::machine::Machine;
use crate::numbers::bytes;

const FOLDER: &str = "cache folder";

pub(super) fn check(_: &mut Machine) -> Vec<Finding> {
    let location = CacheLocation::from_env();
    let condition = location.examine();
    let mut findings = vec![folder(&condition)];
    if matches!(condition, Condition::Ready { .. } | Condition::ReadOnly { .. }) {
        findings.push(entries(&location));
    }
    findings
}

fn folder(condition: &Condition) -> Finding {
    match condition {
        Condition::Ready { folder } => {
            Finding::ok(FOLDER, format!("{}: trusted, only its owner and root can write it", folder.display()))
        }
        Condition::Absent { folder } => {
            Finding::ok(FOLDER, format!("{}: not there yet, will be made at the first use", folder.display()))
        }
        Condition::ReadOnly { folder, reason } => Finding::note(
            FOLDER,
            format!("{}: trusted and used, but nothing can be added: {reason}", folder.display()),
            "make it writable, or set GGEMM_CACHE_DIR to a folder that is",
        ),
        Condition::Bypassed(bypass) => bypassed(bypass),
        other => Finding::problem(FOLDER, format!("{other:?}"), "set GGEMM_CACHE_DIR to a folder of your own"),
    }
}

/// A cache that is not used: every process compiles again.
fn bypassed(bypass: &Bypass) -> Finding {
    match bypass {
        Bypass::Disabled => Finding::note(
            FOLDER,
            "none: GGEMM_CACHE_DIR is empty, which switches the cache off, and every process compiles again",
            "unset GGEMM_CACHE_DIR",
        ),
        Bypass::Untrusted { path, reason, remedy } => {
            let found = format!("{}: not used, another user could have written it: {reason}", path.display());
            Finding::problem(FOLDER, found, remedy.clone())
        }
        Bypass::Unusable { path, reason } => Finding::problem(
            FOLDER,
            format!("{}: cannot be used: {reason}", path.display()),
            "set GGEMM_CACHE_DIR to a folder that can be read and written",
        ),
        other => Finding::problem(FOLDER, other.to_string(), "set GGEMM_CACHE_DIR to a folder of your own"),
    }
}

fn entries(location: &CacheLocation) -> Finding {
    const NAME: &str = "cache entries";
    let entries = match Cache::find(location) {
        Ok(Some(cache)) => cache.entries(),
        Ok(None) => Ok(Vec::new()),
        Err(bypass) => Err(bypass),
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(bypass) => return Finding::problem(NAME, bypass.to_string(), "make the folder readable"),
    };
    if entries.is_empty() {
        return Finding::ok(NAME, "none yet");
    }
    let total = bytes(entries.iter().map(|entry| entry.bytes).sum());
    match entries.iter().filter(|entry| entry.spoilt.is_some()).count() {
        0 => Finding::ok(NAME, format!("{}, {total}, all read back right", entries.len())),
        spoilt => Finding::note(
            NAME,
            format!("{}, {total}; {spoilt} do not read back, and will be compiled again", entries.len()),
            "`ggemm cache list` shows them, `ggemm cache prune` removes them",
        ),
    }
}
