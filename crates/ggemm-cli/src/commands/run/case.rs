//! One grouped layer with its tensors in the host's memory: what all operations share.

use ggemm_codegen::{Dtype, Operation, Problem, Scaling, Tail, TensorShape, WeightLayout};
use ggemm_runtime::quantize::Quantizer;
use ggemm_runtime::random::{Rng, Tensors, Values};
use ggemm_runtime::{Buffer, Device, ElementType, Error, Mode, Operand, Runs, bf16, f16};

use crate::commands::run::args::RunArgs;
use crate::commands::run::tokens::TokenOrder;
use crate::commands::run::transfer::{self, Located};
use crate::commands::run::usage::{LONGEST_EXACT, UsageError};
use crate::memory;

/// A layer, its groups and its operands.
pub(crate) struct Case {
    /// The layer, as its grad_w: [`Case::problem`] makes the others.
    pub(crate) base: Problem,
    /// What is to be computed, each once.
    pub(crate) operations: Vec<Operation>,
    /// What operands are quantized to before they are multiplied.
    pub(crate) fp8: Option<Fp8>,
    /// x [M, K], rows sorted by group.
    pub(crate) x: Buffer,
    /// The weights.
    pub(crate) w: Buffer,
    /// dy [M, N], rows sorted by group; empty where no operation reads it.
    pub(crate) dy: Buffer,
    /// Sizes or ends.
    pub(crate) groups: Buffer,
    /// The same, read and checked.
    pub(crate) runs: Runs,
    /// Where each row was in the file, for a file whose tokens were not sorted.
    pub(crate) order: Option<TokenOrder>,
    /// What the operands hold.
    pub(crate) values: Values,
    /// The seed of what is random.
    pub(crate) seed: u64,
    /// Operands that are random and are in no file.
    pub(crate) random: Vec<&'static str>,
    /// How the report describes groups and values.
    pub(crate) about: About,
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
    /// What the flags ask for.
    pub(crate) fn of(args: &RunArgs) -> Option<Self> {
        args.problem.quantize.map(|format| Fp8 {
            format,
            scaling: args.problem.scaling.unwrap_or(Scaling::Block),
            fast: args.problem.fast_accumulation,
            along_reduction: args.runs_kernels(),
        })
    }
}

/// What one operation multiplies.
pub(crate) struct Operands<'a> {
    elements: [Located<'a>; 2],
    scales: Option<[Buffer; 2]>,
}

impl Operands<'_> {
    /// The operands of a run.
    pub(crate) fn get(&self) -> [Operand<'_>; 2] {
        let [lhs, rhs] = &self.elements;
        match &self.scales {
            None => [(&**lhs).into(), (&**rhs).into()],
            Some([of_lhs, of_rhs]) => [Operand::scaled(&**lhs, of_lhs), Operand::scaled(&**rhs, of_rhs)],
        }
    }
}

/// Where a case comes from, in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// How rows were spread over groups.
    pub(crate) groups: String,
    /// Where values come from.
    pub(crate) data: String,
    /// What the user should know about how the input was read.
    pub(crate) notes: Vec<String>,
}

/// Room after an output for what should not be there.
const MARGIN: usize = 9;

impl Case {
    /// The problem of one operation.
    pub(crate) fn problem(&self, operation: Operation) -> Problem {
        let problem = self.base.clone().with_operation(operation);
        match self.fp8 {
            None => problem,
            // The output stays what it was.
            Some(Fp8 { format, scaling, fast, along_reduction }) => {
                let problem = problem.operand(format).scaling(scaling).output(self.base.output);
                let problem = problem.fast_accumulation(fast).allow_tf32(false);
                match operation {
                    _ if !along_reduction => problem,
                    Operation::Forward => problem.weight_layout(WeightLayout::Nk),
                    Operation::GradX => problem.weight_layout(WeightLayout::Kn),
                    Operation::GradW => problem.reduction_blocks(true),
                }
            }
        }
    }

