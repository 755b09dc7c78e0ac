//! In what both families share: which tiles there are, and the walk over them.

use super::super::MutationKind::{AddSub, Constant, Shuffle};
use super::Equivalent;
use crate::dtype::Dtype;
use crate::spec::{KernelSpec, Ragged, Schedule};

const ANY: fn(&KernelSpec) -> bool = |_| true;
const MULTISTAGE: fn(&KernelSpec) -> bool = |s| matches!(s.schedule, Schedule::Multistage);

pub(super) const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: ANY,
        sites: &["walk: *let start"],
        kinds: &[Constant],
        changes: &["value: 0"],
        reason: "the first window is read before any tile is looked for, and sets what a lane holds",
    },
    Equivalent {
        of: ANY,
        sites: &["walk: *loop > loop > assign running*", "walk: *loop > if > loop > assign running*"],
        kinds: &[AddSub],
        changes: &["value: (rows - running) becomes", "value: (reduction - running) becomes"],
        reason: "a window's sum is clipped once more behind the scan: only matrices of 2^26 rows and more would overflow",
    },
    Equivalent {
        // Operands of fp8 start at a block of their group's number.
        of: |s| MULTISTAGE(s) && !(matches!(s.ragged, Ragged::Reduction) && s.operand.is_fp8()),
        sites: &["walk: *loop > let group"],
        kinds: &[Constant],
        changes: &["value: 0"],
        reason: "merged groups have one D, whose group stride is 0",
    },
    Equivalent {
        of: |s| matches!(s.ragged, Ragged::Reduction) && s.schedule.is_warp_specialized() && !s.operand.is_fp8(),
        sites: &["walk: *loop > let group"],
        kinds: &[Constant],
        changes: &["value: 0 becomes 1"],
        reason: "merged groups have one D, whose group stride is 0; its tensor map has matrices beyond the first",
    },
    Equivalent {
        of: ANY,
        sites: &["walk: *loop > loop > let tiles_of_lane"],
        kinds: &[Constant],
        changes: &["value: 0 becomes 1 in (lane == 0)"],
        reason: "merged, every lane has all rows, so that any one of them may hold the tiles",
    },
    Equivalent {
        of: |s| matches!(s.ragged, Ragged::Reduction) && s.output != Dtype::F32,
        sites: &["walk: *loop > loop > shuffle below #6"],
        kinds: &[Shuffle],
        changes: &["distance: 1 becomes 0"],
        reason: "all groups have as many tiles, so that a lane's own count is its neighbour's; lanes without a group come last",
    },
    Equivalent {
        of: |s| matches!(s.ragged, Ragged::Rows),
        sites: &["walk: *loop > loop > break"],
        kinds: &[AddSub, Constant],
        changes: &["condition: (first_group + 32) becomes (first_group - 32)", "condition: 32 becomes 31"],
        reason: "windows past the last group are read in vain: they have no tiles",
    },
    Equivalent {
        of: ANY,
        sites: &["ragged_rows: let col_tiles", "ragged_reduction: let col_tiles", "ragged_reduction: let row_tiles*"],
        kinds: &[Constant],
        changes: &["value: 256 becomes 255", "value: 128 becomes 127", "value: 64 becomes 63", "value: 32 becomes 31"],
        reason: "tiles past the last column or row of D have nothing to read and nothing to write",
    },
];
