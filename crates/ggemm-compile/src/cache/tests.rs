use std::cell::Cell;
use std::convert::Infallible;
use std::fs;

use super::*;

fn key() -> CacheKey {
    CacheKey::new("k", "source", "sm_80", &[], "fake 1")
}

fn cubin() -> Cubin {
    Cubin::new(b"\x7fELF and code".to_vec(), "ptxas info    : Used 10 registers\n".to_owned())
}

/// Asks the cache, counting the compilations.
fn ask(cache: &Cache, key: &CacheKey, compilations: &Cell<usize>) -> Origin {
    let make = || {
        compilations.set(compilations.get() + 1);
        Ok::<_, Infallible>(cubin())
    };
    let Ok((found, origin)) = cache.get_or_insert_with(key, make);
    assert_eq!(found, cubin());
    origin
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn open() -> (tempfile::TempDir, Cache) {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::open(CacheLocation::At(root.path().join("cache")));
    assert_eq!(cache.bypass(), None);
    (root, cache)
}

#[test]
fn the_second_request_hits_also_in_another_cache_object() {
    let (_root, cache) = open();
    let count = Cell::new(0);
    assert_eq!(ask(&cache, &key(), &count), Origin::Compiled);
    assert_eq!(ask(&cache, &key(), &count), Origin::Hit);
    let again = Cache::open(CacheLocation::At(cache.folder().unwrap().to_owned()));
    assert_eq!(ask(&again, &key(), &count), Origin::Hit);
    assert_eq!(count.get(), 1);
    let other = CacheKey::new("k", "other source", "sm_80", &[], "fake 1");
    assert_eq!(ask(&cache, &other, &count), Origin::Compiled);
    assert_eq!(entries(cache.folder().unwrap()).len(), 2);
}

#[test]
fn a_failure_is_returned_and_not_kept() {
    let (_root, cache) = open();
    let failed = cache.get_or_insert_with(&key(), || Err("no"));
    assert_eq!(failed, Err("no"));
    assert!(entries(cache.folder().unwrap()).is_empty());
    assert_eq!(ask(&cache, &key(), &Cell::new(0)), Origin::Compiled);
}

#[test]
fn spoilt_entries_are_removed_and_compiled_again() {
    let (_root, cache) = open();
    let count = Cell::new(0);
    ask(&cache, &key(), &count);
    let path = entries(cache.folder().unwrap()).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut spoilt: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    spoilt.extend((0..whole.len()).map(|index| {
        let mut flipped = whole.clone();
        flipped[index] ^= 0x10;
        flipped
    }));
    for bytes in spoilt {
        fs::write(&path, &bytes).unwrap();
        let before = count.get();
        assert_eq!(ask(&cache, &key(), &count), Origin::Compiled);
        assert_eq!(count.get(), before + 1);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    assert_eq!(ask(&cache, &key(), &count), Origin::Hit);
}

#[test]
fn a_spoilt_entry_is_gone_even_if_compiling_fails() {
    let (_root, cache) = open();
    ask(&cache, &key(), &Cell::new(0));
    let path = entries(cache.folder().unwrap()).remove(0);
    fs::write(&path, "spoilt").unwrap();
    assert_eq!(cache.get_or_insert_with(&key(), || Err("no")), Err("no"));
    assert!(!path.exists());
}

#[test]
fn a_disabled_cache_compiles_every_time() {
    let cache = Cache::open(CacheLocation::Disabled);
    let count = Cell::new(0);
    for _ in 0..2 {
        assert_eq!(ask(&cache, &key(), &count), Origin::Bypassed(Bypass::Disabled));
    }
    assert_eq!((count.get(), cache.folder()), (2, None));
}

#[test]
fn a_folder_that_cannot_be_made_is_bypassed() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in [file.join("cache"), file] {
        let cache = Cache::open(CacheLocation::At(folder.clone()));
        let origin = ask(&cache, &key(), &Cell::new(0));
        let Origin::Bypassed(Bypass::Unusable { path, .. }) = &origin else { panic!("{origin:?}") };
        assert_eq!(*path, folder);
        assert!(origin.to_string().contains("GGEMM_CACHE_DIR"), "{origin}");
    }
}

#[test]
fn a_folder_that_vanishes_later_does_not_fail_a_compilation() {
    let (root, cache) = open();
    let folder = cache.folder().unwrap().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    let count = Cell::new(0);
    let origin = ask(&cache, &key(), &count);
    assert!(matches!(origin, Origin::Bypassed(Bypass::CannotLock { .. })), "{origin:?}");
    assert_eq!(count.get(), 1);
    drop(root);
}

#[test]
fn an_entry_that_cannot_be_stored_is_compiled_and_says_so() {
    let (_root, cache) = open();
    // A folder in the entry's place, not empty: neither removed nor replaced.
    fs::create_dir_all(cache.folder().unwrap().join(key().file_name()).join("inner")).unwrap();
    let origin = ask(&cache, &key(), &Cell::new(0));
    assert!(matches!(origin, Origin::Bypassed(Bypass::CannotStore { .. })), "{origin:?}");
    assert!(entries(cache.folder().unwrap()).is_empty(), "the partial file is gone");
}

#[test]
fn only_abandoned_partial_files_are_swept() {
    let (_root, cache) = open();
    let folder = cache.folder().unwrap();
    let (old, new) = (folder.join(".partial-old"), folder.join(".partial-new"));
    fs::write(&new, "").unwrap();
    let file = File::create(&old).unwrap();
    file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
    ask(&cache, &key(), &Cell::new(0));
    assert_eq!((old.exists(), new.exists()), (false, true));
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_and_entries_are_private() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(CacheLocation::At(root.path().join("a/b")));
        ask(&cache, &key(), &Cell::new(0));
        assert_eq!(mode(&root.path().join("a")), 0o700);
        assert_eq!(mode(&root.path().join("a/b")), 0o700);
        assert_eq!(mode(&entries(&root.path().join("a/b"))[0]), 0o600);
    }

    #[test]
    fn a_folder_that_others_can_write_is_bypassed() {
        for bad in [0o777, 0o770, 0o1777] {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("cache");
            fs::create_dir(&folder).unwrap();
            set_mode(&folder, bad);
            let cache = Cache::open(CacheLocation::At(folder.clone()));
            let origin = ask(&cache, &key(), &Cell::new(0));
            let Origin::Bypassed(Bypass::Untrusted { path, remedy, .. }) = &origin else { panic!("{origin:?}") };
            assert_eq!(*path, folder);
            assert!(remedy.contains("chmod go-w"), "{remedy}");
            assert!(entries(&folder).is_empty());
        }
    }

    #[test]
    fn an_entry_that_others_can_write_is_compiled_again() {
        let (_root, cache) = open();
        let count = Cell::new(0);
        ask(&cache, &key(), &count);
        let path = entries(cache.folder().unwrap()).remove(0);
        for bad in [0o620, 0o602] {
            set_mode(&path, bad);
            assert_eq!(ask(&cache, &key(), &count), Origin::Compiled);
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(count.get(), 3);
    }
}