    /// The operands of one operation on `device`, quantized there where that is asked for. Scales are powers of two where
    /// results are to be exact.
    pub(crate) fn operands(&self, operation: Operation, device: &Device) -> Result<Operands<'_>, Error> {
        let (lhs, rhs) = match operation {
            Operation::Forward => (&self.x, &self.w),
            Operation::GradX => (&self.dy, &self.w),
            Operation::GradW => (&self.dy, &self.x),
        };
        let [lhs, rhs] = [transfer::to_device(device, lhs)?, transfer::to_device(device, rhs)?];
        if self.fp8.is_none() {
            return Ok(Operands { elements: [lhs, rhs], scales: None });
        }
        let groups = transfer::to_device(device, &self.groups)?;
        let exact = self.values == Values::SmallIntegers;
        let quantizer = Quantizer::new(&self.problem(operation))?.powers_of_two(exact).groups(&*groups)?;
        let quantizer = quantizer.weights_from(self.base.weight_layout);
        let (lhs, rhs) = (quantizer.first(&*lhs)?, quantizer.second(&*rhs)?);
        let elements = [Located::Copied(lhs.elements), Located::Copied(rhs.elements)];
        Ok(Operands { elements, scales: Some([lhs.scales, rhs.scales]) })
    }

    /// What counts as right.
    pub(crate) fn mode(&self) -> Mode {
        if self.values == Values::SmallIntegers { Mode::Exact } else { Mode::Bound }
    }

    /// Multiply-adds times two; rows of the tail cost nothing.
    pub(crate) fn flops(&self) -> f64 {
        2.0 * self.runs.total() as f64 * self.base.n as f64 * self.base.k as f64
    }

    /// The output of an operation before it runs: NaN, so that what is not written shows, or values to add to.
    pub(crate) fn before(&self, operation: Operation) -> Result<Buffer, Error> {
        let problem = self.problem(operation);
        let [_, _, shape] = problem.tensors();
        let ty = element_type(&shape)?;
        let mut buffer = Buffer::zeros(&Device::cpu(), ty, shape.elements().saturating_add(MARGIN))?;
        if problem.accumulate {
            let mut rng = Rng::new(self.seed ^ stream::OUTPUT);
            for element in buffer.as_mut_slice::<f32>().unwrap_or_default() {
                *element = match self.values {
                    Values::SmallIntegers => rng.below(9) as f32 - 4.0,
                    _ => rng.normal(),
                };
            }
            return Ok(buffer);
        }
        if let Some(elements) = buffer.as_mut_slice::<f32>() {
            elements.fill(f32::NAN);
        } else if let Some(elements) = buffer.as_mut_slice::<bf16>() {
            elements.fill(bf16::NAN);
        } else if let Some(elements) = buffer.as_mut_slice::<f16>() {
            elements.fill(f16::NAN);
        }
        Ok(buffer)
    }

    /// Whether any operation reads dy.
    pub(crate) fn reads_dy(operations: &[Operation]) -> bool {
        operations.iter().any(|operation| *operation != Operation::Forward)
    }

    /// The rows of an operation's output that the problem defines, as runs of elements in a buffer.
    pub(crate) fn defined_rows(&self, operation: Operation) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let problem = self.problem(operation);
        let [_, _, out] = problem.tensors();
        let rows = match operation {
            Operation::Forward | Operation::GradX if problem.tail == Tail::Untouched => self.runs.total(),
            _ => out.rows,
        };
        (0..out.groups).flat_map(move |group| {
            (0..rows).map(move |row| {
                let start = group * out.group_stride + row * out.row_stride;
                start..start + out.cols
            })
        })
    }
}

/// Streams of random numbers that have nothing in common.
mod stream {
    pub(super) const W: u64 = 0x2545_f491_4f6c_dd1d;
    pub(super) const DY: u64 = 0x5851_f42d_4c95_7f2d;
    pub(super) const OUTPUT: u64 = 0x9e6c_63d0_876a_3f6b;
}

/// Random x for the layer: NaN in stride padding and in the tail.
pub(crate) fn random_x(base: &Problem, live: usize, values: Values, seed: u64) -> Result<Buffer, Error> {
    random_rows(base, base.k, base.x_row_stride, live, values, seed)
}

/// Random dy for the layer.
pub(crate) fn random_dy(base: &Problem, live: usize, values: Values, seed: u64) -> Result<Buffer, Error> {
    random_rows(base, base.n, base.y_row_stride, live, values, seed ^ stream::DY)
}

/// Random weights for the layer.
pub(crate) fn random_w(base: &Problem, values: Values, seed: u64) -> Result<Buffer, Error> {
    // A forward of no rows has these weights and nothing else.
    let mut alone = base.clone().with_operation(Operation::Forward);
    alone.m = 0;
    alone.tail = Tail::Undeclared;
    Ok(Tensors::random(&alone, &[], values, seed ^ stream::W)?.rhs)
}

