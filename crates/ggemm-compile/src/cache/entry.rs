//! An entry's bytes.
//!
//! ```text
//! magic  "ggemmcub"                   8 bytes
//! format version                      4 bytes, little-endian, as are the lengths
//! length of the notes                 4 bytes
//! length of the cubin                 8 bytes
//! hash of all the rest, keyed with the cache key's   32 bytes
//! notes: what was compiled and by what, facts, warnings and log, as JSON
//! cubin
//! ```

use blake3::Hash;
use thiserror::Error;

use super::key::CacheKey;
use crate::compile::{Cubin, Made, Notes};

const MAGIC: &[u8; 8] = b"ggemmcub";
const VERSION: u32 = 1;
const PREAMBLE: usize = 8 + 4 + 4 + 8;
const HEADER: usize = PREAMBLE + blake3::OUT_LEN;

#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Spoilt {
    #[error("it is shorter than a header ({0} bytes)")]
    Truncated(usize),
    #[error("it is no cache entry")]
    Magic,
    #[error("its format is version {0}, not {VERSION}")]
    Version(u32),
    #[error("it has {found} bytes where its header says {said}")]
    Length { found: u64, said: u64 },
    #[error("its hash does not match: it was altered, or is another key's")]
    Hash,
    #[error("its notes cannot be read: {0}")]
    Notes(String),
}

pub(super) fn encode(cubin: &Cubin, key: &CacheKey) -> Vec<u8> {
    let made = Some(key.made().clone());
    let notes = Notes { made, facts: cubin.facts, warnings: cubin.warnings.clone(), log: cubin.log.clone() };
    // Numbers and strings only: serialization has nothing to fail on, and empty notes would be noticed when read.
    let notes = serde_json::to_vec(&notes).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEADER + notes.len() + cubin.bytes.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(notes.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(cubin.bytes.len() as u64).to_le_bytes());
    let hash = hash(&bytes, &[&notes, &cubin.bytes], key.hash());
    bytes.extend_from_slice(hash.as_bytes());
    bytes.extend_from_slice(&notes);
    bytes.extend_from_slice(&cubin.bytes);
    bytes
}

/// Reads the entry of the key of this hash: the cubin, and what the entry says of its making. Entries from before it was
/// noted say nothing.
pub(super) fn decode(bytes: &[u8], key: &Hash) -> Result<(Cubin, Option<Made>), Spoilt> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Spoilt::Truncated(bytes.len()))?;
    let (preamble, stored) = header.split_at(PREAMBLE);
    if preamble[..8] != *MAGIC {
        return Err(Spoilt::Magic);
    }
    let version = little_endian(&preamble[8..12]);
    if version != u64::from(VERSION) {
        return Err(Spoilt::Version(version as u32));
    }
    let (notes_len, cubin_len) = (little_endian(&preamble[12..16]), little_endian(&preamble[16..24]));
    let (found, said) = (body.len() as u64, notes_len.saturating_add(cubin_len));
    if found != said {
        return Err(Spoilt::Length { found, said });
    }
    if hash(preamble, &[body], key).as_bytes()[..] != *stored {
        return Err(Spoilt::Hash);
    }
    // Both fit: their sum is the length of a slice.
    let (notes, cubin) = body.split_at(notes_len as usize);
    let Notes { made, facts, warnings, log } =
        serde_json::from_slice(notes).map_err(|error| Spoilt::Notes(error.to_string()))?;
    Ok((Cubin { bytes: cubin.to_vec(), facts, warnings, log }, made))
}

fn hash(preamble: &[u8], rest: &[&[u8]], key: &Hash) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    hasher.update(preamble);
    for part in rest {
        hasher.update(part);
    }
    hasher.finalize()
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str) -> CacheKey {
        CacheKey::new("k", source, "sm_80", &[], "fake 1")
    }

    fn cubin() -> Cubin {
        let log = "k.cu(1): warning: hm\nptxas info    : Used 10 registers, used 1 barriers\n".to_owned();
        Cubin::new((0..200).collect(), log)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (decoded, made) = decode(&encode(&cubin(), &key("a")), key("a").hash()).unwrap();
        assert_eq!(decoded, cubin());
        assert_eq!((decoded.facts.unwrap().registers, decoded.warnings.len()), (10, 1));
        let made = made.unwrap();
        assert_eq!([made.name, made.target, made.compiler], ["k", "sm_80", "fake 1"]);
    }

    #[test]
    fn an_entry_that_says_nothing_of_its_making_reads_as_well() {
        let notes = br#"{"facts":null,"warnings":[],"log":""}"#;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(notes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&2_u64.to_le_bytes());
        let hash = hash(&bytes, &[notes, b"co"], key("a").hash());
        bytes.extend_from_slice(hash.as_bytes());
        bytes.extend_from_slice(notes);
        bytes.extend_from_slice(b"co");
        let (cubin, made) = decode(&bytes, key("a").hash()).unwrap();
        assert_eq!((&cubin.bytes[..], made), (&b"co"[..], None));
    }

    #[test]
    fn truncation_at_every_length_is_noticed() {
        let bytes = encode(&cubin(), &key("a"));
        for len in 0..bytes.len() {
            let error = decode(&bytes[..len], key("a").hash()).expect_err("truncated");
            assert!(matches!(error, Spoilt::Truncated(_) | Spoilt::Length { .. }), "{len}: {error}");
        }
    }

    #[test]
    fn bytes_too_many_are_noticed() {
        let mut bytes = encode(&cubin(), &key("a"));
        bytes.push(0);
        assert!(matches!(decode(&bytes, key("a").hash()), Err(Spoilt::Length { .. })));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(&cubin(), &key("a"));
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[index] ^= 1 << bit;
                assert!(decode(&flipped, key("a").hash()).is_err(), "byte {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn lengths_traded_between_notes_and_cubin_are_noticed() {
        let mut bytes = encode(&cubin(), &key("a"));
        bytes[12] -= 1;
        bytes[16] += 1;
        assert_eq!(decode(&bytes, key("a").hash()), Err(Spoilt::Hash));
    }

    #[test]
    fn lengths_near_the_integers_end_do_not_overflow() {
        let mut bytes = encode(&cubin(), &key("a"));
        bytes[12..24].fill(0xff);
        assert!(matches!(decode(&bytes, key("a").hash()), Err(Spoilt::Length { .. })));
    }

    #[test]
    fn another_keys_entry_is_noticed() {
        assert_eq!(decode(&encode(&cubin(), &key("a")), key("b").hash()), Err(Spoilt::Hash));
    }
}
