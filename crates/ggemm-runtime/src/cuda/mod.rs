//! The CUDA half of the runtime. It is the only place that calls the driver.

pub(crate) mod probe;
