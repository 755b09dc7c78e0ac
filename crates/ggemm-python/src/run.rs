//! One call: tensors in, the plan of their problem asked for its product.

use std::ptr;
use std::slice;
use std::sync::Arc;

use ggemm_runtime::{Args, Operand, Plan as RuntimePlan, View, ViewMut};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::Refusal;
use crate::form::{self, Extents, Form, Options, Tensors};
use crate::plan::Plan;
use crate::plans;
use crate::tensor::{HOST, Tensor};

/// The shape of the output of these operands, and the strides of a dense one: Python allocates it where the caller gave
/// none.
#[pyfunction]
#[pyo3(signature = (operation, lhs, rhs, groups, w_layout, shared, m=None))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn out_shape<'py>(
    py: Python<'py>,
    operation: u8,
    lhs: Tensor,
    rhs: Tensor,
    groups: Tensor,
    w_layout: &str,
    shared: bool,
    m: Option<usize>,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyTuple>)> {
    let (operation, layout) = (form::operation(operation)?, form::layout(w_layout)?);
    let extents = Extents::of(operation, layout, shared, m, [&lhs, &rhs, &groups])?;
    let shape = extents.out(operation, layout);
    let mut strides = shape.clone();
    let mut elements = 1_usize;
    for stride in strides.iter_mut().rev() {
        let extent = std::mem::replace(stride, elements);
        // As frameworks count them, whose empty dimensions do not make strides 0.
        elements = elements.saturating_mul(extent.max(1));
    }
    Ok((PyTuple::new(py, shape)?, PyTuple::new(py, strides)?))
}

/// Asks for the product on `stream`, a handle of the tensors' GPU; on the host it is done when this returns. Returns 0,
/// or which tensors (1: lhs, 2: rhs, 4: groups, 8: out, 16 and 32: their scales) must be copied into dense memory first; nothing is then done.
///
/// The addresses must be those of live tensors as described. Python's side takes them from the tensors themselves.
#[pyfunction]
#[pyo3(signature = (operation, lhs, rhs, groups, out, ends, w_layout, tail, accumulate, stream, plan=None, scales=None, m=None, fast_accumulation=false, allow_tf32=false))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn run(
    py: Python<'_>,
    operation: u8,
    lhs: Tensor,
    rhs: Tensor,
    groups: Tensor,
    out: Tensor,
    ends: bool,
    w_layout: &str,
    tail: &str,
    accumulate: bool,
    stream: usize,
    plan: Option<&Bound<'_, Plan>>,
    scales: Option<(Tensor, Tensor)>,
    m: Option<usize>,
    fast_accumulation: bool,
    allow_tf32: bool,
) -> PyResult<u8> {
    let options = Options {
        operation: form::operation(operation)?,
        layout: form::layout(w_layout)?,
        form: if ends { ggemm_runtime::GroupForm::Ends } else { ggemm_runtime::GroupForm::Sizes },
        tail: form::tail(tail)?,
        accumulate,
        m,
        fast_accumulation,
        allow_tf32,
    };
    let tensors = Tensors { lhs, rhs, groups, out, scales: scales.map(Into::into) };
    let problem = match tensors.form(&options)? {
        Form::Problem(problem) => problem,
        Form::Scattered(which) => return Ok(which),
    };
    let key = (lhs.device.max(HOST), problem);
    let plan = match plan {
        Some(plan) => plan.get().for_tensors(key.0, &key.1)?,
        None => match plans::find(&key) {
            Some(plan) => plan,
            // Kernels may be compiled now: other threads go on meanwhile.
            None => py.detach(|| plans::make(key))?,
        },
    };
    if lhs.device < 0 {
        py.detach(|| on_host(&plan, &tensors))?;
    } else {
        on_gpu(&plan, &tensors, stream)?;
    }
    Ok(0)
}

/// Waits until the work of a GPU's stream is done, for frameworks that do not say on which stream they work.
#[pyfunction]
pub(crate) fn synchronize(py: Python<'_>, device: i32, stream: usize) -> PyResult<()> {
    if device < 0 {
        return Ok(());
    }
    py.detach(|| gpu::synchronize(&plans::device(device)?, stream))?;
    Ok(())
}

