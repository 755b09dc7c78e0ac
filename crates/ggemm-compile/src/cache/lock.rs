//! The locks under which entries are made and removed.
//!
//! A key shares its lock with one in 256 others. The lock files are few and stay: one that is removed while somebody
//! waits for it locks nobody out. A lock is let go when dropped, or when the process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use blake3::Hash;

use super::{Bypass, make_private};

/// Takes the lock of the key of this hash, as soon as nobody else has it.
pub(super) fn wait(folder: &Path, key: &Hash) -> Result<File, Bypass> {
    let (path, file) = open(folder, key)?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks. Then two processes may compile the same, and no harm is done.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(error) => Err(refused(path, &error)),
    }
}

/// Takes the lock if it is free. `None` while somebody else has it.
pub(super) fn take(folder: &Path, key: &Hash) -> Result<Option<File>, Bypass> {
    let (path, file) = open(folder, key)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
        Err(TryLockError::Error(error)) => Err(refused(path, &error)),
    }
}

fn open(folder: &Path, key: &Hash) -> Result<(PathBuf, File), Bypass> {
    let folder = folder.join("locks");
    let path = folder.join(format!("{:02x}", key.as_bytes()[0]));
    let open = || OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    match make_private(&folder).and_then(|()| open()) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(refused(path, &error)),
    }
}

fn refused(path: PathBuf, error: &io::Error) -> Bypass {
    Bypass::CannotLock { path, reason: error.to_string() }
}
