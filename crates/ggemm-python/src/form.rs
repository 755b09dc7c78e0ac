//! From tensors to a [`Problem`]: which dimension is which, and how rows lie in memory.

use ggemm_runtime::{
    Dtype, ElementType, GroupForm, IndexType, Operation, Problem, ScaleShape, Scaling, Tail, WeightLayout,
    WeightSharing,
};

use crate::error::Refusal;
use crate::tensor::{Tensor, device_name};

/// What the caller says beside the tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) operation: Operation,
    pub(crate) layout: WeightLayout,
    pub(crate) form: GroupForm,
    pub(crate) tail: Tail,
    pub(crate) accumulate: bool,
    /// M, of copies along the rows for grad_w.
    pub(crate) m: Option<usize>,
    /// Sums of fp8 products may stay in the tensor cores' accumulator.
    pub(crate) fast_accumulation: bool,
    /// A GPU may round f32 operands to TF32.
    pub(crate) allow_tf32: bool,
}

pub(crate) fn operation(code: u8) -> Result<Operation, Refusal> {
    Operation::ALL.get(usize::from(code)).copied().ok_or_else(|| Refusal::Word {
        argument: "operation",
        value: code.to_string(),
        expected: "0, 1 or 2",
    })
}

pub(crate) fn scaling(word: &str) -> Result<Scaling, Refusal> {
    match word {
        "row" => Ok(Scaling::Row),
        "block" => Ok(Scaling::Block),
        _ => Err(Refusal::Word { argument: "scaling", value: word.to_owned(), expected: "\"row\" or \"block\"" }),
    }
}

pub(crate) fn layout(word: &str) -> Result<WeightLayout, Refusal> {
    match word {
        "nk" => Ok(WeightLayout::Nk),
        "kn" => Ok(WeightLayout::Kn),
        _ => Err(Refusal::Word { argument: "w_layout", value: word.to_owned(), expected: "\"nk\" or \"kn\"" }),
    }
}

pub(crate) fn tail(word: &str) -> Result<Tail, Refusal> {
    match word {
        "zero" => Ok(Tail::Zero),
        "untouched" => Ok(Tail::Untouched),
        "none" => Ok(Tail::Undeclared),
        _ => {
            let expected = "\"zero\", \"untouched\", or \"none\" where every row belongs to a group";
            Err(Refusal::Word { argument: "tail", value: word.to_owned(), expected })
        }
    }
}

/// The sizes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    pub(crate) groups: usize,
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// One weight for all groups.
    pub(crate) shared: bool,
}

impl Extents {
    /// Of the two operands and the array of groups. grad_w has no weight among them: `shared` says what its output is.
    pub(crate) fn of(
        operation: Operation,
        layout: WeightLayout,
        shared: bool,
        along_rows: Option<usize>,
        [lhs, rhs, groups]: [&Tensor; 3],
    ) -> Result<Self, Refusal> {
        let [a, b, _] = operation.tensor_names();
        let [listed] = groups.extents().ok_or(Refusal::Rank {
            argument: "sizes (or ends)",
            found: groups.shape.rank(),
            expected: "1 is needed, [G]",
        })?;
        let [m, first] = matrix(lhs, a)?;
        if let (Operation::GradW, Some(given)) = (operation, along_rows) {
            let [k, along] = matrix(rhs, b)?;
            let extents = Extents { groups: listed, m: given, n: m, k, shared };
            let expected = extents.along_rows();
            for (argument, tensor, found) in [(a, lhs, first), (b, rhs, along)] {
                if found != expected {
                    let of = format!("m = {given} of {listed} groups");
                    let remedy = "pass what ggemm.quantize makes of M rows with reduction_blocks=True";
                    return Err(mismatch(argument, tensor, of, format!("[…, {expected}]"), remedy));
                }
            }
            return Ok(extents);
        }
        if operation == Operation::GradW {
            let [rows, k] = matrix(rhs, b)?;
            if rows != m {
                return Err(mismatch(
                    b,
                    rhs,
                    format!("{a} {}", lhs.describe()),
                    format!("[{m}, K]"),
                    "one row a token",
                ));
            }
            return Ok(Extents { groups: listed, m, n: first, k, shared });
        }
        let (of_weights, weight) = match (rhs.extents::<3>(), rhs.extents::<2>()) {
            (Some([g, rows, cols]), _) => (Some(g), [rows, cols]),
            (_, Some(weight)) => (None, weight),
            _ => {
                let expected = "3 are needed (a weight for each group), or 2 (one for all)";
                return Err(Refusal::Rank { argument: b, found: rhs.shape.rank(), expected });
            }
        };
        let [n, k] = in_order(layout, weight);
        let (inner, name) = if operation == Operation::Forward { (k, "K") } else { (n, "N") };
        if inner != first {
            let expected = format!("[M, {name}={inner}]");
            let remedy = "check the weight's layout, w_layout=\"nk\" or \"kn\"";
            return Err(mismatch(
                a,
                lhs,
                format!("{b} {} in layout {}", rhs.describe(), word(layout)),
                expected,
                remedy,
            ));
        }
        if of_weights.is_some_and(|g| g != listed) {
            let of = format!("{b} {}", rhs.describe());
            let remedy = "give one size (or end) for each group";
            return Err(mismatch("sizes (or ends)", groups, of, format!("[{}]", of_weights.unwrap_or(0)), remedy));
        }
        Ok(Extents { groups: listed, m, n, k, shared: of_weights.is_none() })
    }

