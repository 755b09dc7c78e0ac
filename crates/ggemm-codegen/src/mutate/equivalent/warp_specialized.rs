//! In the warp-specialized family.

use super::super::MutationKind::{
    self, AddSub, Comparison, Constant, Division, Drop, DropBound, Duplicate, EveryLane, ForceBranch, Logic, Reorder,
    ShiftBound, Slot, SwapArms,
};
use super::Equivalent;
use crate::geometry;
use crate::scaling::{SCALE_BLOCK, Scaling};
use crate::spec::{Accumulation, CopyPath, KernelSpec, Ragged, Schedule};

const SPECIALIZED: fn(&KernelSpec) -> bool = |s| s.schedule.is_warp_specialized();
const BY_THREADS: fn(&KernelSpec) -> bool = |s| SPECIALIZED(s) && matches!(s.copy, CopyPath::Plain);
pub(super) const ROWS: fn(&KernelSpec) -> bool = |s| SPECIALIZED(s) && matches!(s.ragged, Ragged::Rows);
pub(super) const REDUCTION: fn(&KernelSpec) -> bool = |s| SPECIALIZED(s) && matches!(s.ragged, Ragged::Reduction);
pub(super) const PINGPONG: fn(&KernelSpec) -> bool = |s| matches!(s.schedule, Schedule::Pingpong);
pub(super) const DYNAMIC: fn(&KernelSpec) -> bool = |s| s.dynamic;
const UNSWAPPED: fn(&KernelSpec) -> bool = |s| SPECIALIZED(s) && !s.swapped;
const SPLIT: fn(&KernelSpec) -> bool = |s| s.split > 1;

/// Without a branch before tiles leave.
const PROMOTED: fn(&KernelSpec) -> bool = |s| SPECIALIZED(s) && matches!(s.accumulation, Accumulation::Promoted);
const FAST: fn(&KernelSpec) -> bool = |s| UNSWAPPED(s) && matches!(s.accumulation, Accumulation::Fast);
const ROWS_OF_BLOCKS: fn(&KernelSpec) -> bool = |s| ROWS(s) && matches!(s.scaling, Scaling::Block);

/// With products of some columns after others.
const IN_PARTS: fn(&KernelSpec) -> bool = |s| PROMOTED(s) && geometry::promoted_columns(s) < s.tile.n;

/// Where warps wait until a panel's last store has read it: before each of two panels, and before their end. Where CTAs
/// divide a tile's reduction, only the first has panels.
const WAITS_FOR_READS: &[&str] = &[
    "output: role consumer ? > if",
    "output: role consumer ? > loop > if > if #2",
    "output: role consumer ? > loop > if > if #4",
    "output: role consumer ? > loop > if > if #6",
    "output: role consumer ? > loop > if > if #2 > if #5",
    "output: role consumer ? > loop > if > if #2 > if #7",
    "output: role consumers > if",
    "output: role consumers > loop > if #2",
    "output: role consumers > loop > if #4",
    "output: role consumers > loop > if #6",
    "output: role consumers > loop > if #4 > if #5",
];

/// The same where operands are swapped, behind the loops for two or four numbers of rows.
const SWAPPED_WAITS: &[&str] = &[
    "output: role consumer ? > if",
    "output: role consumer ? > loop > if > if #5",
    "output: role consumers > if",
    "output: role consumers > loop > if #3",
];

/// Where one warp expects the bytes of sums that other CTAs send.
const EXPECTS_SUMS: &[&str] = &[
    "exchange: role consumer ? > loop > *if",
    "exchange: role consumer ? > loop > *if #3",
    "exchange: role consumers > loop > if #4 > if",
    "exchange: role consumers > loop > if #4 > if #3",
];

/// Any change of what a variable becomes, or none.
const ASSIGNMENT: &[MutationKind] = &[Drop, SwapArms, AddSub, Comparison, Constant];

