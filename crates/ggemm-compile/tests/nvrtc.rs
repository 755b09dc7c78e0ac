//! Looking for NVRTC where there may be none: a typed answer, never a panic.

#![cfg(feature = "nvrtc")]

use ggemm_compile::{Nvrtc, NvrtcError};

#[test]
fn absence_is_a_typed_error_that_names_the_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().as_os_str().to_owned();
    match Nvrtc::find_in(|name| (name == "CUDA_HOME").then(|| root.clone())) {
        Err(error) => {
            let expected = ["lib64", "lib"].map(|folder| empty.path().join(folder)).to_vec();
            assert_eq!(error, NvrtcError::Absent { folders: expected });
            let text = error.to_string();
            assert!(text.contains(&*empty.path().to_string_lossy()) && text.contains("set CUDA_HOME"), "{text}");
        }
        // The machine's own loader knows one.
        Ok(nvrtc) => {
            let version = nvrtc.version();
            let major = version.split_once('.').map(|(major, _)| major.parse::<u32>());
            assert!(matches!(major, Some(Ok(11..))), "{version}");
        }
    }
}

#[test]
fn a_file_that_is_no_library_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let lib = root.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    std::fs::write(lib.join("libnvrtc.so.13"), "no library").unwrap();
    let home = root.path().as_os_str().to_owned();
    let found = Nvrtc::find_in(|name| (name == "CUDA_PATH").then(|| home.clone()));
    assert!(matches!(found, Ok(_) | Err(NvrtcError::Absent { .. })), "{found:?}");
}
