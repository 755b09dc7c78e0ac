//! From tasks to entries of a table.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use ggemm_codegen::KernelSpec;
use ggemm_table::{Claim, Entry, Machine, Store, Timing};

use super::bench::{Bench, Clock};
use super::error::{TuneError, Wrong};
use super::prune::worth_timing;
use super::task::Task;
use super::turns::{Turns, median, take_turns};
use crate::error::Error;
use crate::planner::Planner;

/// What is timed, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Variants are timed whose predicted time is within this factor of the least.
    pub within: f64,
    /// How they take turns.
    pub turns: Turns,
    /// Tune what the table has already.
    pub again: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { within: 2.0, turns: Turns::default(), again: false }
    }
}

/// Tunes tasks, and adds each to a table when it is done.
///
/// It may be killed at any moment: what was done is in the table, and another run goes on from there. Several may share
/// the tasks of one table, each on a GPU of its own: a task is one's at a time, and the others take the next.
#[derive(Clone, Copy, Debug)]
pub struct Tuner<'a> {
    planner: &'a Planner,
    store: &'a Store,
    settings: Settings,
}

/// What happens while tuning.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The table has it, from before or by another process.
    Known {
        /// The task.
        task: &'a Task,
        /// What the table has.
        entry: &'a Entry,
    },
    /// Its candidates are being timed.
    Started {
        /// The task.
        task: &'a Task,
        /// How many there are.
        candidates: usize,
    },
    /// So much of the task is done.
    Timed {
        /// The task.
        task: &'a Task,
        /// The part, from 0 to 1.
        part: f64,
    },
    /// A variant would have won, and computes wrong results.
    Wrong {
        /// The task.
        task: &'a Task,
        /// The variant.
        variant: KernelSpec,
        /// What is wrong.
        wrong: Wrong,
    },
    /// It is in the table.
    Finished {
        /// The task.
        task: &'a Task,
        /// What was added.
        entry: &'a Entry,
        /// The variant that the cost model would have taken.
        predicted: KernelSpec,
    },
    /// Nothing was added for it, and the others go on.
    Unsolved {
        /// The task.
        task: &'a Task,
        /// What does not fit the device's memory; `None`: no variant computes it right.
        why: Option<&'a Error>,
    },
}

/// What came of all tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tasks whose entries were added.
    pub tuned: usize,
    /// Tasks that the table had.
    pub known: usize,
    /// Variants that computed wrong results.
    pub wrong: usize,
    /// Tasks that no variant computes right, or that do not fit the device's memory.
    pub unsolved: usize,
}

/// What tuning one task led to.
struct Outcome {
    wrong: usize,
    solved: bool,
}

impl<'a> Tuner<'a> {
    /// A tuner of what `planner` chooses among, whose results go to `store`.
    pub fn new(planner: &'a Planner, store: &'a Store, settings: Settings) -> Self {
        Tuner { planner, store, settings }
    }

