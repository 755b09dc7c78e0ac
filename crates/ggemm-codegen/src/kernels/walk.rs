//! The persistent walk: each CTA visits every `CTA count`-th tile of all groups, and finds the group of a tile by
//! itself, from sizes that only the device knows.
//!
//! Tiles are numbered group by group. Every warp keeps a *window* of 32 consecutive groups, one a lane: where the
//! group's rows start and end, and the number of the tile after its last. A window is read with one load a lane and two
//! scans; a tile's group is then a ballot and a few shuffles away. A CTA's tiles ascend, so the window only moves
//! forward, and no CTA ever runs through the groups one by one.

use super::groups::Groups;
use crate::dsl::{self, Bool, Cta, Expr, Grid, I32, I64, Join, KernelBuilder, Lane, ScopeTag, U32, Var, Warp, Within};
use crate::geometry;
use crate::spec::{Cluster, KernelSpec, Ragged, Schedule};

/// Groups of a window: the lanes of a warp.
pub(super) const WINDOW: i32 = 32;

/// Tiles along D's rows that are visited before the next column of tiles, so that what they read stays in L2: as many as
/// were fastest (docs/tuning.md).
pub(crate) fn band(s: &KernelSpec) -> u32 {
    if s.ragged == Ragged::Rows && s.schedule == Schedule::Cooperative && s.tile.n == 256 { 32 } else { 16 }
}

/// The tile at hand.
#[derive(Clone, Copy)]
pub(super) struct Tile<'k> {
    /// Its group; `group_count` for the tail past the last group.
    pub(super) group: Expr<'k, I32, Cta>,
    /// The group's first row in the token matrix.
    pub(super) group_start: Expr<'k, I32, Cta>,
    /// The group's rows. Where operands are swapped, those through the tile's last: what follows is another tile's.
    pub(super) group_rows: Expr<'k, I32, Cta>,
    /// The tile's first row in D's block of the group.
    pub(super) row: Expr<'k, I32, Cta>,
    /// The tile's first column in D.
    pub(super) col: Expr<'k, I32, Cta>,
    /// The piece of its reduction, where it may not be all of it.
    pub(super) piece: Option<Piece<'k>>,
}

/// A piece of a tile's reduction.
#[derive(Clone, Copy)]
pub(super) struct Piece<'k> {
    /// Elements before it.
    pub(super) start: Expr<'k, I32, Cta>,
    /// Its elements.
    pub(super) length: Expr<'k, I32, Cta>,
    /// The slot for its sums; where it is a tile's first piece, the first slot whose sums are added to its own.
    pub(super) slot: Expr<'k, I32, Cta>,
    /// How many slots' sums are; -1 where it is not a tile's first.
    pub(super) added: Expr<'k, I32, Cta>,
}

/// How an output is cut into tiles, and the order in which they are visited.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    /// Rows of a tile.
    pub(super) rows: u32,
    /// Columns of a tile.
    pub(super) cols: u32,
    /// What a tile's rows are a multiple of where a group's are dealt out evenly to its tiles: then `rows` are the most.
    pub(super) row_step: Option<u32>,
    /// How CTAs form clusters, which visit neighbours together.
    pub(super) cluster: Cluster,
    /// CTAs of a cluster, whether they visit neighbours or one tile.
    pub(super) cluster_ctas: u32,
    /// Tiles along the rows that are visited before the next column of tiles.
    pub(super) band: u32,
}

impl Tiling {
    /// That of a product.
    pub(super) fn of(s: &KernelSpec) -> Self {
        Tiling {
            rows: s.tile.m,
            cols: s.tile.n,
            row_step: s.swapped.then(|| geometry::row_step(s)),
            cluster: s.cluster,
            cluster_ctas: s.cluster_ctas(),
            band: band(s),
        }
    }
}