pub(super) const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: SPECIALIZED,
        sites: &["barriers: if > elect > fence_barrier_init"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "the barrier that misses the fence is one on which only threads of the CTA arrive",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["roles: await_grid"],
        kinds: &[Reorder],
        changes: &["await_grid comes before what is done before it"],
        reason: "whoever waits for the grid before it meets the CTA's other warps afterwards",
    },
    Equivalent {
        of: BY_THREADS,
        sites: &["barriers: if > elect > fence_barrier_init"],
        kinds: &[Drop],
        changes: &[""],
        reason: "only threads of the CTA arrive, no copy engine",
    },
    Equivalent {
        of: |s| BY_THREADS(s) && PINGPONG(s) && REDUCTION(s),
        sites: &["roles: role consumer ? > loop > if > pass"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "stages that warps fill are full in their order: the other's first is not full before this one's last",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["barriers: if > elect"],
        kinds: &[EveryLane],
        changes: &[""],
        reason: "each lane initializes the barriers alike, before anyone uses them",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["pipeline: if"],
        kinds: &[Comparison, Constant, ForceBranch],
        changes: &["condition: (warp == 0)", "condition: 0 becomes 1", "the condition is always true"],
        reason: "any warps may initialize the barriers, each alike, before anyone uses them",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["by_copy_engine: role producers > role loader > elect"],
        kinds: &[EveryLane],
        changes: &[""],
        reason: "a prefetch of a tensor map changes no result",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["feed: role * > role finder > assign fill_*"],
        kinds: ASSIGNMENT,
        changes: &[""],
        reason: "nothing is handed over after the word that no tile is left",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["feed: role * > role finder > elect > write_word tile_words #*"],
        kinds: &[Constant],
        changes: &["value: 0 becomes"],
        reason: "nobody looks at the place of no tile",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &[
            "feed: role * > role finder > loop > await tile_empty",
            "feed: role * > role finder > loop > loop > await tile_empty",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "finding a tile touches no slot",
    },
    Equivalent {
        of: DYNAMIC,
        sites: &["feed: role * > role finder > loop > await tile_wanted"],
        kinds: &[Drop],
        changes: &[""],
        reason: "a number taken early is a right one: that costs time alone",
    },
    Equivalent {
        of: DYNAMIC,
        sites: &["feed: * > let last_round"],
        kinds: &[Constant],
        changes: &["value: 2 becomes", "value: 3 becomes"],
        reason: "the next tile is asked for a block earlier or later: that costs time alone",
    },
    Equivalent {
        of: DYNAMIC,
        sites: &["by_copy_engine: role producers > role loader > loop > for block > await stage_empty"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "asking for the next tile touches no stage",
    },
    Equivalent {
        of: BY_THREADS,
        sites: &["by_threads: role loader > loop > for block > await stage_empty"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "what is read before it goes to registers, and touches no stage",
    },
    Equivalent {
        of: DYNAMIC,
        sites: &["feed: role * > role finder > fetch_add count", "feed: * > fetch_add count_again"],
        kinds: &[Logic],
        changes: &["guard: ((lane == 0) & ((ended_before + 1) == ctacount))"],
        reason: "whoever is not the last has read 0, which it adds and takes away",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &[
            "main_loop: role consumer ? *> for block > fence_products",
            "main_loop: role consumers *> for block > fence_products",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "going on in the ring touches no sums",
    },
    Equivalent {
        of: PINGPONG,
        sites: &[
            "main_loop: role consumer ? > loop > if > await_products",
            "main_loop: role consumer ? > loop > if > if > await_products",
            "main_loop: role consumer ? > loop > if > if #? > await_products",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "the other's turn may begin when the products are done: that costs time alone",
    },
    Equivalent {
        of: PINGPONG,
        sites: &[
            "main_loop: role consumer ? > loop > if > if > assign free_slot",
            "main_loop: role consumer ? > loop > if > if > if > assign free_slot",
            "main_loop: role consumer ? > loop > if > if #? > if > assign free_slot",
            "main_loop: role consumer ? > loop > if > if #3 > assign free_slot",
        ],
        kinds: ASSIGNMENT,
        changes: &[""],
        reason: "the next tile is the other warpgroup's, which sets the slot that is freed next",
    },
    Equivalent {
        of: PINGPONG,
        sites: &["roles: role consumer 1 > let free_slot"],
        kinds: &[Constant],
        changes: &["value: 0"],
        reason: "the first tile is the other warpgroup's, which sets the slot that is freed next",
    },
    Equivalent {
        of: |s| ROWS(s) && FAST(s) && s.cluster.ctas() == 1 && !s.stream_k,
        sites: &["main_loop: role consumer ? > loop > if > if", "main_loop: role consumers > loop > if"],
        kinds: &[Constant, ForceBranch],
        changes: &["condition: 0 becomes -1 in (blocks == 0)", "the condition is always true"],
        reason: "behind a tile without a reduction there is none with one, so that nobody waits for a free slot",
    },
    Equivalent {
        of: |s| s.swapped && s.cluster.ctas() == 1 && !s.stream_k,
        sites: &[
            "main_loop: role consumer ? > loop > if > if > if",
            "main_loop: role consumer ? > loop > if > if #? > if",
            "main_loop: role consumers > loop > if > if",
            "main_loop: role consumers > loop > if #? > if",
        ],
        kinds: &[Constant, ForceBranch],
        changes: &["condition: 0 becomes -1 in (blocks == 0)", "the condition is always true"],
        reason: "behind a tile without a reduction there is none with one, so that nobody waits for a free slot",
    },
    Equivalent {
        of: |s| PROMOTED(s) && !IN_PARTS(s),
        sites: &[
            "main_loop: role consumer ? > loop > *for block > promote",
            "main_loop: role consumers > loop > *for block > promote",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "saying that a slot is free touches no sums",
    },
    Equivalent {
        of: IN_PARTS,
        sites: &[
            "main_loop: role consumers > loop > for batch > for block > await_products #2",
            "main_loop: role consumers > loop > for batch > for block > promote #2",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "waiting for the next stage, and saying that a slot is free, touch no sums",
    },
    Equivalent {
        of: |s| ROWS_OF_BLOCKS(s) && (s.tile.n as usize).is_multiple_of(SCALE_BLOCK),
        sites: &[
            "block_scales: role producers > role scales > loop > for batch > copy_scales b_scale_tiles",
            "scales: role producers > role scales > loop > let first_of_b_scales",
        ],
        kinds: &[AddSub, Division, Constant],
        changes: &[
            "value: (tile_col / 128) becomes ceil_div",
            "count: (b_scales_left + (tile_col % 128)) becomes",
            "count: 128 becomes 129 in (((b_scales_left",
            "count: 127 becomes 126 in ((b_scales_left",
        ],
        reason: "tiles begin where a block of columns does, and columns come in eights: of a block no fewer are left",
    },
    Equivalent {
        of: |s| ROWS_OF_BLOCKS(s) && s.tile.n as usize <= SCALE_BLOCK,
        sites: &[
            "block_scales: role producers > role scales > loop > for batch > copy_scales b_scale_tiles",
            "scales: role producers > role scales > loop > let b_scales_left",
        ],
        kinds: &[ShiftBound, DropBound, AddSub, Division, Constant],
        changes: &[
            "count: all",
            "count: (((b_scales_left + (tile_col % 128)) + 127) / 128) + 1",
            "count: (((b_scales_left + (tile_col % 128)) + 127) / 128) becomes ceil_div",
            "count: 128 becomes ",
            "count: 127 becomes ",
            "count: (tile_col % 128) becomes tile_col",
            "value: (cols - tile_col) becomes",
        ],
        reason: "a tile of no more columns than a block has columns, and so the scale of its first: one exists",
    },
    Equivalent {
        of: ROWS_OF_BLOCKS,
        sites: &[
            "scales: role producers > role scales > loop > let first_of_b_scales",
            "block_scales: role consumer ? > loop > if > let cols_before",
            "block_scales: role consumers > loop > let cols_before",
        ],
        kinds: &[Constant],
        changes: &["value: 128 becomes 127"],
        reason: "tiles begin at multiples of 64: only past 8,000 columns is one in another block of 127",
    },
    Equivalent {
        of: |s| SPECIALIZED(s) && matches!(s.scaling, Scaling::Block),
        sites: &[
            "main_loop: role consumer ? > loop > *for batch > for block > await_products",
            "main_loop: role consumers > loop > for batch > for block > await_products",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "reading scales touches no sums",
    },
    Equivalent {
        of: |s| PINGPONG(s) && matches!(s.scaling, Scaling::Block),
        sites: &["block_scales: role consumer 1 > let free_slot #2"],
        kinds: &[Constant],
        changes: &["value: 0 becomes"],
        reason: "the first tile is the other warpgroup's, behind which the slot to be freed is the one to be read",
    },
    Equivalent {
        of: |s| SPECIALIZED(s) && matches!(s.scaling, Scaling::Row),
        sites: &["scales: role consumer ? > loop > *let ?_scales_left"],
        kinds: &[Constant],
        changes: &["value: 0 becomes -1"],
        reason: "that many and fewer are none",
    },
    Equivalent {
        of: PINGPONG,
        sites: &["roles: role consumer 0 > loop > assign next"],
        kinds: &[Constant],
        changes: &["value: 1 becomes 2"],
        reason: "the other's turn is whatever is not 0",
    },
    Equivalent {
        of: |s| PINGPONG(s) && REDUCTION(s),
        sites: &["main_loop: role consumer ? > loop > if > if > assign read_parity"],
        kinds: &[AddSub],
        changes: &["value: (1 - read_parity) becomes (1 + read_parity)"],
        reason: "the next tile is the other warpgroup's, behind which the parity is a remainder by 2",
    },
    Equivalent {
        of: REDUCTION,
        sites: &[
            "feed: role consumer ? > loop > read_word group_start",
            "feed: role consumers > loop > read_word group_start",
        ],
        kinds: &[Slot],
        changes: &[
            "slot: ((slot * 5) + 1) + 1",
            "slot: ((slot * 5) + 1) - 1",
            "slot: ((slot * 9) + 1) + 1",
            "slot: ((slot * 9) + 1) - 1",
        ],
        reason: "where a group starts is the loader's affair: those who multiply do not look at it",
    },
    Equivalent {
        of: PINGPONG,
        sites: &["roles: role consumer ? > loop > if > meet"],
        kinds: &[Reorder],
        changes: &[""],
        reason: "a warpgroup's sums are its own, whoever's turn it is",
    },
    Equivalent {
        of: |s| PINGPONG(s) && ROWS(s) && s.stages == 2,
        sites: &[
            "roles: role consumer 0 > loop > if else > assign read_parity",
            "roles: role consumer 0 > loop > if else > assign read_slot",
        ],
        kinds: &[Division, Constant],
        changes: &["value: (beyond / 2) becomes ceil_div(beyond, 2)", "value: 2 becomes 1 in (beyond % 2)"],
        reason: "both warpgroups' tiles together are an even number of blocks",
    },
    Equivalent {
        of: |s| ROWS_OF_BLOCKS(s) && PINGPONG(s),
        sites: &[
            "block_scales: role consumer 0 > loop > if else > assign read_parity #2",
            "block_scales: role consumer 0 > loop > if else > assign read_slot #2",
        ],
        kinds: &[Division, Constant],
        changes: &["value: (beyond / 2) becomes ceil_div(beyond, 2)", "value: 2 becomes 1 in (beyond % 2)"],
        reason: "all tiles have as many blocks' scales, so that behind the other's it is an even number of two places",
    },
    Equivalent {
        of: FAST,
        sites: WAITS_FOR_READS,
        kinds: &[ForceBranch],
        changes: &["the condition is always true"],
        reason: "warps that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: PROMOTED,
        sites: &[
            "output: role consumer ? > if",
            "output: role consumer ? > loop > if > if",
            "output: role consumer ? > loop > if > if #3",
            "output: role consumer ? > if > elect",
            "output: role consumer ? > loop > if > if > elect",
            "output: role consumer ? > loop > if > if #3 > elect",
            "output: role consumers > if",
            "output: role consumers > loop > if",
            "output: role consumers > if > elect",
            "output: role consumers > loop > if > elect",
        ],
        kinds: &[ForceBranch, EveryLane],
        changes: &["the condition is always true", "all lanes"],
        reason: "warps and lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: IN_PARTS,
        sites: &[
            "output: role consumers > loop > if #2",
            "output: role consumers > loop > if #4",
            "output: role consumers > loop > if #6",
            "output: role consumers > loop > if #8",
            "output: role consumers > loop > if #2 > elect",
            "output: role consumers > loop > if #4 > elect",
            "output: role consumers > loop > if #6 > elect",
            "output: role consumers > loop > if #8 > elect",
        ],
        kinds: &[ForceBranch, EveryLane],
        changes: &["the condition is always true", "all lanes"],
        reason: "the same, behind the choice whether the next stage is waited for",
    },
    Equivalent {
        of: PROMOTED,
        sites: &[
            "output: role consumer 0 > if",
            "output: role consumer 0 > loop > if > if",
            "output: role consumer 0 > loop > if > if #3",
        ],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3"],
        reason: "warp 3 stored nothing, and has no reads to wait for",
    },
    Equivalent {
        of: FAST,
        sites: &[
            "output: role consumer ? > if > elect",
            "output: role consumer ? > loop > if > if #2 > elect",
            "output: role consumer ? > loop > if > if #4 > elect",
            "output: role consumer ? > loop > if > if #6 > elect",
            "output: role consumer ? > loop > if > if #2 > if #5 > elect",
            "output: role consumer ? > loop > if > if #2 > if #7 > elect",
            "output: role consumers > if > elect",
            "output: role consumers > loop > if #2 > elect",
            "output: role consumers > loop > if #4 > elect",
            "output: role consumers > loop > if #6 > elect",
            "output: role consumers > loop > if #4 > if #5 > elect",
        ],
        kinds: &[EveryLane],
        changes: &["all lanes"],
        reason: "lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: PINGPONG,
        sites: &["output: role consumer 0 > *if*"],
        kinds: &[Division, Constant],
        changes: &["condition: (warp % 4) becomes warp", "condition: 4 becomes 5"],
        reason: "the first warpgroup's warps are numbers 0 to 3",
    },
    Equivalent {
        of: FAST,
        sites: &[
            "output: role consumer 0 > if",
            "output: role consumer 0 > loop > if > if #2",
            "output: role consumer 0 > loop > if > if #4",
            "output: role consumer 0 > loop > if > if #6",
            "output: role consumer 0 > loop > if > if #2 > if #5",
            "output: role consumer 0 > loop > if > if #2 > if #7",
        ],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3"],
        reason: "warp 3 stored nothing, and has no reads to wait for",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &[
            "output: role consumer ? > loop > *meet*",
            "output: role consumers > loop > *meet*",
            "partial_sums: role consumer ? > loop > *meet",
            "partial_sums: role consumers > loop > *meet",
        ],
        kinds: &[Duplicate],
        changes: &["meet is done twice"],
        reason: "who has met may meet again",
    },
    Equivalent {
        of: SPECIALIZED,
        sites: &["output: role consumer 1 > loop > *meet*"],
        kinds: &[Constant],
        changes: &["id: 2 becomes 3"],
        reason: "barrier 3 is nobody else's",
    },
    Equivalent {
        of: SPLIT,
        sites: EXPECTS_SUMS,
        kinds: &[Constant],
        changes: &["condition: 0 becomes 1 in ((warp % 4) == 0)", "condition: 4 becomes 5 in (warp % 4)"],
        reason: "any one warp may expect the bytes",
    },
    Equivalent {
        of: SPLIT,
        sites: &["exchange: role consumer 1 > loop > *if", "exchange: role consumer 1 > loop > *if #3"],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3 in (warp % 4)"],
        reason: "of warps 4 to 7 one has a number that is a multiple of 3",
    },
    Equivalent {
        of: SPLIT,
        sites: &["exchange: role consumer 0 > loop > *if", "exchange: role consumer 0 > loop > *if #3"],
        kinds: &[Division],
        changes: &["condition: (warp % 4) becomes warp"],
        reason: "the first warpgroup's warps are numbers 0 to 3",
    },
    Equivalent {
        of: SPLIT,
        sites: &[
            "exchange: role consumer ? > loop > * else > await part_free #2",
            "exchange: role consumers > loop > if #4 else > await part_free #2",
        ],
        kinds: &[Reorder],
        changes: &[""],
        reason: "what is sent before waits for longer: that costs time alone",
    },
    Equivalent {
        of: SPLIT,
        sites: &[
            "exchange: role consumer ? > loop > * else > await part_free",
            "exchange: role consumers > loop > if #4 else > await part_free",
        ],
        kinds: &[Slot],
        changes: &["slot: 0 + 1", "slot: 2 + 1", "slot: (warpgroup * 2) + 1"],
        reason: "the second place of a tile is free later than the first",
    },
    Equivalent {
        of: |s| s.swapped,
        sites: SWAPPED_WAITS,
        kinds: &[ForceBranch],
        changes: &["the condition is always true"],
        reason: "warps that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: |s| s.swapped,
        sites: &[
            "output: role consumer ? > if > elect",
            "output: role consumer ? > loop > if > if #5 > elect",
            "output: role consumers > if > elect",
            "output: role consumers > loop > if #3 > elect",
        ],
        kinds: &[EveryLane],
        changes: &["all lanes"],
        reason: "lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: |s| s.swapped,
        sites: &["output: role consumer 0 > if", "output: role consumer 0 > loop > if > if #5"],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3"],
        reason: "warp 3 stored nothing, and has no reads to wait for",
    },
    Equivalent {
        of: |s| s.split == 2,
        sites: &["exchange: role consumer 0 > loop > * else > send_sums parts"],
        kinds: &[Slot],
        changes: &["slot: (clusterrank - 1) becomes 0"],
        reason: "of two CTAs one sends",
    },
];
