//! `ggemm cache`, on a folder of its own: no compiler is needed.

// Helpers of tests may panic as tests do; clippy exempts only the tests themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::{Ended, end, folder, line, text, without_cuda};
use ggemm_compile::{Cache, CacheKey, CacheLocation, Cubin};
use serde_json::Value;

/// The command with its cache in this folder, and no CUDA.
fn with_cache(cache: &Path, words: &str) -> Ended {
    end(without_cuda().env("GGEMM_CACHE_DIR", cache).args(words.split_whitespace()))
}

fn json(cache: &Path, words: &str) -> Value {
    serde_json::from_str(&with_cache(cache, &format!("cache {words} --json")).passed()).expect("JSON")
}

/// Puts entries there that were last used so many days ago; returns their files.
fn fill(cache: &Path, entries: &[(&str, u64)]) -> Vec<PathBuf> {
    let cache = Cache::open(CacheLocation::At(cache.to_owned()));
    let mut paths = Vec::new();
    for (name, days) in entries {
        let key = CacheKey::new(name, "source", "sm_90a", &[], "nvrtc 13.0");
        let made = cache.get_or_insert_with(&key, || Ok::<_, String>(Cubin::new(vec![7; 2000], String::new())));
        made.expect("no compilation fails");
        let path = cache.entries().expect("the folder can be read").into_iter().find(|entry| entry.kernel == *name);
        let path = path.expect("it was written").path;
        let used = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        fs::File::open(&path).and_then(|file| file.set_modified(used)).expect("a file of one's own can be dated");
        paths.push(path);
    }
    paths
}

fn kernels(listing: &Value) -> Vec<&str> {
    listing["entries"].as_array().unwrap().iter().map(|entry| entry["kernel"].as_str().unwrap()).collect()
}

#[test]
fn nothing_is_made_by_looking() {
    let folder = folder();
    let cache = folder.path().join("a/cache");
    assert_eq!(with_cache(&cache, "cache path").passed(), format!("{}\n", text(&cache)));
    assert_eq!(with_cache(&cache, "cache list").passed(), format!("0 entries, 0 bytes, in {}\n", text(&cache)));
    assert_eq!(kernels(&json(&cache, "list")), [""; 0]);
    assert_eq!(with_cache(&cache, "cache prune").passed(), "freed 0 bytes of 0 entries; 0 entries stay, 0 bytes\n");
    assert!(!folder.path().join("a").exists());
}

#[test]
fn entries_are_listed_with_what_is_wrong_with_them() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let paths = fill(&cache, &[("good", 3), ("spoilt", 0)]);
    let mut bytes = fs::read(&paths[1]).unwrap();
    bytes.pop();
    fs::write(&paths[1], bytes).unwrap();
    let listing = json(&cache, "list");
    let [good, spoilt] = &listing["entries"].as_array().unwrap()[..] else { panic!("{listing}") };
    assert_eq!(
        (&good["kernel"], &good["arch"], &good["compiler"]),
        (&"good".into(), &"sm_90a".into(), &"nvrtc 13.0".into())
    );
    assert_eq!(good["spoilt"], Value::Null);
    assert_eq!(good["path"].as_str(), paths[0].to_str());
    assert!(spoilt["spoilt"].as_str().unwrap().contains("bytes where its header says"), "{spoilt}");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert_eq!(listing["bytes"].as_u64(), Some(size(&paths[0]) + size(&paths[1])));
    let text = with_cache(&cache, "cache list").passed();
    assert!(text.contains("3 days ago  yes\n") && text.contains("just now    no: it has "), "{text}");
    assert!(text.contains("\n1 do not read back and will not be used: `ggemm cache prune` removes them\n"), "{text}");
}

