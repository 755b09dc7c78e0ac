//! One compilation: a source in, a cubin and what the compiler said out.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::facts::{Facts, warnings};
use crate::target::Target;
use crate::toolchain::{Compiler, Nvcc};

/// What is to be compiled.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kernel's name: it names the source file in the log, and begins the cache entry's file name.
    pub name: &'a str,
    /// CUDA C++. It must include nothing that the compiler does not bring itself: the cache knows this text alone.
    pub source: &'a str,
    /// The architecture to make code for.
    pub target: &'a Target,
    /// How to compile.
    pub options: Options,
}

impl<'a> Request<'a> {
    /// A kernel as ggemm itself compiles it, so that whoever asks for it again finds it in the cache: when a program
    /// runs, when it is built, and when the cache is warmed.
    #[must_use]
    pub fn new(name: &'a str, source: &'a str, target: &'a Target) -> Self {
        Self { name, source, target, options: Options::default() }
    }
}

/// How to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Keep the source's lines in the cubin, for profilers. The bytes then depend on comments and the file's name.
    pub line_info: bool,
}

impl Options {
    /// Sets [`line_info`](Self::line_info).
    #[must_use]
    pub fn with_line_info(self, line_info: bool) -> Self {
        Self { line_info, ..self }
    }
}

/// Machine code for one architecture, and what the compiler said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cubin {
    /// The ELF image that the driver loads.
    pub bytes: Vec<u8>,
    /// What the code uses. `None` if the compiler did not say.
    pub facts: Option<Facts>,
    /// What the compiler warned of, a line each.
    pub warnings: Vec<String>,
    /// All the compiler's output.
    pub log: String,
}

impl Cubin {
    /// A cubin with the output of the compiler that made it, from which facts and warnings are read.
    #[must_use]
    pub fn new(bytes: Vec<u8>, log: String) -> Self {
        Self { bytes, facts: Facts::parse(&log), warnings: warnings(&log), log }
    }
}

/// Why there is no cubin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler refused the source.
    #[error("{compiler} refused the kernel `{name}` for {target}; its output says where and why:\n{log}")]
    Refused {
        /// The kernel.
        name: String,
        /// The architecture.
        target: Target,
        /// The compiler's identity.
        compiler: String,
        /// The compiler's output.
        log: String,
    },
    /// The compiler reported success and made no machine code.
    #[error(
        "{compiler} reported success for the kernel `{name}` for {target} but made no ELF image ({len} bytes): \
         check that this compiler supports the architecture. Its output:\n{log}"
    )]
    NoCode {
        /// The kernel.
        name: String,
        /// The architecture.
        target: Target,
        /// The compiler's identity.
        compiler: String,
        /// How many bytes came out.
        len: usize,
        /// The compiler's output.
        log: String,
    },
    /// The source cannot be handed to a C compiler.
    #[error("the source of the kernel `{name}` holds a NUL byte at offset {offset}; remove it")]
    NulInSource {
        /// The kernel.
        name: String,
        /// Where the byte is.
        offset: usize,
    },
    /// A file or process could not be handled.
    #[error(
        "compiling the kernel `{name}`: cannot {action}: {source}; check the temporary folder and the compiler's installation"
    )]
    Io {
        /// The kernel.
        name: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// NVRTC failed other than by refusing the source.
    #[cfg(feature = "nvrtc")]
    #[error("compiling the kernel `{name}` in this process: {source}")]
    Nvrtc {
        /// The kernel.
        name: String,
        /// What went wrong.
        source: crate::nvrtc::NvrtcError,
    },
}

/// Compiles one source, without any cache.
///
/// # Errors
/// The compiler refuses the source, makes no code, or cannot be run.
pub fn compile(compiler: &Compiler, request: &Request<'_>) -> Result<Cubin, CompileError> {
    if let Some(offset) = request.source.bytes().position(|byte| byte == 0) {
        return Err(CompileError::NulInSource { name: request.name.to_owned(), offset });
    }
    let output = match compiler {
        Compiler::Nvcc(nvcc) => run_nvcc(nvcc, request)?,
        #[cfg(feature = "nvrtc")]
        Compiler::Nvrtc(nvrtc) => nvrtc
            .run(&file_name(request.name), request)
            .map_err(|source| CompileError::Nvrtc { name: request.name.to_owned(), source })?,
    };
    let Output { bytes, log } = output;
    let (name, target, compiler) = (request.name.to_owned(), request.target.clone(), compiler.identity());
    match bytes {
        None => Err(CompileError::Refused { name, target, compiler, log }),
        Some(bytes) if !bytes.starts_with(b"\x7fELF") => {
            Err(CompileError::NoCode { name, target, compiler, len: bytes.len(), log })
        }
        Some(bytes) => Ok(Cubin::new(bytes, log)),
    }
}

/// What a compiler left behind; no bytes if it refused the source.
pub(crate) struct Output {
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) log: String,
}

