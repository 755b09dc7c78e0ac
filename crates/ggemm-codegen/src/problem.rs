//! What a caller wants computed: [`Problem`].
//!
//! M rows (tokens) are sorted by group (expert); group g owns a run of rows. Matrices are row-major.
//!
//! | operation | inputs | output | definition |
//! | --- | --- | --- | --- |
//! | forward | x [M, K], w | y [M, N] | y\[r\] = x\[r\] · w_gᵀ, g the group of row r |
//! | grad_x | dy [M, N], w | dx [M, K] | dx\[r\] = dy\[r\] · w_g |
//! | grad_w | dy [M, N], x [M, K] | dw like w | dw_g = Σ over rows r of g: dy\[r\]ᵀ x\[r\] |
//!
//! Elements of fp8 operands stand for their values times scales, whose arrays [`scaling`](crate::scaling) describes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;
use crate::scaling::{SCALE_BLOCK, Scaling, row_blocks};

/// One of the three products of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// y = x · wᵀ.
    Forward,
    /// dx = dy · w.
    GradX,
    /// dw = dyᵀ · x.
    GradW,
}

impl Operation {
    /// All three, in the order of a training step.
    pub const ALL: [Operation; 3] = [Operation::Forward, Operation::GradX, Operation::GradW];

    /// `forward`, `grad_x` or `grad_w`.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Forward => "forward",
            Operation::GradX => "grad_x",
            Operation::GradW => "grad_w",
        }
    }

    /// What the first operand, the second operand and the output are called in this operation.
    pub const fn tensor_names(self) -> [&'static str; 3] {
        match self {
            Operation::Forward => ["x", "w", "y"],
            Operation::GradX => ["dy", "w", "dx"],
            Operation::GradW => ["dy", "x", "dw"],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an operation: expected forward, grad_x or grad_w")]
pub struct UnknownOperation(pub String);

impl FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Operation::ALL.into_iter().find(|o| o.name() == s).ok_or_else(|| UnknownOperation(s.to_owned()))
    }
}

/// Which of a weight's two dimensions comes first in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightLayout {
    /// [N, K]: the rows of a `Linear` layer's weight. The default.
    Nk,
    /// [K, N]: what `torch._grouped_mm` takes.
    Kn,
}

/// Whether each group has a weight of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightSharing {
    /// [G, N, K] or [G, K, N].
    PerExpert,
    /// One [N, K] or [K, N] for all groups; grad_w sums over all of them.
    Shared,
}

/// What the device array that describes the groups holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupForm {
    /// Rows of each group. A negative size counts as 0.
    Sizes,
    /// The row after each group's last (an inclusive prefix sum; torch's `offs`). They become running maxima.
    Ends,
}

/// The integer type of the array that describes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexType {
    /// 32-bit signed.
    I32,
    /// 64-bit signed.
    I64,
}

/// What happens to the output's rows past the last group (forward and grad_x).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// The caller declares that there are none. Should there be some after all they are zeroed, and checked mode
    /// reports them: that is how sizes passed as ends show. The default.
    Undeclared,
    /// The caller expects them; they are zeroed.
    Zero,
    /// The caller expects them; they keep what they hold.
    Untouched,
}

