//! `cargo xtask python`: the Python package, built into a wheel, installed into an environment of its own, tested there.
//!
//! The environment is a folder under `target`. pip fills it once; nothing is installed anywhere else.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::{Result, root};

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Build the wheel optimized, as it ships, and leave it in target/python/wheels
    #[arg(long)]
    release: bool,
    /// Build the wheel and stop there
    #[arg(long)]
    no_test: bool,
    /// What else pytest is told, such as `-k tails`
    #[arg(last = true)]
    pytest: Vec<String>,
}

/// What the environment holds; torch is tested too where it is installed there by hand.
const PACKAGES: [&str; 4] = ["maturin>=1.9.4,<2", "numpy>=1.24", "ml_dtypes>=0.3", "pytest>=7"];

/// The file in an environment that says what was installed.
const MARK: &str = "packages.txt";

/// Why there is no environment to build and test in.
#[derive(Debug)]
pub(crate) struct NoEnvironment(String);

impl std::fmt::Display for NoEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}. Python 3.10 or later with venv and pip is needed, and a package index (or PIP_FIND_LINKS with {})",
            self.0,
            PACKAGES.join(" ")
        )
    }
}

impl std::error::Error for NoEnvironment {}

/// Builds the wheel and runs the package's tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = target().join("python");
    let environment = environment(&folder.join("venv"))?;
    let wheels = folder.join(if options.release { "wheels" } else { "wheels-dev" });
    let wheel = build(&environment, &wheels, options.release)?;
    let size = fs::metadata(&wheel)?.len() as f64 / f64::from(1 << 20);
    println!("{} ({size:.1} MiB)", wheel.display());
    if options.no_test {
        return Ok(());
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"];
    let install = install.iter().map(OsStr::new).chain(["--force-reinstall".as_ref(), wheel.as_os_str()]);
    succeed(environment.python().args(install), "installing the wheel")?;
    let package = root().join("crates/ggemm-python");
    let mut tests = environment.python();
    tests.args(["-m", "pytest", "--quiet"]).args(&options.pytest).current_dir(package);
    succeed(&mut tests, "pytest")
}

/// As part of all tests: without an environment the package is skipped with the reason, except where `CI` is set.
pub(crate) fn run_if_possible() -> Result<()> {
    match run(&Options::default()) {
        Err(error) if error.is::<NoEnvironment>() && std::env::var_os("CI").is_none() => {
            eprintln!("warning: the Python package is not tested: {error}");
            Ok(())
        }
        other => other,
    }
}

/// Where cargo builds.
fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    folder.map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A Python with the packages in it.
struct Environment {
    folder: PathBuf,
}

impl Environment {
    fn program(&self, name: &str) -> PathBuf {
        let (folder, suffix) = if cfg!(windows) { ("Scripts", ".exe") } else { ("bin", "") };
        self.folder.join(folder).join(format!("{name}{suffix}"))
    }

    fn python(&self) -> Command {
        let mut command = Command::new(self.program("python"));
        command.stdin(Stdio::null());
        command
    }
}

/// The environment at `folder`, made anew unless it holds the packages already.
fn environment(folder: &Path) -> Result<Environment> {
    let environment = Environment { folder: folder.to_owned() };
    let mark = folder.join(MARK);
    let wanted = PACKAGES.join("\n");
    let whole = fs::read_to_string(&mark).is_ok_and(|held| held == wanted)
        && environment.python().arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if whole {
        return Ok(environment);
    }
    println!("making {} …", folder.display());
    let mut make = Command::new("python3");
    make.stdin(Stdio::null()).args(["-m", "venv", "--clear"]).arg(folder);
    succeed(&mut make, "python3 -m venv").map_err(|error| NoEnvironment(error.to_string()))?;
    let mut install = environment.python();
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
        .args(PACKAGES);
    succeed(&mut install, "pip install").map_err(|error| NoEnvironment(error.to_string()))?;
    fs::write(&mark, &wanted)?;
    Ok(environment)
}

/// Builds the wheel; `wheels` then holds it and no other.
fn build(environment: &Environment, wheels: &Path, release: bool) -> Result<PathBuf> {
    match fs::remove_dir_all(wheels) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(wheels)?,
    }
    let mut maturin = Command::new(environment.program("maturin"));
    maturin.stdin(Stdio::null()).args(["build", "--quiet", "--auditwheel", "skip", "--interpreter"]);
    maturin.arg(environment.program("python")).arg("--out").arg(wheels);
    if release {
        maturin.arg("--release");
    }
    succeed(maturin.current_dir(root().join("crates/ggemm-python")), "maturin build")?;
    let built = fs::read_dir(wheels)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut built: Vec<PathBuf> = built.filter(|path| path.extension() == Some("whl".as_ref())).collect();
    match (built.pop(), built.is_empty()) {
        (Some(wheel), true) => Ok(wheel),
        _ => Err(format!("maturin left not one wheel in {}", wheels.display()).into()),
    }
}

/// Runs a program, whose messages go to the person waiting.
fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().map_err(|error| format!("{what} cannot start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} ended with {status}").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_environment_says_what_is_needed() {
        let text = NoEnvironment("pip install ended with exit status: 1".into()).to_string();
        assert!(text.contains("Python 3.10 or later") && text.contains("maturin"), "{text}");
        let error: Box<dyn std::error::Error + Send + Sync> = NoEnvironment(String::new()).into();
        assert!(error.is::<NoEnvironment>());
    }

    #[test]
    fn a_program_that_fails_is_named() {
        let error = succeed(&mut Command::new("false"), "the program").unwrap_err().to_string();
        assert!(error.starts_with("the program ended with "), "{error}");
        let error = succeed(&mut Command::new("/nowhere"), "the program").unwrap_err().to_string();
        assert!(error.starts_with("the program cannot start: "), "{error}");
    }
}