#[test]
fn pruning_removes_what_it_says_and_no_more() {
    let folder = folder();
    let cache = folder.path().join("cache");
    fill(&cache, &[("old", 40), ("young", 1), ("younger", 0)]);
    let plan = json(&cache, "prune --older-than 30d --dry-run");
    assert_eq!((kernels(&plan), &plan["dry_run"]), (vec!["old"], &true.into()));
    assert_eq!(kernels(&json(&cache, "list")), ["old", "young", "younger"]);
    let pruned = json(&cache, "prune --older-than 30d");
    assert_eq!(kernels(&pruned), ["old"]);
    let [old] = &pruned["entries"].as_array().unwrap()[..] else { panic!("{pruned}") };
    assert_eq!((&old["reason"], &old["outcome"]), (&"unused".into(), &"removed".into()));
    assert_eq!(kernels(&json(&cache, "list")), ["young", "younger"]);
    let text = with_cache(&cache, "cache prune --keep-below 3kB").passed();
    assert!(text.contains("young ") && text.contains("longest unused  removed\n"), "{text}");
    assert!(text.contains(" of 1 entries; 1 entries stay, "), "{text}");
    assert_eq!(kernels(&json(&cache, "list")), ["younger"]);
    assert_eq!(kernels(&json(&cache, "prune")), [""; 0], "with no flags only what does not read back goes");
}

#[test]
fn what_cannot_be_removed_ends_in_an_error_and_keeps_no_other() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let path = fill(&cache, &[("stuck", 0), ("other", 0)]).remove(0);
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("inner")).unwrap();
    let ended = with_cache(&cache, "cache prune --keep-below 0B");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stdout.contains("other") && ended.stdout.contains("removed"), "{ended:?}");
    assert!(
        ended.stderr.contains("1 entries could not be removed; ") && ended.stderr.contains(text(&path)),
        "{ended:?}"
    );
}