    /// Tunes the tasks, and tells `observe` what happens.
    ///
    /// # Errors
    /// [`TuneError`]; what was tuned before is in the table.
    pub fn run(
        &self,
        bench: &mut dyn Bench,
        tasks: &[Task],
        observe: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Summary, TuneError> {
        let machine = bench.machine().clone();
        let before = self.store.read()?;
        let mut summary = Summary::default();
        // Tasks that another process is at go to the end, where they will be done, or given up by who died.
        let mut queue: VecDeque<&Task> = tasks.iter().collect();
        let mut passed = 0;
        while let Some(task) = queue.pop_front() {
            let key = task.key();
            let old = before.get(&machine, &key);
            let all_taken = passed > queue.len();
            let Some(_claim) = self.claim(&machine, task, old, all_taken)? else {
                queue.push_back(task);
                passed += 1;
                continue;
            };
            passed = 0;
            let now = self.store.read()?;
            if let Some(entry) = now.get(&machine, &key).filter(|entry| !self.settings.again || Some(*entry) != old) {
                summary.known += 1;
                observe(&Event::Known { task, entry });
                continue;
            }
            let Outcome { wrong, solved } = match self.tune(bench, &machine, task, observe) {
                Err(TuneError::Runtime { source, .. }) if matches!(*source, Error::OutOfMemory { .. }) => {
                    observe(&Event::Unsolved { task, why: Some(&source) });
                    Outcome { wrong: 0, solved: false }
                }
                outcome => outcome?,
            };
            summary.wrong += wrong;
            summary.tuned += usize::from(solved);
            summary.unsolved += usize::from(!solved);
        }
        Ok(summary)
    }

    /// The right to tune a task; `None` while another process has it. What the table had needs no right to be passed
    /// over, and where nothing else is left to do a process waits.
    fn claim(
        &self,
        machine: &Machine,
        task: &Task,
        old: Option<&Entry>,
        wait: bool,
    ) -> Result<Option<Option<Claim>>, TuneError> {
        if old.is_some() && !self.settings.again {
            return Ok(Some(None));
        }
        let key = task.key();
        Ok(match wait {
            true => Some(Some(self.store.await_claim(machine, &key)?)),
            false => self.store.claim(machine, &key)?.map(Some),
        })
    }

    fn tune(
        &self,
        bench: &mut dyn Bench,
        machine: &Machine,
        task: &Task,
        observe: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, TuneError> {
        let failed = |error| TuneError::Runtime { label: task.label().to_owned(), source: Box::new(error) };
        let specs = self.candidates(machine, task).map_err(failed)?;
        observe(&Event::Started { task, candidates: specs.len() });
        let mut clock = bench.clock(task, &specs).map_err(failed)?;
        let mut progress = |part| observe(&Event::Timed { task, part });
        let times = self.times(&mut *clock, task, specs.len(), &mut progress).map_err(failed)?;
        let (order, wrong) = right(&mut *clock, &times, |candidate, wrong| {
            observe(&Event::Wrong { task, variant: specs[candidate], wrong });
        });
        let mut timings = order.into_iter().map(|(candidate, time)| timing(specs[candidate], time));
        let Some(best) = timings.next() else {
            observe(&Event::Unsolved { task, why: None });
            return Ok(Outcome { wrong, solved: false });
        };
        let entry = Entry {
            machine: machine.clone(),
            problem: task.problem().clone(),
            routing: task.routing(),
            best,
            others: timings.collect(),
        };
        self.store.append(&entry)?;
        // The best predicted comes first.
        let predicted = specs.first().copied().unwrap_or(entry.best.variant);
        observe(&Event::Finished { task, entry: &entry, predicted });
        Ok(Outcome { wrong, solved: true })
    }

    /// The time of each candidate: the mean over the task's draws of its median on each. Draws share the rounds.
    fn times(
        &self,
        clock: &mut dyn Clock,
        task: &Task,
        candidates: usize,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Duration>, Error> {
        let draws = task.draws().len();
        let Turns { rounds, seed, .. } = self.settings.turns;
        let mut sums = vec![Duration::ZERO; candidates];
        for draw in 0..draws {
            clock.set_draw(draw);
            let turns =
                Turns { rounds: rounds.div_ceil(draws), seed: seed.wrapping_add(draw as u64), ..self.settings.turns };
            let mut part = |part: f64| progress((draw as f64 + part) / draws as f64);
            let times = take_turns(clock, candidates, &turns, &mut part)?;
            sums.iter_mut().zip(times).for_each(|(sum, times)| *sum += median(&times));
        }
        Ok(sums.into_iter().map(|sum| sum / draws.max(1) as u32).collect())
    }

    fn candidates(&self, machine: &Machine, task: &Task) -> Result<Vec<KernelSpec>, Error> {
        let no_variant = || Error::NoBackend { device: machine.to_string() };
        let arch = machine.arch().ok_or_else(no_variant)?;
        let explanation = self.planner.explain(task.problem(), arch)?;
        let worth = worth_timing(explanation.candidates(), self.settings.within);
        Ok(worth.iter().map(|candidate| *candidate.variant.spec()).collect())
    }
}

/// Candidates and their times, fastest first, without those that would have won and are wrong; and how many these are.
fn right(
    clock: &mut dyn Clock,
    times: &[Duration],
    mut tell: impl FnMut(usize, Wrong),
) -> (Vec<(usize, Duration)>, usize) {
    let mut order: Vec<(usize, Duration)> = times.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, time)| *time);
    let mut wrong = 0;
    while let Some((candidate, _)) = order.first().copied() {
        let Err(fault) = clock.verify(candidate) else { break };
        tell(candidate, fault);
        wrong += 1;
        order.remove(0);
    }
    (order, wrong)
}

/// In whole nanoseconds, which is finer than any clock.
fn timing(variant: KernelSpec, time: Duration) -> Timing {
    Timing { variant, microseconds: time.as_nanos() as f64 / 1e3 }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Known { task, entry } => {
                write!(f, "{task}: known, {} at {:.1} us", entry.best.variant, entry.best.microseconds)
            }
            Event::Started { task, candidates } => write!(f, "{task}: {candidates} variants"),
            Event::Timed { task, part } => write!(f, "{task}: {:.0} %", part * 100.0),
            Event::Wrong { task, variant, wrong } => {
                write!(f, "{task}: {variant} computes wrong results, report this: {wrong}")
            }
            Event::Finished { task, entry, .. } => {
                write!(f, "{task}: {} at {:.1} us", entry.best.variant, entry.best.microseconds)
            }
            Event::Unsolved { task, why: None } => write!(f, "{task}: no variant computes it right"),
            Event::Unsolved { task, why: Some(why) } => write!(f, "{task}: {why}"),
        }
    }
}