/// One grouped product: everything that is known on the host before the launch.
///
/// Dimensions count elements, strides count elements between consecutive rows (or groups). A stride may exceed the row
/// length; what lies between is neither read nor written.
///
/// ```
/// use ggemm_codegen::{Dtype, Problem, WeightLayout};
/// let p = Problem::forward(8, 4096, 7168, 2048).weight_layout(WeightLayout::Kn).output(Dtype::F32);
/// assert_eq!(p.to_string(), "forward bf16->f32 G=8 M=4096 N=7168 K=2048 w=[G,K,N] sizes:i32");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// The operation.
    pub operation: Operation,
    /// G, the number of groups.
    pub groups: usize,
    /// M, the rows of x, dy, y and dx.
    pub m: usize,
    /// N, the columns of dy and y.
    pub n: usize,
    /// K, the columns of x and dx.
    pub k: usize,
    /// The type of the first operand.
    pub operand: Dtype,
    /// The type of the second operand; `None`: that of the first. Only e4m3 and e5m2 mix.
    #[serde(default)]
    pub second_operand: Option<Dtype>,
    /// Which elements of fp8 operands share a scale.
    #[serde(default)]
    pub scaling: Scaling,
    /// grad_w of fp8 only: the operands are copies that are contiguous along the reduction, as fp8 tensor cores read
    /// them. dy is [N, L] and x [K, L], L = 128 (⌊M/128⌋ + G), G = 1 for a shared weight. Every group starts at a
    /// multiple of 128 columns: row r of group g, which starts at row s, is column 128 (⌊s/128⌋ + g) + r − s, so that a
    /// block of 128 columns has one row of scales. Columns between a group's last row and the next multiple of 128 are
    /// zeros; those of no block are not read.
    #[serde(default)]
    pub reduction_blocks: bool,
    /// fp8 only: sums may stay in the tensor cores' accumulator, which is faster and keeps fewer bits than an f32 has. Of
    /// operands with scales in blocks they leave it after each block in any case. The CPU's are f32 in any case.
    #[serde(default)]
    pub fast_accumulation: bool,
    /// f32 only: a GPU may round operands to TF32, which has 10 bits of fraction, as its tensor cores multiply nothing wider.
    /// The CPU multiplies them as they are.
    #[serde(default)]
    pub allow_tf32: bool,
    /// The type of the output.
    pub output: Dtype,
    /// Which dimension of the weight comes first.
    pub weight_layout: WeightLayout,
    /// One weight a group, or one for all.
    pub weight_sharing: WeightSharing,
    /// Row stride of x or dx; `None`: its row length.
    pub x_row_stride: Option<usize>,
    /// Row stride of y or dy; `None`: its row length.
    pub y_row_stride: Option<usize>,
    /// Row stride of w or dw; `None`: its row length.
    pub w_row_stride: Option<usize>,
    /// Stride between the weights of two groups; `None`: rows times row stride. Ignored for a shared weight.
    pub w_group_stride: Option<usize>,
    /// Sizes or ends.
    pub group_form: GroupForm,
    /// The integer type of sizes or ends.
    pub group_index: IndexType,
    /// What happens to the rows past the last group.
    pub tail: Tail,
    /// grad_w only: add to what an f32 output holds instead of replacing it.
    pub accumulate: bool,
}

impl Problem {
    /// The largest G, M, N or K: a tile's width below 2³¹, so that no index in a kernel overflows.
    pub const MAX_DIMENSION: usize = (1 << 31) - 1024;

    /// A problem with the defaults: bf16 in and out, one [N, K] weight a group, dense rows, i32 sizes, no tail.
    pub fn new(operation: Operation, groups: usize, m: usize, n: usize, k: usize) -> Self {
        Problem {
            operation,
            groups,
            m,
            n,
            k,
            operand: Dtype::Bf16,
            second_operand: None,
            scaling: Scaling::None,
            reduction_blocks: false,
            fast_accumulation: false,
            allow_tf32: false,
            output: Dtype::Bf16,
            weight_layout: WeightLayout::Nk,
            weight_sharing: WeightSharing::PerExpert,
            x_row_stride: None,
            y_row_stride: None,
            w_row_stride: None,
            w_group_stride: None,
            group_form: GroupForm::Sizes,
            group_index: IndexType::I32,
            tail: Tail::Undeclared,
            accumulate: false,
        }
    }

    /// y[M, N] = x[M, K] · w_gᵀ, with the defaults of [`Problem::new`].
    pub fn forward(groups: usize, m: usize, n: usize, k: usize) -> Self {
        Self::new(Operation::Forward, groups, m, n, k)
    }

    /// dx[M, K] = dy[M, N] · w_g, with the defaults of [`Problem::new`].
    pub fn grad_x(groups: usize, m: usize, n: usize, k: usize) -> Self {
        Self::new(Operation::GradX, groups, m, n, k)
    }

