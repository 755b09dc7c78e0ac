//! Where machine code comes from.

use std::fs;
use std::thread;

use ggemm::Device;
use ggemm::cuda::CodeOrigin;

use crate::support::{Test, child, small};

pub(crate) const TESTS: &[Test] = &[("two_processes_with_one_cold_cache_compile_once", cold_cache)];

/// The part of each process.
pub(crate) fn forward(device: &Device) {
    let (plan, mut case) = small(device, 51);
    case.run(&plan);
    case.check();
    println!("{}", plan.code_origin().expect("a GPU's plan"));
}

fn cold_cache(device: &Device) {
    if small(device, 51).0.code_origin() == Some(CodeOrigin::Baked) {
        eprintln!("this program was built with machine code: the cache plays no part in it");
        return;
    }
    let folder = std::env::temp_dir().join(format!("ggemm-cold-{}", std::process::id()));
    let path = folder.to_str().expect("a temporary folder has a printable name");
    let outputs = thread::scope(|scope| {
        [0, 1]
            .map(|_| scope.spawn(|| child("forward", &[("GGEMM_CACHE_DIR", path)])))
            .map(|child| child.join().unwrap())
    });
    let mut origins: Vec<String> = outputs
        .iter()
        .map(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
        .collect();
    origins.sort();
    assert_eq!(origins, ["cached", "compiled"]);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let entries: Vec<String> = entries.filter(|name| name.starts_with("ggemm_")).collect();
    let cubins = entries.iter().filter(|name| !name.ends_with(".lock")).count();
    assert_eq!(cubins, 1, "one compilation's worth of files: {entries:?}");
    fs::remove_dir_all(&folder).unwrap();
}
