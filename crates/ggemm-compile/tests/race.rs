//! Eight processes want one entry at once: one compiles, and all get the same. Others prune what they write.
//!
//! The test runs itself: a process that finds `RACE` set is one of the eight, one that finds `PRUNE` writes or prunes.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ggemm_compile::{Cache, CacheKey, CacheLocation, Cubin, Origin, Outcome, PruneRule, Reason};

const PROCESSES: usize = 8;

fn main() {
    match (std::env::var_os("RACE"), std::env::var_os("PRUNE")) {
        (Some(root), _) => racer(&PathBuf::from(root)),
        (None, Some(root)) => match std::env::var_os("WRITE") {
            Some(_) => writer(&PathBuf::from(root)),
            None => pruner(&PathBuf::from(root)),
        },
        (None, None) => {
            // A control: without a cache every process compiles, so that the count below can come out wrong.
            assert_eq!(race(false), (PROCESSES, PROCESSES), "compilations and processes that compiled, no cache");
            for _ in 0..5 {
                assert_eq!(race(true), (1, 1), "compilations and processes that compiled");
            }
            a_holder_that_dies_lets_go();
            pruners_take_nothing_from_readers_and_writers();
            println!("race: ok");
        }
    }
}

/// Runs the processes; says how often was compiled, and how many processes said that they had.
fn race(with_cache: bool) -> (usize, usize) {
    let root = tempfile::tempdir().unwrap();
    if with_cache {
        fs::write(root.path().join("with-cache"), "").unwrap();
    }
    let children: Vec<_> = (0..PROCESSES).map(|_| start(root.path())).collect();
    wait_until(|| count(root.path(), "ready-") == PROCESSES);
    fs::write(root.path().join("go"), "").unwrap();
    let outputs: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    let compilations = fs::read(root.path().join("compilations")).unwrap().len();
    (compilations, outputs.iter().filter(|output| output.trim() == "compiled").count())
}

/// A process that is killed while it compiles leaves neither a lock nor a half-written entry.
fn a_holder_that_dies_lets_go() {
    let root = tempfile::tempdir().unwrap();
    for file in ["with-cache", "go", "never-finish"] {
        fs::write(root.path().join(file), "").unwrap();
    }
    let mut holder = start(root.path());
    wait_until(|| root.path().join("compilations").exists());
    fs::remove_file(root.path().join("never-finish")).unwrap();
    let waiter = start(root.path());
    wait_until(|| count(root.path(), "ready-") == 2);
    sleep(Duration::from_millis(50));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let output = waiter.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "compiled");
    assert_eq!(fs::read(root.path().join("compilations")).unwrap().len(), 2);
}

/// Entries come and go under three processes that want them and two that prune: what is read is always right.
fn pruners_take_nothing_from_readers_and_writers() {
    let root = tempfile::tempdir().unwrap();
    let start = |writes: bool| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("PRUNE", root.path()).stdout(Stdio::piped());
        if writes {
            command.env("WRITE", "");
        }
        command.spawn().unwrap()
    };
    let counts = |children: Vec<std::process::Child>| -> Vec<usize> {
        let outputs = children.into_iter().map(|child| child.wait_with_output().unwrap());
        let counts = outputs.map(|output| {
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        });
        counts.collect()
    };
    let pruners = vec![start(false), start(false)];
    let compilations: usize = counts((0..3).map(|_| start(true)).collect()).iter().sum();
    fs::write(root.path().join("done"), "").unwrap();
    let removed: usize = counts(pruners).iter().sum();
    // Whatever was compiled was removed, but for what is left; each removal counts for one pruner.
    let left = cache(root.path()).entries().unwrap();
    assert_eq!(compilations, removed + left.len());
    assert!(removed > 0 && left.iter().all(|entry| entry.spoilt.is_none()), "{removed} {left:?}");
}

fn cache(root: &Path) -> Cache {
    let cache = Cache::open(CacheLocation::At(root.join("cache")));
    assert_eq!(cache.bypass(), None);
    cache
}

/// Wants eight entries again and again, and says how often it compiled one.
fn writer(root: &Path) {
    let cache = cache(root);
    let mut compiled = 0;
    for _ in 0..40 {
        for index in 0..8_u8 {
            let key = CacheKey::new(&format!("k{index}"), "source", "sm_80", &[], "fake 1");
            let make = || Ok::<_, Infallible>(Cubin::new(vec![index; 20_000], String::new()));
            let Ok((cubin, origin)) = cache.get_or_insert_with(&key, make);
            assert_eq!(cubin.bytes, vec![index; 20_000]);
            compiled += usize::from(origin == Origin::Compiled);
            assert!(matches!(origin, Origin::Compiled | Origin::Hit), "{origin}");
        }
    }
    println!("{compiled}");
}

/// Leaves room for three entries until the writers are done, and says how many it removed.
fn pruner(root: &Path) {
    let cache = cache(root);
    let mut removed = 0;
    while !root.join("done").exists() {
        let pruned = cache.prune(&PruneRule::default().keep_below(Some(65_000)), false).unwrap();
        for removal in &pruned.removals {
            assert!(!matches!(removal.outcome, Outcome::Refused(_)), "{removal:?}");
            assert_ne!(removal.reason, Reason::Spoilt, "{removal:?}");
        }
        removed += pruned.removals.iter().filter(|removal| removal.outcome == Outcome::Removed).count();
        sleep(Duration::from_millis(2));
    }
    println!("{removed}");
}

fn start(root: &Path) -> std::process::Child {
    let myself = std::env::current_exe().unwrap();
    Command::new(myself).env("RACE", root).stdout(Stdio::piped()).spawn().unwrap()
}

fn racer(root: &Path) {
    let with_cache = root.join("with-cache").exists();
    let location = if with_cache { CacheLocation::At(root.join("cache")) } else { CacheLocation::Disabled };
    fs::write(root.join(format!("ready-{}", std::process::id())), "").unwrap();
    wait_until(|| root.join("go").exists());
    let never_finish = root.join("never-finish").exists();
    let cache = Cache::open(location);
    let key = CacheKey::new("raced", "source", "sm_80", &[], "fake 1");
    let Ok((cubin, origin)) = cache.get_or_insert_with(&key, || {
        let mut log = OpenOptions::new().create(true).append(true).open(root.join("compilations")).unwrap();
        log.write_all(b"x").unwrap();
        sleep(if never_finish { Duration::from_secs(60) } else { Duration::from_millis(100) });
        Ok::<_, Infallible>(Cubin::new(vec![7; 100_000], String::new()))
    });
    assert_eq!(cubin.bytes, vec![7; 100_000]);
    match origin {
        Origin::Hit => println!("hit"),
        Origin::Compiled => println!("compiled"),
        Origin::Bypassed(_) if !with_cache => println!("compiled"),
        other => panic!("{other}"),
    }
}

fn count(root: &Path, prefix: &str) -> usize {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for a minute");
        sleep(Duration::from_millis(2));
    }
}