#[test]
fn a_cache_that_cannot_be_used_is_an_error_with_a_remedy() {
    for words in ["path", "list", "prune"] {
        let text = with_cache(Path::new(""), &format!("cache {words}")).refused();
        assert_eq!(text, "the cache is switched off; unset GGEMM_CACHE_DIR to use it");
    }
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for words in ["list", "prune"] {
        let text = with_cache(&file, &format!("cache {words}")).refused();
        assert!(text.starts_with("cannot use the cache folder ") && text.contains("set GGEMM_CACHE_DIR to"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_write_is_neither_listed_nor_pruned() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let cache = folder.path().join("cache");
    let path = fill(&cache, &[("kept", 40)]).remove(0);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    for words in ["list", "prune --keep-below 0B"] {
        let text = with_cache(&cache, &format!("cache {words}")).refused();
        assert!(text.contains("is not trusted: its mode 777 lets other users write it; remove it, or "), "{text}");
    }
    assert!(path.exists());
}

#[test]
fn warming_needs_an_architecture_and_a_compiler() {
    let folder = folder();
    let cache = folder.path().join("cache");
    let refused = |words: &str| with_cache(&cache, &format!("cache warm {words}")).refused();
    // A machine with a GPU needs the compiler alone.
    let text = refused("--compiler nvcc");
    assert!(text.contains("unless --arch names an architecture: ") || text.starts_with("--compiler nvcc: "), "{text}");
    let text = refused("--arch sm_90a --compiler nvcc");
    assert!(text.starts_with("--compiler nvcc: no working nvcc") && text.contains("CUDA_HOME"), "{text}");
    // Only the system's own loader could still know an NVRTC.
    let ended = with_cache(&cache, "cache warm --arch sm_90a -n 8 -k 8 -m 8 -g 1 --ops forward");
    let explained = ended.code == Some(2)
        && ended.stderr.contains("needs NVRTC, which programs compile with when they run: ")
        && ended.stderr.contains("CUDA_HOME");
    assert!(explained || ended.code == Some(0), "{ended:?}");
}

#[test]
fn what_to_warm_for_is_checked_before_any_compiler_is_looked_for() {
    let folder = folder();
    let suite = folder.path().join("suite.json");
    let refused = |words: &str| with_cache(folder.path(), &format!("cache warm --arch sm_90a {words}")).refused();
    let named = format!("--suite {}", text(&suite));
    assert!(refused(&named).starts_with(&format!("--suite: the suite {} cannot be read: ", text(&suite))));
    fs::write(&suite, r#"{"cases": [{"name": "a", "groups": 0, "m": 1, "n": 1, "k": 1}]}"#).unwrap();
    assert!(refused(&named).starts_with("a forward: G = 0"));
    assert!(refused(&format!("{named} -n 4")).starts_with("the argument '--suite [<FILE>]' cannot be used with"));
    assert_eq!(
        refused("-n 8 -k 8 --x-row-stride 3"),
        "the row stride of x is 3, shorter than its rows of 8: give at least 8"
    );
    assert!(refused("--accumulate").contains("add --output-dtype f32"));
}

#[cfg(unix)]
#[test]
fn warming_compiles_what_a_build_will_look_for() {
    use ggemm_compile::{Nvcc, Request};
    let folder = folder();
    let cache = folder.path().join("cache");
    // It makes machine code of any source, in nvcc's way.
    let script = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'release 9.9, V9.9.9'; exit; fi\n\
                  while [ \"$1\" != -o ]; do shift; done\nprintf '\\177ELF' > \"$2\"\n";
    let nvcc = folder.path().join("nvcc");
    // A shell writes it: a process that another test forks meanwhile could hold it open, and it could not be run.
    let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let status = Command::new("/bin/sh").args(["-c", write, "sh", script, text(&nvcc)]).status().unwrap();
    assert!(status.success());
    let warm = |words: &str| {
        let words = format!("cache warm --compiler nvcc --json {words}");
        let mut command = without_cuda();
        command.env("GGEMM_CACHE_DIR", &cache).env("GGEMM_NVCC", &nvcc).args(words.split_whitespace());
        serde_json::from_str::<Value>(&end(&mut command).passed()).unwrap()
    };
    let count = |report: &Value, cached: bool| {
        report["kernels"].as_array().unwrap().iter().filter(|kernel| kernel["cached"] == cached).count()
    };
    let problem = "--arch sm_90a,sm_80 -g 8 -m 4096 -n 1536 -k 2048 --weights per-expert --ops forward";
    let report = warm(problem);
    // The one that is chosen and the one for any address, on each.
    assert_eq!((count(&report, false), count(&report, true)), (4, 0));
    assert_eq!(report["compiler"], "nvcc 9.9.9");
    let report = warm(problem);
    assert_eq!((count(&report, false), count(&report, true)), (0, 4));
    let report = warm("--arch sm_90a");
    let quantizers = ggemm_codegen::QuantizeSpec::all().count();
    let realigners = ggemm_codegen::RealignSpec::all().count();
    let ships = ggemm_codegen::catalogue::shipped_for(ggemm_codegen::Arch::Sm90a).len() + quantizers + realigners;
    assert_eq!((count(&report, false), count(&report, true)), (ships - 2, 2));
    #[cfg(target_os = "linux")]
    {
        // Not even root can write there.
        let mut command = without_cuda();
        command.env("GGEMM_CACHE_DIR", "/proc/sys").env("GGEMM_NVCC", &nvcc);
        let text = end(command.args(["cache", "warm", "--compiler", "nvcc", "--arch", "sm_90a"])).refused();
        assert!(text.starts_with("the cache folder /proc/sys cannot be written: "), "{text}");
    }
    // The keys are those of the library.
    let spec = report["kernels"][0]["kernel"].as_str().unwrap();
    let source = line(&format!("emit {spec}")).passed();
    let key = CacheKey::of(&Nvcc::at(&nvcc).unwrap().into(), &Request::new(spec, &source, &"sm_90a".parse().unwrap()));
    assert!(Cache::open(CacheLocation::At(cache.clone())).peek(&key).is_some());
}