/// What stands for a tensor that no operation reads.
pub(crate) fn unread(base: &Problem) -> Result<Buffer, Error> {
    let [shape, ..] = base.tensors();
    Buffer::zeros(&Device::cpu(), element_type(&shape)?, 0)
}

fn random_rows(
    base: &Problem,
    cols: usize,
    stride: Option<usize>,
    live: usize,
    values: Values,
    seed: u64,
) -> Result<Buffer, Error> {
    // A forward of one group and no columns has these rows and nothing else.
    let mut alone = Problem::forward(1, base.m, 0, cols).operand(base.operand).tail(Tail::Zero);
    alone.x_row_stride = stride;
    Ok(Tensors::random(&alone, &[live], values, seed)?.lhs)
}

/// Refuses what no operation can compute, and what this machine's memory cannot hold.
pub(crate) fn validate(
    base: &Problem,
    operations: &[Operation],
    exact: bool,
    check: bool,
    quantize: bool,
) -> Result<(), UsageError> {
    if base.accumulate && !operations.contains(&Operation::GradW) {
        return Err(UsageError::AccumulateOperation);
    }
    for &operation in operations {
        base.clone().with_operation(operation).validate()?;
        let length = match operation {
            Operation::Forward => base.k,
            Operation::GradX => base.n,
            Operation::GradW => base.m,
        };
        if exact && length > LONGEST_EXACT {
            return Err(UsageError::ExactTooLong { operation, length });
        }
    }
    let needed = memory_needed(base, operations, check, quantize);
    match memory::available() {
        Some(available) if needed > available => Err(UsageError::Memory { needed, available }),
        _ => Ok(()),
    }
}

/// Bytes of the host's memory that a run takes at its worst, about.
fn memory_needed(base: &Problem, operations: &[Operation], check: bool, quantize: bool) -> u64 {
    let bytes = |shape: &TensorShape| (shape.elements() as u64).saturating_mul(shape.dtype.size_bytes().into());
    let [dy, x, _] = base.tensors();
    let [_, w, _] = base.clone().with_operation(Operation::Forward).tensors();
    let operands = [dy, x, w].iter().map(bytes).fold(base.groups as u64 * 32, u64::saturating_add);
    let output = |&operation: &Operation| {
        let [_, _, d] = base.clone().with_operation(operation).tensors();
        // Sum and magnitude of each element in f64; the output before, after the first run, and after the others.
        let elements = (d.groups as u64).saturating_mul(d.rows as u64).saturating_mul(d.cols as u64);
        let reference = if check { elements.saturating_mul(16) } else { 0 };
        bytes(&d).saturating_mul(3).saturating_add(reference)
    };
    // Copies of 8 bits, with their scales, beside 16.
    let operands = operands.saturating_add(if quantize { operands / 2 + operands / 16 } else { 0 });
    operands.saturating_add(operations.iter().map(output).max().unwrap_or(0))
}

fn element_type(shape: &TensorShape) -> Result<ElementType, Error> {
    let unsupported = |value| Error::Problem(ggemm_codegen::ProblemError::OperandDtype { value });
    ElementType::try_from(shape.dtype).map_err(unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_independent_of_each_other_and_the_same_for_every_operation() {
        let base = Problem::grad_w(2, 5, 4, 4);
        let x = random_x(&base, 5, Values::Normal, 7).unwrap().to_vec::<bf16>().unwrap();
        let dy = random_dy(&base, 5, Values::Normal, 7).unwrap().to_vec::<bf16>().unwrap();
        let w = random_w(&base, Values::Normal, 7).unwrap().to_vec::<bf16>().unwrap();
        let rows = |v: &[bf16]| v.chunks(4).filter(|r| r.len() == 4).map(<[_]>::to_vec).collect::<Vec<_>>();
        for row in rows(&x) {
            assert!(!rows(&dy).contains(&row) && !rows(&w).contains(&row) || row[0].is_nan());
        }
        assert_eq!(random_x(&base, 5, Values::Normal, 7).unwrap().to_vec::<bf16>().unwrap()[..20], x[..20]);
    }

    #[test]
    fn a_problem_past_all_memory_is_refused() {
        let base = Problem::grad_w(1, 1 << 30, 1 << 20, 1 << 20);
        assert!(memory_needed(&base, &Operation::ALL, true, false) > 1 << 50);
    }
}
