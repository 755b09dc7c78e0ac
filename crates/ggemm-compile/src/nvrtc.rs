//! NVRTC: compiling inside this process, through cudarc's bindings.
//!
//! The only file of this crate with `unsafe` in it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsString, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::nvrtc::{result, sys};
use thiserror::Error;

use crate::compile::{Options, Output, Request};
use crate::target::Target;

/// The oldest NVRTC that hands out cubins and knows every flag passed to it.
const OLDEST: (i32, i32) = (11, 8);

/// An NVRTC that is loaded into this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nvrtc {
    version: (i32, i32),
}

/// Why there is no NVRTC, or why a call of it failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NvrtcError {
    /// No library of that name could be loaded.
    #[error(
        "no NVRTC library: neither the system's loader nor {} has one. Install the CUDA toolkit (or the wheel \
         nvidia-cuda-nvrtc) and set CUDA_HOME to its root, or add its library folder to LD_LIBRARY_PATH before the \
         program starts",
        places(folders)
    )]
    Absent {
        /// The folders that were looked at after the loader's own.
        folders: Vec<PathBuf>,
    },
    /// The library found is too old.
    #[error(
        "NVRTC {}.{} is too old: {}.{} or later is needed; install a newer CUDA toolkit",
        found.0, found.1, OLDEST.0, OLDEST.1
    )]
    TooOld {
        /// Its version.
        found: (i32, i32),
    },
    /// A call failed.
    #[error("NVRTC's {call} failed with {code}: {log}")]
    Failed {
        /// The function.
        call: &'static str,
        /// Its result, by NVRTC's own name.
        code: String,
        /// The compiler's output so far.
        log: String,
    },
}

fn places(folders: &[PathBuf]) -> String {
    if folders.is_empty() {
        return "CUDA_HOME and CUDA_PATH (not set)".to_owned();
    }
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Nvrtc {
    /// Finds NVRTC: the one the system's loader knows, else the one in `CUDA_HOME` or `CUDA_PATH`.
    ///
    /// A library that was loaded stays loaded. Its absence is an error, never a panic.
    ///
    /// # Errors
    /// No library is found, or it is older than 11.8.
    pub fn find() -> Result<Self, NvrtcError> {
        Self::find_in(|name| std::env::var_os(name))
    }

    /// Finds NVRTC as [`find`](Self::find) does, with the environment's variables read through `lookup`.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn find_in(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, NvrtcError> {
        if !loadable() {
            let folders: Vec<PathBuf> = ["CUDA_HOME", "CUDA_PATH"]
                .iter()
                .filter_map(|name| lookup(name).filter(|value| !value.is_empty()))
                .flat_map(|root| ["lib64", "lib"].map(|folder| Path::new(&root).join(folder)))
                .collect();
            let found = folders.iter().any(|folder| {
                preload(folder);
                loadable()
            });
            if !found {
                return Err(NvrtcError::Absent { folders });
            }
        }
        let version = version()?;
        if version < OLDEST {
            return Err(NvrtcError::TooOld { found: version });
        }
        Ok(Self { version })
    }

    /// The version, such as `13.0`. NVRTC does not tell its third part.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    pub(crate) fn flags(target: &Target, options: Options) -> Vec<String> {
        let mut flags = vec![target.nvrtc_flag(), "--std=c++17".to_owned(), "--ptxas-options=-v".to_owned()];
        if options.line_info {
            flags.push("--generate-line-info".to_owned());
        }
        flags
    }

    /// Compiles `request`, whose source holds no NUL byte.
    pub(crate) fn run(&self, file_name: &str, request: &Request<'_>) -> Result<Output, NvrtcError> {
        let program = Program::new(file_name, request.source)?;
        let accepted = program.compile(&Self::flags(request.target, request.options))?;
        let bytes = accepted.then(|| program.cubin()).transpose()?;
        Ok(Output { bytes, log: program.log()? })
    }
}

fn failed(call: &'static str) -> impl FnOnce(result::NvrtcError) -> NvrtcError {
    move |error| NvrtcError::Failed { call, code: format!("{:?}", error.0), log: String::new() }
}

