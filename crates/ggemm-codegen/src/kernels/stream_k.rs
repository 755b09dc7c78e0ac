//! Stream-K for the last wave alone: where the tiles that are left are too few for all CTAs, CTAs share them.
//!
//! CTAs take tiles in waves, a number each; a wave with fewer tiles than CTAs is the last. Each of its tiles has its
//! reduction cut into a few equal *units*. The first of them are its *owner*'s, all at once; the others are *items*, which
//! *helpers* sum up, as many in a row as an owner has units. An owner adds up the sums of its tile's items, in their order,
//! so that the bits are the same on every run on as many CTAs.
//!
//! Helpers wait for nobody and have the lower numbers: all come to an end, whichever CTAs begin late. Owners of neighbours
//! are at the same part of the reduction at one time, and so are the helpers of items: what tiles share is read from L2.
//!
//! Which numbers are of whole waves is known as far as tiles are counted. That is done by a second window of groups, which
//! runs ahead of the first by no more than a wave and a window.

use super::groups::Groups;
use super::walk::{Piece, Tile, TileNumbers, WINDOW, Walk, Window};
use crate::dsl::{Cta, Expr, Grid, I32, KernelBuilder, Var};

/// How tiles may be cut: into so many units, of which the owner has so many.
///
/// A helper has as many items as an owner has units, so that both take the same time.
pub(crate) const CUTS: [(u32, u32); 5] = [(2, 1), (3, 1), (4, 1), (3, 2), (4, 3)];
/// Units of a tile's reduction at most.
pub(crate) const MOST_UNITS: u32 = 4;
/// Blocks of the reduction in whose time a CTA writes its sums, or adds another's.
pub(crate) const EXCHANGE_BLOCKS: u32 = 4;

/// The wave that was counted last. Its tiles are cut where it is the last of all.
struct LastWave<'k> {
    /// Its first tile: those before are of whole waves. No more are known yet.
    start: Var<'k, I32, Cta>,
    /// Tiles from there on.
    tiles: Var<'k, I32, Cta>,
    /// Units of each tile; 1 in whole waves.
    units: Var<'k, I32, Cta>,
    /// Units that an owner has, and items that a helper has.
    kept: Var<'k, I32, Cta>,
    /// CTAs that help; the wave's first numbers are theirs.
    helpers: Var<'k, I32, Cta>,
}

