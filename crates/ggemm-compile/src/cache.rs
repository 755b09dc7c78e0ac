//! The compile cache: cubins on disk, shared by all processes of a user.
//!
//! An entry is one file, written whole and checked when read. Of many processes that want the same entry one compiles
//! and the others wait for it. A cache that cannot be used is bypassed and says why: it never fails a compilation.
//!
//! An entry's file is dated by its last use, so that pruning keeps what is used.

mod entry;
mod examine;
mod inventory;
mod key;
mod location;
mod lock;
mod prune;
pub mod trust;
mod warm;

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};
use std::{error, fmt};

use blake3::Hash;
use thiserror::Error;

pub use self::examine::Condition;
pub use self::inventory::Entry;
pub use self::key::CacheKey;
pub use self::location::CacheLocation;
pub use self::prune::{Outcome, PruneRule, Pruned, Reason, Removal};
use self::trust::make_private;
use crate::compile::{CompileError, Cubin, Made, Request, compile};
use crate::toolchain::Compiler;

/// A file that is being written is named so until it is whole.
const PARTIAL: &str = ".partial-";

/// A partial file this old was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Uses of an entry that follow its last one by less than this leave its date alone.
const DATED: Duration = Duration::from_secs(60 * 60);

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
        Self::at(location.folder().and_then(|folder| {
            make_private(&folder).map_err(|error| unusable(&folder, &error))?;
            trusted(folder)
        }))
    }

    /// Opens the cache at `location` if its folder is there, and makes nothing. `None` where it is not there.
    ///
    /// # Errors
    /// Why the cache cannot be used.
    pub fn find(location: &CacheLocation) -> Result<Option<Self>, Bypass> {
        let folder = location.folder()?;
        match folder.try_exists() {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Self::at(Ok(trusted(folder)?)))),
            Err(error) => Err(unusable(&folder, &error)),
        }
    }

    fn at(folder: Result<PathBuf, Bypass>) -> Self {
        Self { folder, sweep: Once::new() }
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

    /// The cubin under `key`, if the cache has it. Nothing is compiled, and it does not count as a use.
    #[must_use]
    pub fn peek(&self, key: &CacheKey) -> Option<Cubin> {
        let folder = self.folder()?;
        read(&folder.join(key.file_name()), key.hash()).ok().map(|found| found.cubin)
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
        if let Ok(found) = read(&path, key.hash()) {
            return Ok((found.into_use(), Origin::Hit));
        }
        let _lock = match lock::wait(folder, key.hash()) {
            Ok(lock) => lock,
            Err(bypass) => return Ok((make()?, Origin::Bypassed(bypass))),
        };
        match read(&path, key.hash()) {
            Ok(found) => return Ok((found.into_use(), Origin::Hit)),
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

fn unusable(path: &Path, error: &dyn error::Error) -> Bypass {
    Bypass::Unusable { path: path.to_owned(), reason: error.to_string() }
}

/// The folder, if it is one and nobody else can write it.
fn trusted(folder: PathBuf) -> Result<PathBuf, Bypass> {
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

/// An entry that reads back right.
struct Found {
    file: File,
    metadata: Metadata,
    cubin: Cubin,
    made: Option<Made>,
}

impl Found {
    /// The cubin, with the entry dated by this use. Where that is not allowed, the entry keeps its date.
    fn into_use(self) -> Cubin {
        let now = SystemTime::now();
        let age = self.metadata.modified().ok().and_then(|used| now.duration_since(used).ok());
        if age.is_some_and(|age| age >= DATED)
            && let Err(error) = self.file.set_modified(now)
        {
            tracing::debug!(%error, "cannot date a cache entry");
        }
        self.cubin
    }
}

/// Reads the entry of the key of this hash.
fn read(path: &Path, key: &Hash) -> Result<Found, Miss> {
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
    let (cubin, made) = entry::decode(&bytes, key).map_err(|error| spoilt(&error))?;
    Ok(Found { file, metadata, cubin, made })
}

/// Writes an entry whole: under another name first, then renamed.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Removes what processes that died while writing left behind.
fn sweep(folder: &Path) {
    for (path, _) in abandoned(folder) {
        // Another process may have been faster.
        let _ = std::fs::remove_file(path);
    }
}

/// What processes that died while writing left behind, with its bytes.
fn abandoned(folder: &Path) -> Vec<(PathBuf, u64)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let abandoned = entries.flatten().filter_map(|entry| {
        let partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        let metadata = entry.metadata().ok().filter(|_| partial)?;
        let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
        (age > ABANDONED).then(|| (entry.path(), metadata.len()))
    });
    abandoned.collect()
}

#[cfg(test)]
mod tests;
