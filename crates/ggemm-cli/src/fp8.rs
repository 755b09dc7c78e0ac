//! Problems whose operands are quantized to fp8.

use clap::Args;
use ggemm_codegen::{Dtype, Operation, Problem, Scaling, WeightLayout};

use crate::parsers;

/// The flags of the commands that only measure and list: operands lie as tensor cores read them.
#[derive(Debug, Args)]
pub(crate) struct Fp8Args {
    /// Operands of this fp8 format, which lie as tensor cores read it; outputs stay of --dtype
    #[arg(long, value_name = "FORMAT", value_parser = parsers::fp8(), conflicts_with = "weight_layout")]
    quantize: Option<Dtype>,
    /// What shares a scale: a row along the reduction, or blocks of 128 (x, dy) and of 128 x 128 (w) [default: block]
    #[arg(long, requires = "quantize", value_parser = parsers::scaling())]
    scaling: Option<Scaling>,
    /// Let sums of fp8 products stay in the tensor cores' accumulator, which is faster and keeps fewer bits
    #[arg(long, requires = "quantize")]
    fast_accumulation: bool,
}

impl Fp8Args {
    /// Whether they ask for anything.
    pub(crate) fn is_given(&self) -> bool {
        self.quantize.is_some()
    }

    /// The problem with the operands that the flags ask for.
    pub(crate) fn apply(&self, problem: Problem) -> Problem {
        match self.quantize {
            None => problem,
            Some(format) => {
                let scaling = self.scaling.unwrap_or(Fp8::SCALING);
                Fp8 { format, scaling, fast: self.fast_accumulation, along_reduction: true }.of(&problem)
            }
        }
    }
}

/// An fp8 format and its scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fp8 {
    /// e4m3 or e5m2.
    pub(crate) format: Dtype,
    /// Which elements share a scale.
    pub(crate) scaling: Scaling,
    /// Sums may stay in the tensor cores' accumulator.
    pub(crate) fast: bool,
    /// Every operand lies along its reduction, as tensor cores read it.
    pub(crate) along_reduction: bool,
}

impl Fp8 {
    /// What shares a scale where nothing is said.
    pub(crate) const SCALING: Scaling = Scaling::Block;

    /// The problem with quantized operands. Its output stays what it was.
    pub(crate) fn of(self, problem: &Problem) -> Problem {
        let Fp8 { format, scaling, fast, along_reduction } = self;
        let output = problem.output;
        let problem = problem.clone().operand(format).scaling(scaling).output(output);
        let problem = problem.fast_accumulation(fast).allow_tf32(false);
        match problem.operation {
            _ if !along_reduction => problem,
            Operation::Forward => problem.weight_layout(WeightLayout::Nk),
            Operation::GradX => problem.weight_layout(WeightLayout::Kn),
            Operation::GradW => problem.reduction_blocks(true),
        }
    }
}
