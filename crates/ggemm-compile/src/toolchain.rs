//! Finding compilers.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::compile::Options;
use crate::target::Target;

/// A compiler that was found to work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Compiler {
    /// NVIDIA's command, run as a process.
    Nvcc(Nvcc),
    /// NVIDIA's library, called in this process.
    #[cfg(feature = "nvrtc")]
    Nvrtc(crate::nvrtc::Nvrtc),
}

impl Compiler {
    /// The compiler's name and version, such as `nvcc 13.0.88`. Two compilers with one identity make the same code.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Nvcc(nvcc) => format!("nvcc {}", nvcc.version),
            #[cfg(feature = "nvrtc")]
            Self::Nvrtc(nvrtc) => format!("nvrtc {}", nvrtc.version()),
        }
    }

    /// All flags that decide what code comes out, in the order they are passed.
    #[must_use]
    pub fn flags(&self, target: &Target, options: Options) -> Vec<String> {
        match self {
            Self::Nvcc(_) => Nvcc::flags(target, options),
            #[cfg(feature = "nvrtc")]
            Self::Nvrtc(_) => crate::nvrtc::Nvrtc::flags(target, options),
        }
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

impl From<Nvcc> for Compiler {
    fn from(nvcc: Nvcc) -> Self {
        Self::Nvcc(nvcc)
    }
}

#[cfg(feature = "nvrtc")]
impl From<crate::nvrtc::Nvrtc> for Compiler {
    fn from(nvrtc: crate::nvrtc::Nvrtc) -> Self {
        Self::Nvrtc(nvrtc)
    }
}

/// An nvcc that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nvcc {
    path: PathBuf,
    version: String,
}

impl Nvcc {
    /// Finds nvcc through the process' environment.
    ///
    /// Looked at in turn: the executable named by `GGEMM_NVCC`, `bin/nvcc` in `CUDA_HOME` and in `CUDA_PATH`, and
    /// `nvcc` in every folder of `PATH`.
    ///
    /// # Errors
    /// None of them works, or `GGEMM_NVCC` is set and does not: an explicit choice is never passed over.
    pub fn find() -> Result<Self, NvccError> {
        Self::find_in(|name| std::env::var_os(name))
    }

    /// Finds nvcc as [`find`](Self::find) does, with the environment's variables read through `lookup`.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn find_in(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, NvccError> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        if let Some(chosen) = set("GGEMM_NVCC") {
            return Self::at(chosen);
        }
        let mut candidates = Vec::new();
        let mut unset = vec![LookedAt::Unset("GGEMM_NVCC")];
        for variable in ["CUDA_HOME", "CUDA_PATH"] {
            match set(variable) {
                Some(root) => candidates.push(Path::new(&root).join("bin").join(executable())),
                None => unset.push(LookedAt::Unset(variable)),
            }
        }
        match set("PATH") {
            Some(path) => candidates.extend(std::env::split_paths(&path).map(|folder| folder.join(executable()))),
            None => unset.push(LookedAt::Unset("PATH")),
        }
        let mut looked_at = unset;
        for candidate in candidates {
            match Self::at(candidate) {
                Ok(nvcc) => return Ok(nvcc),
                Err(error) => looked_at.extend(error.looked_at),
            }
        }
        Err(NvccError { looked_at })
    }

    /// Takes the nvcc at `path`, and asks it for its version.
    ///
    /// # Errors
    /// Nothing that works as an nvcc is there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, NvccError> {
        let path = path.into();
        let refuse = |reason: String| NvccError { looked_at: vec![LookedAt::Path { path: path.clone(), reason }] };
        // nvcc runs in another folder later, so that a relative path would lose its meaning.
        let absolute = std::path::absolute(&path).map_err(|error| refuse(error.to_string()))?;
        let output = Command::new(&absolute)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| refuse(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&text).filter(|_| output.status.success());
        let version = version.ok_or_else(|| refuse("`--version` did not answer as nvcc does".to_owned()))?;
        Ok(Self { version: version.to_owned(), path: absolute })
    }

    /// The executable.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version, such as `13.0.88`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn flags(target: &Target, options: Options) -> Vec<String> {
        let mut flags: Vec<String> = ["-cubin", "-O3", "-std=c++17", "-Xptxas", "-v"].map(str::to_owned).into();
        flags.push(target.nvcc_flag());
        if options.line_info {
            flags.push("-lineinfo".to_owned());
        }
        flags
    }
}

fn executable() -> String {
    format!("nvcc{EXE_SUFFIX}")
}

/// Reads `…release 13.0, V13.0.88`.
fn parse_version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("release ")?;
    let (_, version) = rest.lines().next()?.split_once(", V")?;
    let version = version.trim();
    let well_formed = version.starts_with(|first: char| first.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    well_formed.then_some(version)
}

/// No nvcc that works.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no working nvcc; looked at: {}. Install the CUDA toolkit, and set GGEMM_NVCC to its nvcc or CUDA_HOME to its root",
    list(looked_at)
)]
pub struct NvccError {
    /// Every place that was tried, and why it did not do.
    pub looked_at: Vec<LookedAt>,
}

