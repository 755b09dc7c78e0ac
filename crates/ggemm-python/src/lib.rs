//! The Python package's native part, `ggemm._ggemm`: tensors of any framework in, a plan's launch out.
//!
//! It knows DLPack, streams and the shapes of tensors. What computes a product is the runtime's to choose. Python's side
//! (`python/ggemm`) knows the frameworks: it hands over a tensor as `(address, dtype, shape, strides, device)`, or as a
//! DLPack capsule, and allocates what is missing.

mod device;
mod dlpack;
mod error;
mod form;
mod plan;
mod plans;
mod quantize;
mod run;
mod tensor;
mod tune;

use pyo3::prelude::*;

/// The native part of ggemm. Use the package, not this module: what is here takes addresses as they are.
#[pymodule]
mod _ggemm {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::device::{DeviceInfo, probe};
    #[pymodule_export]
    use crate::dlpack::Imported;
    #[pymodule_export]
    use crate::plan::{Plan, plan};
    #[pymodule_export]
    use crate::quantize::{quantize, quantize_both, quantized_shapes};
    #[pymodule_export]
    use crate::run::{out_shape, run, synchronize};
    #[pymodule_export]
    use crate::tune::{Tuned, tune};

    /// The package's version is the workspace's.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
