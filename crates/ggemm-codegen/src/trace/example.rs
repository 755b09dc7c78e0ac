//! A problem that shows what a variant does: small, ragged, and yet several tiles and many blocks for each CTA.

use crate::ValidSpec;
use crate::dtype::Dtype;
use crate::interp::cases::{Case, Data};
use crate::ir::{Contract, Unaddressable};
use crate::problem::{Operation, Problem, ProblemError};
use crate::scenario::operation_of;
use crate::spec::KernelSpec;

/// Blocks of the reduction of a full tile.
const BLOCKS: usize = 6;

/// A problem for a variant: what is not given is chosen for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Rows of each group.
    pub sizes: Option<Vec<usize>>,
    /// N, the columns of y.
    pub n: Option<usize>,
    /// K, the columns of x.
    pub k: Option<usize>,
    /// The seed of the data.
    pub seed: u64,
}

/// Elements of A, B and D together that an example may have: the interpreter holds each in many bytes.
const MOST_ELEMENTS: usize = 1 << 24;

/// Why a variant does not compute a problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExampleError {
    /// No problem at all.
    #[error(transparent)]
    Problem(#[from] ProblemError),
    /// A problem that is no small one.
    #[error(
        "{problem} has {elements} elements, and an example at most {MOST_ELEMENTS}: give fewer rows, or a smaller n or k"
    )]
    Large {
        /// The problem.
        problem: Box<Problem>,
        /// Elements of its tensors.
        elements: usize,
    },
    /// Rows that the variant's copies cannot address.
    #[error(
        "{problem}: rows are aligned to {found} bytes and the variant needs {needed}: take an n and a k that are multiples of {}, or a variant that ends in `plain`",
        needed / operand.size_bytes()
    )]
    Alignment {
        /// The problem.
        problem: Box<Problem>,
        /// What rows are aligned to.
        found: u32,
        /// What they have to be.
        needed: u32,
        /// Type of the operands.
        operand: Dtype,
    },
    /// A tensor that no tensor map leads to.
    #[error("{problem}: {reason}: take an n and a k that are multiples of 8, or a variant that ends in `plain`")]
    Unaddressable {
        /// The problem.
        problem: Box<Problem>,
        /// Why.
        reason: Unaddressable,
    },
    /// A reduction that is not whole blocks, for a variant that masks nothing.
    #[error(
        "{problem}: the variant takes reductions of whole blocks of {block} and {reduction} is none: take a k that is a multiple of it, or the variant without `evenk`"
    )]
    Reduction {
        /// The problem.
        problem: Box<Problem>,
        /// The reduction.
        reduction: usize,
        /// The depth of a block.
        block: u32,
    },
}

impl Example {
    /// The problem with its data.
    ///
    /// # Errors
    /// The variant does not compute such a problem.
    pub fn case(&self, spec: &ValidSpec, contract: &Contract) -> Result<Case, ExampleError> {
        let (operation, layout) = operation_of(spec);
        let [rows, cols] = covered(spec);
        let (sizes, n, k) = match operation {
            // Whole, part and nearly whole tiles, and a group without rows.
            Operation::Forward | Operation::GradX => {
                let sizes = vec![rows, 0, rows / 2 + 1, 2 * rows - 3];
                (sizes, 2 * cols, BLOCKS * spec.tile.k as usize)
            }
            Operation::GradW => {
                let block = spec.tile.k as usize;
                let sizes = vec![BLOCKS * block, 0, 4 * block + 5, 2 * block + block / 2, 5 * block];
                (sizes, rows, 2 * cols)
            }
        };
        let sizes = self.sizes.clone().unwrap_or(sizes);
        let m = sizes.iter().fold(0, |sum: usize, size| sum.saturating_add(*size));
        let problem = Problem::new(operation, sizes.len(), m, self.n.unwrap_or(n), self.k.unwrap_or(k))
            .operand(spec.operand)
            .output(spec.output)
            .weight_layout(layout);
        problem.validate()?;
        takes(spec, contract, &problem)?;
        let sizes: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
        Ok(Case::new(problem, &sizes, self.seed, Data::Integers)?)
    }
}

/// Rows and columns of D that a cluster covers at a time.
fn covered(spec: &KernelSpec) -> [usize; 2] {
    [spec.tile.m * spec.cluster.m, spec.tile.n * spec.cluster.n].map(|side| side as usize)
}

fn takes(spec: &KernelSpec, contract: &Contract, problem: &Problem) -> Result<(), ExampleError> {
    let c = problem.contraction();
    let named = || Box::new(problem.clone());
    let elements = [&c.a, &c.b, &c.d].iter().fold(0, |sum: usize, t| sum.saturating_add(t.elements()));
    if elements > MOST_ELEMENTS {
        return Err(ExampleError::Large { problem: named(), elements });
    }
    let (found, needed) = (c.stride_alignment(), contract.alignment);
    if found < needed {
        return Err(ExampleError::Alignment { problem: named(), found, needed, operand: spec.operand });
    }
    if let Some(reason) = contract.maps(&c).find_map(|map| map.unaddressable()) {
        return Err(ExampleError::Unaddressable { problem: named(), reason });
    }
    let (reduction, block) = (c.reduction, spec.tile.k);
    if spec.even_k && !reduction.is_multiple_of(block as usize) {
        return Err(ExampleError::Reduction { problem: named(), reduction, block });
    }
    Ok(())
}
