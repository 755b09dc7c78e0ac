//! Stream-K for the last wave alone: where the tiles that are left are too few for all CTAs, CTAs share them.
//!
//! CTAs take tiles in waves, a number each; a wave with fewer tiles than CTAs is the last. Each of its tiles has its
//! reduction cut into a few equal *units*, and each CTA takes as many consecutive units as all others: a *piece* of one
//! tile, or the end of one and the start of the next. Whoever has the last units of a tile adds up the sums of those
//! before, in their order, so that the bits are the same on every run. Those have lower numbers and never wait for a
//! higher one, so that all come to an end, in whichever order CTAs start.
//!
//! Whether a wave is the last is known once the tiles through its end are counted. That is done by a second window of
//! groups, which runs ahead of the first by no more than a wave.

use super::groups::Groups;
use super::walk::{Piece, Tile, TileNumbers, WINDOW, Walk, Window};
use crate::dsl::{Cta, Expr, Grid, I32, KernelBuilder};

/// Units of a tile's reduction at most.
const MOST_UNITS: u32 = 4;
/// Blocks of a unit at least: fewer take no longer than their sums' way to another CTA.
const LEAST_BLOCKS: u32 = 1;

/// How the tiles of a wave are shared out.
struct Shares<'k> {
    /// Units of each tile.
    units: Expr<'k, I32, Cta>,
    /// Units of each CTA.
    each: Expr<'k, I32, Cta>,
}

impl<'k> Walk<'k> {
    /// Does `body` for each tile of this CTA, or piece of one, whose blocks are so deep and whose reduction is usually so
    /// long.
    pub(super) fn each_piece(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        numbers: &impl TileNumbers<'k>,
        (depth, usual): (u32, Expr<'k, I32, Grid>),
        reduction: impl Fn(&mut KernelBuilder<'k>, &Tile<'k>) -> Expr<'k, I32, Cta>,
        body: impl FnOnce(&mut KernelBuilder<'k>, &Tile<'k>, &Piece<'k>),
    ) {
        let most = (usual / (LEAST_BLOCKS * depth)).max(1).min(MOST_UNITS);
        let most = k.let_("most_units", most);
        k.comment("Two windows of 32 consecutive groups, one a lane: in the one ahead, tiles are only counted.");
        let ahead = Window::declare(k, "_ahead");
        let at = Window::declare(k, "");
        let ctas = k.cta_count();
        let first = k.cta();
        let number = k.var::<I32, Cta, _>("number", first);
        k.loop_(|k| {
            let wave = k.let_("wave_start", number.get() - number.get() % ctas);
            let left = k.let_("place_in_wave", number.get() - wave);
            let tiles = self.tiles_left(k, p, &ahead, wave);
            k.break_if(tiles.le(0));
            let Shares { units, each } = share_out(k, tiles, most);
            let unit = k.var::<I32, Cta, _>("unit", left * each);
            let end = k.let_("units_end", (left * each + each).min(tiles * units));
            k.break_if(end.le(unit.get()));
            k.loop_(|k| {
                k.break_if(end.le(unit.get()));
                let in_wave = k.let_("tile_in_wave", unit.get() / units);
                let first = k.let_("first_unit", unit.get() - in_wave * units);
                let count = k.let_("unit_count", (units - first).min(end - unit.get()));
                let tile = k.let_("tile", wave + in_wave);
                let tile = self.find(k, p, &at, tile);
                let all = reduction(k, &tile);
                let unit_length = k.let_("unit_length", all.ceil_div(depth).ceil_div(units) * depth);
                let start = k.let_("piece_start", first * unit_length);
                let length = k.let_("piece_length", (all - start).min(count * unit_length).max(0));
                k.comment("Sums of all but the last units go to this place's slot; with the last, those before are added.");
                let is_last = (first + count).equals(units);
                let first_before = k.let_("first_before", in_wave * units / each);
                let slot = k.let_("slot", is_last.select::<I32, _, _, _>(first_before, left));
                let before = first.equals(0).select::<I32, _, _, _>(0, left - first_before);
                let added = k.let_("added", is_last.select::<I32, _, _, _>(before, -1));
                body(k, &tile, &Piece { start, length, slot, added });
                k.set(unit, unit.get() + count);
                numbers.pace(k, unit.get().lt(end));
            });
            let next = numbers.next(k, number.get());
            k.set(number, next);
        });
    }

    /// The tiles of the wave that starts with this number: as many as CTAs, unless it is the last.
    fn tiles_left(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        ahead: &Window<'k>,
        wave: Expr<'k, I32, Cta>,
    ) -> Expr<'k, I32, Cta> {
        let ctas = k.cta_count();
        let last = k.let_("last_of_wave", wave + ctas - 1);
        self.advance(k, p, ahead, last);
        let counted = k.shuffle("tiles_counted", ahead.tiles_end.get(), WINDOW - 1);
        k.let_("tiles_of_wave", (counted.agree::<Cta>() - wave).min(ctas))
    }
}

/// The fewest units of each tile with which CTAs are done the earliest. The time of a wave is the units of a CTA over
/// those of a tile.
fn share_out<'k>(
    k: &mut KernelBuilder<'k>,
    tiles: Expr<'k, I32, Cta>,
    most: Expr<'k, I32, Grid>,
) -> Shares<'k> {
    let ctas = k.cta_count();
    let one = k.int(1).within::<Cta>();
    let mut best = Shares { units: one, each: one };
    for units in 2..=MOST_UNITS {
        let each = k.let_("units_of_cta", (tiles * units).ceil_div(ctas));
        let earlier = (each * best.units).lt(best.each * units) & k.int(units as i32).le(most);
        let earlier = k.let_("earlier", earlier);
        best = Shares {
            units: k.let_("units", earlier.select::<I32, _, _, _>(units, best.units)),
            each: k.let_("each", earlier.select::<I32, _, _, _>(each, best.each)),
        };
    }
    best
}
