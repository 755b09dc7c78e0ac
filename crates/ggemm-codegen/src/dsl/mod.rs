//! The embedded language in which kernels are written: a builder over the [tile IR](crate::ir).
//!
//! Scalars carry their type and the scope in which they are uniform in Rust's types ([`Expr`]). A Rust loop unrolls;
//! [`KernelBuilder::for_`] emits a loop. Mutable state is declared and named ([`KernelBuilder::var`]). A statement that
//! threads must reach together, under a condition on which they may disagree, is refused when the kernel is finished.

mod barriers;
mod builder;
mod bulk;
mod cluster;
mod exchange;
mod partial;
mod products;
mod prune;
mod quantize;
mod roles;
mod rows;
mod scalar;
mod scales;
mod tiles;
pub mod verify;

pub use barriers::{BarrierSlot, Barriers, Consumer, Producer, Ring, RingSlot};
pub use builder::KernelBuilder;
pub use bulk::{Coordinate, Map};
pub use partial::SumSlots;
pub use products::{SharedOperand, Sums, WarpgroupSums};
pub use quantize::{PatchShape, Patches, ScaleValues};
pub use scalar::{
    Bool, Cluster, Cta, Expr, Grid, I32, I64, Join, Lane, Number, Operand, Scalar, ScopeTag, U32, Var, Warp, Warpgroup,
    Within,
};
pub use scales::{GlobalScales, ScaleFragment, SumScales};
pub use tiles::{AccumulatorFragment, GlobalBlock, OperandFragment, Pointer, SharedTiles, Slot, StagingFragment};
