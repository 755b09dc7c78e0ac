//! ggemm

pub use ggemm_runtime::{baked, kernels};
