//! From a tensor of 16 or 32 bits to the operand of an fp8 problem, where the tensor lies.

use ggemm_runtime::quantize::Quantizer;
use ggemm_runtime::{
    Buffer, Dtype, ElementType, GroupForm, Operation, Problem, Tail, View, WeightLayout, WeightSharing,
};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Refusal;
use crate::form;
use crate::run::{host_bytes, host_bytes_mut};
use crate::tensor::{HOST, Tensor, device_name, element_type};

/// What the caller says of an operand: operation, which operand, its type, how it is scaled, the source weight's layout and
/// the copy's, whether dw is shared by all groups, whether the copy lies along the rows.
type Kind<'a> = (u8, u8, u8, &'a str, &'a str, &'a str, bool, bool);

/// An operand to be made.
struct Request {
    problem: Problem,
    /// 0: the first operand, 1: the second.
    which: usize,
    from: WeightLayout,
}

impl Request {
    fn of(kind: Kind<'_>, source: &Tensor, groups: Option<&Tensor>, ends: bool) -> Result<Self, Refusal> {
        let (operation, which, code, scaling, from, to, shared, reduction_blocks) = kind;
        let (operation, which) = (form::operation(operation)?, usize::from(which.min(1)));
        let (from, to) = (form::layout(from)?, form::layout(to)?);
        let argument = operation.tensor_names()[which];
        let rank = |expected| Refusal::Rank { argument, found: source.shape.rank(), expected };
        let listed = groups.and_then(Tensor::extents::<1>).map(|[listed]| listed);
        // What the operand does not have, its scales do not depend on.
        let mut problem = Problem::new(operation, listed.unwrap_or(1).max(1), 1, 1, 1);
        if operation != Operation::GradW && which == 1 {
            let (weights, [rows, cols]) = match (source.extents::<3>(), source.extents::<2>()) {
                (Some([weights, rows, cols]), _) => (Some(weights), [rows, cols]),
                (_, Some(weight)) => (None, weight),
                _ => return Err(rank("3 are needed (a weight for each group), or 2 (one for all)")),
            };
            problem.groups = weights.unwrap_or(1);
            let sharing = if weights.is_some() { WeightSharing::PerExpert } else { WeightSharing::Shared };
            problem.weight_sharing = sharing;
            (problem.n, problem.k) = if from == WeightLayout::Nk { (rows, cols) } else { (cols, rows) };
        } else {
            let [rows, cols] = source.extents().ok_or(rank("2 are needed, [rows, columns]"))?;
            problem.m = rows;
            let is_x = matches!((operation, which), (Operation::Forward, 0) | (Operation::GradW, 1));
            *(if is_x { &mut problem.k } else { &mut problem.n }) = cols;
            problem.weight_sharing = if shared { WeightSharing::Shared } else { WeightSharing::PerExpert };
        }
        let dtype = match element_type(code).ok() {
            Some(ElementType::E4m3) => Dtype::E4m3,
            Some(ElementType::E5m2) => Dtype::E5m2,
            other => {
                let found = other.map_or("another type", ElementType::name);
                return Err(Refusal::Target { argument: "dtype", found, expected: "float8_e4m3fn or float8_e5m2" });
            }
        };
        problem = problem.operand(dtype).scaling(form::scaling(scaling)?).weight_layout(to).tail(Tail::Zero);
        problem.reduction_blocks = reduction_blocks;
        problem.group_form = if ends { GroupForm::Ends } else { GroupForm::Sizes };
        if let Some(groups) = groups {
            problem.group_index = form::index(groups)?;
        }
        problem.validate().map_err(ggemm_runtime::Error::from)?;
        Ok(Request { problem, which, from })
    }

    fn is_weight(&self) -> bool {
        self.problem.operation != Operation::GradW && self.which == 1
    }

    /// Whether the copy's rows are the source's columns.
    fn is_transposed(&self) -> bool {
        match self.is_weight() {
            true => self.problem.weight_layout != self.from,
            false => self.problem.reduction_blocks,
        }
    }

