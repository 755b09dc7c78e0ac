//! A tensor as Python describes it.

use ggemm_runtime::ElementType;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::dlpack::Imported;
use crate::error::Refusal;

/// The most dimensions that any argument has.
const MOST: usize = 3;

/// The device code of the host.
pub(crate) const HOST: i32 = -1;

/// `cpu`, or `cuda:N`.
pub(crate) fn device_name(code: i32) -> String {
    if code < 0 { "cpu".to_owned() } else { format!("cuda:{code}") }
}

/// Up to three extents or strides. Of a tensor with more dimensions only their number is kept, which is then refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dims {
    values: [i64; MOST],
    rank: usize,
}

impl Dims {
    pub(crate) fn of(values: impl ExactSizeIterator<Item = i64>) -> Self {
        let mut dims = Dims { values: [0; MOST], rank: values.len() };
        for (slot, value) in dims.values.iter_mut().zip(values) {
            *slot = value;
        }
        dims
    }

    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// The values, unless there are more than three.
    pub(crate) fn as_slice(&self) -> &[i64] {
        self.values.get(..self.rank).unwrap_or_default()
    }
}

impl<'py> FromPyObject<'_, 'py> for Dims {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let tuple = object.cast::<PyTuple>()?;
        let mut dims = Dims { values: [0; MOST], rank: tuple.len() };
        for (slot, value) in dims.values.iter_mut().zip(tuple.iter_borrowed()) {
            *slot = value.extract()?;
        }
        Ok(dims)
    }
}

/// The numbers by which Python names element types.
pub(crate) fn element_type(code: u8) -> PyResult<ElementType> {
    match code {
        0 => Ok(ElementType::Bf16),
        1 => Ok(ElementType::F16),
        2 => Ok(ElementType::F32),
        3 => Ok(ElementType::I32),
        4 => Ok(ElementType::I64),
        5 => Ok(ElementType::E4m3),
        6 => Ok(ElementType::E5m2),
        _ => Err(PyValueError::new_err(format!("{code} is no code of an element type"))),
    }
}

/// Where a tensor is and what it looks like. Strides count elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor {
    pub(crate) address: u64,
    pub(crate) ty: ElementType,
    pub(crate) shape: Dims,
    pub(crate) strides: Dims,
    /// -1 is the host, else the GPU's ordinal.
    pub(crate) device: i32,
    pub(crate) read_only: bool,
}

impl<'py> FromPyObject<'_, 'py> for Tensor {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(imported) = object.cast::<Imported>() {
            return Ok(imported.get().tensor());
        }
        let (address, ty, shape, strides, device): (u64, u8, Dims, Dims, i32) = object.extract()?;
        if shape.rank() != strides.rank() {
            return Err(PyValueError::new_err("as many strides as dimensions are needed"));
        }
        Ok(Tensor { address, ty: element_type(ty)?, shape, strides, device, read_only: false })
    }
}

impl Tensor {
    /// The extents, which are as many as asked for.
    pub(crate) fn extents<const N: usize>(&self) -> Option<[usize; N]> {
        let mut extents = [0; N];
        let given = self.shape.as_slice();
        if given.len() != N {
            return None;
        }
        for (to, from) in extents.iter_mut().zip(given) {
            *to = usize::try_from(*from).ok()?;
        }
        Some(extents)
    }

    /// The same memory with the last two dimensions exchanged.
    pub(crate) fn turned(&self) -> Tensor {
        let mut turned = *self;
        let rank = self.shape.rank();
        if (2..=MOST).contains(&rank) {
            turned.shape.values.swap(rank - 2, rank - 1);
            turned.strides.values.swap(rank - 2, rank - 1);
        }
        turned
    }

    /// Whether the elements lie without gaps, the last dimension's side by side.
    pub(crate) fn is_dense(&self) -> bool {
        let mut expected = 1_i64;
        self.shape.as_slice().iter().zip(self.strides.as_slice()).rev().all(|(extent, stride)| {
            let right = *extent <= 1 || *stride == expected;
            expected = expected.saturating_mul((*extent).max(1));
            right
        })
    }

    /// Such as `[8, 64, 32]`.
    pub(crate) fn describe(&self) -> String {
        match self.shape.as_slice() {
            [] => format!("of {} dimensions", self.shape.rank()),
            extents => format!("{extents:?}"),
        }
    }

    /// Refuses memory that cannot hold `elements` of the tensor's type.
    pub(crate) fn check_memory(&self, argument: &'static str, elements: usize) -> Result<(), Refusal> {
        if elements == 0 {
            return Ok(());
        }
        if self.address == 0 {
            return Err(Refusal::NoMemory { argument, elements });
        }
        let size = self.ty.size_bytes();
        if !self.address.is_multiple_of(size as u64) {
            return Err(Refusal::Misaligned { argument, address: self.address, size });
        }
        Ok(())
    }
}
