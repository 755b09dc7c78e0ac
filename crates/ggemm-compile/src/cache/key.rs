//! What a cache entry is found by.

use blake3::{Hash, Hasher};

use crate::compile::{Made, Request, file_stem};
use crate::toolchain::Compiler;

/// What an entry's file name ends with.
const EXTENSION: &str = ".ggemm";

/// Everything that decides which code comes out, hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey {
    hash: Hash,
    made: Made,
}

impl CacheKey {
    /// The key of compiling `request` with `compiler`: its name, source, target and flags, and the compiler's identity.
    #[must_use]
    pub fn of(compiler: &Compiler, request: &Request<'_>) -> Self {
        let flags = compiler.flags(request.target, request.options);
        Self::new(request.name, request.source, &request.target.to_string(), &flags, &compiler.identity())
    }

    /// The key made of these parts, for code that compiles by other means than [`compile`](crate::compile()).
    #[must_use]
    pub fn new(name: &str, source: &str, target: &str, flags: &[String], compiler: &str) -> Self {
        let mut hasher = Hasher::new_derive_key("ggemm-compile cache key v1");
        for part in [name, source, target, compiler].into_iter().chain(flags.iter().map(String::as_str)) {
            // With its length, so that no two lists of parts run together into one text.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let made = Made { name: name.to_owned(), target: target.to_owned(), compiler: compiler.to_owned() };
        Self { hash: hasher.finalize(), made }
    }

    /// The hash as text: what tells this compilation from every other.
    #[must_use]
    pub fn text(&self) -> String {
        self.hash.to_hex().to_string()
    }

    /// The hash, which seeds the entry's own: an entry under another key's name is noticed.
    pub(super) fn hash(&self) -> &Hash {
        &self.hash
    }

    /// The parts that tell people what the entry is.
    pub(super) fn made(&self) -> &Made {
        &self.made
    }

    pub(super) fn file_name(&self) -> String {
        format!("{}-{}{EXTENSION}", file_stem(&self.made.name), self.hash.to_hex())
    }
}

/// The kernel's name (its beginning, if it is long) and the key's hash, as an entry's file name tells them; `None` for
/// a file that is no entry.
pub(super) fn parse_file_name(name: &str) -> Option<(&str, Hash)> {
    let (stem, hash) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    Some((stem, Hash::from_hex(hash).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: [&str; 6]) -> CacheKey {
        let [name, source, target, compiler, first, second] = parts;
        CacheKey::new(name, source, target, &[first.to_owned(), second.to_owned()], compiler)
    }

    #[test]
    fn every_part_tells() {
        let parts = ["name", "source", "sm_80", "nvcc 1", "-a", "-b"];
        let original = key(parts);
        assert_eq!(original, key(parts));
        for index in 0..parts.len() {
            let mut changed = parts;
            changed[index] = "other";
            assert_ne!(original.hash, key(changed).hash, "part {index}");
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(key(["ab", "c", "", "", "", ""]).hash, key(["a", "bc", "", "", "", ""]).hash);
        assert_ne!(
            CacheKey::new("n", "s", "t", &["ab".into()], "c"),
            CacheKey::new("n", "s", "t", &["a".into(), "b".into()], "c")
        );
    }

    #[test]
    fn the_file_name_begins_with_the_kernels() {
        let name = key(["ragged_rows", "s", "t", "c", "", ""]).file_name();
        assert!(name.starts_with("ragged_rows-") && name.ends_with(".ggemm"), "{name}");
        let long = key([&"k".repeat(4000), "s", "t", "c", "", ""]).file_name();
        assert!(long.len() < 255, "{}", long.len());
    }

    #[test]
    fn the_file_name_tells_kernel_and_hash() {
        let key = key(["ragged-rows", "s", "t", "c", "", ""]);
        let name = key.file_name();
        assert_eq!(parse_file_name(&name), Some(("ragged-rows", *key.hash())));
        for other in ["", "locks", ".partial-x.ggemm", "a-b.ggemm", name.trim_end_matches(EXTENSION), &name[15..]] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}