    /// The columns of copies along the rows.
    fn along_rows(&self) -> usize {
        let problem = Problem::grad_w(self.groups, self.m, self.n, self.k).reduction_blocks(true);
        let sharing = if self.shared { WeightSharing::Shared } else { WeightSharing::PerExpert };
        let [lhs, ..] = problem.weight_sharing(sharing).tensors();
        lhs.cols
    }

    /// The output's extents, in Python's order.
    pub(crate) fn out(&self, operation: Operation, layout: WeightLayout) -> Vec<usize> {
        match operation {
            Operation::Forward => vec![self.m, self.n],
            Operation::GradX => vec![self.m, self.k],
            Operation::GradW => {
                let [rows, cols] = in_order(layout, [self.n, self.k]);
                if self.shared { vec![rows, cols] } else { vec![self.groups, rows, cols] }
            }
        }
    }
}

/// N and K of a weight's rows and columns, or the other way round: the exchange is its own inverse.
fn in_order(layout: WeightLayout, [first, second]: [usize; 2]) -> [usize; 2] {
    match layout {
        WeightLayout::Nk => [first, second],
        WeightLayout::Kn => [second, first],
    }
}

fn word(layout: WeightLayout) -> &'static str {
    match layout {
        WeightLayout::Nk => "\"nk\"",
        WeightLayout::Kn => "\"kn\"",
    }
}

fn other(layout: WeightLayout) -> WeightLayout {
    match layout {
        WeightLayout::Nk => WeightLayout::Kn,
        WeightLayout::Kn => WeightLayout::Nk,
    }
}

fn matrix(tensor: &Tensor, argument: &'static str) -> Result<[usize; 2], Refusal> {
    let found = tensor.shape.rank();
    tensor.extents().ok_or(Refusal::Rank { argument, found, expected: "2 are needed, [rows, columns]" })
}

fn mismatch(argument: &'static str, found: &Tensor, other: String, expected: String, remedy: &'static str) -> Refusal {
    Refusal::Shape { argument, found: found.describe(), other, expected, remedy }
}

/// How many elements lie between consecutive rows, where each row's elements are neighbours and rows do not overlap.
fn row_stride([rows, cols]: [usize; 2], [between_rows, between_cols]: [i64; 2]) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(cols);
    }
    if cols > 1 && between_cols != 1 {
        return None;
    }
    if rows == 1 {
        return Some(cols);
    }
    usize::try_from(between_rows).ok().filter(|stride| *stride >= cols)
}

/// How a weight lies in memory.
struct Weight {
    layout: WeightLayout,
    shared: bool,
    row_stride: Option<usize>,
    group_stride: Option<usize>,
}

