//! How an architecture is named to a compiler.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An architecture that a compiler makes code for, such as `sm_80` or `sm_90a`.
///
/// The suffix `a` unlocks one architecture's own instructions (wgmma needs `sm_90a`), `f` those of its family; such
/// code runs nowhere else.
///
/// ```
/// let hopper: ggemm_compile::Target = "sm_90a".parse()?;
/// assert_eq!(hopper.nvcc_flag(), "-gencode=arch=compute_90a,code=sm_90a");
/// assert_eq!(hopper.nvrtc_flag(), "--gpu-architecture=sm_90a");
/// # Ok::<(), ggemm_compile::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// What follows `sm_`: two or three digits, and a suffix perhaps.
    version: String,
}

impl Target {
    /// The flag that makes nvcc emit this target's machine code, and no PTX beside it.
    #[must_use]
    pub fn nvcc_flag(&self) -> String {
        format!("-gencode=arch=compute_{0},code=sm_{0}", self.version)
    }

    /// The flag that makes NVRTC emit this target's machine code.
    ///
    /// It names `sm_`, never `compute_`: with that NVRTC stops at PTX, reports success and hands back an empty cubin.
    #[must_use]
    pub fn nvrtc_flag(&self) -> String {
        format!("--gpu-architecture=sm_{}", self.version)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}", self.version)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let refuse = || TargetError { value: text.to_owned() };
        let version = text.strip_prefix("sm_").ok_or_else(refuse)?;
        let digits = version.strip_suffix(['a', 'f']).unwrap_or(version);
        let well_formed = (2..=3).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if well_formed { Ok(Self { version: version.to_owned() }) } else { Err(refuse()) }
    }
}

/// A text that names no architecture.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "target `{value}`: an architecture is `sm_`, two or three digits and perhaps `a` or `f`; \
     write one such as `sm_80`, `sm_90a` or `sm_120a`"
)]
pub struct TargetError {
    /// The refused text.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_targets_round_trip_and_name_machine_code() {
        for text in ["sm_80", "sm_89", "sm_90", "sm_90a", "sm_100a", "sm_100f", "sm_120a"] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
            let version = &text[3..];
            assert_eq!(target.nvcc_flag(), format!("-gencode=arch=compute_{version},code={text}"));
            assert_eq!(target.nvrtc_flag(), format!("--gpu-architecture={text}"));
        }
    }

    #[test]
    fn bad_targets_are_refused_with_the_rule() {
        let bad = [
            "",
            "sm_",
            "80",
            "sm80",
            "compute_90a",
            "SM_90",
            "sm_9",
            "sm_9a",
            "sm_a",
            "sm_90b",
            "sm_90aa",
            "sm_90A",
            "sm_1200",
            "sm_090",
            "sm_9.0",
            " sm_90",
            "sm_90 ",
            "sm_90a,code=sm_80",
            "sm_٩٠",
        ];
        for text in bad {
            let error = text.parse::<Target>().expect_err(text);
            assert_eq!(error.value, text);
            assert!(error.to_string().starts_with(&format!("target `{text}`: ")), "{error}");
        }
    }
}
