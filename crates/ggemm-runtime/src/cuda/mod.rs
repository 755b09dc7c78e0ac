//! NVIDIA GPUs: streams, events, graphs, and the `unsafe` entries for other frameworks' pointers and streams. It is the
//! only place that calls the driver.
//!
//! A program that has one GPU and one stream needs nothing of this: [`Plan::run`](crate::Plan::run) uses the device's
//! own stream.
//!
//! # Order
//! Work on one stream happens in the order in which it was asked for. A [`Buffer`](crate::Buffer) remembers the streams
//! that used it, and whatever uses it next waits for them where it must: a reader for the last writer, a writer for all.
//! So several streams and threads may share buffers, and what a copy to the host returns is what the last call wrote.
//! Memory that is not ggemm's own ([`View::from_device`](crate::View::from_device)) is the caller's to order.
//!
//! Plans that copy operands first ([`Planner::copy_limit`](crate::Planner::copy_limit)) share memory for the copies, and
//! their runs are ordered as users of one buffer are.

mod attributes;
mod capturing;
mod code;
mod context;
mod event;
mod failure;
mod gpu;
mod graph;
mod kernel;
mod launch;
mod memory;
pub(crate) mod probe;
mod quantize;
mod realign;
mod stream;
mod sum_slots;
mod tensor_map;
mod workspace;

/// The driver's bindings: for the types of raw handles.
pub use cudarc;

pub use code::{CodeError, CodeOrigin};
pub use event::Event;
pub use failure::Failure;
pub(crate) use gpu::Gpu;
pub use graph::Graph;
pub(crate) use launch::CudaPlan;
pub use launch::RawArgs;
pub(crate) use memory::{DeviceMemory, DeviceSlice};
pub(crate) use quantize::CudaQuantizer;
pub use quantize::RawCopies;
pub use stream::Stream;