    /// The elements' extents, in Python's order.
    fn shape(&self) -> Vec<usize> {
        let shape = self.problem.tensors()[self.which];
        match self.is_weight() && self.problem.weight_sharing == WeightSharing::PerExpert {
            true => vec![shape.groups, shape.rows, shape.cols],
            false => vec![shape.rows, shape.cols],
        }
    }

    /// The scales' extents.
    fn scale_shape(&self) -> Vec<usize> {
        self.problem.scales().map_or_else(Vec::new, |shapes| shapes[self.which].dims().to_vec())
    }
}

/// The extents of the elements and of the scales that [`quantize`] writes.
#[pyfunction]
pub(crate) fn quantized_shapes<'py>(
    py: Python<'py>,
    kind: Kind<'_>,
    source: Tensor,
    groups: Option<Tensor>,
    ends: bool,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyTuple>)> {
    let request = Request::of(kind, &source, groups.as_ref(), ends)?;
    Ok((PyTuple::new(py, request.shape())?, PyTuple::new(py, request.scale_shape())?))
}

/// Quantizes `source` into `made`, the elements and the scales, new tensors of [`quantized_shapes`], on `stream`, a handle of
/// the tensors' GPU; on the host it is done when this returns. Returns 0, or which tensors (1:
/// source, 4: groups) must be copied into dense memory first; nothing is then done.
///
/// The addresses must be those of live tensors as described.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub(crate) fn quantize(
    py: Python<'_>,
    kind: Kind<'_>,
    source: Tensor,
    groups: Option<Tensor>,
    ends: bool,
    powers_of_two: bool,
    made: (Tensor, Tensor),
    stream: usize,
) -> PyResult<u8> {
    let copy = Copy::of(kind, &source, groups.as_ref(), ends, made)?;
    run(py, &source, groups, powers_of_two, &[copy], stream)
}

/// The same for two copies of one source: a weight as forward and grad_x read it, or tokens as one of those does and grad_w.
/// Each is what [`quantize`] makes; a GPU reads the source once where one block has what both scales depend on. `made` may be
/// written again and again.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub(crate) fn quantize_both(
    py: Python<'_>,
    kinds: (Kind<'_>, Kind<'_>),
    source: Tensor,
    groups: Option<Tensor>,
    ends: bool,
    powers_of_two: bool,
    made: ((Tensor, Tensor), (Tensor, Tensor)),
    stream: usize,
) -> PyResult<u8> {
    let copy = |kind, made| Copy::of(kind, &source, groups.as_ref(), ends, made);
    let mut copies = [copy(kinds.0, made.0)?, copy(kinds.1, made.1)?];
    // Kernels that make both begin with the one that lies as the source does.
    copies.sort_by_key(|copy| copy.request.is_transposed());
    run(py, &source, groups, powers_of_two, &copies, stream)
}

/// A copy to be made.
struct Copy {
    request: Request,
    elements: Tensor,
    scales: Tensor,
}

impl Copy {
    fn of(
        kind: Kind<'_>,
        source: &Tensor,
        groups: Option<&Tensor>,
        ends: bool,
        (elements, scales): (Tensor, Tensor),
    ) -> Result<Self, Refusal> {
        Ok(Copy { request: Request::of(kind, source, groups, ends)?, elements, scales })
    }

    /// Refuses targets that are not what [`quantized_shapes`] says, or lie elsewhere.
    fn check(&self, source: &Tensor, groups: Option<&Tensor>) -> Result<(), Refusal> {
        let Copy { request, elements, scales } = self;
        for (tensor, expected) in [(elements, request.shape()), (scales, request.scale_shape())] {
            let given: Option<Vec<usize>> = tensor.shape.as_slice().iter().map(|e| usize::try_from(*e).ok()).collect();
            if given.as_deref() != Some(expected.as_slice()) || !tensor.is_dense() {
                let (other, expected) = ("the source".to_owned(), format!("{expected:?}"));
                let (argument, found, remedy) = ("out", tensor.describe(), "allocate what quantized_shapes says");
                return Err(Refusal::Shape { argument, found, other, expected, remedy });
            }
        }
        let argument = request.problem.operation.tensor_names()[request.which];
        for (name, tensor) in [("sizes (or ends)", groups), ("out", Some(elements)), ("out", Some(scales))] {
            if let Some(tensor) = tensor.filter(|tensor| tensor.device.max(HOST) != source.device.max(HOST)) {
                let (found, expected) = (device_name(tensor.device), device_name(source.device));
                return Err(Refusal::Device { argument: name, found, first: argument, expected });
            }
        }
        Ok(())
    }
}

