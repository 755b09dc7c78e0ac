//! The flags of `ggemm verify`.

use std::path::PathBuf;

use clap::Args;
use ggemm_attest::Date;
use ggemm_codegen::Arch;
use ggemm_runtime::verify::Extent;

use crate::parsers;

/// What is verified where nobody says otherwise.
pub(super) mod defaults {
    use ggemm_codegen::Arch;

    pub(in crate::commands::verify) const SEED: u64 = 1;
    pub(in crate::commands::verify) const CASES: u64 = 200;
    pub(in crate::commands::verify) const INTERPRETED_CASES: u64 = 4;
    pub(in crate::commands::verify) const ARCH: Arch = Arch::Sm90a;
}

/// Run random problems on the kernel variants that ship and check them against an f64 reference
///
/// Each variant computes problems around its own tile: ragged and empty groups, sizes and ends, i32 and i64, tails,
/// strides, every form of weights, accumulation, and groups that contradict the problem. Real values have to be within
/// the bound of sums in f32, small integers right to the bit. Each problem runs twice and must leave the same bits.
/// Outputs start as NaN; NaN lies in stride padding, in tails and behind every tensor, and nothing outside the output
/// may change.
///
/// Kernels that quantize make copies of random sources, which must be the CPU's to the bit.
/// Kernels that copy operands to aligned rows do so for products of random problems, which must be right.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Only this variant; `*` stands for any letters. May be given more than once
    #[arg(long = "variant", value_name = "SPEC")]
    pub(super) variants: Vec<String>,
    /// Random problems for each variant [default: 200, and 4 with --interpret]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) cases: Option<u64>,
    /// Seed of the first problem; each further one has the next
    #[arg(long, default_value_t = defaults::SEED)]
    pub(super) seed: u64,
    /// How large problems are: a few tiles, or up to some hundred rows and columns [default: hundreds, and tiles with
    /// --interpret]
    #[arg(long, value_parser = parsers::extent())]
    pub(super) extent: Option<Extent>,
    /// Run in the interpreter, on smaller problems, which needs no GPU: it also finds races and deadlocks that did not
    /// happen, and is slow
    #[arg(long)]
    pub(super) interpret: bool,
    /// The architecture whose variants are interpreted [default: sm_90a]
    #[arg(long, value_parser = parsers::arch(), requires = "interpret")]
    pub(super) arch: Option<Arch>,
    /// Write what was found to an attestation, such as attestations/sm_90a/nvidia-h100-80gb-hbm3.json
    #[arg(long, value_name = "FILE", conflicts_with = "interpret")]
    pub(super) attest: Option<PathBuf>,
    /// The day that the attestation bears [default: today, in UTC]
    #[arg(long, value_name = "DATE", requires = "attest")]
    pub(super) date: Option<Date>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}