/// What a family tells the walk.
pub(super) struct Walk<'k> {
    /// Rows of the token matrix.
    pub(super) token_rows: Expr<'k, I32, Grid>,
    /// Tiles and their order.
    pub(super) tiling: Tiling,
    /// Tiles along D's columns, those of a cluster counted as one.
    pub(super) col_tiles: Expr<'k, I32, Grid>,
    /// What the groups divide.
    pub(super) groups_divide: GroupsDivide<'k>,
}

/// Which tile a CTA visits after another; numbers ascend.
pub(super) trait TileNumbers<'k> {
    /// Waits until another tile is wanted.
    fn pace(&self, _k: &mut KernelBuilder<'k>) {}

    /// The number after `number`, once another tile is wanted.
    fn next(&self, k: &mut KernelBuilder<'k>, number: Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta>;

    /// Whether a CTA may have two of as many numbers in a row as there are CTAs.
    fn may_share_a_wave(&self) -> bool {
        false
    }
}

/// Every CTA (or cluster) visits each so manieth tile, as many as there are of them.
pub(super) struct Strided {
    /// CTAs form clusters.
    pub(super) clusters: bool,
}

impl<'k> TileNumbers<'k> for Strided {
    fn next(&self, k: &mut KernelBuilder<'k>, number: Expr<'k, I32, Cta>) -> Expr<'k, I32, Cta> {
        let stride = if self.clusters { k.cluster_count() } else { k.cta_count() };
        number + stride
    }
}

/// What the groups divide, and so how many tiles each has along D's rows.
#[derive(Clone, Copy)]
pub(super) enum GroupsDivide<'k> {
    /// The rows of D: as many as the group's rows need.
    Rows {
        /// The rows past the last group form one more group (`None`: never).
        visit_tail: Option<Expr<'k, Bool, Grid>>,
        /// All groups' rows together are group 0 (`None`: never).
        merge: Option<Expr<'k, Bool, Grid>>,
    },
    /// The reduction: each group has all of a D.
    Reduction {
        /// Tiles along the rows of every D.
        row_tiles: Expr<'k, I32, Grid>,
        /// Groups without rows have no tiles (`None`: never).
        skip_empty: Option<Expr<'k, Bool, Grid>>,
        /// All groups' rows together are one group.
        merge: Expr<'k, Bool, Grid>,
    },
}

/// The window's state.
pub(super) struct Window<'k> {
    /// First group of the window.
    first_group: Var<'k, I32, Warp>,
    /// First row of the lane's group.
    start: Var<'k, I32, Lane>,
    /// Row after the lane's group.
    end: Var<'k, I32, Lane>,
    /// The number of the tile after the lane's group.
    pub(super) tiles_end: Var<'k, I32, Lane>,
}

impl<'k> Window<'k> {
    /// A window before the first group, whose variables' names end like this.
    pub(super) fn declare(k: &mut KernelBuilder<'k>, suffix: &str) -> Self {
        let name = |name: &str| format!("{name}{suffix}");
        Window {
            first_group: k.var(&name("first_group"), -WINDOW),
            start: k.var(&name("start"), 0),
            end: k.var(&name("end"), 0),
            tiles_end: k.var(&name("tiles_end"), 0),
        }
    }

    /// Goes back before the first group.
    pub(super) fn restart(&self, k: &mut KernelBuilder<'k>) {
        k.set(self.first_group, -WINDOW);
        k.set(self.end, 0);
        k.set(self.tiles_end, 0);
    }

    /// Begins with the groups of a window that has not gone past the first: they need not be read again.
    pub(super) fn begin_with(&self, k: &mut KernelBuilder<'k>, ahead: &Window<'k>) {
        let is_first = ahead.first_group.get().equals(0);
        k.when(is_first, |k| {
            k.set(self.first_group, 0);
            k.set(self.start, ahead.start.get());
            k.set(self.end, ahead.end.get());
            k.set(self.tiles_end, ahead.tiles_end.get());
        });
    }
}