/// Makes the copies of one source. Those of grad_w are all of the same groups.
fn run(
    py: Python<'_>,
    source: &Tensor,
    groups: Option<Tensor>,
    powers_of_two: bool,
    copies: &[Copy],
    stream: usize,
) -> PyResult<u8> {
    let of_source = if source.is_dense() { 0 } else { form::scattered::LHS };
    let of_groups = if groups.is_none_or(|groups| groups.is_dense()) { 0 } else { form::scattered::GROUPS };
    if of_source | of_groups != 0 {
        return Ok(of_source | of_groups);
    }
    // What the operand's scales do not depend on is not looked at.
    let groups = groups.filter(|_| copies.iter().any(|copy| copy.request.problem.operation == Operation::GradW));
    copies.iter().try_for_each(|copy| copy.check(source, groups.as_ref()))?;
    // A kernel may be compiled now: other threads go on meanwhile.
    py.detach(|| match source.device {
        ..0 => copies.iter().try_for_each(|copy| on_host(copy, powers_of_two, source, groups.as_ref())),
        0.. => on_gpu(copies, powers_of_two, source, groups.as_ref(), stream),
    })?;
    Ok(0)
}

fn on_host(
    Copy { request, elements, scales }: &Copy,
    powers_of_two: bool,
    source: &Tensor,
    groups: Option<&Tensor>,
) -> Result<(), Refusal> {
    let read = |argument, tensor: &Tensor| {
        let count = tensor.shape.as_slice().iter().map(|e| usize::try_from(*e).unwrap_or(0)).product::<usize>();
        tensor.check_memory(argument, count)?;
        // SAFETY: the tensor is dense, so that it holds as many elements as its extents say; `check_memory` refused a null
        // address of a tensor with elements. The caller's frame holds the tensor.
        let bytes = unsafe { host_bytes(tensor.address, count.saturating_mul(tensor.ty.size_bytes())) };
        Ok::<_, Refusal>(View::from_bytes(tensor.ty, bytes)?)
    };
    let mut quantizer = Quantizer::new(&request.problem)?.weights_from(request.from).powers_of_two(powers_of_two);
    if let Some(groups) = groups.filter(|_| request.problem.operation == Operation::GradW) {
        quantizer = quantizer.groups(read("sizes (or ends)", groups)?)?;
    }
    let from = read(request.problem.operation.tensor_names()[request.which], source)?;
    let made = if request.which == 0 { quantizer.first(from)? } else { quantizer.second(from)? };
    copy(&made.elements, elements)?;
    copy(&made.scales, scales)
}

/// Copies a buffer to a tensor of as many elements.
fn copy(buffer: &Buffer, to: &Tensor) -> Result<(), Refusal> {
    let bytes = buffer.as_bytes().unwrap_or_default();
    to.check_memory("out", buffer.len())?;
    // SAFETY: the tensor is dense and of the buffer's extents, as `Copy::check` saw; it is new, or a copy that its owner asks
    // to have written again, so that nobody else uses it now.
    unsafe { host_bytes_mut(to.address, bytes.len()) }.copy_from_slice(bytes);
    Ok(())
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &[Copy], _: bool, _: &Tensor, _: Option<&Tensor>, _: usize) -> Result<(), Refusal> {
    Err(ggemm_runtime::NoDevice::NotBuilt.into())
}

#[cfg(feature = "cuda")]
use gpu::on_gpu;

#[cfg(feature = "cuda")]
mod gpu {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use ggemm_runtime::cuda::{RawCopies, Stream};
    use ggemm_runtime::quantize::{QuantizePlan, Quantizer};
    use ggemm_runtime::{ElementType, Error, Operation, Problem, Scaling, WeightLayout};

    use super::{Copy, Request};
    use crate::error::Refusal;
    use crate::plans;
    use crate::tensor::Tensor;

