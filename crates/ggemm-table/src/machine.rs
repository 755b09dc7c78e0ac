//! Where a time was measured.

use std::fmt;

use ggemm_codegen::Arch;
use serde::{Deserialize, Serialize};

/// All that a measured time depends on beside the problem. Where one of these differs, the time may too, and the entry
/// is not used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Machine {
    /// The GPU's name, as its driver gives it.
    pub gpu: String,
    /// Its compute capability, such as `9.0`.
    pub compute_capability: String,
    /// The driver's release, such as `580.95.05`.
    pub driver: String,
    /// ggemm's version.
    pub ggemm: String,
    /// The [`fingerprint`] of the kernels that ship with it.
    pub kernels: String,
}

impl Machine {
    /// The architecture that kernels are compiled for there; `None` for one that this version has no kernels for.
    ///
    /// ```
    /// use ggemm_table::Machine;
    /// let machine: Machine = serde_json::from_str(
    ///     r#"{ "gpu": "a GPU", "compute_capability": "9.0", "driver": "1", "ggemm": "0.1.0", "kernels": "" }"#,
    /// )?;
    /// assert_eq!(machine.arch(), Some(ggemm_codegen::Arch::Sm90a));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn arch(&self) -> Option<Arch> {
        let (major, minor) = self.compute_capability.split_once('.')?;
        Arch::for_compute_capability(major.parse().ok()?, minor.parse().ok()?)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { gpu, compute_capability, driver, ggemm, kernels } = self;
        write!(f, "{gpu} ({compute_capability}), driver {driver}, ggemm {ggemm} with kernels {kernels}")
    }
}

/// What tells one set of kernels from another: a hash of their texts, as 16 hexadecimal digits.
///
/// ```
/// assert_ne!(ggemm_table::fingerprint(["ab", "c"]), ggemm_table::fingerprint(["a", "bc"]));
/// ```
pub fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("ggemm-table kernels v1");
    for text in texts {
        // With its length, so that no two lists of texts run together into one.
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
