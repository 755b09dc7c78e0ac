//! The flags that name layers, and the form of their problems.

use std::path::PathBuf;

use clap::Args;
use ggemm_codegen::{Dtype, Operation, Problem, WeightLayout, WeightSharing};

use super::suite::SuiteArg;
use crate::commands::run::Router;
use crate::fp8::Fp8Args;
use crate::parsers::{self, Layout, Sizes, Weights};

/// Which problems.
#[derive(Debug, Args)]
#[command(next_help_heading = "Problems: a model, a suite, or one layer")]
pub(crate) struct WhatArgs {
    /// The experts of a model: its config.json, or the folder that has it
    #[arg(long, value_name = "FILE", requires = "tokens")]
    pub(crate) model: Option<PathBuf>,
    /// Tokens of a batch on each GPU, separated by commas
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', value_parser = parsers::count, requires = "model")]
    pub(crate) tokens: Vec<usize>,
    /// GPUs that share the model's experts [default: 1]
    #[arg(long, value_name = "GPUS", value_parser = parsers::count, requires = "model")]
    pub(crate) expert_parallel: Option<usize>,
    /// The layers of a file in the form of benches/gpu/suite.json, or of a suite that is built in: public, which it is
    /// without a word, held-out or calibration
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = SuiteArg::DEFAULT)]
    pub(crate) suite: Option<SuiteArg>,
    /// These cases of the suite alone, separated by commas
    #[arg(long, value_name = "CASE,…", value_delimiter = ',', requires = "suite")]
    pub(crate) only: Vec<String>,
    /// Rows (tokens) of each group (expert) of one layer, separated by commas
    #[arg(long, value_name = "ROWS,…", requires_all = ["n", "k"], conflicts_with_all = ["rows", "router"])]
    pub(crate) sizes: Option<Sizes>,
    /// G, the number of groups of one layer
    #[arg(short, long, value_name = "G", value_parser = parsers::count, requires_all = ["rows", "n", "k"])]
    pub(crate) groups: Option<usize>,
    /// M, the rows of all groups together
    #[arg(short = 'm', long, value_name = "M", value_parser = parsers::count, requires = "groups")]
    pub(crate) rows: Option<usize>,
    /// N, the columns of y
    #[arg(short, long, value_name = "N", value_parser = parsers::count, requires = "k")]
    pub(crate) n: Option<usize>,
    /// K, the columns of x
    #[arg(short, long, value_name = "K", value_parser = parsers::count, requires = "n")]
    pub(crate) k: Option<usize>,
    /// How to spread --rows over --groups [default: zipf]
    #[arg(long, value_enum, requires = "groups")]
    pub(crate) router: Option<Router>,
}

/// In which form.
#[derive(Debug, Args)]
#[command(next_help_heading = "Form")]
pub(crate) struct FormArgs {
    /// Operations, separated by commas [default: forward,grad_x,grad_w, or what the suite says]
    #[arg(long, value_delimiter = ',', value_name = "OP,…", value_parser = parsers::operation())]
    pub(crate) ops: Vec<Operation>,
    /// Type of the operands [default: bf16, or the model's]
    #[arg(long, value_parser = parsers::operand())]
    pub(crate) dtype: Option<Dtype>,
    /// Type of the outputs [default: the operands']
    #[arg(long, value_name = "DTYPE", value_parser = parsers::output())]
    pub(crate) output_dtype: Option<Dtype>,
    /// Let a GPU round f32 operands to TF32, which has 10 bits of fraction: its tensor cores multiply nothing wider
    #[arg(long)]
    pub(crate) tf32: bool,
    /// Weights: one for all groups, or one for each [default: per-expert]
    #[arg(long, value_enum)]
    pub(crate) weights: Option<Weights>,
    /// Order of a weight's dimensions in memory [default: nk]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(crate) weight_layout: Option<Layout>,
    /// grad_w adds to what dw holds, in f32
    #[arg(long)]
    pub(crate) accumulate: bool,
    #[command(flatten)]
    pub(crate) fp8: Fp8Args,
}

impl FormArgs {
    /// Whether an operation is asked for.
    pub(super) fn wants(&self, operation: Operation) -> bool {
        self.ops.is_empty() || self.ops.contains(&operation)
    }

    /// Each operation once, in the order of a training step.
    pub(super) fn operations(&self) -> Vec<Operation> {
        Operation::ALL.into_iter().filter(|operation| self.wants(*operation)).collect()
    }

    /// The problem in this form.
    pub(super) fn apply(&self, problem: Problem, operand: Dtype) -> Problem {
        let accumulates = self.accumulate && problem.operation == Operation::GradW;
        let output = if accumulates { Dtype::F32 } else { self.output_dtype.unwrap_or(operand) };
        let problem = problem
            .operand(operand)
            .output(output)
            .allow_tf32(self.tf32)
            .accumulate(accumulates)
            .weight_sharing(self.weights.map_or(WeightSharing::PerExpert, Weights::into))
            .weight_layout(self.weight_layout.map_or(WeightLayout::Nk, Layout::into));
        self.fp8.apply(problem)
    }
}
