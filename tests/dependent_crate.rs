//! ggemm as a dependency: renamed, in a crate outside the workspace, with that crate's own settings.

use std::path::Path;
use std::process::Command;

#[test]
fn a_crate_of_ones_own_bakes_kernels_under_a_name_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dependent = root.join("tests/dependent");
    // The workspace's own versions: whatever was fetched for this test serves that one.
    std::fs::copy(root.join("Cargo.lock"), dependent.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--quiet", "--lib"])
        .current_dir(&dependent)
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("dependent"))
        // Nobody debugs it.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove("GGEMM_BAKE")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("2 passed"), "{text}");
}
