//! What identifies a cubin.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::HashError;

/// The BLAKE3 hash of a cubin's bytes, in hexadecimal.
///
/// Cubins are built without line information: comments and moved lines of a kernel leave the hash as it is.
///
/// ```
/// let hash = ggemm_attest::CubinHash::of(b"ELF");
/// assert_eq!(hash.to_string().parse(), Ok(hash));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CubinHash(String);

impl CubinHash {
    /// The hash of these bytes.
    pub fn of(cubin: &[u8]) -> Self {
        CubinHash(blake3::hash(cubin).to_hex().to_string())
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for CubinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CubinHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hexadecimal) {
            Ok(CubinHash(text.to_owned()))
        } else {
            Err(HashError { value: text.to_owned() })
        }
    }
}

impl TryFrom<String> for CubinHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<CubinHash> for String {
    fn from(hash: CubinHash) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_have_another_hash() {
        assert_ne!(CubinHash::of(b"a"), CubinHash::of(b"b"));
        assert_eq!(CubinHash::of(b"").short(), "af1349b9f5f9");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = CubinHash::of(b"a").to_string();
        for bad in
            [String::new(), good[1..].to_owned(), format!("{good}0"), good.to_uppercase(), good.replace('a', "g")]
        {
            assert_eq!(bad.parse::<CubinHash>(), Err(HashError { value: bad.clone() }));
        }
    }
}