    /// dw_g = dy_gᵀ · x_g, with the defaults of [`Problem::new`].
    pub fn grad_w(groups: usize, m: usize, n: usize, k: usize) -> Self {
        Self::new(Operation::GradW, groups, m, n, k)
    }

    /// The same sizes, types and weight form under another operation; `accumulate` and `reduction_blocks` stay with grad_w
    /// alone.
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.operation = operation;
        if operation != Operation::GradW {
            self.accumulate = false;
            self.reduction_blocks = false;
        }
        self
    }

    /// Sets the type of both operands, and the output's when it was the same and can be.
    pub fn operand(mut self, dtype: Dtype) -> Self {
        if self.output == self.operand && !dtype.is_fp8() {
            self.output = dtype;
        }
        self.operand = dtype;
        self.second_operand = None;
        self
    }

    /// Sets the type of the second operand where it is another than the first's: e5m2 gradients by e4m3 weights, say.
    pub fn second_operand(mut self, dtype: Dtype) -> Self {
        self.second_operand = (dtype != self.operand).then_some(dtype);
        self
    }

    /// Sets which elements of fp8 operands share a scale.
    pub fn scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// grad_w of fp8 only: the operands lie along the reduction, in blocks of 128.
    pub fn reduction_blocks(mut self, on: bool) -> Self {
        self.reduction_blocks = on;
        self
    }

    /// fp8 only: sums may stay in the tensor cores' accumulator.
    pub fn fast_accumulation(mut self, on: bool) -> Self {
        self.fast_accumulation = on;
        self
    }

    /// f32 only: a GPU may round operands to TF32.
    pub fn allow_tf32(mut self, on: bool) -> Self {
        self.allow_tf32 = on;
        self
    }

    /// The types of both operands.
    pub fn operands(&self) -> [Dtype; 2] {
        [self.operand, self.second_operand.unwrap_or(self.operand)]
    }

    /// Sets the output's type.
    pub fn output(mut self, dtype: Dtype) -> Self {
        self.output = dtype;
        self
    }

    /// Sets which dimension of the weight comes first.
    pub fn weight_layout(mut self, layout: WeightLayout) -> Self {
        self.weight_layout = layout;
        self
    }

    /// Sets whether all groups share one weight.
    pub fn weight_sharing(mut self, sharing: WeightSharing) -> Self {
        self.weight_sharing = sharing;
        self
    }

    /// Sets the row stride of x (or dx), in elements.
    pub fn x_row_stride(mut self, stride: usize) -> Self {
        self.x_row_stride = Some(stride);
        self
    }

    /// Sets the row stride of y (or dy), in elements.
    pub fn y_row_stride(mut self, stride: usize) -> Self {
        self.y_row_stride = Some(stride);
        self
    }

    /// Sets the row stride of w (or dw), in elements.
    pub fn w_row_stride(mut self, stride: usize) -> Self {
        self.w_row_stride = Some(stride);
        self
    }

    /// Sets the stride between the weights of two groups, in elements.
    pub fn w_group_stride(mut self, stride: usize) -> Self {
        self.w_group_stride = Some(stride);
        self
    }

    /// Sets what the array that describes the groups holds, and its type.
    pub fn group_array(mut self, form: GroupForm, index: IndexType) -> Self {
        self.group_form = form;
        self.group_index = index;
        self
    }

    /// Sets what happens to the rows past the last group.
    pub fn tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }

    /// grad_w only: add to the f32 output instead of replacing it.
    pub fn accumulate(mut self, accumulate: bool) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// Rows and columns of one group's weight in memory order.
    pub fn weight_shape(&self) -> (usize, usize) {
        match self.weight_layout {
            WeightLayout::Nk => (self.n, self.k),
            WeightLayout::Kn => (self.k, self.n),
        }
    }

    /// Multiply-adds times two, if every row belongs to a group.
    pub fn flops(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    /// The tensors of the operation: first operand, second operand, output.
    pub fn tensors(&self) -> [TensorShape; 3] {
        let tokens = |cols, stride| {
            if self.reduction_blocks {
                let along = row_blocks(self.m, self.weights()).saturating_mul(SCALE_BLOCK);
                return TensorShape::matrix(cols, along, stride, self.operand);
            }
            TensorShape::matrix(self.m, cols, stride, self.operand)
        };
        let (x, y) = (tokens(self.k, self.x_row_stride), tokens(self.n, self.y_row_stride));
        let (rows, cols) = self.weight_shape();
        let mut w = TensorShape::matrix(rows, cols, self.w_row_stride, self.operand);
        if self.weight_sharing == WeightSharing::PerExpert {
            w.groups = self.groups;
            w.group_stride = self.w_group_stride.unwrap_or_else(|| rows.saturating_mul(w.row_stride));
        }
        let [mut a, mut b, mut d] = match self.operation {
            Operation::Forward => [x, w, y],
            Operation::GradX => [y, w, x],
            Operation::GradW => [y, x, w],
        };
        [a.name, b.name, d.name] = self.operation.tensor_names();
        [a.dtype, b.dtype] = self.operands();
        d.dtype = self.output;
        [a, b, d]
    }

    /// Refuses a problem that no kernel and no backend can mean: dimensions past
    /// [`Problem::MAX_DIMENSION`], strides shorter than a row,
    /// groups of weights that overlap, `accumulate` where it is not defined, types that are no operands or no output, scales
    /// where there are none or none where there must be.
    ///
    /// # Errors
    /// The first rule that does not hold, with the argument, its value and the remedy.
    pub fn validate(&self) -> Result<(), ProblemError> {
        const LIMIT: usize = Problem::MAX_DIMENSION;
        for (argument, value) in [("G", self.groups), ("M", self.m), ("N", self.n), ("K", self.k)] {
            if value > LIMIT {
                return Err(ProblemError::TooLarge { argument, value });
            }
        }
        if self.groups == 0 {
            return Err(ProblemError::NoGroups);
        }
        self.validate_types()?;
        for t in self.tensors() {
            if t.row_stride < t.cols {
                return Err(ProblemError::RowStride { tensor: t.name, stride: t.row_stride, cols: t.cols });
            }
            if t.groups > 1 && t.elements_of_one() > t.group_stride {
                let needed = t.elements_of_one();
                return Err(ProblemError::GroupStride { tensor: t.name, stride: t.group_stride, needed });
            }
            // 2⁶² elements of at most 4 bytes still fit a signed 64-bit byte offset with one bit to spare.
            if t.checked_elements().is_none_or(|e| e > 1 << 60) {
                return Err(ProblemError::TensorTooLarge { tensor: t.name });
            }
        }
        for scale in self.scales().into_iter().flatten() {
            if scale.elements() > 1 << 60 {
                return Err(ProblemError::TensorTooLarge { tensor: scale.name });
            }
        }
        if self.accumulate && (self.operation != Operation::GradW || self.output != Dtype::F32) {
            return Err(ProblemError::Accumulate { operation: self.operation, output: self.output });
        }
        Ok(())
    }

    /// The rules on types and on what goes with them.
    fn validate_types(&self) -> Result<(), ProblemError> {
        let [first, second] = self.operands();
        for value in [first, second] {
            if !Dtype::OPERANDS.contains(&value) {
                return Err(ProblemError::OperandDtype { value });
            }
        }
        if first != second && !(first.is_fp8() && second.is_fp8()) {
            return Err(ProblemError::MixedOperands { first, second });
        }
        if !Dtype::OUTPUTS.contains(&self.output) {
            return Err(ProblemError::OutputDtype { value: self.output });
        }
        match (first.is_fp8(), self.scaling) {
            (true, Scaling::None) => return Err(ProblemError::Unscaled { value: first }),
            (false, Scaling::Row | Scaling::Block) => {
                return Err(ProblemError::Scaled { scaling: self.scaling, value: first });
            }
            _ => {}
        }
        if self.reduction_blocks && !(first.is_fp8() && self.operation == Operation::GradW) {
            return Err(ProblemError::ReductionBlocks { operation: self.operation, value: first });
        }
        if self.fast_accumulation && !first.is_fp8() {
            return Err(ProblemError::FastAccumulation { value: first });
        }
        if self.allow_tf32 && first != Dtype::F32 {
            return Err(ProblemError::AllowTf32 { value: first });
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.operand)?;
        if let Some(second) = self.second_operand {
            write!(f, "*{second}")?;
        }
        write!(f, "->{}", self.output)?;
        write!(f, " G={} M={} N={} K={}", self.groups, self.m, self.n, self.k)?;
        let group = if self.weight_sharing == WeightSharing::Shared { "" } else { "G," };
        let order = if self.weight_layout == WeightLayout::Nk { "N,K" } else { "K,N" };
        write!(f, " w=[{group}{order}]")?;
        if self.scaling != Scaling::None {
            write!(f, " scales={}", self.scaling)?;
        }
        if self.reduction_blocks {
            write!(f, " reduction_blocks")?;
        }
        if self.fast_accumulation {
            write!(f, " fast_accumulation")?;
        }
        if self.allow_tf32 {
            write!(f, " allow_tf32")?;
        }
        for (name, stride) in [("x", self.x_row_stride), ("y", self.y_row_stride), ("w", self.w_row_stride)] {
            if let Some(stride) = stride {
                write!(f, " {name}_row_stride={stride}")?;
            }
        }
        if let Some(stride) = self.w_group_stride {
            write!(f, " w_group_stride={stride}")?;
        }
        let form = if self.group_form == GroupForm::Sizes { "sizes" } else { "ends" };
        let index = if self.group_index == IndexType::I32 { "i32" } else { "i64" };
        write!(f, " {form}:{index}")?;
        match self.tail {
            Tail::Undeclared => {}
            Tail::Zero => write!(f, " tail=zero")?,
            Tail::Untouched => write!(f, " tail=untouched")?,
        }
        if self.accumulate {
            write!(f, " accumulate")?;
        }
        Ok(())
    }
}

