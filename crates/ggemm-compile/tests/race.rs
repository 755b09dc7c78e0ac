//! Eight processes want one entry at once: one compiles, and all get the same.
//!
//! The test runs itself: a process that finds `RACE` set is one of the eight.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ggemm_compile::{Cache, CacheKey, CacheLocation, Cubin, Origin};

const PROCESSES: usize = 8;

fn main() {
    match std::env::var_os("RACE") {
        Some(root) => racer(&PathBuf::from(root)),
        None => {
            // A control: without a cache every process compiles, so that the count below can come out wrong.
            assert_eq!(race(false), (PROCESSES, PROCESSES), "compilations and processes that compiled, no cache");
            for _ in 0..5 {
                assert_eq!(race(true), (1, 1), "compilations and processes that compiled");
            }
            a_holder_that_dies_lets_go();
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
