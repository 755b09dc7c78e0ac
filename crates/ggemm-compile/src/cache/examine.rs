//! Whether a cache could be used, found without leaving anything behind.

use std::path::{Path, PathBuf};

use super::{Bypass, Cache, CacheLocation, unusable};

/// What a cache's folder is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// It is there, nobody else can write it, and this process can.
    Ready {
        /// The folder.
        folder: PathBuf,
    },
    /// It is not there, and will be made at the first use.
    Absent {
        /// The folder.
        folder: PathBuf,
    },
    /// It is there and trusted, and what it holds is used, but nothing can be added.
    ReadOnly {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It cannot be used.
    Bypassed(Bypass),
}

impl CacheLocation {
    /// Looks at the folder as [`Cache::open`] would, and makes nothing: files that it writes to try are unnamed, or gone
    /// when it returns.
    #[must_use]
    pub fn examine(&self) -> Condition {
        match Cache::find(self) {
            Err(bypass) => Condition::Bypassed(bypass),
            Ok(None) => match self.folder() {
                Ok(folder) => absent(folder),
                Err(bypass) => Condition::Bypassed(bypass),
            },
            Ok(Some(cache)) => match cache.folder {
                Err(bypass) => Condition::Bypassed(bypass),
                Ok(folder) => match std::fs::read_dir(&folder) {
                    Err(error) => Condition::Bypassed(unusable(&folder, &error)),
                    Ok(_) => match tempfile::tempfile_in(&folder) {
                        Ok(_) => Condition::Ready { folder },
                        Err(error) => Condition::ReadOnly { folder, reason: error.to_string() },
                    },
                },
            },
        }
    }
}

/// Whether a folder that is not there could be made: what it would stand in is a folder that takes files.
fn absent(folder: PathBuf) -> Condition {
    let nearest = folder.ancestors().skip(1).find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    match tempfile::tempfile_in(nearest) {
        Ok(_) => Condition::Absent { folder },
        Err(error) => Condition::Bypassed(unusable(&folder, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::*;

    fn examine(folder: &Path) -> Condition {
        CacheLocation::At(folder.to_owned()).examine()
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        assert_eq!(examine(&folder), Condition::Absent { folder: folder.clone() });
        assert!(!root.path().join("a").exists());
        assert!(Cache::find(&CacheLocation::At(folder.clone())).unwrap().is_none());
        drop(Cache::open(CacheLocation::At(folder.clone())));
        assert_eq!(examine(&folder), Condition::Ready { folder: folder.clone() });
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        assert_eq!(CacheLocation::Disabled.examine(), Condition::Bypassed(Bypass::Disabled));
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        for folder in [file.join("cache"), file] {
            let condition = examine(&folder);
            let Condition::Bypassed(Bypass::Unusable { path, .. }) = &condition else { panic!("{condition:?}") };
            assert_eq!(*path, folder);
        }
    }

    /// The system's own folders there cannot be written, not even by root.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_cannot_be_written_still_serves_and_one_that_cannot_be_made_does_not() {
        let condition = examine(Path::new("/proc/sys"));
        assert!(matches!(condition, Condition::ReadOnly { .. }), "{condition:?}");
        let condition = examine(Path::new("/proc/sys/ggemm"));
        assert!(matches!(condition, Condition::Bypassed(Bypass::Unusable { .. })), "{condition:?}");
    }
}