impl<'k> Walk<'k> {
    /// Does `body` for each tile of this CTA.
    pub(super) fn each(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        numbers: &impl TileNumbers<'k>,
        body: impl FnOnce(&mut KernelBuilder<'k>, &Tile<'k>),
    ) {
        k.comment("The window: 32 consecutive groups, one a lane.");
        let w = Window::declare(k, "");
        let first = match self.tiling.cluster_ctas {
            1 => k.cta(),
            _ => k.cluster().within(),
        };
        let number = k.var::<I32, Cta, _>("tile", first);
        k.loop_(|k| {
            self.advance(k, p, &w, number.get());
            k.comment("The first lane whose tiles end past this one has its group. Without one, no tile is left.");
            let holders = k.ballot("holders", number.get().lt(w.tiles_end.get()));
            match self.tiling.cluster_ctas {
                1 => k.break_if(holders.is_empty().agree::<Cta>()),
                _ => k.break_if(holders.is_empty().agree::<dsl::Cluster>()),
            }
            let tile = self.locate(k, p, &w, number.get(), holders);
            body(k, &tile);
            let next = numbers.next(k, number.get());
            k.set(number, next);
        });
    }

    /// Moves the window to a tile that exists, and finds its place.
    pub(super) fn find(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        w: &Window<'k>,
        number: Expr<'k, I32, Cta>,
    ) -> Tile<'k> {
        self.advance(k, p, w, number);
        k.comment("The first lane whose tiles end past this one has its group.");
        let holders = k.ballot("holders", number.lt(w.tiles_end.get()));
        self.locate(k, p, w, number, holders)
    }

    /// Moves the window forward until it holds the tile or no group is left.
    pub(super) fn advance(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        w: &Window<'k>,
        number: Expr<'k, I32, Cta>,
    ) {
        k.loop_(|k| {
            let past = k.ballot("past", number.lt(w.tiles_end.get()));
            // One more than the groups: the tail's turn.
            let last = p.count.lt(w.first_group.get() + WINDOW);
            k.break_if(!past.is_empty() | last);
            let next = w.first_group.get() + WINDOW;
            k.set(w.first_group, next);
            self.read_window(k, p, w);
            self.count_tiles(k, p, w);
        });
    }

    /// Reads the window's sizes or ends and turns them into rows, so that no input leads outside the token matrix.
    fn read_window(&self, k: &mut KernelBuilder<'k>, p: &Groups<'k>, w: &Window<'k>) {
        let lane = k.lane();
        let group = k.let_("group_of_lane", w.first_group.get() + lane);
        let listed = group.lt(p.count);
        let entry = k.load_index("entry", p.array, group, p.are_i64, listed);
        let entry = k.let_("clipped", entry.max(0).min(self.token_rows.cast::<I64>()).cast::<I32>());
        k.comment("Ends become running maxima, sizes a running sum; both are clipped to the token matrix.");
        let through = |so_far: Expr<'k, I32, Lane>, more: Expr<'k, I32, Lane>| {
            // The sum stops at the matrix' end, so that it never overflows.
            p.are_ends.select(so_far.max(more), so_far + more.min(self.token_rows - so_far))
        };
        let scanned = inclusive_scan(k, "running", entry, through);
        let rows_before = k.shuffle("rows_before", w.end.get(), WINDOW - 1);
        let end = through(rows_before.within(), scanned);
        let end = k.let_("end_of_lane", end);
        let below = k.shuffle_up("end_below", end, 1);
        k.set(w.start, lane.equals(0).select::<I32, _, _, _>(rows_before, below));
        k.set(w.end, end);
    }

    /// Numbers the window's tiles.
    fn count_tiles(&self, k: &mut KernelBuilder<'k>, p: &Groups<'k>, w: &Window<'k>) {
        let lane = k.lane();
        let group = w.first_group.get() + lane;
        let tiles = match self.groups_divide {
            GroupsDivide::Rows { visit_tail, merge } => {
                if let Some(merge) = merge {
                    k.comment("Merged, there is one group, and in the last window a lane for it beside the tail's.");
                    let is_last = p.count.lt(w.first_group.get() + WINDOW);
                    let rows_through = k.shuffle("rows_through", w.end.get(), WINDOW - 1);
                    let beside = (p.count - w.first_group.get() + 1) % WINDOW;
                    let has_all = is_last & lane.equals(beside);
                    k.when(merge, |k| {
                        k.set(w.start, has_all.select::<I32, _, _, _>(0, rows_through));
                        k.set(w.end, rows_through);
                    });
                }
                if let Some(visit_tail) = visit_tail {
                    k.comment("The rows past the last group are one more group's.");
                    k.when(group.equals(p.count) & visit_tail, |k| k.set(w.end, self.token_rows));
                }
                self.row_tiles(w.end.get() - w.start.get()) * self.col_tiles
            }
            GroupsDivide::Reduction { row_tiles, skip_empty, merge } => {
                k.comment("Merged, there is one group: lane 0 of the last window has all rows.");
                let is_last = p.count.lt(w.first_group.get() + WINDOW);
                let rows_through = k.shuffle("rows_through", w.end.get(), WINDOW - 1);
                k.when(merge, |k| {
                    k.set(w.start, 0);
                    k.set(w.end, rows_through);
                });
                let exists = merge.select(lane.equals(0) & is_last, group.lt(p.count));
                let exists = match skip_empty {
                    Some(skip) => exists & !(skip & w.start.get().equals(w.end.get())),
                    None => exists,
                };
                exists.select::<I32, _, _, _>(row_tiles * self.col_tiles, 0)
            }
        };
        let tiles = k.let_("tiles_of_lane", tiles);
        let scanned = inclusive_scan(k, "tiles_running", tiles, |so_far, below| so_far + below);
        let before = k.shuffle("tiles_before", w.tiles_end.get(), WINDOW - 1);
        k.set(w.tiles_end, before + scanned);
    }

    /// Tiles along D's rows of a group with so many rows.
    fn row_tiles<S>(&self, rows: Expr<'k, I32, S>) -> Expr<'k, I32, S>
    where
        S: ScopeTag + Join<Grid, Out = S>,
        Grid: Within<S>,
    {
        match self.groups_divide {
            GroupsDivide::Rows { .. } => rows.ceil_div(self.tiling.rows * self.tiling.cluster.m),
            GroupsDivide::Reduction { row_tiles, .. } => row_tiles.within(),
        }
    }

    /// Finds the tile's group in the window, and the tile's place in D.
    fn locate(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        w: &Window<'k>,
        number: Expr<'k, I32, Cta>,
        holders: Expr<'k, U32, Warp>,
    ) -> Tile<'k> {
        let holder = k.let_("holder", holders.first_lane());
        let start = k.shuffle("start_of_group", w.start.get(), holder);
        let end = k.shuffle("end_of_group", w.end.get(), holder);
        let tiles_end = k.shuffle("tiles_end_of_group", w.tiles_end.get(), holder);

        let group = match self.groups_divide {
            GroupsDivide::Rows { merge: None, .. } => w.first_group.get() + holder,
            GroupsDivide::Rows { merge: Some(merge), .. } => {
                let number = w.first_group.get() + holder;
                (merge & !number.equals(p.count)).select::<I32, _, _, _>(0, number)
            }
            GroupsDivide::Reduction { merge, .. } => merge.select::<I32, _, _, _>(0, w.first_group.get() + holder),
        };
        let group = k.let_("group", group.agree::<Cta>());
        let group_start = k.let_("group_start", start.agree::<Cta>());
        let group_rows = k.let_("group_rows", (end - start).agree::<Cta>());
        let row_tiles = k.let_("row_tiles", self.row_tiles(group_rows));
        let tiles_end = tiles_end.agree::<Cta>();

        k.comment("Bands of row tiles, column by column: neighbours in time share operands in L2.");
        let in_group = k.let_("tile_in_group", number - (tiles_end - row_tiles * self.col_tiles));
        let length = self.tiling.band as i32;
        let band_tiles = self.col_tiles * length;
        let band = k.let_("band", in_group / band_tiles);
        let in_band = k.let_("tile_in_band", in_group - band * band_tiles);
        let band_rows = k.let_("band_rows", (row_tiles - band * length).min(length));
        let Tiling { rows, cols, row_step, cluster, .. } = self.tiling;
        let of_cluster = |k: &mut KernelBuilder<'k>, index: Expr<'k, I32, Cta>, ctas: u32| match ctas {
            1 => index,
            ctas => index * ctas + k.cluster_rank(),
        };
        let row = of_cluster(k, band * length + in_band % band_rows, cluster.m);
        let (row, group_rows) = match row_step {
            None => (k.let_("tile_row", row * rows), group_rows),
            Some(step) => deal_out(k, row, (group_rows, row_tiles), step),
        };
        let col = of_cluster(k, in_band / band_rows, cluster.n);
        let col = k.let_("tile_col", col * cols);
        Tile { group, group_start, group_rows, row, col, piece: None }
    }
}

