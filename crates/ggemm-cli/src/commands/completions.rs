//! `ggemm completions`: a script that lets a shell complete the command's words.

use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use ggemm_runtime::catalogue;

use crate::Outcome;
use crate::cli::Cli;
use crate::error::CliError;

/// Print a script that completes commands, flags, architectures and variants' names
///
/// Write it where the shell looks, and start a new shell:
///
///   bash  ggemm completions bash > ~/.local/share/bash-completion/completions/ggemm
///   zsh   ggemm completions zsh > a folder of $fpath, as _ggemm
///   fish  ggemm completions fish > ~/.config/fish/completions/ggemm.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        // Into memory first: the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut with_names(Cli::command()), "ggemm", &mut script);
        std::io::stdout().lock().write_all(&script)?;
        Ok(Outcome::Success)
    }
}

/// The command with the names of all variants that ship wherever it takes a SPEC. In the command itself they are no
/// list: other specs are legal too, patterns are, and messages would name all of them.
fn with_names(command: Command) -> Command {
    let takes_spec = |arg: &clap::Arg| arg.get_value_names().is_some_and(|names| names == ["SPEC"]);
    let names = || PossibleValuesParser::new(catalogue::KERNELS.iter().map(|kernel| kernel.name));
    command.mut_subcommands(with_names).mut_args(|arg| if takes_spec(&arg) { arg.value_parser(names()) } else { arg })
}
