//! `ggemm cache`: what is kept of earlier compilations, and what will be wanted.

mod error;
mod list;
mod prune;
mod wanted;
mod warm;

use std::io::Write;

use clap::{Args, Subcommand};
use ggemm_compile::{Cache, CacheLocation};

pub(crate) use error::CacheError;

use crate::Outcome;
use crate::error::CliError;

/// Look into the compile cache, fill it, or make it smaller
///
/// A program that finds no machine code of a kernel in itself compiles it by NVRTC at its first use, and keeps it in
/// the folder that GGEMM_CACHE_DIR names, or in the user's cache folder.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

// What help says of a command stands at its flags.
#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Print the cache's folder, whether or not it is there yet
    Path,
    List(list::ListArgs),
    Warm(Box<warm::WarmArgs>),
    Prune(prune::PruneArgs),
}

impl CacheArgs {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self.command {
            CacheCommand::Path => {
                let folder = CacheLocation::from_env().folder().map_err(CacheError::Unusable)?;
                writeln!(std::io::stdout().lock(), "{}", folder.display())?;
                Ok(Outcome::Success)
            }
            CacheCommand::List(args) => args.run(),
            CacheCommand::Warm(args) => args.run(),
            CacheCommand::Prune(args) => args.run(),
        }
    }
}

/// The cache, if its folder is there.
fn existing() -> Result<Option<Cache>, CacheError> {
    Cache::find(&CacheLocation::from_env()).map_err(CacheError::Unusable)
}