/// A place where a compiler was looked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookedAt {
    /// An environment variable that is unset or empty.
    Unset(&'static str),
    /// A path, and what is wrong with it.
    Path {
        /// The executable tried.
        path: PathBuf,
        /// Why it did not do.
        reason: String,
    },
}

impl fmt::Display for LookedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(variable) => write!(f, "${variable} (not set)"),
            Self::Path { path, reason } => write!(f, "{} ({reason})", path.display()),
        }
    }
}

fn list(places: &[LookedAt]) -> String {
    places.iter().map(LookedAt::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment with just these variables.
    fn environment(variables: &[(&str, &Path)]) -> impl Fn(&str) -> Option<OsString> {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.as_os_str().to_owned())).collect();
        move |name| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// A script that answers so, whatever it is asked.
    #[cfg(unix)]
    fn fake(path: &Path, answer: &str) {
        crate::testing::script(path, &format!("echo '{answer}'"));
    }

    #[cfg(unix)]
    fn release(version: &str) -> String {
        format!("Cuda compilation tools, release 1.2, V{version}")
    }

    #[test]
    fn version_is_read_from_the_release_line() {
        let text = "nvcc: NVIDIA (R) Cuda compiler driver\nBuilt on Wed\nCuda compilation tools, release 13.0, \
                    V13.0.88\nBuild cuda_13.0.r13.0/compiler.36424714_0\n";
        assert_eq!(parse_version(text), Some("13.0.88"));
        for text in ["", "release 13.0", "release 13.0, V", "release 13.0, Vx", "gcc 12.2.0"] {
            assert_eq!(parse_version(text), None, "{text}");
        }
    }

    #[test]
    fn an_empty_environment_is_named_place_by_place() {
        let error = Nvcc::find_in(|_| None).unwrap_err();
        assert_eq!(error.looked_at, ["GGEMM_NVCC", "CUDA_HOME", "CUDA_PATH", "PATH"].map(LookedAt::Unset));
        let text = error.to_string();
        assert!(text.contains("$CUDA_HOME (not set)") && text.contains("set GGEMM_NVCC"), "{text}");
    }

    #[test]
    fn an_empty_path_and_a_home_without_nvcc_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Nvcc::find_in(environment(&[("CUDA_HOME", folder.path()), ("PATH", folder.path())])).unwrap_err();
        let NvccError { looked_at } = error;
        let paths: Vec<_> = looked_at
            .iter()
            .filter_map(|place| match place {
                LookedAt::Path { path, .. } => Some(path.clone()),
                LookedAt::Unset(_) => None,
            })
            .collect();
        assert_eq!(paths, [folder.path().join("bin").join(executable()), folder.path().join(executable())]);
    }

    #[cfg(unix)]
    #[test]
    fn places_are_looked_at_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fake(&at("chosen"), &release("1.0.1"));
        fake(&at("home/bin/nvcc"), &release("1.0.2"));
        fake(&at("cuda/bin/nvcc"), &release("1.0.3"));
        fake(&at("path/nvcc"), &release("1.0.4"));
        let mut variables = vec![
            ("GGEMM_NVCC", at("chosen")),
            ("CUDA_HOME", at("home")),
            ("CUDA_PATH", at("cuda")),
            ("PATH", at("path")),
        ];
        for version in ["1.0.1", "1.0.2", "1.0.3", "1.0.4"] {
            let borrowed: Vec<_> = variables.iter().map(|(name, path)| (*name, path.as_path())).collect();
            let nvcc = Nvcc::find_in(environment(&borrowed)).unwrap();
            assert_eq!(nvcc.version(), version);
            assert_eq!(Compiler::from(nvcc).identity(), format!("nvcc {version}"));
            variables.remove(0);
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_explicit_choice_is_never_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let good = root.path().join("path/nvcc");
        let other = root.path().join("other");
        fake(&good, &release("1.0.4"));
        fake(&other, "gcc 12.2.0");
        let path = root.path().join("path");
        let error = Nvcc::find_in(environment(&[("GGEMM_NVCC", &other), ("PATH", &path)])).unwrap_err();
        let NvccError { looked_at } = error;
        let reason = "`--version` did not answer as nvcc does".to_owned();
        assert_eq!(looked_at, [LookedAt::Path { path: other, reason }]);
    }

    #[cfg(unix)]
    #[test]
    fn an_nvcc_that_answers_and_fails_does_not_work() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("nvcc");
        crate::testing::script(&path, &format!("echo '{}'; exit 1", release("1.0.4")));
        let NvccError { looked_at } = Nvcc::at(&path).unwrap_err();
        assert!(matches!(&looked_at[..], [LookedAt::Path { path: named, .. }] if *named == path), "{looked_at:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_home_that_does_not_work_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        fake(&root.path().join("path/nvcc"), &release("1.0.4"));
        let (home, path) = (root.path().join("absent"), root.path().join("path"));
        let nvcc = Nvcc::find_in(environment(&[("CUDA_HOME", &home), ("PATH", &path)])).unwrap();
        assert_eq!(nvcc.version(), "1.0.4");
    }
}
