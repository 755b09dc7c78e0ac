//! Stream-K for the last wave alone: where the tiles that are left are too few for all CTAs, CTAs share them.
//!
//! CTAs take tiles in waves, a number each; a wave with fewer tiles than CTAs is the last. Each of its tiles has its
//! reduction cut into a few equal *units*, and each CTA takes as many consecutive units as all others: a *piece* of one
//! tile, or the end of one and the start of the next. Whoever has a tile's first units adds up the sums of all others, in
//! their order, so that the bits are the same on every run on as many CTAs.
//!
//! Units are dealt out from the last on, so that the others of a tile have lower numbers: nobody waits for a higher one,
//! and all come to an end, whichever CTAs begin late. And who has parts of two tiles first does the one that another CTA
//! waits for: none waits for one that is waiting.
//!
//! Which numbers are of whole waves is known as far as tiles are counted. That is done by a second window of groups, which
//! runs ahead of the first by no more than a wave and a window.

use super::groups::Groups;
use super::walk::{Piece, Tile, TileNumbers, WINDOW, Walk, Window};
use crate::dsl::{Cta, Expr, Grid, I32, KernelBuilder, Var};

/// Units of a tile's reduction at most.
pub(crate) const MOST_UNITS: u32 = 4;
/// Blocks of the reduction in whose time a CTA writes its sums, or adds another's.
pub(crate) const EXCHANGE_BLOCKS: u32 = 4;

/// The last wave, once it is known.
struct LastWave<'k> {
    /// Its first tile: those before are of whole waves. No more are known yet.
    start: Var<'k, I32, Cta>,
    /// Its tiles.
    tiles: Var<'k, I32, Cta>,
    /// Units of each tile; 1 in whole waves.
    units: Var<'k, I32, Cta>,
    /// Units of each CTA.
    each: Var<'k, I32, Cta>,
}

/// The units of a CTA's number that are still to be summed up.
struct Range<'k> {
    /// The tile of the first.
    tile: Var<'k, I32, Cta>,
    /// Which of the tile's units it is.
    first: Var<'k, I32, Cta>,
    /// How many there are.
    left: Var<'k, I32, Cta>,
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
        let usual = k.let_("usual_blocks", usual.ceil_div(depth));
        k.comment("Two windows of 32 consecutive groups, one a lane: in the one ahead, tiles are only counted.");
        let ahead = Window::declare(k, "_ahead");
        let at = Window::declare(k, "");
        let last = LastWave {
            start: k.var("last_wave", 0),
            tiles: k.var("last_tiles", 0),
            units: k.var("units", 1),
            each: k.var("units_of_cta", 1),
        };
        let first = k.cta();
        let number = k.var::<I32, Cta, _>("number", first);
        k.loop_(|k| {
            k.when(last.start.get().le(number.get()), |k| self.look_ahead(k, p, (&ahead, &at), &last, (number, usual)));
            let place = k.let_("place", number.get() - last.start.get());
            let range = last.range_of(k, number, place);
            k.break_if(range.left.get().le(0));
            k.loop_(|k| {
                let tile = self.find(k, p, &at, range.tile.get());
                let all = reduction(k, &tile);
                let behind = k.let_("units_behind", last.units.get() - range.first.get());
                let count = k.let_("unit_count", range.left.get().min(behind));
                let (start, length) = last.part_of(k, (all, depth), &range, count);
                k.comment("To a tile's first units the sums of its others are added, which are in the slots of the");
                k.comment("places before this one. Those go to this place's slot.");
                let others = (behind - count).ceil_div(last.each.get());
                let has_first = range.first.get().equals(0);
                let added = k.let_("added", has_first.select::<I32, _, _, _>(others, -1));
                body(k, &tile, &Piece { start, length, place, added });
                k.set(range.left, range.left.get() - count);
                k.break_if(range.left.get().equals(0));
                k.set(range.tile, range.tile.get() + 1);
                k.set(range.first, 0);
                numbers.pace(k);
            });
            let next = numbers.next(k, number.get());
            k.set(number, next);
        });
    }

    /// Counts tiles through the end of the wave that `number` is in, if there are so many. Where it is not whole, it is the
    /// last, and is shared out.
    fn look_ahead(
        &self,
        k: &mut KernelBuilder<'k>,
        p: &Groups<'k>,
        (ahead, at): (&Window<'k>, &Window<'k>),
        last: &LastWave<'k>,
        (number, usual): (Var<'k, I32, Cta>, Expr<'k, I32, Grid>),
    ) {
        let ctas = k.cta_count();
        let end = k.let_("wave_end", number.get() - number.get() % ctas + ctas);
        self.advance(k, p, ahead, end - 1);
        at.begin_with(k, ahead);
        let counted = k.shuffle("tiles_counted", ahead.tiles_end.get(), WINDOW - 1).agree::<Cta>();
        let counted = k.let_("counted", counted);
        let beyond = k.let_("beyond", counted % ctas);
        k.set(last.start, counted - beyond);
        k.when(last.start.get().le(number.get()), |k| {
            k.set(last.tiles, beyond);
            last.share_out(k, usual);
        });
    }
}

impl<'k> LastWave<'k> {
    /// Cuts each of the last tiles into as many units as have CTAs done the earliest: blocks of the reduction that a CTA
    /// has of them, and the exchange of sums.
    fn share_out(&self, k: &mut KernelBuilder<'k>, usual: Expr<'k, I32, Grid>) {
        let ctas = k.cta_count();
        let mut best = usual.within::<Cta>();
        for units in 2..=MOST_UNITS {
            let each = k.let_("each", (self.tiles.get() * units).ceil_div(ctas));
            let blocks = k.let_("blocks", each * usual.ceil_div(units) + (EXCHANGE_BLOCKS * units));
            k.when(blocks.lt(best), |k| {
                k.set(self.units, units);
                k.set(self.each, each);
            });
            best = best.min(blocks);
        }
    }

    /// The units of a number: all of a tile, or in the last wave its share.
    fn range_of(&self, k: &mut KernelBuilder<'k>, number: Var<'k, I32, Cta>, place: Expr<'k, I32, Cta>) -> Range<'k> {
        let range =
            Range { tile: k.var("tile", number.get()), first: k.var("first_unit", 0), left: k.var("units_left", 1) };
        let (units, each) = (self.units.get(), self.each.get());
        k.when(self.start.get().le(number.get()), |k| {
            let end = k.let_("unit_end", self.tiles.get() * units - place * each);
            let unit = k.let_("unit", (end - each).max(0));
            let tile = k.let_("tile_in_wave", unit / units);
            k.set(range.tile, self.start.get() + tile);
            k.set(range.first, unit - tile * units);
            k.set(range.left, end - unit);
        });
        range
    }

    /// Elements of a tile's reduction before `count` units from the range's first on, and their own.
    fn part_of(
        &self,
        k: &mut KernelBuilder<'k>,
        (all, depth): (Expr<'k, I32, Cta>, u32),
        range: &Range<'k>,
        count: Expr<'k, I32, Cta>,
    ) -> (Expr<'k, I32, Cta>, Expr<'k, I32, Cta>) {
        let start = k.var::<I32, Cta, _>("piece_start", 0);
        let length = k.var::<I32, Cta, _>("piece_length", all);
        let units = self.units.get();
        k.when(!units.equals(1), |k| {
            let of_unit = k.let_("unit_length", all.ceil_div(depth).ceil_div(units) * depth);
            k.set(start, range.first.get() * of_unit);
            k.set(length, (all - start.get()).min(count * of_unit).max(0));
        });
        (start.get(), length.get())
    }
}