/// A weight whose rows or whose columns are contiguous; `None` for any other.
fn weight(tensor: &Tensor, layout: WeightLayout, written: bool) -> Option<Weight> {
    let strides = tensor.strides.as_slice();
    let ([groups, rows, cols], [between_groups, between_rows, between_cols], shared) =
        match (tensor.extents::<3>(), tensor.extents::<2>(), strides) {
            (Some(extents), _, &[g, r, c]) => (extents, [g, r, c], false),
            (_, Some([rows, cols]), &[r, c]) => ([1, rows, cols], [0, r, c], true),
            _ => return None,
        };
    let as_given = row_stride([rows, cols], [between_rows, between_cols]).map(|stride| (layout, [rows, cols], stride));
    let (layout, [rows, cols], stride) = as_given.or_else(|| {
        let stride = row_stride([cols, rows], [between_cols, between_rows])?;
        Some((other(layout), [cols, rows], stride))
    })?;
    let row_stride = (stride != cols).then_some(stride);
    let whole = rows.saturating_mul(stride);
    let spanned = if rows == 0 || cols == 0 { 0 } else { (rows - 1).saturating_mul(stride).saturating_add(cols) };
    if shared || groups <= 1 || spanned == 0 {
        return Some(Weight { layout, shared, row_stride, group_stride: None });
    }
    // One weight that was expanded over the groups.
    if between_groups == 0 && !written {
        return Some(Weight { layout, shared: true, row_stride, group_stride: None });
    }
    let between = usize::try_from(between_groups).ok().filter(|between| *between >= spanned)?;
    Some(Weight { layout, shared, row_stride, group_stride: (between != whole).then_some(between) })
}

/// The tensors of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensors {
    pub(crate) lhs: Tensor,
    pub(crate) rhs: Tensor,
    pub(crate) groups: Tensor,
    pub(crate) out: Tensor,
    /// Of fp8 operands.
    pub(crate) scales: Option<[Tensor; 2]>,
}

/// Which tensors do not lie in memory as any kernel reads them; the numbers are Python's too.
pub(crate) mod scattered {
    pub(crate) const LHS: u8 = 1;
    pub(crate) const RHS: u8 = 2;
    pub(crate) const GROUPS: u8 = 4;
    pub(crate) const OUT: u8 = 8;
    pub(crate) const LHS_SCALES: u8 = 16;
    pub(crate) const RHS_SCALES: u8 = 32;
}

/// The problem of a call, or which of its tensors must be copied first.
pub(crate) enum Form {
    Problem(Problem),
    Scattered(u8),
}