/// What a CTA does of a tile: an item, or what its owner has.
struct Share<'k> {
    tile: Expr<'k, I32, Cta>,
    /// Its first unit.
    first: Expr<'k, I32, Cta>,
    /// As [`Piece`] says.
    slot: Expr<'k, I32, Cta>,
    added: Expr<'k, I32, Cta>,
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
            kept: k.var("units_kept", 1),
            helpers: k.var("helpers", 0),
        };
        let first = k.cta();
        let number = k.var::<I32, Cta, _>("number", first);
        // Tiles ascend but where a CTA that helped has an owner's number as well.
        let found = numbers.may_share_a_wave().then(|| k.var::<I32, Cta, _>("tile_before", 0));
        k.loop_(|k| {
            k.when(last.start.get().le(number.get()), |k| self.look_ahead(k, p, (&ahead, &at), &last, (number, usual)));
            let tile = k.let_("tile_of_owner", number.get() - last.helpers.get());
            k.break_if((last.start.get() + last.tiles.get()).le(tile));
            let (item, left) = last.items_of(k, number);
            k.loop_(|k| {
                let share = last.share_of(k, tile, (item, left));
                if let Some(found) = found {
                    k.when(share.tile.lt(found.get()), |k| at.restart(k));
                    k.set(found, share.tile);
                }
                let tile = self.find(k, p, &at, share.tile);
                let all = reduction(k, &tile);
                let (start, length) = last.part_of(k, (all, depth), &share);
                body(k, &tile, &Piece { start, length, slot: share.slot, added: share.added });
                k.break_if(left.get().le(1));
                k.set(left, left.get() - 1);
                k.set(item, item.get() + 1);
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
        k.set(last.tiles, beyond);
        k.when(last.start.get().le(number.get()), |k| last.share_out(k, usual));
    }
}

impl<'k> LastWave<'k> {
    /// Cuts each of the last tiles in the way in which CTAs are done the earliest, of those for which there are enough:
    /// blocks of the reduction that a CTA has of them, and the exchange of sums.
    fn share_out(&self, k: &mut KernelBuilder<'k>, usual: Expr<'k, I32, Grid>) {
        let ctas = k.cta_count();
        let least = k.var::<I32, Cta, _>("least_blocks", usual);
        for (units, kept) in CUTS {
            let helpers = k.let_("helpers_needed", (self.tiles.get() * (units - kept)).ceil_div(kept));
            let blocks = k.let_("blocks", usual.ceil_div(units) * kept + EXCHANGE_BLOCKS * units);
            k.when((self.tiles.get() + helpers).le(ctas) & blocks.lt(least.get()), |k| {
                k.set(least, blocks);
                k.set(self.units, units);
                if kept > 1 {
                    k.set(self.kept, kept);
                }
                k.set(self.helpers, helpers);
            });
        }
    }

    /// The first item of a number, and how many it has: none where it is an owner's, or of a whole wave.
    fn items_of(&self, k: &mut KernelBuilder<'k>, number: Var<'k, I32, Cta>) -> (Var<'k, I32, Cta>, Var<'k, I32, Cta>) {
        let (item, left) = (k.var::<I32, Cta, _>("item", 0), k.var::<I32, Cta, _>("items_left", 0));
        let place = k.let_("place", number.get() - self.start.get());
        k.when(!place.lt(0) & place.lt(self.helpers.get()), |k| {
            let all = self.tiles.get() * (self.units.get() - self.kept.get());
            k.set(item, place * self.kept.get());
            k.set(left, self.kept.get().min(all - item.get()));
        });
        (item, left)
    }

    /// What is done of which tile: an item, or where none is left what the owner of `tile` has.
    fn share_of(
        &self,
        k: &mut KernelBuilder<'k>,
        tile: Expr<'k, I32, Cta>,
        (item, left): (Var<'k, I32, Cta>, Var<'k, I32, Cta>),
    ) -> Share<'k> {
        let others = k.let_("others", self.units.get() - self.kept.get());
        let tile = k.var::<I32, Cta, _>("tile", tile);
        let first = k.var::<I32, Cta, _>("first_unit", 0);
        let slot = k.var::<I32, Cta, _>("slot", (tile.get() - self.start.get()) * others);
        let added = k.var::<I32, Cta, _>("added", others);
        k.comment("Items are tile after tile, unit after unit. The slots of a tile lie next to each other.");
        k.when(!left.get().equals(0), |k| {
            let unit = k.let_("unit_of_item", item.get() / self.tiles.get());
            let of_item = k.let_("tile_of_item", item.get() - unit * self.tiles.get());
            k.set(tile, self.start.get() + of_item);
            k.set(first, self.kept.get() + unit);
            k.set(slot, of_item * others + unit);
            k.set(added, -1);
        });
        Share { tile: tile.get(), first: first.get(), slot: slot.get(), added: added.get() }
    }

    /// Elements of a tile's reduction before a share of its units, and their own.
    fn part_of(
        &self,
        k: &mut KernelBuilder<'k>,
        (all, depth): (Expr<'k, I32, Cta>, u32),
        share: &Share<'k>,
    ) -> (Expr<'k, I32, Cta>, Expr<'k, I32, Cta>) {
        let start = k.var::<I32, Cta, _>("piece_start", 0);
        let length = k.var::<I32, Cta, _>("piece_length", all);
        let units = self.units.get();
        k.when(!units.equals(1), |k| {
            let of_unit = k.let_("unit_length", all.ceil_div(depth).ceil_div(units) * depth);
            k.set(start, share.first * of_unit);
            // As many as an owner has: where that is more than one, items are the last units.
            k.set(length, (all - start.get()).min(self.kept.get() * of_unit).max(0));
        });
        (start.get(), length.get())
    }
}