fn on_host(plan: &Arc<RuntimePlan>, tensors: &Tensors) -> Result<(), Refusal> {
    let problem = plan.problem();
    let [lhs, rhs, out] = problem.tensors();
    let bytes_of = |tensor: &Tensor, elements: usize| elements.saturating_mul(tensor.ty.size_bytes());
    let read = |tensor: &Tensor, elements: usize| {
        // SAFETY: `Tensors::form` made the problem from this very tensor's extents and strides, so that it holds as many
        // elements as the problem's tensor spans; `check_memory` refused a null address of a tensor with elements. The
        // caller's frame holds the tensor. Python's buffers are shared without locks by every library that reads them.
        View::from_bytes(tensor.ty, unsafe { host_bytes(tensor.address, bytes_of(tensor, elements)) })
    };
    let operands = (read(&tensors.lhs, lhs.elements())?, read(&tensors.rhs, rhs.elements())?);
    let (first, second) = match (&tensors.scales, problem.scales()) {
        (Some([a, b]), Some([of_a, of_b])) => (
            Operand::scaled(operands.0, read(a, of_a.elements())?),
            Operand::scaled(operands.1, read(b, of_b.elements())?),
        ),
        _ => (operands.0.into(), operands.1.into()),
    };
    let groups = read(&tensors.groups, problem.groups)?;
    // SAFETY: as above, and the output was seen to share no byte with an input.
    let written = unsafe { host_bytes_mut(tensors.out.address, bytes_of(&tensors.out, out.elements())) };
    let out = ViewMut::from_bytes(tensors.out.ty, written)?;
    Ok(plan.run(Args::new(problem.operation, first, second, groups, out))?)
}

/// Where a tensor without elements is: frameworks give null, or anything. Every element type may start there.
fn nowhere() -> *mut u8 {
    ptr::NonNull::<u64>::dangling().cast().as_ptr()
}

/// # Safety
/// `len` bytes at the address can be read for as long as the result is used, unless `len` is 0.
pub(crate) unsafe fn host_bytes<'a>(address: u64, len: usize) -> &'a [u8] {
    let first = if len == 0 { nowhere().cast_const() } else { ptr::with_exposed_provenance(address as usize) };
    // SAFETY: the caller's promise; an address with bytes behind it is not null.
    unsafe { slice::from_raw_parts(first, len) }
}

/// # Safety
/// As `host_bytes`, and nothing else uses the bytes meanwhile.
pub(crate) unsafe fn host_bytes_mut<'a>(address: u64, len: usize) -> &'a mut [u8] {
    let first = if len == 0 { nowhere() } else { ptr::with_exposed_provenance_mut(address as usize) };
    // SAFETY: as above.
    unsafe { slice::from_raw_parts_mut(first, len) }
}

#[cfg(feature = "cuda")]
fn on_gpu(plan: &RuntimePlan, tensors: &Tensors, stream: usize) -> Result<(), Refusal> {
    gpu::run(plan, tensors, stream)
}

#[cfg(feature = "cuda")]
mod gpu {
    use ggemm_runtime::cuda::{RawArgs, Stream};
    use ggemm_runtime::{Device, Plan};

    use crate::error::Refusal;
    use crate::form::Tensors;

    pub(super) fn run(plan: &Plan, tensors: &Tensors, stream: usize) -> Result<(), Refusal> {
        let stream = foreign(plan.device(), stream)?;
        let Tensors { lhs, rhs, groups, out, scales } = tensors;
        let args = RawArgs {
            lhs: lhs.address,
            rhs: rhs.address,
            groups: groups.address,
            out: out.address,
            scales: scales.as_ref().map_or([0; 2], |scales| [scales[0].address, scales[1].address]),
        };
        // SAFETY: `Tensors::form` made the plan's problem from these very tensors, which lie on the plan's GPU, at
        // multiples of their elements' size, the output apart from the rest. Their framework keeps the memory until the
        // work that its stream was asked for is done, as for each of its own operations.
        Ok(unsafe { plan.run_raw(&stream, args) }?)
    }

    pub(super) fn synchronize(device: &Device, stream: usize) -> Result<(), Refusal> {
        Ok(foreign(device, stream)?.synchronize()?)
    }

    fn foreign(device: &Device, stream: usize) -> Result<Stream, Refusal> {
        // SAFETY: the framework says that this is its current stream of the tensors' GPU, or it is one of the driver's
        // own two; it lives for the length of this call, and the wrap does not leave it.
        Ok(unsafe { Stream::from_raw(device, std::ptr::with_exposed_provenance_mut(stream)) }?)
    }
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &RuntimePlan, _: &Tensors, _: usize) -> Result<(), Refusal> {
    Err(ggemm_runtime::NoDevice::NotBuilt.into())
}

#[cfg(not(feature = "cuda"))]
mod gpu {
    use crate::error::Refusal;

    pub(super) fn synchronize(_: &ggemm_runtime::Device, _: usize) -> Result<(), Refusal> {
        Err(ggemm_runtime::NoDevice::NotBuilt.into())
    }
}
