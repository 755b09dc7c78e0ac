//! ggemm-runtime

pub mod baked;
