//! `ggemm cache prune`: makes the cache smaller.

use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::Args;
use ggemm_compile::{Outcome as Fate, PruneRule, Pruned, Reason, Removal};
use serde::Serialize;

use super::list::{Listed, ago};
use super::{CacheError, existing};
use crate::Outcome;
use crate::error::CliError;
use crate::numbers::bytes;
use crate::{parsers, table};

/// Remove what was not used for long, or the longest unused until the rest is small enough
///
/// Entries that do not read back right always go, and so do the half-written files of processes that died; with no
/// flags nothing else does. Other processes may use the cache meanwhile: at worst they compile again.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove entries that were not used for this long, such as 30d or 12h
    #[arg(long, value_name = "AGE", value_parser = parsers::age)]
    older_than: Option<Duration>,
    /// Remove the longest unused until the rest takes at most this much, such as 500MB or 2GiB
    #[arg(long, value_name = "SIZE", value_parser = parsers::size)]
    keep_below: Option<u64>,
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was done, for programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    dry_run: bool,
    entries: Vec<Row<'a>>,
    /// Half-written files that were removed.
    abandoned: usize,
    freed_bytes: u64,
    kept: usize,
    kept_bytes: u64,
}

/// An entry that was to go, for programs.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    entry: Listed<'a>,
    reason: &'static str,
    outcome: String,
}

impl PruneArgs {
    /// Prunes, and prints what went.
    pub(super) fn run(self) -> Result<Outcome, CliError> {
        let rule = PruneRule::default().older_than(self.older_than).keep_below(self.keep_below);
        let pruned = match existing()? {
            Some(cache) => cache.prune(&rule, self.dry_run).map_err(CacheError::Unusable)?,
            None => Pruned::default(),
        };
        let mut stdout = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut stdout, &self.report(&pruned))?;
            writeln!(stdout)?;
        } else {
            write!(stdout, "{}", self.text(&pruned))?;
        }
        stdout.flush()?;
        refusal(&pruned)?;
        Ok(Outcome::Success)
    }

    fn report<'a>(&self, pruned: &'a Pruned) -> Report<'a> {
        let row = |removal: &'a Removal| Row {
            entry: Listed::new(&removal.entry),
            reason: reason(removal),
            outcome: self.fate(removal),
        };
        Report {
            dry_run: self.dry_run,
            entries: pruned.removals.iter().map(row).collect(),
            abandoned: pruned.abandoned,
            freed_bytes: pruned.freed,
            kept: pruned.kept,
            kept_bytes: pruned.kept_bytes,
        }
    }

    fn text(&self, pruned: &Pruned) -> String {
        let mut text = String::new();
        if !pruned.removals.is_empty() {
            let now = SystemTime::now();
            let mut table = table::table(["kernel", "arch", "size", "used", "why", "outcome"], [2]);
            for removal in &pruned.removals {
                table.add_row([
                    removal.entry.kernel.clone(),
                    removal.entry.target.clone().unwrap_or_else(|| "-".to_owned()),
                    bytes(removal.entry.bytes),
                    ago(now, removal.entry.used),
                    reason(removal).to_owned(),
                    self.fate(removal),
                ]);
            }
            text = table::text(&table) + "\n";
        }
        let gone = pruned.removals.iter().filter(|removal| removal.outcome == Fate::Removed).count();
        let (verb, abandoned) = (if self.dry_run { "would free" } else { "freed" }, pruned.abandoned);
        let abandoned = if abandoned > 0 { format!(" and {abandoned} half-written files") } else { String::new() };
        let (freed, kept) = (bytes(pruned.freed), bytes(pruned.kept_bytes));
        text + &format!("{verb} {freed} of {gone} entries{abandoned}; {} entries stay, {kept}\n", pruned.kept)
    }

    fn fate(&self, removal: &Removal) -> String {
        match &removal.outcome {
            Fate::Removed if self.dry_run => "would be removed".to_owned(),
            Fate::Removed => "removed".to_owned(),
            Fate::Gone => "already gone".to_owned(),
            Fate::InUse => "stays: in use".to_owned(),
            Fate::Refused(reason) => format!("stays: {reason}"),
            _ => "stays".to_owned(),
        }
    }
}

fn reason(removal: &Removal) -> &'static str {
    match removal.reason {
        Reason::Spoilt => "does not read back",
        Reason::Unused => "unused",
        Reason::Excess => "longest unused",
        _ => "-",
    }
}

/// An error where the system refused to remove something.
fn refusal(pruned: &Pruned) -> Result<(), CacheError> {
    let refused = pruned.removals.iter().filter_map(|removal| match &removal.outcome {
        Fate::Refused(reason) => Some((removal, reason)),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    match refused.first() {
        None => Ok(()),
        Some((removal, reason)) => Err(CacheError::NotRemoved {
            failed: refused.len(),
            path: removal.entry.path.clone(),
            reason: (*reason).clone(),
        }),
    }
}
