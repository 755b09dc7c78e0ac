//! DLPack: tensors of any framework, in the C structures of <https://dmlc.github.io/dlpack>.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use ggemm_runtime::ElementType;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};

use crate::error::Refusal;
use crate::tensor::{Dims, HOST, Tensor};

/// Where a tensor is.
#[repr(C)]
struct DlDevice {
    kind: i32,
    ordinal: i32,
}

/// `kDLCPU`, `kDLCUDA`, `kDLCUDAHost` and `kDLCUDAManaged`.
mod kind {
    pub(super) const CPU: i32 = 1;
    pub(super) const CUDA: i32 = 2;
    pub(super) const CUDA_HOST: i32 = 3;
    pub(super) const CUDA_MANAGED: i32 = 13;
}

#[repr(C)]
struct DlType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    rank: i32,
    dtype: DlType,
    shape: *const i64,
    /// Null for a dense row-major tensor.
    strides: *const i64,
    byte_offset: u64,
}

#[repr(C)]
struct Unversioned {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Unversioned)>,
}

#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: DlTensor,
}

/// The version whose structures these are.
const MAJOR: u32 = 1;

/// The flag of a tensor that may only be read.
const READ_ONLY: u64 = 1;

const NAMES: [&CStr; 2] = [c"dltensor", c"dltensor_versioned"];
const USED: [&CStr; 2] = [c"used_dltensor", c"used_dltensor_versioned"];

/// A tensor that another framework exported; it is given back when this is dropped.
#[pyclass(frozen, module = "ggemm._ggemm")]
pub(crate) struct Imported {
    tensor: Tensor,
    _managed: Managed,
}

enum Managed {
    Unversioned(NonNull<Unversioned>),
    Versioned(NonNull<Versioned>),
}

// SAFETY: the structure is only read when it is imported; its deleter may run on any thread, by DLPack's rules.
unsafe impl Send for Managed {}
// SAFETY: as above.
unsafe impl Sync for Managed {}

impl Drop for Managed {
    fn drop(&mut self) {
        match self {
            Managed::Unversioned(managed) => {
                // SAFETY: it is live until its deleter is called, which happens here and once.
                if let Some(delete) = unsafe { managed.as_ref() }.deleter {
                    // SAFETY: as above.
                    unsafe { delete(managed.as_ptr()) };
                }
            }
            Managed::Versioned(managed) => {
                // SAFETY: as above.
                if let Some(delete) = unsafe { managed.as_ref() }.deleter {
                    // SAFETY: as above.
                    unsafe { delete(managed.as_ptr()) };
                }
            }
        }
    }
}

#[pymethods]
impl Imported {
    /// Takes over what `__dlpack__` returned.
    #[new]
    fn new(capsule: &Bound<'_, PyCapsule>) -> PyResult<Self> {
        let refused = |reason: String| Refusal::DlPack { reason };
        let Some(version) = NAMES.iter().position(|name| capsule.is_valid_checked(Some(name))) else {
            return Err(refused("__dlpack__ returned no fresh DLPack capsule: export the tensor anew".into()).into());
        };
        let pointer = capsule.pointer_checked(Some(NAMES[version]))?;
        let (managed, read_only) = if version == 0 {
            (Managed::Unversioned(pointer.cast()), false)
        } else {
            let versioned = pointer.cast::<Versioned>();
            // SAFETY: a capsule of this name holds this structure, whose first four fields are the same in all versions.
            let head = unsafe { versioned.as_ref() };
            if head.major != MAJOR {
                let reason = format!("the tensor is in DLPack {}.{}, ggemm reads {MAJOR}.x", head.major, head.minor);
                return Err(refused(reason).into());
            }
            (Managed::Versioned(versioned), head.flags & READ_ONLY != 0)
        };
        // SAFETY: the capsule is valid, and the name lives for ever. By this the structure is ours, and the capsule does
        // not delete it.
        if unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), USED[version].as_ptr()) } != 0 {
            std::mem::forget(managed);
            return Err(PyErr::fetch(capsule.py()));
        }
        // SAFETY: the structure is live, as `managed` is.
        let tensor = unsafe {
            match &managed {
                Managed::Unversioned(managed) => describe(&managed.as_ref().tensor, read_only),
                Managed::Versioned(managed) => describe(&managed.as_ref().tensor, read_only),
            }
        }?;
        Ok(Imported { tensor, _managed: managed })
    }

    /// -1 for the host, else the GPU's ordinal.
    #[getter]
    fn device(&self) -> i32 {
        self.tensor.device
    }
}

impl Imported {
    pub(crate) fn tensor(&self) -> Tensor {
        self.tensor
    }
}

/// # Safety
/// The structure is as DLPack says: shape, and strides unless they are null, point to as many integers as there are
/// dimensions.
unsafe fn describe(tensor: &DlTensor, read_only: bool) -> Result<Tensor, Refusal> {
    let rank = usize::try_from(tensor.rank).unwrap_or(0);
    let list = |values: *const i64| {
        // SAFETY: the caller's promise.
        (0..rank).map(move |at| unsafe { *values.add(at) })
    };
    let shape = if rank == 0 || tensor.shape.is_null() { Dims::default() } else { Dims::of(list(tensor.shape)) };
    let strides = if tensor.strides.is_null() {
        let mut dense = vec![1_i64; rank];
        for at in (1..rank.min(shape.as_slice().len())).rev() {
            dense[at - 1] = dense[at].saturating_mul(shape.as_slice()[at]);
        }
        Dims::of(dense.into_iter())
    } else {
        Dims::of(list(tensor.strides))
    };
    let device = match tensor.device.kind {
        kind::CPU | kind::CUDA_HOST => HOST,
        kind::CUDA | kind::CUDA_MANAGED => tensor.device.ordinal,
        other => {
            let reason = format!("the tensor lies on DLPack device {other}: ggemm computes on CPU (1) and CUDA (2)");
            return Err(Refusal::DlPack { reason });
        }
    };
    let DlType { code, bits, lanes } = tensor.dtype;
    let ty = match (code, bits, lanes) {
        (10, 8, 1) => ElementType::E4m3,
        (12, 8, 1) => ElementType::E5m2,
        (4, 16, 1) => ElementType::Bf16,
        (2, 16, 1) => ElementType::F16,
        (2, 32, 1) => ElementType::F32,
        (0, 32, 1) => ElementType::I32,
        (0, 64, 1) => ElementType::I64,
        _ => return Err(Refusal::DlPackType { found: format!("type code {code} of {bits} bits in {lanes} lanes") }),
    };
    let address = (tensor.data.expose_provenance() as u64).saturating_add(tensor.byte_offset);
    Ok(Tensor { address, ty, shape, strides, device, read_only })
}
