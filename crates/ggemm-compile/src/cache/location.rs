//! Where the cache is.

use std::ffi::OsString;
use std::path::PathBuf;

use etcetera::BaseStrategy;

use super::Bypass;

/// Where a cache keeps its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheLocation {
    /// `ggemm/cubins` in the user's cache folder (`XDG_CACHE_HOME`, by default `.cache` in the home folder).
    #[default]
    User,
    /// This folder.
    At(PathBuf),
    /// Nowhere: every request compiles.
    Disabled,
}

impl CacheLocation {
    /// What `GGEMM_CACHE_DIR` says: a folder, or nothing at all (set but empty) to switch the cache off. Where it is
    /// not set, [`User`](Self::User).
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// As [`from_env`](Self::from_env), with the environment's variables read through `lookup`.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        match lookup("GGEMM_CACHE_DIR") {
            None => Self::User,
            Some(folder) if folder.is_empty() => Self::Disabled,
            Some(folder) => Self::At(folder.into()),
        }
    }

    /// The folder for what stands beside the cubins: `ggemm` in the user's cache folder, or the folder that the location
    /// names.
    ///
    /// # Errors
    /// [`Bypass::Disabled`], and [`Bypass::NoFolder`] where nobody says where the user's cache folder is.
    pub fn beside(&self) -> Result<PathBuf, Bypass> {
        match self {
            Self::Disabled => Err(Bypass::Disabled),
            Self::At(folder) => Ok(folder.clone()),
            Self::User => etcetera::choose_base_strategy()
                .map(|strategy| strategy.cache_dir().join("ggemm"))
                .map_err(|error| Bypass::NoFolder { reason: error.to_string() }),
        }
    }

    /// The absolute path of the cubins' folder, whether or not it is there.
    ///
    /// # Errors
    /// The cache is switched off, or nobody says where the user's cache folder is.
    pub fn folder(&self) -> Result<PathBuf, Bypass> {
        let beside = self.beside()?;
        let folder = if *self == Self::User { beside.join("cubins") } else { beside };
        std::path::absolute(&folder).map_err(|error| Bypass::Unusable { path: folder, reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_moves_the_cache_or_switches_it_off() {
        let with = |value: Option<&'static str>| {
            CacheLocation::from_lookup(move |name| value.filter(|_| name == "GGEMM_CACHE_DIR").map(OsString::from))
        };
        assert_eq!(with(None), CacheLocation::User);
        assert_eq!(with(Some("")), CacheLocation::Disabled);
        assert_eq!(with(Some("kept/here")), CacheLocation::At("kept/here".into()));
        assert_eq!(CacheLocation::Disabled.folder(), Err(Bypass::Disabled));
        let at = || CacheLocation::At("kept/here".into());
        assert_eq!(at().folder(), Ok(std::path::absolute(at().beside().unwrap()).unwrap()));
    }
}
