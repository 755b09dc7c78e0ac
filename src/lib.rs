//! Grouped GEMMs for Mixture-of-Experts layers: forward, grad_x and grad_w, each for all experts at once.
//!
//! This crate re-exports the library's parts and holds nothing of its own.

pub use ggemm_runtime::*;
