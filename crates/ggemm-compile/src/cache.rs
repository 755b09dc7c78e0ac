//! The compile cache: cubins on disk, shared by all processes of a user.
//!
//! An entry is one file, written whole and checked when read. Of many processes that want the same entry one compiles
//! and the others wait for it. A cache that cannot be used is bypassed and says why: it never fails a compilation.

mod entry;
mod key;
mod location;
pub mod trust;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};
use std::{error, fmt};

use thiserror::Error;

pub use self::key::CacheKey;
pub use self::location::CacheLocation;
use crate::compile::{CompileError, Cubin, Request, compile};
use crate::toolchain::Compiler;

/// A file that is being written is named so until it is whole.
const PARTIAL: &str = ".partial-";

/// A partial file this old was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Where a cubin came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The cache had it.
    Hit,
    /// It was compiled, and the cache has it now.
    Compiled,
    /// It was compiled, and the cache could not take it.
    Bypassed(Bypass),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit => f.write_str("cached"),
            Self::Compiled => f.write_str("compiled"),
            Self::Bypassed(reason) => write!(f, "compiled without the cache: {reason}"),
        }
    }
}

/// Why the cache was not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Bypass {
    /// The caller or `GGEMM_CACHE_DIR` says so.
    #[error("the cache is switched off; unset GGEMM_CACHE_DIR to use it")]
    Disabled,
    /// Nobody says where the user's cache folder is.
    #[error("no cache folder is known: {reason}; set GGEMM_CACHE_DIR")]
    NoFolder {
        /// What is missing.
        reason: String,
    },
    /// The folder does not exist and cannot be made, or cannot be looked at.
    #[error("cannot use the cache folder {}: {reason}; set GGEMM_CACHE_DIR to a folder that can be written", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Another user could have written the folder.
    #[error("the cache folder {} is not trusted: {reason}; {remedy}", path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
        /// The rule it breaks.
        reason: String,
        /// What to do about it.
        remedy: String,
    },
    /// The folder's locks cannot be taken.
    #[error("cannot lock {}: {reason}; make the cache folder writable or set GGEMM_CACHE_DIR", path.display())]
    CannotLock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The entry cannot be written.
    #[error("cannot store {}: {reason}; make the cache folder writable or set GGEMM_CACHE_DIR", path.display())]
    CannotStore {
        /// The entry.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// A compile cache, open or bypassed.
#[derive(Debug)]
pub struct Cache {
    folder: Result<PathBuf, Bypass>,
    sweep: Once,
}

impl Cache {
    /// Opens the cache at `location`, making the folder (for its owner alone) if it is not there.
    ///
    /// This cannot fail: a cache that cannot be used compiles every time, and [`bypass`](Self::bypass) says why.
    #[must_use]
    pub fn open(location: CacheLocation) -> Self {
        Self { folder: location.folder().and_then(prepare), sweep: Once::new() }
    }

    /// The folder, if the cache is in use.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref().ok()
    }

    /// Why the cache is not in use, if it is not.
    #[must_use]
    pub fn bypass(&self) -> Option<&Bypass> {
        self.folder.as_ref().err()
    }

    /// The cubin for `request`: from the cache, else from `compiler`.
    ///
    /// # Errors
    /// As for [`compile`]. Failures are not cached.
    pub fn get_or_compile(&self, compiler: &Compiler, request: &Request<'_>) -> Result<(Cubin, Origin), CompileError> {
        let key = CacheKey::of(compiler, request);
        self.get_or_insert_with(&key, || compile(compiler, request))
    }

    /// The cubin under `key`: from the cache, else from `make`.
    ///
    /// Of all processes and threads that ask for one key at a time, one calls `make`; the others wait for it. `make`
    /// must not use the cache itself: it could wait for its own lock.
    ///
    /// # Errors
    /// Whatever `make` returns. Failures are not cached.
    pub fn get_or_insert_with<E>(
        &self,
        key: &CacheKey,
        make: impl FnOnce() -> Result<Cubin, E>,
    ) -> Result<(Cubin, Origin), E> {
        let folder = match &self.folder {
            Ok(folder) => folder,
            Err(bypass) => return Ok((make()?, Origin::Bypassed(bypass.clone()))),
        };
        let path = folder.join(key.file_name());
        // Entries appear whole, so that a hit needs no lock, and a folder that cannot be written still serves.
        if let Ok(cubin) = read(&path, key) {
            return Ok((cubin, Origin::Hit));
        }
        let _lock = match lock(folder, key) {
            Ok(lock) => lock,
            Err(bypass) => return Ok((make()?, Origin::Bypassed(bypass))),
        };
        match read(&path, key) {
            Ok(cubin) => return Ok((cubin, Origin::Hit)),
            Err(Miss::Absent) => {}
            Err(Miss::Spoilt(reason)) => {
                tracing::warn!(path = %path.display(), reason, "removing a spoilt cache entry and compiling again");
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(path = %path.display(), %error, "cannot remove it");
                }
            }
        }
        let cubin = make()?;
        self.sweep.call_once(|| sweep(folder));
        let origin = match write(folder, &path, &entry::encode(&cubin, key)) {
            Ok(()) => Origin::Compiled,
            Err(error) => Origin::Bypassed(Bypass::CannotStore { path, reason: error.to_string() }),
        };
        Ok((cubin, origin))
    }
}