/// The first row of a group's tile with this index, and the row after its last, where a group's rows are dealt out
/// evenly to its tiles.
///
/// No tile is left without rows: where steps round tiles up to less than the most, there are fewer tiles than the most
/// has steps, and so each gives up less than the last one has.
fn deal_out<'k>(
    k: &mut KernelBuilder<'k>,
    index: Expr<'k, I32, Cta>,
    (rows, tiles): (Expr<'k, I32, Cta>, Expr<'k, I32, Cta>),
    step: u32,
) -> (Expr<'k, I32, Cta>, Expr<'k, I32, Cta>) {
    k.comment("All tiles of a group are equally high, in whole steps.");
    let height = k.let_("tile_height", rows.ceil_div(tiles).ceil_div(step) * step);
    let first = k.let_("tile_row", index * height);
    (first, k.let_("rows_through_tile", rows.min(first + height)))
}

/// The inclusive scan of a lane value over the warp, in five steps; `combine` gets the value so far and the one from
/// below.
fn inclusive_scan<'k>(
    k: &mut KernelBuilder<'k>,
    name: &str,
    value: Expr<'k, I32, Lane>,
    combine: impl Fn(Expr<'k, I32, Lane>, Expr<'k, I32, Lane>) -> Expr<'k, I32, Lane>,
) -> Expr<'k, I32, Lane> {
    let lane = k.lane();
    let running = k.var::<I32, Lane, _>(name, value);
    for distance in [1u32, 2, 4, 8, 16] {
        let below = k.shuffle_up("below", running.get(), distance);
        let has_below = !lane.lt(distance);
        k.set(running, has_below.select::<I32, _, _, _>(combine(running.get(), below), running.get()));
    }
    running.get()
}

#[cfg(test)]
mod tests {
    use crate::geometry;
    use crate::spec::KernelSpec;

    /// What [`super::deal_out`] relies on: rows dealt out evenly in whole steps fit their tiles, and reach the last.
    #[test]
    fn no_tile_is_dealt_too_many_rows_or_none() {
        let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_16x64x64_w1x4_s4_pingpong_tma_swapped";
        let mut spec: KernelSpec = name.parse().unwrap();
        for most in [16, 32, 64, 128, 192, 256] {
            spec.tile.m = most;
            let step = geometry::row_step(&spec);
            for rows in 1..70 * most {
                let tiles = rows.div_ceil(most);
                let height = rows.div_ceil(tiles).div_ceil(step) * step;
                assert!(height <= most && (tiles - 1) * height < rows, "{rows} rows in tiles of at most {most}");
            }
        }
    }
}
