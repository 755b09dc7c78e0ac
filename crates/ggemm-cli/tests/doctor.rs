//! `ggemm doctor` on machines in all states, and the shells' completions.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Ended, end, folder, line, text, without_cuda};
use serde_json::Value;

/// The command with no CUDA that this machine may have, but for a driver.
fn doctor(words: &str, set_up: impl FnOnce(&mut Command)) -> Ended {
    let mut command = without_cuda();
    set_up(command.arg("doctor").args(words.split_whitespace()));
    end(&mut command)
}

/// The report, whose exit code is held against what it says.
#[track_caller]
fn report(set_up: impl FnOnce(&mut Command)) -> Value {
    let ended = doctor("--json", set_up);
    assert_eq!(ended.stderr, "", "{}", ended.stdout);
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let findings = report["findings"].as_array().unwrap();
    let problems = findings.iter().filter(|finding| finding["status"] == "problem").count();
    assert_eq!(ended.code, Some(i32::from(problems > 0)), "{report}");
    assert_eq!((&report["healthy"], &report["problems"]), (&(problems == 0).into(), &problems.into()));
    for finding in findings {
        assert_eq!(finding["status"] == "ok", finding["remedy"].is_null(), "what is not ok has a remedy: {finding}");
    }
    report
}

/// What one check found: status and text.
#[track_caller]
fn found<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("{check} in {report}"));
    (finding["status"].as_str().unwrap(), finding["found"].as_str().unwrap())
}

fn with_cache(cache: &Path) -> Value {
    report(|command| _ = command.env("GGEMM_CACHE_DIR", cache))
}

#[test]
fn a_machine_without_a_gpu_is_healthy_unless_one_is_required() {
    let folder = folder();
    let home = |command: &mut Command| _ = command.env("HOME", folder.path()).env_remove("XDG_CACHE_HOME");
    let report = report(home);
    let cache = folder.path().join(".cache/ggemm/cubins");
    let (status, text) = found(&report, "cache folder");
    assert_eq!((status, text), ("ok", &*format!("{}: not there yet, will be made at the first use", cache.display())));
    if report["gpus"].as_array().unwrap().is_empty() {
        assert_eq!(report["healthy"], true, "{report}");
        let (status, text) = found(&report, "launch");
        assert_eq!(status, "ok");
        assert!(text.starts_with("no GPU to launch on; on the CPU") && text.ends_with("equal the f64 reference"));
        assert!(!cache.exists(), "nothing was made");
        let ended = doctor("--require-gpu", home);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("problem  --require-gpu"), "{ended:?}");
        let text = doctor("--kernels", home).passed();
        assert!(text.contains("no GPU here runs any of the kernels"), "{text}");
    }
    for arch in report["kernels"].as_array().unwrap() {
        let name = arch["arch"].as_str().unwrap();
        let count = arch["variants"].as_array().unwrap().len();
        assert!(found(&report, &format!("kernels for {name}")).1.starts_with(&format!("{count} variants, baked as ")));
        let listed = line(&format!("list --names --arch {name}")).passed().lines().count();
        assert_eq!(count, listed, "{name}");
    }
}

#[test]
fn nothing_in_the_environment_is_needed() {
    let report = report(|command| _ = command.env_clear());
    assert_ne!(found(&report, "cache folder").1, "");
}

#[test]
fn caches_that_do_not_serve_are_told_apart() {
    let folder = folder();
    assert_eq!(found(&with_cache(Path::new("")), "cache folder").0, "note");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let report = with_cache(&path);
        let (status, text) = found(&report, "cache folder");
        assert!(status == "problem" && text.contains(": cannot be used: "), "{text}");
    }
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o770)).unwrap();
        let report = with_cache(&cache);
        let (status, text) = found(&report, "cache folder");
        assert!(status == "problem" && text.contains("another user could have written it"), "{text}");
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(cache.join(format!("k-{}.ggemm", "0".repeat(64))), "ggemmcub").unwrap();
    let report = with_cache(&cache);
    assert_eq!(found(&report, "cache folder").0, "ok");
    let (status, text) = found(&report, "cache entries");
    assert_eq!((status, text), ("note", "1, 8 bytes; 1 do not read back, and will be compiled again"));
}

