//! Verification of one variant on random problems: what `ggemm verify` and the tests on a GPU do.
//!
//! A [`Case`] is a random problem for a variant, decided by a seed. [`Case::check`] runs it where a [`Ground`] says and
//! demands that
//! - on real-valued data every element is within the bound of the f64 [`Reference`](crate::Reference), and on small
//!   integers right to the bit;
//! - a further run leaves the same bits: a result that moves is a race;
//! - nothing is written but what the problem defines, and no operand changes: guards lie before and behind every tensor;
//! - nothing that lies outside the problem matters: outputs start as NaN, and NaN is in stride padding, in the tail, in
//!   the guards, and at times throughout a group, whose neighbours must not notice;
//! - sizes or ends that contradict the problem lead nowhere outside.
//!
//! A [`QuantizeCase`] is a random source for a kernel that quantizes, whose copies must be the CPU's to the bit.

mod case;
mod failure;
mod ground;
mod guard;
mod quantize;
mod trial;

pub use case::Case;
pub use failure::{Failure, Fault};
pub use ground::Ground;
pub use guard::Overwritten;
pub use quantize::{QuantizeCase, QuantizeFailure};
pub use trial::Passed;

pub use ggemm_codegen::scenario::{Extent, Scenario};
