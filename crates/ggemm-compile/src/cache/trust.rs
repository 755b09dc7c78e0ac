//! Who could have written a file: code that another user planted must never reach a GPU, and what ggemm keeps for a
//! user is no one else's to change.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::path::Path;

use thiserror::Error;

/// Why a file or folder is not trusted.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Distrust {
    /// It is another user's.
    #[error("it belongs to the user {owner}, not to this process' user {user} or root")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// This process' user.
        user: u32,
    },
    /// Another user may write it.
    #[error("its mode {mode:03o} lets other users write it")]
    Writable {
        /// Its permissions.
        mode: u32,
    },
}

impl Distrust {
    pub(super) fn remedy(&self, folder: &Path) -> String {
        match self {
            Self::Owner { .. } => "set GGEMM_CACHE_DIR to a folder of your own".to_owned(),
            Self::Writable { .. } => {
                format!("remove it, or run `chmod go-w {}` if you know who wrote it", folder.display())
            }
        }
    }
}

/// Makes a folder that only its owner can enter, and its parents likewise. One that is there stays as it is.
///
/// # Errors
/// What the system says.
pub fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Refuses what somebody other than this process' user or root owns or may write.
///
/// # Errors
/// The rule that it breaks.
#[cfg(unix)]
pub fn check(metadata: &Metadata) -> Result<(), Distrust> {
    use std::os::unix::fs::MetadataExt;
    judge(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
}

/// Other systems keep a user's cache folder private by themselves.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn check(_: &Metadata) -> Result<(), Distrust> {
    Ok(())
}

#[cfg_attr(not(unix), allow(dead_code))]
fn judge(owner: u32, mode: u32, user: u32) -> Result<(), Distrust> {
    const ROOT: u32 = 0;
    const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
    if owner != user && owner != ROOT {
        return Err(Distrust::Owner { owner, user });
    }
    if mode & GROUP_OR_OTHERS_WRITE != 0 {
        return Err(Distrust::Writable { mode: mode & 0o777 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_and_roots_are_trusted() {
        assert_eq!(judge(1000, 0o100_600, 1000), Ok(()));
        assert_eq!(judge(0, 0o40_755, 1000), Ok(()));
        assert_eq!(judge(1001, 0o40_700, 1000), Err(Distrust::Owner { owner: 1001, user: 1000 }));
        assert_eq!(judge(1001, 0o40_700, 0), Err(Distrust::Owner { owner: 1001, user: 0 }));
    }

    #[test]
    fn nobody_else_may_write() {
        for mode in [0o720, 0o702, 0o777, 0o1777] {
            assert_eq!(judge(1000, mode, 1000), Err(Distrust::Writable { mode: mode & 0o777 }), "{mode:o}");
        }
        assert_eq!(judge(1000, 0o755, 1000), Ok(()));
    }
}