/// Where the elements of a tensor lie: `groups` matrices of `rows` × `cols`, row-major, with strides in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TensorShape {
    /// What the operation calls it.
    pub name: &'static str,
    /// Element type.
    pub dtype: Dtype,
    /// Matrices; 1 for a tensor without a group dimension.
    pub groups: usize,
    /// Rows of a matrix.
    pub rows: usize,
    /// Columns of a matrix.
    pub cols: usize,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one matrix to the next; 0 for a tensor without a group dimension.
    pub group_stride: usize,
}

impl TensorShape {
    fn matrix(rows: usize, cols: usize, row_stride: Option<usize>, dtype: Dtype) -> Self {
        let row_stride = row_stride.unwrap_or(cols);
        TensorShape { name: "", dtype, groups: 1, rows, cols, row_stride, group_stride: 0 }
    }

    /// Elements from a matrix's first to its last, both included.
    pub fn elements_of_one(&self) -> usize {
        if self.rows == 0 || self.cols == 0 {
            return 0;
        }
        (self.rows - 1).saturating_mul(self.row_stride).saturating_add(self.cols)
    }

    /// Elements that a buffer must hold: from the first matrix's first to the last one's last. Saturates.
    pub fn elements(&self) -> usize {
        self.checked_elements().unwrap_or(usize::MAX)
    }

