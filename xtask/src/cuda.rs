//! `cargo xtask cuda`: the pinned CUDA compiler, without installing CUDA.
//!
//! NVIDIA publishes nvcc, ptxas and NVRTC as Python wheels. pip fetches them, checked against the hashes below, and
//! they are unpacked into one toolkit in the user's cache folder, where all clones share it. Nothing is installed.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use etcetera::BaseStrategy;
use ggemm_compile::Nvcc;

use crate::Result;

/// The version of nvcc that the project compiles with. Attestations and cached cubins are this compiler's.
const NVCC_VERSION: &str = "13.0.88";

/// Every wheel, with its version and the SHA-256 of its x86-64 and AArch64 Linux builds.
///
/// The two disassemblers were first published with 13.2; they read older cubins.
const WHEELS: [(&str, &str, [&str; 2]); 8] = [
    (
        "nvidia-cuda-nvcc",
        NVCC_VERSION,
        [
            "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03",
            "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f",
        ],
    ),
    (
        "nvidia-nvvm",
        "13.0.88",
        [
            "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0",
            "c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1",
        ],
    ),
    (
        "nvidia-cuda-crt",
        "13.0.88",
        [
            "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4",
            "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003",
        ],
    ),
    (
        "nvidia-cuda-nvrtc",
        "13.0.88",
        [
            "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
            "d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b",
        ],
    ),
    (
        "nvidia-cuda-runtime",
        "13.0.96",
        [
            "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
            "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
        ],
    ),
    (
        "nvidia-cuda-cccl",
        "13.0.85",
        [
            "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649",
            "6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c",
        ],
    ),
    (
        "nvidia-cuda-cuobjdump",
        "13.2.51",
        [
            "95c69d3ddf0c2c1f535ec44c3433a66aeee19f588d9d22f73356e20b25f12b50",
            "f2f3bc433a91f4ff910841f2de8bc9e7ce92556602d6e363054fe2bb62a587c4",
        ],
    ),
    (
        "nvidia-cuda-nvdisasm",
        "13.2.51",
        [
            "5a7acf77c55d6d2911ed6155d4d5bc156ffadf9df7a68a89b0c1155f4b13688c",
            "483c8f652c1ca006135584b4faf7ea1d2bafe4c40ec1c9ef57a04c6acfbdd57f",
        ],
    ),
];

/// Where the wheels keep the toolkit.
const INSIDE_WHEELS: &str = "nvidia/cu13";

/// Prints the toolkit's root, fetching it first if need be.
pub(crate) fn run() -> Result<()> {
    println!("{}", toolkit()?.home.display());
    Ok(())
}

/// A CUDA toolkit that has an nvcc.
pub(crate) struct Toolkit {
    /// Its root: what `CUDA_HOME` is set to.
    pub(crate) home: PathBuf,
    /// Its nvcc.
    pub(crate) nvcc: Nvcc,
}

/// The toolkit that `GGEMM_CUDA_HOME` names, else the pinned one, fetched unless it is there already.
pub(crate) fn toolkit() -> Result<Toolkit> {
    match std::env::var_os("GGEMM_CUDA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => {
            let toolkit = take(PathBuf::from(home)).map_err(|error| format!("GGEMM_CUDA_HOME: {error}"))?;
            if toolkit.nvcc.version() != NVCC_VERSION {
                let found = toolkit.nvcc.version();
                eprintln!("warning: GGEMM_CUDA_HOME has nvcc {found}; the project's figures are of {NVCC_VERSION}");
            }
            Ok(toolkit)
        }
        None => fetched(&user_cache()?.join(format!("cuda-{NVCC_VERSION}"))),
    }
}

/// ggemm's folder in the user's cache.
pub(crate) fn user_cache() -> Result<PathBuf> {
    Ok(etcetera::choose_base_strategy()?.cache_dir().join("ggemm"))
}

fn take(home: PathBuf) -> Result<Toolkit> {
    let home = std::path::absolute(home)?;
    let nvcc = Nvcc::at(home.join("bin").join("nvcc"))?;
    Ok(Toolkit { home, nvcc })
}