impl Tensors {
    /// The problem that the tensors make.
    pub(crate) fn form(&self, options: &Options) -> Result<Form, Refusal> {
        let Tensors { lhs, rhs, groups, out, scales } = self;
        let operation = options.operation;
        let [a, b, d] = operation.tensor_names();
        let shared = operation == Operation::GradW && out.shape.rank() == 2;
        let extents = Extents::of(operation, options.layout, shared, options.m, [lhs, rhs, groups])?;
        let expected = extents.out(operation, options.layout);
        let given: Option<Vec<usize>> = out.shape.as_slice().iter().map(|e| usize::try_from(*e).ok()).collect();
        if given.as_deref() != Some(expected.as_slice()) {
            let of = format!("the product of {a} {} and {b} {}", lhs.describe(), rhs.describe());
            return Err(mismatch("out", out, of, format!("{expected:?}"), "pass one of that shape, or none"));
        }
        for (argument, tensor) in [(b, rhs), ("sizes (or ends)", groups), ("out", out)] {
            if tensor.device != lhs.device {
                let (found, expected) = (device_name(tensor.device), device_name(lhs.device));
                return Err(Refusal::Device { argument, found, first: a, expected });
            }
        }
        if out.read_only {
            return Err(Refusal::ReadOnly);
        }
        let Extents { groups: count, m, n, k, shared } = extents;
        let mut problem = Problem::new(operation, count, m, n, k);
        problem.operand = operand(lhs, a)?;
        if rhs.ty != lhs.ty {
            let second = operand(rhs, b).ok().filter(|second| second.is_fp8() && problem.operand.is_fp8());
            let other = Refusal::Type { argument: b, found: rhs.ty.name(), expected: same_as(lhs.ty) };
            problem.second_operand = Some(second.ok_or(other)?);
        }
        problem.scaling = scaling_of(operation, [lhs, rhs], scales.as_ref(), shared, count)?;
        if let Some(m) = options.m {
            if !problem.operand.is_fp8() {
                return Err(Refusal::Rows { m, argument: a, found: lhs.ty.name() });
            }
            problem.reduction_blocks = operation == Operation::GradW;
        }
        problem.output = matrix_type(out, d)?;
        problem.group_form = options.form;
        problem.group_index = index(groups)?;
        problem.tail = options.tail;
        problem.accumulate = options.accumulate;
        problem.fast_accumulation = options.fast_accumulation;
        problem.allow_tf32 = options.allow_tf32;

        let is_fp8 = problem.operand.is_fp8();
        let mut scattered = 0;
        let mut rows = |tensor: &Tensor, cols: usize, bit: u8| {
            let (extents, strides) = (tensor.extents::<2>(), tensor.strides.as_slice());
            let stride = match (extents, strides) {
                (Some(extents), &[r, c]) => row_stride(extents, [r, c]),
                _ => None,
            };
            scattered |= if stride.is_none() { bit } else { 0 };
            stride.filter(|stride| *stride != cols)
        };
        let held = match operation {
            Operation::Forward => {
                problem.x_row_stride = rows(lhs, k, scattered::LHS);
                problem.y_row_stride = rows(out, n, scattered::OUT);
                weight(rhs, options.layout, is_fp8).ok_or(scattered::RHS)
            }
            Operation::GradX => {
                problem.y_row_stride = rows(lhs, n, scattered::LHS);
                problem.x_row_stride = rows(out, k, scattered::OUT);
                weight(rhs, options.layout, is_fp8).ok_or(scattered::RHS)
            }
            Operation::GradW => {
                let [y, x] = if problem.reduction_blocks { [extents.along_rows(); 2] } else { [n, k] };
                problem.y_row_stride = rows(lhs, y, scattered::LHS);
                problem.x_row_stride = rows(rhs, x, scattered::RHS);
                weight(out, options.layout, true).ok_or(scattered::OUT)
            }
        };
        match held {
            Ok(held) => {
                problem.weight_layout = held.layout;
                problem.weight_sharing = if held.shared { WeightSharing::Shared } else { WeightSharing::PerExpert };
                problem.w_row_stride = held.row_stride;
                problem.w_group_stride = held.group_stride;
            }
            Err(bit) => scattered |= bit,
        }
        if let (Some(given), Some(shapes)) = (scales, problem.scales()) {
            let turned = operation != Operation::GradW && problem.weight_layout != options.layout;
            let of = [(&given[0], &shapes[0], false), (&given[1], &shapes[1], turned)];
            for ((tensor, shape, turned), bit) in of.into_iter().zip([scattered::LHS_SCALES, scattered::RHS_SCALES]) {
                if !lie_as(tensor, shape, turned, lhs, a)? {
                    // A dense weight lies as its scales do once they are dense.
                    scattered |= bit | if turned { scattered::RHS } else { 0 };
                }
            }
        }
        if count > 1 && groups.strides.as_slice() != [1] {
            scattered |= scattered::GROUPS;
        }
        if scattered == 0 {
            scattered |= self.check_memory(&problem)?;
        }
        Ok(if scattered == 0 { Form::Problem(problem) } else { Form::Scattered(scattered) })
    }

    /// Refuses tensors without memory. An output that shares bytes with an input is computed elsewhere first.
    fn check_memory(&self, problem: &Problem) -> Result<u8, Refusal> {
        // A stride that no memory has is the runtime's to refuse, before any address is used.
        problem.validate().map_err(ggemm_runtime::Error::from)?;
        let [lhs, rhs, out] = problem.tensors();
        let span = |tensor: &Tensor, elements: usize| {
            let bytes = (elements as u64).saturating_mul(tensor.ty.size_bytes() as u64);
            tensor.address..tensor.address.saturating_add(bytes)
        };
        let written = span(&self.out, out.elements());
        let mut overlaps = false;
        let scales = self.scales.iter().flatten().zip(problem.scales().into_iter().flatten());
        for (name, tensor, elements) in [
            (lhs.name, &self.lhs, lhs.elements()),
            (rhs.name, &self.rhs, rhs.elements()),
            ("sizes (or ends)", &self.groups, problem.groups),
        ]
        .into_iter()
        .chain(scales.map(|(tensor, shape)| (shape.name, tensor, shape.elements())))
        {
            tensor.check_memory(name, elements)?;
            let read = span(tensor, elements);
            overlaps |= read.start < written.end && written.start < read.end;
        }
        self.out.check_memory(out.name, out.elements())?;
        Ok(if overlaps { scattered::OUT } else { 0 })
    }
}

fn same_as(ty: ElementType) -> &'static str {
    match ty {
        ElementType::Bf16 => "bf16 as the first operand does",
        ElementType::F16 => "f16 as the first operand does",
        ElementType::F32 => "f32 as the first operand does",
        _ => "fp8 as the first operand does",
    }
}

