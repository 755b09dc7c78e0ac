//! `cargo xtask bundle`: what is carried to a machine with a GPU and without Rust.
//!
//! The command with the machine code of every kernel inside, the tests that need a GPU, and a script that runs NVIDIA's
//! compute-sanitizer. Nothing on that machine is needed but its driver (and the sanitizer, for the script).

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use ggemm_codegen::Arch;

use crate::{Result, cargo, cuda, root};

#[derive(Args)]
pub(crate) struct Options {
    /// The folder, made anew
    #[arg(default_value = "target/bundle")]
    folder: PathBuf,
    /// Only this architecture's machine code, such as sm_90a; may be given more than once [default: every one's]
    #[arg(long = "target", value_name = "ARCH")]
    targets: Vec<Arch>,
}

/// What a bundle may weigh: it is copied often.
const MOST_BYTES: u64 = 60 << 20;

/// What is in a bundle, and what that is.
const FILES: [(&str, &str); 5] = [
    ("ggemm", "the command, with machine code inside: `./ggemm --help`"),
    ("gpu-tests", "the tests that need a GPU"),
    ("quantize-bench", "what quantization costs"),
    ("sanitize.sh", "NVIDIA's compute-sanitizer over every kernel"),
    ("README.txt", "this"),
];

/// A bundle carries this file, and only a folder with it is ever replaced.
const MARK: &str = "README.txt";

/// Builds and packs.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = root().join(&options.folder);
    replaceable(&folder)?;
    let commit = commit()?;
    let variables = [
        ("GGEMM_BAKE", bake(&options.targets).into()),
        ("GGEMM_COMMIT", OsString::from(&commit)),
        ("CUDA_HOME", cuda::toolkit()?.home.into_os_string()),
    ];
    let ggemm = cargo::build(&["build", "--release", "--package", "ggemm-cli"], &variables, "ggemm")?;
    // Without machine code inside, so that finding a compiler and the cache are tested too.
    let source = [("GGEMM_BAKE", OsString::from("source")), variables[2].clone()];
    let tests =
        cargo::build(&["test", "--release", "--package", "ggemm", "--test", "gpu", "--no-run"], &source, "gpu")?;
    let quantize =
        cargo::build(&["bench", "--package", "ggemm", "--bench", "quantize", "--no-run"], &source, "quantize")?;
    let script = root().join("scripts/sanitize.sh");
    let sizes = pack(&folder, [&ggemm, &tests, &quantize, &script], &readme(&commit, &options.targets))?;
    for (name, bytes) in &sizes {
        println!("{:>8.1} MiB  {name}", mebibytes(*bytes));
    }
    let total = sizes.iter().map(|(_, bytes)| bytes).sum();
    println!("{:>8.1} MiB  {}", mebibytes(total), folder.display());
    if total > MOST_BYTES {
        let most = mebibytes(MOST_BYTES);
        return Err(format!("the bundle is larger than {most} MiB: pack fewer architectures with --target").into());
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What `GGEMM_BAKE` is set to.
fn bake(targets: &[Arch]) -> String {
    let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
    if names.is_empty() { "cubin".to_owned() } else { format!("cubin:{}", names.join(",")) }
}

/// The commit that is built, with `-dirty` where files differ from it.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root()).output();
        let output = output.map_err(|error| format!("cannot run git, which knows the commit: {error}"))?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            return Err(format!("git does not tell the commit: {}", reason.trim()).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let clean = git(&["status", "--porcelain"])?.is_empty();
    Ok(if clean { commit } else { commit + "-dirty" })
}

/// Refuses a folder that holds anything but an earlier bundle.
fn replaceable(folder: &Path) -> Result<()> {
    let empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(format!("{} cannot be replaced: {error}", folder.display()).into()),
    };
    let bundle = fs::read_to_string(folder.join(MARK)).is_ok_and(|text| text.starts_with(TITLE));
    if empty || bundle {
        return Ok(());
    }
    Err(format!("{} holds something else than a bundle: name another folder, or remove it", folder.display()).into())
}

