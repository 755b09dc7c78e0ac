//! Where CTAs share the last wave of tiles.

use super::super::MutationKind::{
    AddSub, Comparison, Constant, Division, Drop, EveryLane, ForceBranch, Logic, MinMax, Phase, Reorder, Shuffle, Slot,
    SwapArms,
};
use super::Equivalent;
use super::warp_specialized::{DYNAMIC, PINGPONG, REDUCTION, ROWS};
use crate::dtype::Dtype;
use crate::spec::KernelSpec;

const STREAM_K: fn(&KernelSpec) -> bool = |s| s.stream_k;

pub(super) const EQUIVALENT: &[Equivalent] = &[
    Equivalent {
        of: STREAM_K,
        sites: &[
            "feed: role consumer ? > loop > read_word piece_start",
            "feed: role consumers > loop > read_word piece_start",
        ],
        kinds: &[Slot],
        changes: &["slot: ((slot * 9) + 5) + 1", "slot: ((slot * 9) + 5) - 1"],
        reason: "where a piece starts is the loader's affair: those who multiply do not look at it",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "feed: role * > role loader > loop > read_word slot",
            "feed: role * > role scales > loop > read_word slot",
        ],
        kinds: &[Slot],
        changes: &["slot: ((slot * 9) + 7) + 1", "slot: ((slot * 9) + 7) - 1"],
        reason: "whose sums are added is the affair of those who multiply: those who load do not look at it",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "feed: role * > role loader > loop > read_word added",
            "feed: role * > role scales > loop > read_word added",
        ],
        kinds: &[Slot],
        changes: &["slot: ((slot * 9) + 8) - 1"],
        reason: "whose sums are added is the affair of those who multiply: those who load do not look at it",
    },
    Equivalent {
        of: |s| STREAM_K(s) && DYNAMIC(s),
        sites: &[
            "feed: role producers > role loader > loop > read_word slot",
            "feed: role producers > role loader > loop > read_word added",
        ],
        kinds: &[Slot],
        changes: &["slot: ((slot * 9) + 7) becomes 0", "slot: ((slot * 9) + 8) becomes 0"],
        reason: "the loader does not look at it, and no other place is written before it asks for the next tile",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["walk: role * > role finder > loop > if > if"],
        kinds: &[ForceBranch],
        changes: &["the condition is always false"],
        reason: "the first window is then read twice: that costs time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if"],
        kinds: &[ForceBranch],
        changes: &["the condition is always true"],
        reason: "tiles are then counted anew, to the same number: that costs time alone",
    },
    Equivalent {
        of: |s| STREAM_K(s) && PINGPONG(s),
        sites: &[
            "output: role consumer ? > loop > if > if #2 else > if",
            "output: role consumer ? > loop > if > if #2 else > if #3",
            "output: role consumer ? > loop > if > if #2 else > if > elect",
            "output: role consumer ? > loop > if > if #2 else > if #3 > elect",
        ],
        kinds: &[ForceBranch, EveryLane],
        changes: &["the condition is always true", "all lanes"],
        reason: "warps and lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: |s| STREAM_K(s) && PINGPONG(s),
        sites: &[
            "output: role consumer 0 > loop > if > if #2 else > if",
            "output: role consumer 0 > loop > if > if #2 else > if #3",
        ],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3"],
        reason: "warp 3 stored nothing, and has no reads to wait for",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "walk: role * > role finder > let first_group",
            "walk: role * > role finder > let end",
            "walk: role * > role finder > let tiles_end",
            "walk: role * > role finder > let start_ahead",
        ],
        kinds: &[Constant],
        changes: &["value: "],
        reason: "the window begins with the one ahead, whose first row is set before it is looked at",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > let last_wave"],
        kinds: &[Constant],
        changes: &["value: 0 becomes -1"],
        reason: "the first number is 0 or more, and looks ahead either way",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if > let wave_end"],
        kinds: &[AddSub],
        changes: &["value: (number - (number % ctacount)) becomes"],
        reason: "looking further ahead than the wave's end counts more tiles and no fewer",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["walk: role * > role finder > loop > if > loop > ballot past"],
        kinds: &[AddSub, Constant],
        changes: &["predicate: (wave_end - 1) becomes (wave_end + 1)", "predicate: 1 becomes 0 in (wave_end - 1)"],
        reason: "looking further ahead than the wave's end counts more tiles and no fewer",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["walk: role * > role finder > loop > if > loop > break"],
        kinds: &[AddSub, Constant],
        changes: &[
            "condition: (first_group_ahead + 32) becomes",
            "condition: 32 becomes 31 in (first_group_ahead + 32)",
        ],
        reason: "windows past the last group have no tiles to count",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if > let beyond"],
        kinds: &[Division],
        changes: &["value: (counted % ctacount) becomes counted"],
        reason: "sharing out more than a wave pays for no number of units: tiles stay whole, which costs time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["partial_sums: role consumer 1 > loop > * > meet"],
        kinds: &[Constant],
        changes: &["id: 2 becomes 3"],
        reason: "one number that nobody else uses is as good as another",
    },
    Equivalent {
        of: |s| STREAM_K(s) && DYNAMIC(s),
        sites: &[
            "feed: role * > role finder > loop > loop > await tile_wanted",
            "feed: role * > role finder > loop > loop > assign wanted_parity",
        ],
        kinds: &[Drop, Phase, Reorder],
        changes: &[""],
        reason: "how early the next number is taken decides nothing but the time",
    },
    Equivalent {
        of: |s| STREAM_K(s) && DYNAMIC(s),
        sites: &["feed: role * > role finder > loop > loop > assign wanted_parity"],
        kinds: &[Constant],
        changes: &["value: 1 becomes 0 in (1 - wanted_parity)"],
        reason: "a wait for the parity that ended before takes the next number early",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["feed: role consumers > loop > read_word group_rows"],
        kinds: &[Slot],
        changes: &["slot: ((slot * 9) + 2) + 1", "slot: ((slot * 9) + 2) - 1"],
        reason: "those who multiply look at the length of the piece",
    },
    Equivalent {
        of: |s| STREAM_K(s) && !PINGPONG(s),
        sites: &[
            "output: role consumers > loop > if else > if",
            "output: role consumers > loop > if else > if > elect",
            "output: role consumers > loop > if #4 else > if",
            "output: role consumers > loop > if #4 else > if > elect",
        ],
        kinds: &[ForceBranch, EveryLane],
        changes: &["the condition is always true", "all lanes"],
        reason: "warps and lanes that stored nothing have no reads to wait for",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["block_scales: role * > role scales > loop > let blocks_before"],
        kinds: &[Constant, Division],
        changes: &["value: 128 becomes 127", "value: (piece_start / 128) becomes ceil_div"],
        reason: "pieces start at multiples of 128: only past 16,000 elements is one in another block of 127",
    },
    // Groups of a reduction have as many tiles each, whatever their rows. Of the window ahead only the first one's rows are
    // used, and it begins at row 0.
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s) && s.output != Dtype::F32,
        sites: &[
            "walk: role * > role finder > loop > if > loop > shuffle rows_before",
            "walk: role * > role finder > loop > if > loop > let end_of_lane",
        ],
        kinds: &[Shuffle, SwapArms, AddSub],
        changes: &[
            "lane: 31",
            "value: (groups_are_ends ? max(rows_before, running)",
            "value: (reduction - rows_before) becomes",
        ],
        reason: "no rows are before the first window, and those of later ones are only read again",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > if > loop > shuffle rows_through"],
        kinds: &[Shuffle],
        changes: &["lane: 31 - 1"],
        reason: "of a first window that is the last, the last lane has no group",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > if > loop > if > assign start_ahead"],
        kinds: &[Drop],
        changes: &[""],
        reason: "the first window's first lane, which has all rows, starts at row 0 as it is",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > if > loop > let tiles_of_lane"],
        kinds: &[Constant],
        changes: &["value: 0 becomes 1 in (lane == 0)"],
        reason: "merged, any one lane may have all tiles",
    },
    // A tile that is looked for was counted ahead.
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > loop > loop > break"],
        kinds: &[AddSub, Constant],
        changes: &["condition: (first_group + 32) becomes", "condition: 32 becomes 31 in (first_group + 32)"],
        reason: "windows do not end before a tile that was counted is found",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > loop > loop > let tiles_of_lane"],
        kinds: &[Comparison, AddSub, Constant],
        changes: &[
            "value: ((first_group + lane) < group_count) becomes ((first_group + lane) <=",
            "value: (first_group + lane) becomes (first_group - lane)",
            "value: (lane == 0) becomes !(lane == 0)",
            "value: (group_count < (first_group + 32)) becomes (group_count <=",
            "value: 32 becomes 33 in (first_group + 32)",
        ],
        reason: "tiles past those that were counted ahead are not looked for; merged, any lane of the last groups has all rows",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["walk: role * > role finder > loop > loop > loop > shuffle below #6"],
        kinds: &[Shuffle],
        changes: &["distance: 1 becomes 2"],
        reason: "all groups have as many tiles as the one two lanes below",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["partial_sums: role consumer ? > loop > *if", "partial_sums: role consumers > loop > *if"],
        kinds: &[Constant],
        changes: &["condition: 0 becomes 1 in ((warp % 4) == 0)", "condition: 4 becomes 5 in (warp % 4)"],
        reason: "any one warp may say that sums are there, or wait for them",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["partial_sums: role consumer 1 > loop > *if"],
        kinds: &[Constant],
        changes: &["condition: 4 becomes 3 in (warp % 4)"],
        reason: "of warps 4 to 7 one has a number that is a multiple of 3",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["partial_sums: role consumer 0 > loop > *if"],
        kinds: &[Division],
        changes: &["condition: (warp % 4) becomes warp"],
        reason: "the first warpgroup's warps are numbers 0 to 3",
    },
    Equivalent {
        of: |s| STREAM_K(s) && !PINGPONG(s),
        sites: &[
            "partial_sums: role consumers > loop > if* > if > elect > fetch_add ready*",
            "partial_sums: role consumers > loop > if* else > for other > if > elect > await_word",
        ],
        kinds: &[Division, Constant],
        changes: &["index: (warpgroup % 2) becomes warpgroup", "index: 2 becomes 3 in (warpgroup % 2)"],
        reason: "the warpgroups that share a tile are numbers 0 and 1",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > let last_tiles"],
        kinds: &[Constant],
        changes: &["value: 0 becomes"],
        reason: "tiles of the last wave are counted before any are shared out",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if > if #2 > let blocks*"],
        kinds: &[Constant, AddSub, Division],
        changes: &["value: "],
        reason: "what another number of units would take decides nothing but the time",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > let usual_blocks"],
        kinds: &[Constant, Division, MinMax, SwapArms],
        changes: &["value: "],
        reason: "into how many units tiles are cut decides nothing but the time, if each CTA gets its share of so many",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["walk: role * > role finder > loop > if > if"],
        kinds: &[Constant],
        changes: &[
            "condition: 0 becomes 1 in (first_group_ahead == 0)",
            "condition: 0 becomes -1 in (first_group_ahead == 0)",
        ],
        reason: "the first window is then read twice: that costs time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "stream_k: role * > role finder > let tile_before",
            "stream_k: role * > role finder > loop > loop > if #2",
        ],
        kinds: &[Constant, Comparison, ForceBranch],
        changes: &[
            "value: 0 becomes",
            "condition: (tile < tile_before) becomes (tile <= ",
            "the condition is always true",
        ],
        reason: "windows that need not be read again may be: that costs time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > let item"],
        kinds: &[Constant],
        changes: &["value: 0 becomes"],
        reason: "nobody looks at the item of who has none",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > loop > if > assign added"],
        kinds: &[Constant],
        changes: &["value: -1 becomes -2"],
        reason: "any number below 0 says that this is no owner's",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > loop > if #?"],
        kinds: &[ForceBranch, Constant],
        changes: &["the condition is always true", "condition: 1 becomes 0 in (units == 1)"],
        reason: "the one unit of a tile is all of it",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > loop > if #? > let unit_length"],
        kinds: &[Constant],
        changes: &["value: 64 becomes 63 in ceil_div(", "value: 128 becomes 127 in ceil_div("],
        reason: "longer units leave less to the last one, and nothing out",
    },
    Equivalent {
        of: |s| STREAM_K(s) && ROWS(s),
        sites: &["stream_k: role * > role finder > loop > loop > if #? > assign piece_length"],
        kinds: &[AddSub, Constant],
        changes: &["value: (reduction_of_tile - piece_start) becomes", "value: 0 becomes -1 in max("],
        reason: "past the reduction the copy engine brings zeros, and no unit is past the end: a reduction that is cut has more blocks than any number of units makes waste",
    },
    Equivalent {
        of: |s| STREAM_K(s) && REDUCTION(s),
        sites: &["stream_k: role * > role finder > loop > loop > if #? > assign piece_length"],
        kinds: &[AddSub, Constant],
        changes: &["value: (group_rows - piece_start) becomes", "value: 0 becomes 1 in max("],
        reason: "past a group's rows the copy engine brings zeros",
    },
    // Of the ways to cut tiles, any for which there are slots is right.
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if > if #2"],
        kinds: &[ForceBranch],
        changes: &["the condition is always false"],
        reason: "tiles that are not cut cost time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "stream_k: role * > role finder > loop > if > if #2 > if",
            "stream_k: role * > role finder > loop > if > if #2 > if #?",
        ],
        kinds: &[ForceBranch, Comparison],
        changes: &[
            "the condition is always false",
            "condition: (blocks < least_blocks) becomes",
            "condition: ((last_tiles + helpers_needed) <= ctacount) becomes",
        ],
        reason: "into how many units tiles are cut decides nothing but the time",
    },
    Equivalent {
        of: STREAM_K,
        sites: &["stream_k: role * > role finder > loop > if > if #2 > if* > assign least_blocks"],
        kinds: &[Drop],
        changes: &[""],
        reason: "into how many units tiles are cut decides nothing but the time",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "stream_k: role * > role finder > loop > if > if #2 > if",
            "stream_k: role * > role finder > loop > if > if #2 > if #4",
            "stream_k: role * > role finder > loop > if > if #2 > if #5",
        ],
        kinds: &[ForceBranch, AddSub, Logic],
        changes: &[
            "the condition is always true",
            "condition: (last_tiles + helpers_needed) becomes (last_tiles - helpers_needed)",
            "condition: (((last_tiles + helpers_needed) <= ctacount) & ",
        ],
        reason: "one item of each tile has a slot however many CTAs there are: helpers that come late cost time alone",
    },
    Equivalent {
        of: STREAM_K,
        sites: &[
            "stream_k: role * > role finder > loop > if > if #2 > let helpers_needed #4",
            "stream_k: role * > role finder > loop > if > if #2 > let helpers_needed #5",
        ],
        kinds: &[Constant],
        changes: &["value: 2 becomes 1 in ceil_div(last_tiles, 2)", "value: 3 becomes 2 in ceil_div(last_tiles, 3)"],
        reason: "where there are CTAs for so many helpers, fewer units are faster",
    },
];