/// The pinned toolkit at `home`, fetched if nothing is there. What is there is whole: it appears by one rename.
fn fetched(home: &Path) -> Result<Toolkit> {
    if !home.exists() {
        let parent = home.parent().ok_or("the toolkit's folder has no parent")?;
        fs::create_dir_all(parent)?;
        let _lock = lock(&parent.join(format!("cuda-{NVCC_VERSION}.lock")))?;
        // Another process may have fetched it while this one waited for the lock.
        if !home.exists() {
            fetch(parent, home)?;
        }
    }
    let toolkit =
        take(home.to_owned()).map_err(|error| format!("{error}\nRemove {} to fetch it again.", home.display()))?;
    if toolkit.nvcc.version() != NVCC_VERSION {
        let found = toolkit.nvcc.version();
        return Err(format!("{} holds nvcc {found}, not {NVCC_VERSION}; remove it", home.display()).into());
    }
    Ok(toolkit)
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// Fetches and unpacks beside `home`, checks the result, then renames it into place.
fn fetch(parent: &Path, home: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Err("the CUDA compiler is pinned for Linux on x86-64 and AArch64 only; \
                    set GGEMM_CUDA_HOME to an installed toolkit's root"
            .into());
    }
    let work = tempfile::Builder::new().prefix("cuda-fetch-").tempdir_in(parent)?;
    let (wheels, tree) = (work.path().join("wheels"), work.path().join("tree"));
    eprintln!("fetching the CUDA compiler {NVCC_VERSION} (about 200 MB; once for this user) …");
    let pins = work.path().join("pins.txt");
    fs::write(&pins, requirements())?;
    let flags = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"];
    python(Command::new("python3").args(flags).arg("--only-binary=:all:").arg("-d").arg(&wheels).arg("-r").arg(&pins))?;
    let mut paths = fs::read_dir(&wheels)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for wheel in &paths {
        python(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&tree))?;
    }
    let toolkit = tree.join(INSIDE_WHEELS);
    // Python unpacks without the permission to execute.
    for folder in ["bin", "nvvm/bin"] {
        make_executable(&toolkit.join(folder))?;
    }
    let found = take(toolkit.clone())?;
    if found.nvcc.version() != NVCC_VERSION {
        return Err(format!("the wheels hold nvcc {}, not {NVCC_VERSION}", found.nvcc.version()).into());
    }
    fs::rename(&toolkit, home)?;
    Ok(())
}

/// The wheels as a requirements file, each with the hashes that pip must find.
fn requirements() -> String {
    let line = |(name, version, hashes): &(&str, &str, [&str; 2])| {
        format!("{name}=={version} --hash=sha256:{} --hash=sha256:{}\n", hashes[0], hashes[1])
    };
    WHEELS.iter().map(line).collect()
}

/// Runs Python, whose messages go to the person waiting.
fn python(command: &mut Command) -> Result<()> {
    let remedy = "Python 3 with pip is needed to fetch the CUDA compiler; \
                  or set GGEMM_CUDA_HOME to an installed toolkit's root";
    let status =
        command.stdin(Stdio::null()).status().map_err(|error| format!("cannot run python3: {error}. {remedy}"))?;
    if status.success() { Ok(()) } else { Err(format!("python3 failed ({status}). {remedy}").into()) }
}

/// Lets everybody execute the files of `folder` that are programs.
fn make_executable(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        #[cfg(unix)]
        if path.is_file() && path.extension().is_none() {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        #[cfg(not(unix))]
        let _ = path;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_version_and_hash() {
        let text = requirements();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), WHEELS.len());
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let [pin, first, second] = words[..] else { panic!("{line}") };
            assert!(pin.starts_with("nvidia-") && pin.contains("==13."), "{line}");
            for hash in [first, second] {
                let hash = hash.strip_prefix("--hash=sha256:").expect("a hash");
                assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
            }
            assert_ne!(first, second);
        }
    }

    #[test]
    fn a_toolkit_without_nvcc_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = fetched(folder.path()) else { panic!("an empty folder is no toolkit") };
        let text = error.to_string();
        assert!(text.contains("no working nvcc") && text.contains("to fetch it again"), "{text}");
    }
}
