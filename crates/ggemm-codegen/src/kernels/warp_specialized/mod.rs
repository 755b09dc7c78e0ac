//! Hopper's family: one warp asks the copy engine for tiles, warpgroups multiply them, and each tile of D leaves
//! through shared memory by the copy engine again.
//!
//! [`roles`] says who does what, [`pipeline`] what they hand each other; [`ragged_rows`] and [`ragged_reduction`] say
//! what is loaded and where it goes.

mod feed;
mod main_loop;
mod output;
mod pipeline;
mod ragged_reduction;
mod ragged_rows;
mod roles;
mod share;

use crate::dsl::KernelBuilder;
use crate::spec::{KernelSpec, Ragged};

pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.ragged {
        Ragged::Rows => ragged_rows::write(k, s),
        Ragged::Reduction => ragged_reduction::write(k, s),
    }
}