/// Copies the files, and returns their names and sizes.
fn pack(folder: &Path, files: [&Path; 4], readme: &str) -> Result<Vec<(&'static str, u64)>> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(folder)?,
    }
    // The permission to execute travels with the copy.
    for ((name, _), from) in FILES.iter().zip(files) {
        fs::copy(from, folder.join(name)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    fs::write(folder.join(MARK), readme)?;
    FILES.iter().map(|(name, _)| Ok((*name, fs::metadata(folder.join(name))?.len()))).collect()
}

const TITLE: &str = "ggemm for a machine with an NVIDIA GPU and without Rust";

fn readme(commit: &str, targets: &[Arch]) -> String {
    let targets: Vec<&str> = if targets.is_empty() { Arch::ALL.to_vec() } else { targets.to_vec() }
        .iter()
        .map(|target| target.name())
        .collect();
    let files: Vec<String> = FILES.iter().map(|(name, what)| format!("  {name:<14} {what}\n")).collect();
    format!(
        "{TITLE}\n\n\
         Commit {commit}, machine code for {}.\n\n{}\n\
         In this folder:\n\n  \
         ./ggemm doctor                             whether the machine has what it takes\n  \
         ./gpu-tests                                every test on the GPU\n  \
         ./ggemm bench --suite --json h100.json     layers of known models, timed: commit it in benches/results/\n  \
         ./quantize-bench                           bytes read and written by the kernels that quantize, over time\n  \
         ./ggemm bench --suite held-out --all       what better choices of kernels would save\n  \
         ./ggemm run --backend cuda                 one problem, timed and checked\n  \
         ./ggemm verify                             200 random problems for every variant\n  \
         ./ggemm verify --attest h100.json   the same, on record: commit it in attestations/<target>/\n  \
         bash sanitize.sh                           memcheck, racecheck, initcheck and synccheck of every variant\n  \
         bash sanitize.sh 'ggemm_rows_*'            the same of some\n\n\
         Every command exits with 0 where all is well.\n",
        targets.join(", "),
        files.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_packed_and_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to/bundle"));
        fs::write(&from, "12345").unwrap();
        let readme = readme("0123", &[Arch::Sm90a]);
        assert!(readme.contains("Commit 0123, machine code for sm_90a.\n"), "{readme}");
        for _ in 0..2 {
            replaceable(&to).unwrap();
            let sizes = pack(&to, [&from; 4], &readme).unwrap();
            assert_eq!(sizes[..4], [("ggemm", 5), ("gpu-tests", 5), ("quantize-bench", 5), ("sanitize.sh", 5)]);
            assert_eq!(fs::read_dir(&to).unwrap().count(), FILES.len());
        }
        fs::write(to.join(MARK), "precious").unwrap();
        let text = replaceable(&to).unwrap_err().to_string();
        assert!(text.contains("holds something else than a bundle"), "{text}");
    }

    #[test]
    fn what_is_baked_is_what_is_asked_for() {
        assert_eq!(bake(&[]), "cubin");
        assert_eq!(bake(&[Arch::Sm80, Arch::Sm90a]), "cubin:sm_80,sm_90a");
    }

    /// The script with a sanitizer and a command of our own.
    #[cfg(unix)]
    fn sanitize(sanitizer: &str, arguments: &[&str]) -> (i32, String) {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, body: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/usr/bin/env bash\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let ggemm = program(
            "ggemm",
            r#"case "$*" in *--json*) printf '"variant": "%s"\n' rows_a rows_b reduction ;; *) echo "$@" ;; esac"#,
        );
        // The tool's own flags: --tool T --error-exitcode 99 --log-file F, then the command.
        let tool = program("compute-sanitizer", &format!("tool=$2 log=$6; shift 6; \"$@\"; {sanitizer}"));
        let output = Command::new("bash")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/sanitize.sh"))
            .args(arguments)
            .envs([("GGEMM", &ggemm), ("COMPUTE_SANITIZER", &tool), ("LOGS", &folder.path().join("logs"))])
            .output()
            .unwrap();
        let logs = fs::read_dir(folder.path().join("logs")).into_iter().flatten().flatten();
        let texts: Vec<String> = logs.map(|log| fs::read_to_string(log.path()).unwrap()).collect();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap() + &texts.concat())
    }

    const CLEAN: &str = r#"echo "========= ERROR SUMMARY: 0 errors" > "$log""#;
    const FLAGS: &str = "verify --extent tiles --cases 2 --seed 1 --variant";

    #[cfg(unix)]
    #[test]
    fn a_clean_run_is_four_tools_over_each_variant() {
        let (code, text) = sanitize(CLEAN, &[]);
        assert_eq!(code, 0, "{text}");
        for tool in ["memcheck", "racecheck", "initcheck", "synccheck"] {
            let line = text.lines().find(|line| line.starts_with(tool)).unwrap();
            assert!(line.split_whitespace().eq([tool, "3", "0"]), "{text}");
        }
        for name in ["rows_a", "rows_b", "reduction"] {
            assert_eq!(text.matches(&format!("{FLAGS} {name}\n")).count(), 4, "{text}");
        }
        assert!(text.contains("clean: 12 runs of 3 variants"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn patterns_pick_variants() {
        let (code, text) = sanitize(CLEAN, &["rows_*"]);
        assert!(code == 0 && text.contains("clean: 8 runs of 2 variants"), "{text}");
        let (code, text) = sanitize(CLEAN, &["*_b", "reduction"]);
        assert!(code == 0 && text.contains("clean: 8 runs of 2 variants"), "{text}");
        assert_eq!(sanitize(CLEAN, &["nothing_*"]).0, 2);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_tool_finds_fails_and_is_named() {
        let finding = r#"[ $tool${10} != racecheckrows_b ] || { printf '========= %s\n' COMPUTE-SANITIZER 'Error: Race reported between Write access at a and Read access at b' 'RACECHECK SUMMARY: 3 hazards displayed' > "$log"; exit 99; }"#;
        let (code, text) = sanitize(&format!("{CLEAN}; {finding}"), &["rows_*"]);
        assert_eq!(code, 1, "{text}");
        let line = "FAIL  racecheck  rows_b: RACECHECK SUMMARY: 3 hazards displayed: Error: Race reported between Write \
                    access at a and Read access at b\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("FAIL: 1 of 8 runs"), "{text}");
    }

    /// A wrong result, and a tool that watched nothing.
    #[cfg(unix)]
    #[test]
    fn silence_is_no_success() {
        for sanitizer in ["true", &format!("{CLEAN}; exit 1"), "exit 2"] {
            let (code, text) = sanitize(sanitizer, &[]);
            assert_eq!(code, 1, "{sanitizer}: {text}");
            assert!(text.contains("FAIL: 12 of 12 runs"), "{sanitizer}: {text}");
        }
    }
}
