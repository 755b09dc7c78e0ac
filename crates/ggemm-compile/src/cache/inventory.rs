//! What a cache holds.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blake3::Hash;

use super::{Bypass, Cache, Miss, key, read, unusable};
use crate::compile::Made;

/// One entry of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// The kernel's name. Of an entry that does not read back, its first 100 bytes, which the file's name tells.
    pub kernel: String,
    /// The architecture, such as `sm_90a`. `None` where the entry does not say, or does not read back.
    pub target: Option<String>,
    /// The compiler's name and version, such as `nvrtc 13.0`. `None` as for the architecture.
    pub compiler: Option<String>,
    /// The file's size in bytes.
    pub bytes: u64,
    /// When it was last used, to about an hour; where the system let nobody note that, when it was written.
    pub used: SystemTime,
    /// Why it would be compiled again instead of used. `None` for an entry that reads back right.
    pub spoilt: Option<String>,
    pub(super) key: Hash,
}

impl Cache {
    /// Everything in the cache, in the order of kernel, architecture and compiler. Each entry is read whole, and held
    /// against its hash. Files that are no entries are left out.
    ///
    /// # Errors
    /// Why the cache cannot be used, or its folder not be listed.
    pub fn entries(&self) -> Result<Vec<Entry>, Bypass> {
        let folder = self.folder.as_ref().map_err(Bypass::clone)?;
        let files = std::fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
        let mut entries: Vec<Entry> = files.flatten().filter_map(|file| Entry::read(&file.path())).collect();
        entries.sort_by(|a, b| a.order().cmp(&b.order()));
        Ok(entries)
    }
}

impl Entry {
    /// The entry at this path. `None` if it is none, or is gone by now.
    fn read(path: &Path) -> Option<Self> {
        let (stem, key) = key::parse_file_name(path.file_name()?.to_str()?)?;
        let (metadata, made, spoilt) = match read(path, &key) {
            Ok(found) => (found.metadata, found.made, None),
            Err(Miss::Absent) => return None,
            Err(Miss::Spoilt(reason)) => (std::fs::metadata(path).ok()?, None, Some(reason)),
        };
        let (kernel, target, compiler) = match made {
            Some(Made { name, target, compiler }) => (name, Some(target), Some(compiler)),
            None => (stem.to_owned(), None, None),
        };
        let (bytes, used) = (metadata.len(), date(&metadata));
        Some(Self { path: path.to_owned(), kernel, target, compiler, bytes, used, spoilt, key })
    }

    fn order(&self) -> impl Ord + '_ {
        (&self.kernel, &self.target, &self.compiler, &self.path)
    }
}

/// A file's date. Where the system keeps none, every file is as old as can be.
pub(super) fn date(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::{CacheKey, CacheLocation};
    use super::*;
    use crate::compile::Cubin;

    #[test]
    fn entries_tell_what_they_are_and_files_that_are_none_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(CacheLocation::At(root.path().join("cache")));
        let long = "k".repeat(300);
        for (name, target, compiler) in [
            ("b", "sm_90a", "nvrtc 13.0"),
            ("b", "sm_80", "nvrtc 13.0"),
            ("b", "sm_80", "nvcc 9"),
            (&long, "sm_80", "n"),
        ] {
            let key = CacheKey::new(name, "source", target, &[], compiler);
            let Ok(_) = cache.get_or_insert_with(&key, || Ok::<_, Infallible>(Cubin::new(vec![7; 10], String::new())));
        }
        let folder = cache.folder().unwrap();
        std::fs::write(folder.join("notes.ggemm"), "").unwrap();
        let entries = cache.entries().unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|e| (&e.kernel[..], e.target.as_deref().unwrap_or("-"), e.compiler.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            told,
            [
                ("b", "sm_80", "nvcc 9"),
                ("b", "sm_80", "nvrtc 13.0"),
                ("b", "sm_90a", "nvrtc 13.0"),
                (&long, "sm_80", "n")
            ]
        );
        for entry in &entries {
            assert_eq!((entry.spoilt.as_deref(), entry.bytes), (None, std::fs::metadata(&entry.path).unwrap().len()));
            assert!(entry.used.elapsed().unwrap().as_secs() < 60);
        }
        std::fs::write(&entries[3].path, "ggemmcub").unwrap();
        let entry = cache.entries().unwrap().remove(3);
        assert_eq!((entry.kernel, entry.target), (long[..100].to_owned(), None));
        assert_eq!(entry.spoilt.as_deref(), Some("it is shorter than a header (8 bytes)"));
    }
}
