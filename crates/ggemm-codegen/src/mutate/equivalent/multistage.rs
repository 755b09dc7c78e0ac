//! In the multistage family.

use super::super::MutationKind::{
    AddSub, Comparison, Constant, Division, DropBound, ForceBranch, LoopEnd, Pairing, Reorder, ShiftBound, Slot,
};
use super::Equivalent;
use crate::geometry::mma_k;
use crate::scaling::Scaling;
use crate::spec::{CopyPath, KernelSpec, Ragged, Schedule};

const PLAIN: fn(&KernelSpec) -> bool = |s| matches!((s.schedule, s.copy), (Schedule::Multistage, CopyPath::Plain));
const CP_ASYNC: fn(&KernelSpec) -> bool = |s| matches!(s.copy, CopyPath::CpAsync);
const TWO_STAGES: fn(&KernelSpec) -> bool = |s| matches!(s.copy, CopyPath::CpAsync) && s.stages == 2;
const TWO_STEPS: fn(&KernelSpec) -> bool = |s| s.tile.k == 2 * mma_k(s.operand.size_bytes());
/// 128 columns share a scale.
const ROWS_OF_BLOCKS: fn(&KernelSpec) -> bool =
    |s| CP_ASYNC(s) && matches!((s.ragged, s.scaling), (Ragged::Rows, Scaling::Block));
const MASKED: fn(&KernelSpec) -> bool = |s| !s.even_k;

/// The offset of a block along the reduction added to, or taken from, what comes before it.
const SIGN_OF_OFFSET: &[&str] = &[
    "origin: ((first_row * a_row_stride) + k_offset) becomes",
    "origin: (((group * b_group_stride) + (tile_col * b_row_stride)) + k_offset) becomes",
    "origin: (((group * b_group_stride) + tile_col) + (k_offset * b_row_stride)) becomes",
    "origin: (((group_start * a_row_stride) + tile_row) + (k_offset * a_row_stride)) becomes",
    "origin: (((group_start * b_row_stride) + tile_col) + (k_offset * b_row_stride)) becomes",
    "origin: (((tile_row * a_row_stride) + first_token) + k_offset) becomes",
    "origin: (((tile_col * b_row_stride) + first_token) + k_offset) becomes",
    "value: (group_rows - k_offset)",
    "value: (reduction_of_tile - k_offset)",
];

