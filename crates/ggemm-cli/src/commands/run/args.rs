//! The flags of `ggemm run`.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use ggemm_codegen::{Arch, Dtype, Operation, Scaling};

use crate::commands::run::router::Router;
use crate::error::CliError;
use crate::parsers::{self, Form, Index, Layout, Sizes, TailPolicy, Weights};

/// The default problem: sizes 1024,1024,2048,2048, N = 512, K = 256, bf16, one weight shared by all groups.
pub(crate) mod defaults {
    pub(crate) const SIZES: [usize; 4] = [1024, 1024, 2048, 2048];
    pub(crate) const N: usize = 512;
    pub(crate) const K: usize = 256;
    pub(crate) const SEED: u64 = 0;
    pub(crate) const RUNS: usize = 5;

    /// What a listed problem of no flags is, in the interpreter: it takes a second there.
    pub(crate) mod interpreted {
        pub(crate) const SIZES: [usize; 4] = [48, 0, 129, 79];
        pub(crate) const N: usize = 192;
        pub(crate) const K: usize = 128;
        pub(crate) const ARCH: ggemm_codegen::Arch = ggemm_codegen::Arch::Sm90a;
    }
}

/// Compute forward, grad_x and grad_w of one grouped problem and check them against an f64 reference
///
///   forward  y[r] = x[r] · w_gᵀ           x [M, K], y [M, N], row r of group g
///   grad_x   dx[r] = dy[r] · w_g          dy [M, N], dx [M, K]
///   grad_w   dw_g = Σ dy[r]ᵀ x[r]         over the rows r of g; dw like w
///
/// With no flags: 4 groups of 1024, 1024, 2048 and 2048 rows, N = 512, K = 256, bf16,
/// one weight shared by all groups, on the best backend present. With --backend interpret
/// alone the groups have 48, 0, 129 and 79 rows, N = 192, K = 128.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) problem: ProblemArgs,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) running: RunningArgs,
}

/// What is computed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Problem")]
pub(crate) struct ProblemArgs {
    /// Rows (tokens) of each group (expert), separated by commas
    #[arg(long, value_name = "ROWS,…", conflicts_with = "router", allow_hyphen_values = true)]
    pub(crate) sizes: Option<Sizes>,
    /// How to spread --rows over --groups instead [default: balanced, where one of these is given]
    #[arg(long, value_enum)]
    pub(crate) router: Option<Router>,
    /// G, the number of groups
    #[arg(short, long, value_name = "G", value_parser = parsers::count, allow_negative_numbers = true)]
    pub(crate) groups: Option<usize>,
    /// M, the rows of all groups together and of the tail
    #[arg(short = 'm', long, value_name = "M", alias = "m", value_parser = parsers::count, allow_negative_numbers = true)]
    pub(crate) rows: Option<usize>,
    /// N, the columns of y [default: 512]
    #[arg(short, long, value_name = "N", value_parser = parsers::count, allow_negative_numbers = true)]
    pub(crate) n: Option<usize>,
    /// K, the columns of x [default: 256]
    #[arg(short, long, value_name = "K", value_parser = parsers::count, allow_negative_numbers = true)]
    pub(crate) k: Option<usize>,
    /// Type of the operands [default: bf16]
    #[arg(long, value_parser = parsers::operand())]
    pub(crate) dtype: Option<Dtype>,
    /// Type of the outputs [default: the operands']
    #[arg(long, value_name = "DTYPE", value_parser = parsers::output())]
    pub(crate) output_dtype: Option<Dtype>,
    /// Quantize the operands to this fp8 format before each product, where it is computed
    #[arg(
        long, value_name = "FORMAT", value_parser = parsers::fp8(),
        conflicts_with_all = ["x_row_stride", "y_row_stride", "w_row_stride", "w_group_stride"]
    )]
    pub(crate) quantize: Option<Dtype>,
    /// What shares a scale: a row along the reduction, or blocks of 128 (x, dy) and of 128 x 128 (w) [default: block]
    #[arg(long, requires = "quantize", value_parser = parsers::scaling())]
    pub(crate) scaling: Option<Scaling>,
    /// Let sums of fp8 products stay in the tensor cores' accumulator, which is faster and keeps fewer bits
    #[arg(long, requires = "quantize")]
    pub(crate) fast_accumulation: bool,
    /// Let a GPU round f32 operands to TF32, which has 10 bits of fraction: its tensor cores multiply nothing wider
    #[arg(long)]
    pub(crate) tf32: bool,
    /// Weights: one for all groups, or one for each [default: shared, or what the input file holds]
    #[arg(long, value_enum)]
    pub(crate) weights: Option<Weights>,
    /// Order of a weight's dimensions in memory [default: nk, or what the input file's shapes say]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(crate) weight_layout: Option<Layout>,
    /// Operations, separated by commas [default: forward,grad_x,grad_w, and with --variant what it computes]
    #[arg(long, value_delimiter = ',', value_name = "OP,…", value_parser = parsers::operation())]
    pub(crate) ops: Vec<Operation>,
    /// Rows past the last group
    #[arg(long, value_name = "ROWS", value_parser = parsers::count, allow_negative_numbers = true)]
    pub(crate) tail: Option<usize>,
    /// What happens to them in y and dx [default: zero]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) tail_policy: Option<TailPolicy>,
    /// grad_w adds to what dw holds; needs --output-dtype f32
    #[arg(long)]
    pub(crate) accumulate: bool,
}

