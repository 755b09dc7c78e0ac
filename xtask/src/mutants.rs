//! `cargo xtask mutants`: plants faults into every family's kernels and fails on one that nobody notices.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use comfy_table::{Table, presets};
use ggemm_codegen::kernels;
use ggemm_codegen::mutate::{Effort, Ground, Mutant, Subject, Verdict, equivalent, hunt, mutants, sample, subjects};
use indicatif::{ProgressBar, ProgressDrawTarget};
use rayon::prelude::*;

use crate::Result;
use crate::cargo::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// Only this family: rows or reduction, or the kernels that show Hopper's statements
    #[arg(long, value_parser = ["rows", "reduction", HOPPER])]
    family: Option<String>,
    /// Only variants whose name holds this
    #[arg(long, conflicts_with = "family")]
    variant: Option<String>,
    /// Only so many faults of each variant, picked by the seed
    #[arg(long)]
    sample: Option<usize>,
    /// Leave out faults that are listed as changing nothing: each of them takes as long as all trials do
    #[arg(long)]
    unlisted: bool,
    /// Picks the sample
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The kernels of codegen's tests that show statements which no shipped variant uses yet.
const HOPPER: &str = "hopper";

/// What became of one variant's faults.
#[derive(Default)]
struct Row {
    faults: usize,
    caught: BTreeMap<&'static str, usize>,
    listed: usize,
    survivors: Vec<String>,
    stale: Vec<String>,
}

impl Row {
    fn add(&mut self, subject: &Subject, mutant: &Mutant, verdict: Verdict) {
        self.faults += 1;
        match (verdict, equivalent(subject, mutant)) {
            (Verdict::Caught { by }, listed) => {
                *self.caught.entry(by).or_default() += 1;
                if listed.is_some() {
                    self.stale.push(format!("{mutant}: caught by {by}"));
                }
            }
            (Verdict::Survived, Some(_)) => self.listed += 1,
            (Verdict::Survived, None) => self.survivors.push(mutant.to_string()),
        }
    }
}

/// Hunts the faults, prints the tables, and fails if one survived that is not known to change nothing.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.family.as_deref() != Some(HOPPER) {
        hunt_families(options)?;
    }
    if options.variant.is_none() && options.family.as_deref().is_none_or(|family| family == HOPPER) {
        hunt_hopper(options)?;
    }
    Ok(())
}

/// Those kernels live with their tests, and so does the hunt in them.
fn hunt_hopper(options: &Options) -> Result<()> {
    let which = if options.sample.is_none() { "all".to_owned() } else { options.seed.to_string() };
    let test = ["test", "--package", "ggemm-codegen", "--test", "hopper", "no_fault", "--", "--nocapture"];
    cargo(&test, &[("GGEMM_MUTANTS", which.into())])
}

fn hunt_families(options: &Options) -> Result<()> {
    let start = Instant::now();
    let chosen: Vec<Subject> = subjects()
        .into_iter()
        .filter(|s| options.family.as_ref().is_none_or(|family| family == s.family()))
        .filter(|s| options.variant.as_ref().is_none_or(|part| s.spec.to_string().contains(part)))
        .collect();
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let rows: Vec<Row> =
        chosen.par_iter().map(|subject| hunt_subject(subject, options, &bar)).collect::<Result<_>>()?;
    bar.finish_and_clear();
    println!("{}", table(&chosen, &rows));
    let all = |count: fn(&Row) -> usize| rows.iter().map(count).sum::<usize>();
    let (faults, listed) = (all(|r| r.faults), all(|r| r.listed));
    let (survivors, stale) = (all(|r| r.survivors.len()), all(|r| r.stale.len()));
    println!(
        "{faults} faults, {listed} known to change nothing, {survivors} survivors; {:.0} s",
        start.elapsed().as_secs_f64()
    );
    for (subject, row) in chosen.iter().zip(&rows) {
        for (what, list) in [("survived", &row.survivors), ("listed as equivalent, but caught", &row.stale)] {
            for fault in list {
                println!("{what}: {} {fault}", subject.spec.spec());
            }
        }
    }
    if survivors + stale > 0 {
        return Err(format!("{survivors} faults survive and {stale} entries of the table are wrong").into());
    }
    Ok(())
}

fn hunt_subject(subject: &Subject, options: &Options, bar: &ProgressBar) -> Result<Row> {
    let ground = Ground::new(&subject.spec)?;
    let mut faults = mutants(&kernels::build(&subject.spec));
    faults.retain(|fault| !options.unlisted || equivalent(subject, fault).is_none());
    if let Some(count) = options.sample {
        faults = sample(faults, count, options.seed);
    }
    bar.inc_length(faults.len() as u64);
    let hunt = |fault| {
        let verdict = hunt(fault, &ground, Effort::Often);
        bar.inc(1);
        verdict
    };
    let verdicts: Vec<Verdict> = faults.par_iter().map(hunt).collect::<Result<_, _>>()?;
    let mut row = Row::default();
    faults.iter().zip(verdicts).for_each(|(fault, verdict)| row.add(subject, fault, verdict));
    Ok(row)
}

fn table(subjects: &[Subject], rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["family", "feature", "faults", "caught by", "equivalent", "survivors", "score"]);
    for (subject, row) in subjects.iter().zip(rows) {
        let mut by: Vec<_> = row.caught.iter().collect();
        by.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let by: Vec<String> = by.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
        let caught: usize = row.caught.values().sum();
        let score = 100.0 * caught as f64 / (row.faults - row.listed).max(1) as f64;
        table.add_row([
            subject.family().to_owned(),
            subject.feature.to_owned(),
            row.faults.to_string(),
            by.join("\n"),
            row.listed.to_string(),
            row.survivors.len().to_string(),
            format!("{score:.1} %"),
        ]);
    }
    table
}