/// What the given scales say of how elements share them. That two extents can mean both is no harm: a grad_w of fewer
/// than 128 rows has one block a group.
fn scaling_of(
    operation: Operation,
    operands: [&Tensor; 2],
    scales: Option<&[Tensor; 2]>,
    shared: bool,
    groups: usize,
) -> Result<Scaling, Refusal> {
    let [argument, second, _] = operation.tensor_names();
    let found = operands[0].ty.name();
    let names = || format!("{argument}_scale and {second}_scale");
    let is_fp8 = operand(operands[0], argument)?.is_fp8();
    let [first, _] = match (is_fp8, scales) {
        (true, Some(scales)) => scales,
        (false, None) => return Ok(Scaling::None),
        (true, None) => return Err(Refusal::NoScales { argument, found, scales: names() }),
        (false, Some(_)) => return Err(Refusal::Scales { argument, found, scales: names() }),
    };
    let by_row = match (operation, first.extents::<1>(), first.extents::<2>()) {
        (Operation::GradW, None, Some([rows, _])) => !shared && rows == groups,
        (_, Some(_), _) => true,
        (_, _, Some(_)) => false,
        _ => {
            let argument = if operation == Operation::Forward { "x_scale" } else { "dy_scale" };
            let expected = "1 (for each row) or 2 (for blocks of 128) are needed";
            return Err(Refusal::Rank { argument, found: first.shape.rank(), expected });
        }
    };
    Ok(if by_row { Scaling::Row } else { Scaling::Block })
}

/// Whether scales lie as the problem reads them. Those of a weight that is read the other way round are given in the
/// order of its shape and must lie as it does.
fn lie_as(
    tensor: &Tensor,
    shape: &ScaleShape,
    turned: bool,
    first: &Tensor,
    first_name: &'static str,
) -> Result<bool, Refusal> {
    let argument = shape.name;
    if tensor.ty != ElementType::F32 {
        return Err(Refusal::Type { argument, found: tensor.ty.name(), expected: "scales are f32" });
    }
    if tensor.device != first.device {
        let (found, expected) = (device_name(tensor.device), device_name(first.device));
        return Err(Refusal::Device { argument, found, first: first_name, expected });
    }
    let turned = turned && shape.outer_block > 1;
    let mut expected = shape.dims().to_vec();
    let last = expected.len();
    if turned {
        expected.swap(last - 2, last - 1);
    }
    let given: Option<Vec<usize>> = tensor.shape.as_slice().iter().map(|e| usize::try_from(*e).ok()).collect();
    if given.as_deref() != Some(expected.as_slice()) {
        let of = format!("the operands, {first_name} {}", first.describe());
        let remedy = "see ggemm.quantize for the shapes of scales";
        return Err(mismatch(argument, tensor, of, format!("{expected:?}"), remedy));
    }
    Ok(if turned { tensor.turned().is_dense() } else { tensor.is_dense() })
}

fn operand(tensor: &Tensor, argument: &'static str) -> Result<Dtype, Refusal> {
    match tensor.ty {
        ElementType::Bf16 => Ok(Dtype::Bf16),
        ElementType::F16 => Ok(Dtype::F16),
        ElementType::F32 => Ok(Dtype::F32),
        ElementType::E4m3 => Ok(Dtype::E4m3),
        ElementType::E5m2 => Ok(Dtype::E5m2),
        ty => Err(Refusal::Type { argument, found: ty.name(), expected: "operands are bf16, f16, f32 or fp8" }),
    }
}

fn matrix_type(tensor: &Tensor, argument: &'static str) -> Result<Dtype, Refusal> {
    match tensor.ty {
        ElementType::F32 => Ok(Dtype::F32),
        ElementType::Bf16 => Ok(Dtype::Bf16),
        ElementType::F16 => Ok(Dtype::F16),
        ty => Err(Refusal::Type { argument, found: ty.name(), expected: "an output is bf16, f16 or f32" }),
    }
}

pub(crate) fn index(groups: &Tensor) -> Result<IndexType, Refusal> {
    match groups.ty {
        ElementType::I32 => Ok(IndexType::I32),
        ElementType::I64 => Ok(IndexType::I64),
        ty => {
            let expected = "sizes and ends are int32 or int64";
            Err(Refusal::Type { argument: "sizes (or ends)", found: ty.name(), expected })
        }
    }
}