/// Makes the folder and its folder of locks, and checks that nobody else can write them.
fn prepare(folder: PathBuf) -> Result<PathBuf, Bypass> {
    let unusable =
        |path: &Path, error: &dyn error::Error| Bypass::Unusable { path: path.to_owned(), reason: error.to_string() };
    let folder = std::path::absolute(&folder).map_err(|error| unusable(&folder, &error))?;
    trust::make_private(&folder).map_err(|error| unusable(&folder, &error))?;
    let metadata = std::fs::metadata(&folder).map_err(|error| unusable(&folder, &error))?;
    if !metadata.is_dir() {
        return Err(unusable(&folder, &io::Error::from(io::ErrorKind::NotADirectory)));
    }
    if let Err(distrust) = trust::check(&metadata) {
        let remedy = distrust.remedy(&folder);
        return Err(Bypass::Untrusted { path: folder, reason: distrust.to_string(), remedy });
    }
    Ok(folder)
}

/// Why an entry did not serve.
enum Miss {
    Absent,
    Spoilt(String),
}

fn read(path: &Path, key: &CacheKey) -> Result<Cubin, Miss> {
    let spoilt = |error: &dyn error::Error| Miss::Spoilt(error.to_string());
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Miss::Absent,
        _ => spoilt(&error),
    })?;
    // Of the file that is open, not of the path: it cannot be exchanged between the check and the reading.
    let metadata = file.metadata().map_err(|error| spoilt(&error))?;
    trust::check(&metadata).map_err(|distrust| spoilt(&distrust))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| spoilt(&error))?;
    entry::decode(&bytes, key).map_err(|error| spoilt(&error))
}

/// Writes an entry whole: under another name first, then renamed.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Takes the lock that `key` shares with one in 256 others. It is let go when dropped, or when the process dies.
///
/// The lock files are few and stay: one that is removed while somebody waits for it locks nobody out.
fn lock(folder: &Path, key: &CacheKey) -> Result<File, Bypass> {
    let folder = folder.join("locks");
    let path = folder.join(key.shard());
    let refuse = |error: io::Error| Bypass::CannotLock { path: path.clone(), reason: error.to_string() };
    trust::make_private(&folder).map_err(refuse)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(refuse)?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks. Then two processes may compile the same, and no harm is done.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(error) => Err(refuse(error)),
    }
}

/// Removes what processes that died while writing left behind.
fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if partial && age.is_some_and(|age| age > ABANDONED) {
            // Another process may have been faster.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