    /// What decides a plan: device, problem and which operand of it, how the source lies and what it holds, powers of two,
    /// and of a second copy the problem and which operand.
    type Key = (i32, (Problem, usize), WeightLayout, ElementType, bool, Option<(Problem, usize)>);

    /// How many plans are kept; beyond, all are made anew as they are asked for.
    const MOST: usize = 1024;

    pub(super) fn on_gpu(
        copies: &[Copy],
        powers_of_two: bool,
        source: &Tensor,
        groups: Option<&Tensor>,
        stream: usize,
    ) -> Result<(), Refusal> {
        for Copy { request: Request { problem, which, .. }, elements, scales } in copies {
            let argument = problem.operation.tensor_names()[*which];
            if groups.is_none() && problem.operation == Operation::GradW {
                return Err(Error::MissingGroups { problem: problem.to_string() }.into());
            }
            for (name, tensor) in
                [(argument, Some(source)), ("sizes (or ends)", groups), ("out", Some(elements)), ("out", Some(scales))]
            {
                let Some(tensor) = tensor else { continue };
                let count = tensor.shape.as_slice().iter().map(|e| usize::try_from(*e).unwrap_or(0)).product::<usize>();
                tensor.check_memory(name, count)?;
            }
        }
        let device = plans::device(source.device)?;
        // SAFETY: the framework says that this is its current stream of the tensors' GPU, or it is one of the driver's own
        // two; it lives for the length of this call, and the wrap does not leave it.
        let stream = unsafe { Stream::from_raw(&device, std::ptr::with_exposed_provenance_mut(stream)) }?;
        // Two copies of one read of the source, where all scales are those of blocks.
        let at_once = |copies: &[Copy]| copies.iter().all(|copy| copy.request.problem.scaling == Scaling::Block);
        for copies in copies.chunks(if at_once(copies) { 2 } else { 1 }) {
            let [Copy { request: Request { problem, which, from }, .. }, second @ ..] = copies else { continue };
            let second = second.first().map(|copy| (copy.request.problem.clone(), copy.request.which));
            let first = (problem.clone(), *which);
            let plan = planned(&(source.device, first, *from, source.ty, powers_of_two, second))?;
            let mut tensors = RawCopies { source: source.address, ..RawCopies::default() };
            tensors.groups = groups.map_or(0, |groups| groups.address);
            for (to, copy) in tensors.copies.iter_mut().zip(copies) {
                *to = (copy.elements.address, copy.scales.address);
            }
            // SAFETY: the requests made the plan's problems from these very tensors, which are dense, lie on the plan's GPU
            // and are as long as their extents say; the targets have the extents that the problems say, and are new, or
            // copies that their owner asks to have written again, so that they overlap nothing. Their framework keeps the
            // memory until the work that its stream was asked for is done, as for each of its own operations.
            unsafe { plan.run_raw(&stream, tensors) }?;
        }
        Ok(())
    }

    /// The plan of this key, made once.
    fn planned(key: &Key) -> Result<Arc<QuantizePlan>, Refusal> {
        static PLANS: OnceLock<Mutex<HashMap<Key, Arc<QuantizePlan>>>> = OnceLock::new();
        let plans = || PLANS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans().get(key) {
            return Ok(Arc::clone(plan));
        }
        let (device, (problem, which), from, source, powers_of_two, second) = key;
        let quantizer =
            |problem| Ok::<_, Error>(Quantizer::new(problem)?.weights_from(*from).powers_of_two(*powers_of_two));
        let (first, device) = (quantizer(problem)?, plans::device(*device)?);
        let plan = match which {
            0 => QuantizePlan::first(&first, &device, *source)?,
            _ => QuantizePlan::second(&first, &device, *source)?,
        };
        let plan = match second {
            None => plan,
            Some((problem, 0)) => plan.and_first(&quantizer(problem)?)?,
            Some((problem, _)) => plan.and_second(&quantizer(problem)?)?,
        };
        let plan = Arc::new(plan);
        let mut plans = plans();
        if plans.len() >= MOST {
            plans.clear();
        }
        plans.insert(key.clone(), Arc::clone(&plan));
        Ok(plan)
    }
}
