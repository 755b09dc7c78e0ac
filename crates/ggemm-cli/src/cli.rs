//! What the command line says, and which command it starts.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::Outcome;
use crate::commands::bench::BenchArgs;
use crate::commands::cache::CacheArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::emit::EmitArgs;
use crate::commands::list::ListArgs;
use crate::commands::run::RunArgs;
use crate::commands::trace::TraceArgs;
use crate::commands::tune::TuneArgs;
use crate::commands::verify::VerifyArgs;
use crate::error::CliError;

/// Grouped GEMMs for Mixture-of-Experts layers: forward, grad_x and grad_w.
#[derive(Debug, Parser)]
#[command(name = "ggemm", version, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
With no command it is `ggemm run`, with its default problem or the flags given.

Examples:
  ggemm run --router zipf --groups 64 --rows 8192 -n 1536 -k 2048 --weights per-expert
  ggemm run --input layer.safetensors --output gradients.safetensors
  ggemm list --arch sm_90a --op forward -g 8 -m 4096 -n 7168 -k 2048
  ggemm emit ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s3_multistage_cpasync_evenk
  ggemm emit --explain ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma
  ggemm trace ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma
  ggemm tune --model Qwen3-30B-A3B/config.json --tokens 512,8192
  ggemm bench --suite --json today.json --svg today.svg --compare yesterday.json
  ggemm verify --interpret --variant 'ggemm_reduction_*_plain'
  ggemm doctor
  ggemm cache warm --arch sm_90a

Exit codes: 0 all is well, 1 a result is wrong, doctor found a problem or bench a slowdown, 2 the
command could not do its work.
GGEMM_LOG=debug (or info, trace) shows on standard error what is chosen and why.";

// What help says of a command stands at its flags.
#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    Emit(EmitArgs),
    List(ListArgs),
    Trace(TraceArgs),
    Tune(Box<TuneArgs>),
    Bench(Box<BenchArgs>),
    Verify(VerifyArgs),
    Doctor(DoctorArgs),
    Cache(CacheArgs),
    Completions(CompletionsArgs),
}

/// The words of the command line, with `run` in its place where the first of them is one of its flags.
pub(crate) fn with_command(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let is_flag_of_run = |word: &OsString| match word.to_str() {
        Some("-h" | "--help" | "-V" | "--version" | "--") => false,
        Some(word) => word.starts_with('-'),
        None => false,
    };
    if words.get(1).is_some_and(is_flag_of_run) {
        words.insert(1, "run".into());
    }
    words
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Result<Outcome, CliError> {
        match self.command {
            None => RunArgs::parse_flags(&[])?.run(),
            Some(Command::Run(args)) => args.run(),
            Some(Command::Emit(args)) => args.run(),
            Some(Command::List(args)) => args.run(),
            Some(Command::Trace(args)) => args.run(),
            Some(Command::Tune(args)) => args.run(),
            Some(Command::Bench(args)) => args.run(),
            Some(Command::Verify(args)) => args.run(),
            Some(Command::Doctor(args)) => args.run(),
            Some(Command::Cache(args)) => args.run(),
            Some(Command::Completions(args)) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_alone_are_those_of_run() {
        let words = |line: &str| {
            let words = with_command(line.split_whitespace().map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("ggemm --sizes 3"), "ggemm run --sizes 3");
        for same in ["ggemm", "ggemm --help", "ggemm -V", "ggemm list --names", "ggemm run -n 3"] {
            assert_eq!(words(same), same);
        }
    }
}
