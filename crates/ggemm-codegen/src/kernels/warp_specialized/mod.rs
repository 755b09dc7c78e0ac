//! Hopper's family: some warps load tiles, warpgroups multiply them and write out each tile of D.
//!
//! [`roles`] says who does what, [`pipeline`] what they hand each other, [`scales`] where those of fp8 operands lie;
//! [`ragged_rows`] and [`ragged_reduction`] say what is loaded and where it goes ([`swapped_rows`] where operands are
//! swapped), [`by_copy_engine`] and [`by_threads`] how it gets there, [`output`] and [`output_by_threads`] how sums leave;
//! [`exchange`] adds up what the CTAs of a cluster summed apart, [`partial_sums`] what those of the grid did.

mod block_scales;
mod by_copy_engine;
mod by_threads;
mod exchange;
mod feed;
mod main_loop;
mod output;
mod output_by_threads;
mod partial_sums;
mod pipeline;
mod ragged_reduction;
mod ragged_rows;
mod roles;
mod share;
mod swapped_rows;

use crate::dsl::KernelBuilder;
use crate::spec::{KernelSpec, Ragged};

pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.ragged {
        Ragged::Rows => ragged_rows::write(k, s),
        Ragged::Reduction => ragged_reduction::write(k, s),
    }
}
