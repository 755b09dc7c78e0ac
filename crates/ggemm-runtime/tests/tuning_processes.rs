//! Processes that share a table. Four tune its tasks and are killed at any moment, twenty times: the table always reads
//! back, and nothing that was finished is lost. Left alone they share the work, and others choose by what they found.
//!
//! The test runs itself: a process that finds `TUNED_TABLE` set is one of the four. When the tuner says that a task is
//! finished it notes it down, so that the parent knows what must not be lost. One that finds `CHOOSES` set prints what it
//! would compute with.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

mod simulated;

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ggemm_runtime::random::Rng;
use ggemm_runtime::tune::{Event, Routing, Settings, Store, TableLocation, Task, Tuner, Turns};
use ggemm_runtime::{Arch, Device, Operation, Planner, Problem};
use simulated::{Simulation, machine};

const PROCESSES: u64 = 4;
const ROUNDS: u64 = 20;

fn main() {
    match (std::env::var_os("TUNED_TABLE"), std::env::var_os("CHOOSES")) {
        (Some(table), _) => tuner(Path::new(&table)),
        (None, Some(_)) => chooser(),
        (None, None) => {
            killed_tuners_lose_nothing();
            tuners_share_the_work();
            a_users_table_is_chosen_by();
            println!("tuning_processes: ok");
        }
    }
}

fn tasks() -> Vec<Task> {
    let task = |(operation, n): (Operation, usize)| {
        let problem = Problem::new(operation, 8, 4096, 512 * n, 2048);
        Task::new(format!("{operation} {n}"), problem, vec![512; 8]).unwrap()
    };
    Operation::ALL.into_iter().flat_map(|operation| (1..=8).map(move |n| (operation, n))).map(task).collect()
}

fn store(table: &Path) -> Store {
    Store::at(TableLocation::At(table.to_owned())).unwrap()
}

fn tuner(table: &Path) {
    let generation: u64 = std::env::var("GENERATION").unwrap().parse().unwrap();
    let mut simulation = Simulation::new();
    simulation.generation = generation;
    simulation.pause = Duration::from_micros(100);
    let turns = Turns { rounds: 2, ..Turns::default() };
    // Generations that are killed tune all anew; the one that is left alone does what is not done.
    let settings = Settings { turns, again: generation > 0, ..Settings::default() };
    let mut observe = |event: &Event<'_>| {
        if let Event::Finished { task, .. } = event {
            let notes = notes(table, generation);
            let mut notes = OpenOptions::new().create(true).append(true).open(notes).unwrap();
            notes.write_all(format!("{}\n", task.label()).as_bytes()).unwrap();
        }
    };
    Tuner::new(&Planner::new(Device::cpu()), &store(table), settings)
        .run(&mut simulation, &tasks(), &mut observe)
        .unwrap();
}

fn start(table: &Path, generation: u64) -> Child {
    let myself = std::env::current_exe().unwrap();
    Command::new(myself).env("TUNED_TABLE", table).env("GENERATION", generation.to_string()).spawn().unwrap()
}

/// Where the processes of a generation note down what they finished.
fn notes(table: &Path, generation: u64) -> PathBuf {
    table.with_extension(format!("finished-{generation}"))
}

/// The tasks that a generation finished, sorted.
fn finished(table: &Path, generation: u64) -> Vec<String> {
    let text = fs::read_to_string(notes(table, generation)).unwrap_or_default();
    let mut labels: Vec<String> = text.lines().map(str::to_owned).collect();
    labels.sort();
    labels
}