/// How it lies in memory.
#[derive(Debug, Args)]
#[command(next_help_heading = "Memory layout")]
pub(crate) struct MemoryArgs {
    /// What the array of groups holds
    #[arg(long, value_enum, value_name = "FORM", default_value = "sizes")]
    pub(crate) group_form: Form,
    /// The integers of that array [default: i32, or what the input file holds]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) group_index: Option<Index>,
    /// Elements between rows of x and of dx [default: K]
    #[arg(long, value_name = "ELEMENTS", value_parser = parsers::count)]
    pub(crate) x_row_stride: Option<usize>,
    /// Elements between rows of y and of dy [default: N]
    #[arg(long, value_name = "ELEMENTS", value_parser = parsers::count)]
    pub(crate) y_row_stride: Option<usize>,
    /// Elements between rows of w and of dw [default: the row's length]
    #[arg(long, value_name = "ELEMENTS", value_parser = parsers::count)]
    pub(crate) w_row_stride: Option<usize>,
    /// Elements between the weights of two groups [default: rows times row stride]
    #[arg(long, value_name = "ELEMENTS", value_parser = parsers::count)]
    pub(crate) w_group_stride: Option<usize>,
}

/// Where values come from and go to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Seed of random values and of the router
    #[arg(long, default_value_t = defaults::SEED, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Use small integers, whose sums are exact, and demand equality to the bit
    #[arg(long, conflicts_with_all = ["input", "no_check"])]
    pub(crate) exact: bool,
    /// Read x [M, K] and w ([G, N, K], [G, K, N], [N, K] or [K, N]) of BF16 or F16 from a safetensors file; with them
    /// m_sizes [G], the rows of each group, or expert_ids [M], the expert of each token (tokens are then sorted by
    /// expert, and y and dx written in the file's order); and dy [M, N], random where it is missing
    #[arg(
        long, value_name = "FILE",
        conflicts_with_all = ["tail", "x_row_stride", "y_row_stride", "w_row_stride", "w_group_stride"]
    )]
    pub(crate) input: Option<PathBuf>,
    /// Write y, dx, dw, m_sizes, and whatever input was random, to a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Name of x in the input file [default: x]
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) x_name: Option<String>,
    /// Name of w in the input file [default: w]
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) w_name: Option<String>,
    /// Name of dy in the input file [default: dy]
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) dy_name: Option<String>,
    /// Name of the sizes (or ends) in the input file [default: m_sizes]
    #[arg(long, value_name = "NAME", requires = "input", conflicts_with = "ids_name")]
    pub(crate) sizes_name: Option<String>,
    /// Name of the expert ids in the input file [default: expert_ids]
    #[arg(long, value_name = "NAME", requires = "input")]
    pub(crate) ids_name: Option<String>,
}

/// How it is run and reported.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunningArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BackendArg,
    /// Compute with this kernel variant, as `ggemm list` prints it, in place of the one predicted to be fastest
    #[arg(long, value_name = "SPEC")]
    pub(crate) variant: Option<String>,
    /// The architecture whose kernels are interpreted [default: sm_90a]
    #[arg(long, value_parser = parsers::arch())]
    pub(crate) arch: Option<Arch>,
    /// Timed runs after the first, which is checked [default: 5, fewer where they take long; none when interpreting]
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: Option<u32>,
    /// Only measure the time: no reference, no comparison
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which device computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// The first GPU, else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// The first GPU, and an error where there is none
    Cuda,
    /// A GPU's kernels, in the interpreter that checks their protocol: slow
    Interpret,
}

impl RunArgs {
    /// What `ggemm run` with these flags means.
    pub(crate) fn parse_flags(flags: &[&str]) -> Result<Self, CliError> {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            run: RunArgs,
        }
        let words = ["ggemm run"].iter().chain(flags);
        let matches = Alone::command().try_get_matches_from(words)?;
        Ok(Alone::from_arg_matches(&matches)?.run)
    }
}
