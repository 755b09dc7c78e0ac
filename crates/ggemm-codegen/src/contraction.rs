//! The one form that kernels know: [`Contraction`], and how each operation is lowered to it.
//!
//! forward with [G, N, K] weights and grad_x with [G, K, N] weights are one contraction with ragged rows and a K-major B;
//! forward with [G, K, N] and grad_x with [G, N, K] are one with an N-major B. grad_w is the ragged reduction, with its
//! operands exchanged for [G, K, N] weights.

use crate::dtype::Dtype;
use crate::problem::{GroupForm, IndexType, Operation, Problem, Tail, TensorShape, WeightLayout, WeightSharing};
use crate::scaling::{SCALE_BLOCK, ScaleShape, first_row_block};
use crate::spec::{Accumulation, Major, Ragged};

/// The one form in which a kernel sees a problem.
///
/// With ragged rows, D[r, j] = Σₖ A[r, k] · B_g(j, k) for the rows r of each group g. With a ragged reduction,
/// D_g[i, j] = Σᵣ A[r, i] · B[r, j] over the rows r of each group g.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// Which dimension the groups divide.
    pub ragged: Ragged,
    /// The dimension along which A is contiguous.
    pub a_major: Major,
    /// The dimension along which B is contiguous.
    pub b_major: Major,
    /// Type of A, and of B unless they are e4m3 and e5m2: `a.dtype` and `b.dtype` tell.
    pub operand: Dtype,
    /// Type of D.
    pub output: Dtype,
    /// Groups.
    pub groups: usize,
    /// Rows of D (ragged rows: of all groups together; ragged reduction: of each group's matrix).
    pub rows: usize,
    /// Columns of D.
    pub cols: usize,
    /// Length of the reduction (ragged reduction: of all groups together).
    pub reduction: usize,
    /// A in memory.
    pub a: TensorShape,
    /// B in memory.
    pub b: TensorShape,
    /// D in memory.
    pub d: TensorShape,
    /// The scales of A and of B, of fp8 operands. They multiply what is summed: D[i, j] is the sum over the blocks of the
    /// reduction of A's scale times B's times the sum of the block's products.
    pub scales: Option<[ScaleShape; 2]>,
    /// Ragged reduction: A and B start every group at a multiple of 128 elements along the reduction, padded with zeros
    /// ([`Contraction::reduction_start`]).
    pub reduction_blocks: bool,
    /// The least exact way in which sums may be kept.
    pub accumulation: Accumulation,
    /// A is the operation's second operand and B its first.
    pub operands_exchanged: bool,
    /// All groups share one weight: B's group stride is 0, or all groups sum into one D.
    pub weight_shared: bool,
    /// Sizes or ends.
    pub group_form: GroupForm,
    /// i32 or i64.
    pub group_index: IndexType,
    /// Rows of D past the last group are zeroed.
    pub zero_tail: bool,
    /// Add to D.
    pub accumulate: bool,
}

impl Contraction {
    /// The largest power of two, at most 16, of bytes that divides every offset of a row of A, B or D.
    pub fn stride_alignment(&self) -> u32 {
        self.a.stride_alignment().min(self.b.stride_alignment()).min(self.d.stride_alignment())
    }

    /// Where A and B hold the first element of the reduction of `group`, which starts at row `start`.
    pub fn reduction_start(&self, start: usize, group: usize) -> usize {
        match self.ragged {
            Ragged::Rows => 0,
            Ragged::Reduction if self.reduction_blocks => first_row_block(start, group) * SCALE_BLOCK,
            Ragged::Reduction => start,
        }
    }

    /// The block of the reduction, as scales number them, in which the reduction of `group` starts.
    pub fn first_block(&self, start: usize, group: usize) -> usize {
        match self.ragged {
            Ragged::Rows => 0,
            Ragged::Reduction => first_row_block(start, group),
        }
    }
}

impl Problem {
    /// The canonical contraction that this problem is.
    pub fn contraction(&self) -> Contraction {
        let [first, second, d] = self.tensors();
        let shared = self.weight_sharing == WeightSharing::Shared;
        // grad_w of a [K, N] weight is xᵀ dy: the same kernel with its operands exchanged.
        let exchanged = self.operation == Operation::GradW && self.weight_layout == WeightLayout::Kn;
        let (a, b) = if exchanged { (second, first) } else { (first, second) };
        let scales = self.scales().map(|[first, second]| if exchanged { [second, first] } else { [first, second] });
        let (ragged, b_major, rows, cols, reduction) = match self.operation {
            Operation::Forward => {
                (Ragged::Rows, major_if(self.weight_layout == WeightLayout::Nk), self.m, self.n, self.k)
            }
            Operation::GradX => {
                (Ragged::Rows, major_if(self.weight_layout == WeightLayout::Kn), self.m, self.k, self.n)
            }
            Operation::GradW => (Ragged::Reduction, major_if(self.reduction_blocks), d.rows, d.cols, self.m),
        };
        Contraction {
            ragged,
            a_major: if ragged == Ragged::Rows { Major::K } else { b_major },
            b_major,
            operand: a.dtype,
            output: self.output,
            groups: self.groups,
            rows,
            cols,
            reduction,
            a,
            b,
            d,
            scales,
            reduction_blocks: self.reduction_blocks,
            accumulation: match self.fast_accumulation || !self.operand.is_fp8() {
                true => Accumulation::Fast,
                false => Accumulation::Promoted,
            },
            operands_exchanged: exchanged,
            weight_shared: shared,
            group_form: self.group_form,
            group_index: self.group_index,
            zero_tail: ragged == Ragged::Rows && self.tail != Tail::Untouched,
            accumulate: self.accumulate,
        }
    }
}

fn major_if(k_major: bool) -> Major {
    if k_major { Major::K } else { Major::Mn }
}
