//! The generator of ggemm: what a kernel variant is, which are legal, how each is written, and what it costs.
//!
//! A kernel is written once, in the [DSL](dsl), as a [`Kernel`](ir::Kernel): a contract for the host and a body in the
//! tile IR. Text, resources and cost are derived from that one description. This crate knows no CUDA library, no file
//! and no device.

#![forbid(unsafe_code)]

pub mod arch;
pub mod bound;
pub mod catalogue;
pub mod constraints;
pub mod contraction;
pub mod cost;
pub mod descriptor;
pub mod dsl;
pub mod dtype;
pub mod emit;
pub mod explain;
pub mod fp8;
pub mod generate;
pub mod geometry;
pub mod interp;
pub mod ir;
pub mod kernels;
pub mod launch;
pub mod layout;
pub mod mutate;
pub mod problem;
pub mod resources;
pub mod scaling;
pub mod scenario;
pub mod spec;
pub mod tensor_core;
pub mod trace;

pub use arch::Arch;
pub use constraints::{ValidSpec, Violation};
pub use contraction::Contraction;
pub use dtype::Dtype;
pub use generate::{Generated, generate, generate_quantizer, generate_realigner};
pub use ir::Contract;
pub use kernels::{QuantizeSpec, RealignSpec};
pub use problem::{
    GroupForm, IndexType, Operation, Problem, ProblemError, Tail, TensorShape, WeightLayout, WeightSharing,
};
pub use scaling::{SCALE_BLOCK, ScaleShape, Scaling};
pub use spec::{Accumulation, Cluster, CopyPath, KernelSpec, Major, Ragged, Schedule, SpecNameError, Tile, Warps};
