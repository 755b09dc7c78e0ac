//! Devices, buffers and plans of ggemm, and its CPU backend.
//!
//! A [`Problem`] says what is wanted, a [`Planner`] binds it to a [`Device`], and the [`Plan`] runs on [`Args`]: owned
//! [`Buffer`]s or the caller's own slices. On a GPU one of many kernels computes it: of the runtime's own
//! [`catalogue`] and of the sets that [`kernels!`] baked, the one predicted to be fastest ([`Planner::explain`]).
//! Operands of fp8 come from [`quantize`].

mod args;
pub mod baked;
mod bound;
mod buffer;
pub mod catalogue;
mod check;
mod compare;
mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
mod disjoint;
mod element;
mod error;
mod fp8;
mod groups;
mod host;
#[cfg(feature = "interpret")]
pub mod interpret;
mod operand;
mod plan;
mod planner;
pub mod quantize;
pub mod random;
mod real;
mod reference;
mod select;
mod transfer;
pub mod tune;
pub mod verify;

pub use args::Args;
pub use buffer::{Buffer, View, ViewMut};
pub use compare::{Comparison, Discrepancy, Mode};
pub use device::{Device, DeviceKind, NoDevice};
pub use element::{Element, ElementType};
pub use error::Error;
pub use fp8::{e4m3, e5m2};
pub use groups::{GroupError, Runs};
pub use operand::Operand;
pub use plan::{Choice, Plan};
pub use planner::Planner;
pub use reference::Reference;
pub use select::{
    Calibrated, Candidate, Explanation, Fp8Unmet, PinError, Selection, TYPICAL_GROUPS, TYPICAL_ROWS, Tuning, Unmet,
    Variant,
};

pub use ggemm_codegen::cost::{Bound, Prediction};
pub use ggemm_codegen::kernels::realign::Realigned;
pub use ggemm_codegen::{
    Arch, Contract, CopyPath, Dtype, GroupForm, IndexType, KernelSpec, Operation, Problem, ProblemError, ScaleShape,
    Scaling, Tail, TensorShape, WeightLayout, WeightSharing,
};
pub use half::{bf16, f16};
