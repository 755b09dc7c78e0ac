//! Where the user's table is.

use std::ffi::OsString;
use std::path::PathBuf;

use ggemm_compile::CacheLocation;

use crate::error::TableError;

/// Where a table's file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TableLocation {
    /// `tuned.jsonl` beside the compile cache: in `ggemm` in the user's cache folder, or where `GGEMM_CACHE_DIR` says.
    #[default]
    User,
    /// This file.
    At(PathBuf),
    /// Nowhere.
    Disabled,
}

const FILE: &str = "tuned.jsonl";

impl TableLocation {
    /// What `GGEMM_TABLE` says: a file, or nothing at all (set but empty) for no table. Where it is not set,
    /// [`User`](Self::User).
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// As [`from_env`](Self::from_env), with the environment's variables read through `lookup`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        match lookup("GGEMM_TABLE") {
            None => Self::User,
            Some(file) if file.is_empty() => Self::Disabled,
            Some(file) => Self::At(file.into()),
        }
    }

    /// The file.
    ///
    /// # Errors
    /// [`TableError::NoPlace`] where there is to be none, or nobody says where the user's cache folder is.
    pub fn path(self) -> Result<PathBuf, TableError> {
        match self {
            Self::At(file) => Ok(file),
            Self::Disabled => Err(TableError::NoPlace { reason: "GGEMM_TABLE is set and empty".to_owned() }),
            Self::User => match CacheLocation::from_env().beside() {
                Ok(folder) => Ok(folder.join(FILE)),
                Err(bypass) => Err(TableError::NoPlace { reason: bypass.to_string() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_moves_the_table_or_switches_it_off() {
        let with = |value: Option<&'static str>| {
            TableLocation::from_lookup(move |name| value.filter(|_| name == "GGEMM_TABLE").map(OsString::from))
        };
        assert_eq!(with(None), TableLocation::User);
        assert_eq!(with(Some("")), TableLocation::Disabled);
        assert_eq!(with(Some("kept/here.jsonl")), TableLocation::At("kept/here.jsonl".into()));
        let error = TableLocation::Disabled.path().unwrap_err();
        assert!(matches!(error, TableError::NoPlace { .. }), "{error}");
    }
}