    fn checked_elements(&self) -> Option<usize> {
        if self.rows == 0 || self.cols == 0 || self.groups == 0 {
            return Some(0);
        }
        let last_row = (self.rows - 1).checked_mul(self.row_stride)?.checked_add(self.cols)?;
        (self.groups - 1).checked_mul(self.group_stride)?.checked_add(last_row)
    }

    /// The largest power of two, at most 16, of bytes that divides every row's and every group's offset. Add the
    /// pointer's own alignment to know what a load may assume.
    pub fn stride_alignment(&self) -> u32 {
        let size = self.dtype.size_bytes() as usize;
        let mut bits = 16;
        if self.rows > 1 {
            bits |= self.row_stride.wrapping_mul(size);
        }
        if self.groups > 1 {
            bits |= self.group_stride.wrapping_mul(size);
        }
        1 << bits.trailing_zeros()
    }
}

/// Why a [`Problem`] means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// A dimension past [`Problem::MAX_DIMENSION`].
    #[error("{argument} = {value} is past 2147482624, the largest dimension: split the problem")]
    TooLarge {
        /// G, M, N or K.
        argument: &'static str,
        /// Its value.
        value: usize,
    },
    /// G = 0.
    #[error("G = 0: a grouped product has at least one group, though any group may be empty")]
    NoGroups,
    /// Operands of a type that no kernel takes.
    #[error("operands of type {value} are not supported: use bf16, f16 or f32, or e4m3 and e5m2 with scales")]
    OperandDtype {
        /// The type.
        value: Dtype,
    },
    /// Operands of two types that do not mix.
    #[error("operands of types {first} and {second} do not mix: use one type for both (e4m3 and e5m2 do mix)")]
    MixedOperands {
        /// The first operand's type.
        first: Dtype,
        /// The second operand's type.
        second: Dtype,
    },
    /// An output of a type that nothing writes.
    #[error("outputs of type {value} are not supported: use bf16, f16 or f32, and quantize the result")]
    OutputDtype {
        /// The type.
        value: Dtype,
    },
    /// fp8 operands without scales.
    #[error("operands of type {value} have scales, and Problem::scaling is none: set Scaling::Row or Scaling::Block")]
    Unscaled {
        /// The type.
        value: Dtype,
    },
    /// Scales for operands that have none.
    #[error(
        "Problem::scaling is {scaling}, and operands of type {value} have no scales: set Scaling::None, or use e4m3 or e5m2"
    )]
    Scaled {
        /// The scaling.
        scaling: Scaling,
        /// The operands' type.
        value: Dtype,
    },
    /// `reduction_blocks` where operands lie as they do anyway.
    #[error(
        "reduction_blocks is set for {operation} of {value}: only grad_w of e4m3 and e5m2 has such operands: leave it unset"
    )]
    ReductionBlocks {
        /// The operation.
        operation: Operation,
        /// The first operand's type.
        value: Dtype,
    },
    /// `fast_accumulation` where sums are f32 in any case.
    #[error(
        "fast_accumulation is set for operands of {value}, whose sums are f32: leave it unset, or use e4m3 or e5m2"
    )]
    FastAccumulation {
        /// The first operand's type.
        value: Dtype,
    },
    /// `allow_tf32` where operands are not f32.
    #[error("allow_tf32 is set for operands of {value}, which are multiplied as they are: leave it unset, or use f32")]
    AllowTf32 {
        /// The first operand's type.
        value: Dtype,
    },
    /// Rows that overlap.
    #[error("the row stride of {tensor} is {stride}, shorter than its rows of {cols}: give at least {cols}")]
    RowStride {
        /// The tensor's name in this operation.
        tensor: &'static str,
        /// Its row stride in elements.
        stride: usize,
        /// The length of its rows in elements.
        cols: usize,
    },
    /// Weights that overlap.
    #[error(
        "the group stride of {tensor} is {stride}, shorter than one group's {needed} elements: give at least {needed}, or declare one weight shared by all groups"
    )]
    GroupStride {
        /// The tensor's name in this operation.
        tensor: &'static str,
        /// Its group stride in elements.
        stride: usize,
        /// Elements of one group's matrix.
        needed: usize,
    },
    /// More elements than a 64-bit offset reaches.
    #[error("{tensor} spans more than 2^60 elements: its strides are out of range")]
    TensorTooLarge {
        /// The tensor's name in this operation.
        tensor: &'static str,
    },
    /// `accumulate` outside grad_w with f32.
    #[error("accumulate is set for {operation} with a {output} output: only grad_w into f32 accumulates")]
    Accumulate {
        /// The operation.
        operation: Operation,
        /// The output's type.
        output: Dtype,
    },
}