/// Runs nvcc in a folder of its own, in which it also keeps its intermediate files.
fn run_nvcc(nvcc: &Nvcc, request: &Request<'_>) -> Result<Output, CompileError> {
    let failed = |action| move |source| CompileError::Io { name: request.name.to_owned(), action, source };
    let folder = tempfile::Builder::new().prefix("ggemm-").tempdir().map_err(failed("create a temporary folder"))?;
    let (source, cubin) = (file_name(request.name), "out.cubin");
    std::fs::write(folder.path().join(&source), request.source).map_err(failed("write the source"))?;
    let output = Command::new(nvcc.path())
        .args(Nvcc::flags(request.target, request.options))
        .args(["-o", cubin, &source])
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        // Flags from outside would change the code behind the cache's back.
        .env_remove("NVCC_PREPEND_FLAGS")
        .env_remove("NVCC_APPEND_FLAGS")
        .stdin(Stdio::null())
        .output()
        .map_err(failed("run nvcc"))?;
    let log = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let bytes = if output.status.success() {
        Some(read_if_there(&folder.path().join(cubin)).map_err(failed("read the cubin"))?)
    } else {
        None
    };
    Ok(Output { bytes, log })
}

/// An absent file is an empty one: the caller refuses both, with the log.
fn read_if_there(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

fn file_name(name: &str) -> String {
    format!("{}.cu", file_stem(name))
}

/// The name with nothing in it that a file name could not have, at most 100 bytes of it.
pub(crate) fn file_stem(name: &str) -> String {
    let mut stem: String = name
        .chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' })
        .collect();
    // No hidden file, and none that a command would take for a flag.
    if !stem.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
        stem.insert(0, '_');
    }
    stem
}

/// What a cubin was made of, and by what, for people who look into a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) target: String,
    pub(crate) compiler: String,
}

/// What a cache entry keeps of a cubin beside its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notes {
    #[serde(default)]
    pub(crate) made: Option<Made>,
    pub(crate) facts: Option<Facts>,
    pub(crate) warnings: Vec<String>,
    pub(crate) log: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_fit_for_files() {
        assert_eq!(file_stem("ragged_rows-bf16.v1"), "ragged_rows-bf16.v1");
        assert_eq!(file_stem("../etc/passwd"), "_.._etc_passwd");
        assert_eq!(file_stem("-o"), "_-o");
        assert_eq!(file_stem(""), "_");
        assert_eq!(file_stem("a b\u{e9}"), "a_b_");
        assert_eq!(file_stem(&"x".repeat(300)).len(), 100);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod stand_in_tests {
    use super::*;

    #[test]
    fn a_nul_in_the_source_is_named_before_any_compiler_runs() {
        let root = tempfile::tempdir().unwrap();
        let nvcc = stand_in(root.path(), "exit 1");
        let target = "sm_80".parse().unwrap();
        let request = Request { name: "k", source: "ab\0c", target: &target, options: Options::default() };
        let error = compile(&nvcc, &request).unwrap_err();
        assert!(matches!(error, CompileError::NulInSource { offset: 2, .. }), "{error}");
    }

    #[test]
    fn a_refused_source_carries_name_target_and_log() {
        let root = tempfile::tempdir().unwrap();
        let nvcc = stand_in(root.path(), "echo 'k.cu(1): error: no' >&2; exit 2");
        let target = "sm_80".parse().unwrap();
        let request = Request { name: "k", source: "x", target: &target, options: Options::default() };
        let error = compile(&nvcc, &request).unwrap_err();
        assert!(matches!(&error, CompileError::Refused { log, .. } if log == "k.cu(1): error: no\n"), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("nvcc 9.9.9 refused the kernel `k` for sm_80"), "{text}");
    }

    #[test]
    fn success_without_machine_code_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let target = "sm_80".parse().unwrap();
        let request = Request { name: "k", source: "x", target: &target, options: Options::default() };
        for (script, expected) in [("exit 0", 0), (": > out.cubin", 0), ("echo //PTX > out.cubin", 6)] {
            let nvcc = stand_in(root.path(), script);
            let error = compile(&nvcc, &request).unwrap_err();
            assert!(matches!(error, CompileError::NoCode { len, .. } if len == expected), "{script}: {error}");
        }
    }

    #[test]
    fn nvcc_gets_the_flags_and_a_folder_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let script = "printf '\\177ELF' > out.cubin; echo \"$@\"; cat k.cu; test \"$TMPDIR\" = \"$PWD\"";
        let nvcc = stand_in(root.path(), script);
        let target = "sm_90a".parse().unwrap();
        let request =
            Request { name: "k", source: "text\n", target: &target, options: Options::default().with_line_info(true) };
        let cubin = compile(&nvcc, &request).unwrap();
        assert_eq!(cubin.bytes, b"\x7fELF");
        let expected = "-cubin -O3 -std=c++17 -Xptxas -v -gencode=arch=compute_90a,code=sm_90a -lineinfo -o out.cubin \
                        k.cu\ntext\n";
        assert_eq!(cubin.log, expected);
    }

    /// A shell script in nvcc's place.
    fn stand_in(folder: &Path, script: &str) -> Compiler {
        let path = folder.join("nvcc");
        let version = "Cuda compilation tools, release 9.9, V9.9.9";
        crate::testing::script(&path, &format!("if [ \"$1\" = --version ]; then echo '{version}'; exit; fi\n{script}"));
        Nvcc::at(path).unwrap().into()
    }
}