/// Whether the loader finds a library under one of the names that cudarc will look for. Once true it stays so.
fn loadable() -> bool {
    static LOADED: OnceLock<()> = OnceLock::new();
    if LOADED.get().is_some() {
        return true;
    }
    // SAFETY: this runs the initializers of whatever library the loader finds under NVRTC's names; NVIDIA's have no
    // precondition.
    let present = unsafe { sys::is_culib_present() };
    if present {
        LOADED.get_or_init(|| ());
    }
    present
}

/// Loads NVRTC and its builtins from `folder`, for good. Later the loader finds them by their names alone.
///
/// The builtins come first: NVRTC loads them by name when it compiles, and finds them only if they are there already.
fn preload(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let names: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    for prefix in ["libnvrtc-builtins.so", "libnvrtc.so"] {
        let is_library = |path: &&PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix))
        };
        for path in names.iter().filter(is_library) {
            // SAFETY: the caller's environment names this folder as a CUDA toolkit's; the initializers of NVRTC have
            // no precondition, and the library is never unloaded.
            match unsafe { libloading::Library::new(path) } {
                Ok(library) => std::mem::forget(library),
                Err(error) => tracing::debug!(path = %path.display(), %error, "cannot load"),
            }
        }
    }
}

/// Asks the library for its version. It must be loadable: cudarc panics otherwise.
fn version() -> Result<(i32, i32), NvrtcError> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are to live integers, and `loadable` found the library.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }.result().map_err(failed("nvrtcVersion"))?;
    Ok((major, minor))
}

/// A program NVRTC holds, freed when dropped.
struct Program {
    raw: sys::nvrtcProgram,
    // NVRTC may keep pointers to these.
    _source: CString,
    _name: CString,
}

impl Program {
    fn new(name: &str, source: &str) -> Result<Self, NvrtcError> {
        let nul = |_| NvrtcError::Failed {
            call: "nvrtcCreateProgram",
            code: "not called".to_owned(),
            log: "the name or the source holds a NUL byte; remove it".to_owned(),
        };
        let (name, source) = (CString::new(name).map_err(nul)?, CString::new(source).map_err(nul)?);
        let raw = result::create_program(&source, Some(&name)).map_err(failed("nvrtcCreateProgram"))?;
        Ok(Self { raw, _source: source, _name: name })
    }

    /// Whether the source was accepted. Anything that is not the source's fault is an error.
    fn compile(&self, flags: &[String]) -> Result<bool, NvrtcError> {
        // SAFETY: the program was created by `create_program` and is destroyed only in `drop`.
        match unsafe { result::compile_program(self.raw, flags) } {
            Ok(()) => Ok(true),
            Err(result::NvrtcError(sys::nvrtcResult::NVRTC_ERROR_COMPILATION)) => Ok(false),
            Err(error) => {
                let log = self.log().unwrap_or_default();
                Err(NvrtcError::Failed { call: "nvrtcCompileProgram", code: format!("{:?}", error.0), log })
            }
        }
    }

    fn log(&self) -> Result<String, NvrtcError> {
        // SAFETY: as in `compile`.
        let log = unsafe { result::get_program_log(self.raw) }.map_err(failed("nvrtcGetProgramLog"))?;
        let bytes: Vec<u8> = log.iter().map(|c| c.to_ne_bytes()[0]).collect();
        let text = CStr::from_bytes_until_nul(&bytes).map_or(&bytes[..], CStr::to_bytes);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn cubin(&self) -> Result<Vec<u8>, NvrtcError> {
        let mut size = 0;
        // SAFETY: as in `compile`, and the pointer is to a live integer.
        unsafe { sys::nvrtcGetCUBINSize(self.raw, &raw mut size) }.result().map_err(failed("nvrtcGetCUBINSize"))?;
        let mut bytes = vec![0_u8; size];
        if size > 0 {
            // SAFETY: as in `compile`, and the buffer has the size that NVRTC asked for.
            unsafe { sys::nvrtcGetCUBIN(self.raw, bytes.as_mut_ptr().cast::<c_char>()) }
                .result()
                .map_err(failed("nvrtcGetCUBIN"))?;
        }
        Ok(bytes)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is live, and nothing uses it after this.
        if let Err(error) = unsafe { result::destroy_program(self.raw) } {
            tracing::debug!(?error, "nvrtcDestroyProgram failed");
        }
    }
}