/// The system's own folders there cannot be written, not even by root.
#[cfg(target_os = "linux")]
#[test]
fn a_cache_that_cannot_be_written_is_told() {
    let report = with_cache(Path::new("/proc/sys"));
    let (status, text) = found(&report, "cache folder");
    assert!(status == "note" && text.contains("nothing can be added"), "{text}");
    let report = with_cache(Path::new("/proc/sys/ggemm"));
    assert_eq!(found(&report, "cache folder").0, "problem");
}

/// Only root can give a folder away.
#[cfg(unix)]
#[test]
fn a_cache_of_another_user_is_not_trusted() {
    let folder = folder();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let given_away = std::os::unix::fs::chown(&cache, Some(65_534), None).is_ok();
    let report = with_cache(&cache);
    let (status, text) = found(&report, "cache folder");
    assert_eq!(status, if given_away { "problem" } else { "ok" }, "{text}");
    assert_eq!(text.contains("belongs to the user 65534"), given_away, "{text}");
}

#[test]
fn a_chosen_nvcc_that_does_not_work_is_a_problem() {
    let report = report(|command| _ = command.env("GGEMM_NVCC", "/nowhere/nvcc"));
    let (status, text) = found(&report, "nvcc");
    assert!(status == "problem" && text.starts_with("GGEMM_NVCC: /nowhere/nvcc ("), "{text}");
}

/// A library under the driver's name that is none: the check breaks down, the command does not.
#[cfg(target_os = "linux")]
#[test]
fn a_damaged_driver_is_a_finding() {
    let folder = folder();
    // Any library will do; the command itself has one mapped.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let library =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libgcc_s"));
    fs::copy(library.expect("Rust programs unwind by libgcc_s"), folder.path().join("libcuda.so")).unwrap();
    let report = report(|command| _ = command.env("LD_LIBRARY_PATH", folder.path()));
    let (status, text) = found(&report, "driver");
    // Where a driver is installed, the loader may know it first.
    let real = !report["gpus"].as_array().unwrap().is_empty();
    assert!(real || status == "problem" && text.contains("cuDriverGetVersion"), "{text}");
    assert_ne!(found(&report, "kernels for sm_80").1, "", "later checks are made");
}

#[test]
fn completions_know_commands_architectures_and_variants() {
    const NAME: &str = "ggemm_rows_ak_bn_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain";
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = line(&format!("completions {shell}")).passed();
        for word in ["doctor", "warm", "prune"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if ["bash", "zsh", "fish"].contains(&shell) {
            for word in [NAME, "sm_120a"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
    // Where a value is missing, no message lists them.
    let text = line("verify --variant").refused();
    assert!(!text.contains(NAME), "{text}");
}

/// What bash itself makes of the script, where there is one.
#[test]
fn bash_completes_values() {
    let folder = folder();
    let path = folder.path().join("ggemm.bash");
    fs::write(&path, line("completions bash").passed()).unwrap();
    let complete = |words: &[&str]| {
        let last = words.len() - 1;
        let (current, previous) = (words[last], words[last - 1]);
        let script = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={last}; _ggemm ggemm '{current}' '{previous}'; echo \"${{COMPREPLY[@]}}\"",
            text(&path),
            words.iter().map(|word| format!("'{word}' ")).collect::<String>(),
        );
        let output = Command::new("bash").args(["-c", &script]).output().ok()?;
        Some(String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned())
    };
    let Some(arches) = complete(&["ggemm", "cache", "warm", "--arch", ""]) else { return };
    assert_eq!(arches, "sm_80 sm_86 sm_89 sm_90a sm_100a sm_120a");
    let names = complete(&["ggemm", "verify", "--variant", "ggemm_reduction_am_bn_f16_f32_bf16"]).unwrap();
    assert_eq!(names, "ggemm_reduction_am_bn_f16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain");
    assert_eq!(complete(&["ggemm", "doc"]).unwrap(), "doctor");
}