fn killed_tuners_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let table = root.path().join("folder/tuned.jsonl");
    let mut rng = Rng::new(1);
    // The last generation in which each task was finished.
    let mut last: HashMap<String, u64> = HashMap::new();
    let mut unfinished_rounds = 0;
    for generation in 1..=ROUNDS {
        let mut children: Vec<Child> = (0..PROCESSES).map(|_| start(&table, generation)).collect();
        // Some generations before anything is finished, some in the midst of it.
        let wanted = rng.below(12);
        let start = Instant::now();
        while finished(&table, generation).len() < wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "waited for a minute");
            std::thread::sleep(Duration::from_micros(200));
        }
        while !children.is_empty() {
            std::thread::sleep(Duration::from_micros(rng.below(4000) as u64));
            let mut child = children.swap_remove(rng.below(children.len()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let done = finished(&table, generation);
        unfinished_rounds += usize::from(done.len() < tasks().len());
        last.extend(done.into_iter().map(|label| (label, generation)));
        check(&table, &last, generation);
    }
    assert!(unfinished_rounds > ROUNDS as usize / 2, "most rounds must be killed before they end");
    assert!(last.len() > 4, "some tasks must be finished, and only {} were", last.len());

    let lines = fs::read_to_string(&table).unwrap().lines().count();
    assert!(lines < 150, "lines that are out of date are cleared away, and {lines} are left");
}

/// Left alone, four processes share the work, and one that comes later has nothing to do.
fn tuners_share_the_work() {
    let root = tempfile::tempdir().unwrap();
    let table = root.path().join("tuned.jsonl");
    for _ in 0..2 {
        let children: Vec<Child> = (0..PROCESSES).map(|_| start(&table, 0)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let mut all: Vec<String> = tasks().iter().map(|task| task.label().to_owned()).collect();
        all.sort();
        assert_eq!(finished(&table, 0), all, "each task once");
        check(&table, &all.into_iter().map(|label| (label, 0)).collect(), 0);
    }
}

/// The table that `GGEMM_TABLE` names, by default one beside the compile cache, is every planner's.
fn a_users_table_is_chosen_by() {
    let root = tempfile::tempdir().unwrap();
    let (cache, named) = (root.path().join("cache"), root.path().join("named.jsonl"));
    for table in [cache.join("tuned.jsonl"), named.clone()] {
        assert!(start(&table, 0).wait().unwrap().success());
    }
    let tuned: Vec<String> = tasks()
        .iter()
        .map(|task| store(&named).read().unwrap().get(&machine(), &task.key()).unwrap().best.variant.to_string())
        .collect();
    let chosen = |variables: &[(&str, &Path)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("CHOOSES", "1").env_remove("GGEMM_TABLE").envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[("GGEMM_TABLE", &named), ("GGEMM_CACHE_DIR", root.path())]), tuned);
    assert_eq!(chosen(&[("GGEMM_CACHE_DIR", &cache)]), tuned);
    let predicted = chosen(&[("GGEMM_TABLE", Path::new("")), ("GGEMM_CACHE_DIR", &cache)]);
    assert_ne!(predicted, tuned);
    assert_eq!(chosen(&[("GGEMM_CACHE_DIR", root.path())]), predicted, "there is no table");
    // What is no table is never in the way.
    assert_eq!(chosen(&[("GGEMM_TABLE", root.path())]), predicted);
}

fn chooser() {
    let planner = Planner::new(Device::cpu()).routing(Routing::Even).assume(machine());
    for task in tasks() {
        println!("{}", planner.select(task.problem(), Arch::Sm90a).unwrap().preferred().variant.name());
    }
}

/// The table reads back, and has of each task what was finished last, or what a process wrote that was killed before
/// it could say so.
fn check(table: &Path, last: &HashMap<String, u64>, now: u64) {
    let table = store(table).read().unwrap();
    for task in tasks() {
        let Some(&finished) = last.get(task.label()) else { continue };
        let entry = table.get(&machine(), &task.key());
        let entry = entry.unwrap_or_else(|| panic!("{}, finished in generation {finished}, is lost", task.label()));
        // The simulation adds as many nanoseconds.
        let found = (entry.best.microseconds * 1e3).round() as u64 % 1000;
        assert!((finished..=now).contains(&found), "{} is of generation {found}, not {finished}", task.label());
    }
}