pub(super) const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: |s| CP_ASYNC(s) && matches!(s.scaling, Scaling::Row),
        sites: &["scales: loop > let ?_scales_left"],
        kinds: &[Constant],
        changes: &["value: 0 becomes -1"],
        reason: "that many and fewer are none",
    },
    Equivalent {
        of: ROWS_OF_BLOCKS,
        sites: &["scales: *load_scales col_scales", "scales: loop > let b_scales_left"],
        kinds: &[ShiftBound, DropBound, AddSub],
        changes: &["count: ", "value: (cols - tile_col) becomes"],
        reason: "a tile of no more columns than a block has columns, and so the scale of its first",
    },
    Equivalent {
        of: ROWS_OF_BLOCKS,
        sites: &["scales: loop > let first_of_b_scales"],
        kinds: &[Constant],
        changes: &["value: 128 becomes 127"],
        reason: "tiles begin at multiples of 32: only past 4,000 columns is one in another block of 127",
    },
    Equivalent {
        of: MASKED,
        sites: &["main_loop: loop > let blocks"],
        kinds: &[Constant],
        changes: &["value: 64 becomes 63", "value: 32 becomes 31", "value: 16 becomes 15"],
        reason: "blocks past the reduction's end are zeros, and nothing is read for them",
    },
    Equivalent {
        of: |s| s.even_k,
        sites: &["main_loop: loop > let blocks"],
        kinds: &[Division],
        changes: &["value: ceil_div"],
        reason: "the reduction is a multiple of the block, so that the quotient is exact",
    },
    Equivalent {
        of: CP_ASYNC,
        sites: &["ragged_rows: loop > store_tile", "ragged_reduction: loop > store_tile"],
        kinds: &[Pairing],
        changes: &["paired"],
        reason: "columns written one by one hold the same: pairs are only faster",
    },
    Equivalent {
        of: CP_ASYNC,
        sites: &["main_loop: loop > if > for block > commit_copies"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "the products between the last copy and the group's end start no copy",
    },
    Equivalent {
        of: CP_ASYNC,
        sites: &["main_loop: loop > if > load_matrix *"],
        kinds: &[Slot],
        changes: &["slot: read_slot becomes 0"],
        reason: "the ring has not turned yet: the slot is 0",
    },
    Equivalent {
        of: |s| TWO_STEPS(s) && PLAIN(s),
        sites: &["main_loop: loop > if > for block > for step > *"],
        kinds: &[Constant, Division],
        changes: &["set: 2 becomes 3", "set: (step % 2)"],
        reason: "the two steps have the numbers 0 and 1, which are their own remainders",
    },
    Equivalent {
        of: |s| MASKED(s) && TWO_STAGES(s),
        sites: &["main_loop: loop > if > for block > if", "main_loop: loop > if > for block > if #2"],
        kinds: &[ForceBranch],
        changes: &["the condition is always true"],
        reason: "blocks past the end are zeros in a free slot, and the wait for everything is yet to come",
    },
    Equivalent {
        of: |s| MASKED(s) && CP_ASYNC(s),
        sites: &["main_loop: loop > if > for block > if", "main_loop: loop > if > for block > if #2"],
        kinds: &[Comparison],
        changes: &["condition: (coming < blocks)"],
        reason: "one block past the end is zeros in a free slot, and is waited for before the tile ends",
    },
    Equivalent {
        of: |s| CP_ASYNC(s) && (s.stages == 2 || MASKED(s)),
        sites: &["main_loop: loop > if > for stage > if"],
        kinds: &[ForceBranch, Comparison],
        changes: &["the condition is always true", "condition: (stage < blocks)"],
        reason: "block 0 always exists; a later one that does not is zeros, which are waited for",
    },
    Equivalent {
        of: TWO_STAGES,
        sites: &["main_loop: loop > if > for stage > *"],
        kinds: &[AddSub],
        changes: SIGN_OF_OFFSET,
        reason: "one stage is filled ahead, that of block 0, whose offset is 0",
    },
    Equivalent {
        of: TWO_STAGES,
        sites: &["main_loop: loop > if > for stage > if > let k_offset"],
        kinds: &[Constant],
        changes: &["value: "],
        reason: "one stage is filled ahead, number 0, by which any width gives 0",
    },
    Equivalent {
        of: TWO_STAGES,
        sites: &["main_loop: loop > if > for stage > if > copy_tile *"],
        kinds: &[Slot],
        changes: &["slot: stage becomes 0"],
        reason: "one stage is filled ahead, that of slot 0",
    },
    Equivalent {
        of: TWO_STAGES,
        sites: &["main_loop: loop > if > for stage"],
        kinds: &[LoopEnd],
        changes: &["end: 1 + 1"],
        reason: "block 1 is copied ahead, waited for with block 0, and copied again before it is read",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if"],
        kinds: &[ForceBranch, Comparison, Constant],
        changes: &["the condition is always true", "condition: (blocks <= 0)", "condition: 0 becomes -1"],
        reason: "without blocks, zeros are staged behind a barrier and never read",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if > let slot"],
        kinds: &[Constant],
        changes: &["value: 0 becomes 1"],
        reason: "two slots take turns; either may be first",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if > store_staging *"],
        kinds: &[Slot],
        changes: &["slot: slot becomes 0"],
        reason: "the first block's slot is 0",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if > let k_left", "main_loop: loop > if > begin_staging *"],
        kinds: &[AddSub],
        changes: SIGN_OF_OFFSET,
        reason: "the first block's offset is 0",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if > for block > if", "main_loop: loop > if > for block > let more"],
        kinds: &[ForceBranch, Comparison],
        changes: &["the condition is always true", "value: (coming < blocks)"],
        reason: "the block past the end is zeros in the slot that is free, and nobody reads it",
    },
    Equivalent {
        of: PLAIN,
        sites: &["main_loop: loop > if > for block > if #2"],
        kinds: &[ForceBranch],
        changes: &["the condition is always true"],
        reason: "what was staged last is written once more, to the slot that is free, and nobody reads it",
    },
];
