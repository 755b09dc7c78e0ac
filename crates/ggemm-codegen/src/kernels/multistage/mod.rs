//! The multistage family: every warp copies and multiplies, from sm_80 on.

mod main_loop;
mod ragged_reduction;
mod ragged_rows;

use crate::dsl::KernelBuilder;
use crate::spec::{KernelSpec, Ragged};

pub(super) fn write(k: &mut KernelBuilder<'_>, s: &KernelSpec) {
    match s.ragged {
        Ragged::Rows => ragged_rows::write(k, s),
        Ragged::Reduction => ragged_reduction::write(k, s),
    }
}
