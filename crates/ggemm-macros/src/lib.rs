//! The `kernels!` macro.
