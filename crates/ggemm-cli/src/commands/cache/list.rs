//! `ggemm cache list`: what the cache holds, and whether it reads back right.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use ggemm_compile::{CacheLocation, Entry};
use indicatif::HumanDuration;
use serde::Serialize;

use super::{CacheError, existing};
use crate::Outcome;
use crate::error::CliError;
use crate::numbers::bytes;
use crate::table;

/// List what the compile cache holds, and whether it still reads back right
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The cache, for programs.
#[derive(Debug, Serialize)]
struct Listing<'a> {
    folder: &'a Path,
    bytes: u64,
    entries: Vec<Listed<'a>>,
}

/// An entry, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Listed<'a> {
    kernel: &'a str,
    /// `null` where the entry does not say.
    arch: Option<&'a str>,
    compiler: Option<&'a str>,
    bytes: u64,
    /// When it was last used, in UTC.
    used: String,
    /// Why it would be compiled again.
    #[serde(skip_serializing_if = "Option::is_none")]
    spoilt: Option<&'a str>,
    path: &'a Path,
}

impl<'a> Listed<'a> {
    pub(super) fn new(entry: &'a Entry) -> Self {
        Listed {
            kernel: &entry.kernel,
            arch: entry.target.as_deref(),
            compiler: entry.compiler.as_deref(),
            bytes: entry.bytes,
            used: humantime::format_rfc3339_seconds(entry.used).to_string(),
            spoilt: entry.spoilt.as_deref(),
            path: &entry.path,
        }
    }
}

impl ListArgs {
    /// Prints the list.
    pub(super) fn run(self) -> Result<Outcome, CliError> {
        let entries = match existing()? {
            Some(cache) => cache.entries().map_err(CacheError::Unusable)?,
            None => Vec::new(),
        };
        let folder = CacheLocation::from_env().folder().map_err(CacheError::Unusable)?;
        let total = entries.iter().map(|entry| entry.bytes).sum();
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let entries = entries.iter().map(Listed::new).collect();
            serde_json::to_writer_pretty(&mut stdout, &Listing { folder: &folder, bytes: total, entries })?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", text(&folder, &entries, total))?;
        }
        stdout.flush()?;
        Ok(Outcome::Success)
    }
}

fn text(folder: &Path, entries: &[Entry], total: u64) -> String {
    let mut text = String::new();
    if !entries.is_empty() {
        let now = SystemTime::now();
        let mut table = table::table(["kernel", "arch", "compiler", "size", "used", "reads back"], [3]);
        for entry in entries {
            table.add_row([
                entry.kernel.clone(),
                entry.target.clone().unwrap_or_else(|| "-".to_owned()),
                entry.compiler.clone().unwrap_or_else(|| "-".to_owned()),
                bytes(entry.bytes),
                ago(now, entry.used),
                entry.spoilt.as_ref().map_or_else(|| "yes".to_owned(), |reason| format!("no: {reason}")),
            ]);
        }
        text = table::text(&table) + "\n";
    }
    text += &format!("{} entries, {}, in {}\n", entries.len(), bytes(total), folder.display());
    match entries.iter().filter(|entry| entry.spoilt.is_some()).count() {
        0 => text,
        spoilt => text + &format!("{spoilt} do not read back and will not be used: `ggemm cache prune` removes them\n"),
    }
}

/// How long ago, in words.
pub(super) fn ago(now: SystemTime, then: SystemTime) -> String {
    match now.duration_since(then).unwrap_or_default() {
        age if age < Duration::from_secs(60) => "just now".to_owned(),
        age => format!("{} ago", HumanDuration(age)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_words() {
        let now = SystemTime::now();
        for (seconds, words) in [(3, "just now"), (120, "2 minutes ago"), (40 * 86_400, "6 weeks ago")] {
            assert_eq!(ago(now, now - Duration::from_secs(seconds)), words);
        }
        assert_eq!(ago(now, now + Duration::from_secs(100)), "just now", "another machine's clock");
    }
}
