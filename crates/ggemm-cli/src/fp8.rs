//! Problems whose operands are quantized to fp8.

use ggemm_codegen::{Dtype, Operation, Problem, Scaling, WeightLayout};

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
