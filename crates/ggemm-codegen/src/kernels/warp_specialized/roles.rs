//! Who does what: a warp that finds tiles, those that load them, and warpgroups that multiply and write out.

use std::ops::Range;

use super::super::groups::Groups;
use super::super::scales::{ScaleParameters, TileScales};
use super::super::walk::{Tile, Walk};
use super::block_scales::{BlockScales, ScaleReader};
use super::exchange::{Exchange, ExchangeEnd, Part, part_of};
use super::feed::Feed;
use super::main_loop::MainLoop;
use super::partial_sums::PartialSums;
use super::pipeline::Pipeline;
use crate::descriptor::WGMMA_M;
use crate::dsl::{BarrierSlot, Consumer, Cta, Expr, Grid, I32, KernelBuilder, Slot, Warpgroup, WarpgroupSums};
use crate::geometry::{self, THREADS_OF_WARPGROUP, WARPS_OF_WARPGROUP};
use crate::ir::RegisterBudget;
use crate::scaling::Scaling;
use crate::spec::{KernelSpec, Schedule};

/// Named barrier of the first warpgroup that writes; the others' follow.
const FIRST_BARRIER: i32 = 1;

/// The named barrier at which the first of two warpgroups waits for its turn to multiply; the other's is the next.
const TURN: i32 = 4;

/// One stage to be filled.
pub(super) struct Stage<'k> {
    pub(super) a: Slot,
    pub(super) b: Slot,
    /// Where the bytes count.
    pub(super) full: BarrierSlot,
    /// Elements of the reduction before it.
    pub(super) offset: Expr<'k, I32, Cta>,
    /// Boxes of A that are loaded, where only those are that hold rows.
    pub(super) boxes: Option<Expr<'k, I32, Cta>>,
}

/// What a family tells the roles.
pub(super) trait Family<'k> {
    /// Which tiles there are, and who visits them.
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>);

    /// The length of a tile's reduction.
    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta>;

    /// The length of most tiles' reduction, or what it is on average.
    fn usual_reduction(&self) -> Expr<'k, I32, Grid>;

    /// Where the operands' scales are, if they have any.
    fn scales(&self) -> Option<ScaleParameters<'k>>;
}

/// What moves a family's operands to the ring of stages.
pub(super) trait Loads<'k, F>: Sized {
    /// The ring, and who fills it.
    fn pipeline(k: &mut KernelBuilder<'k>, spec: &KernelSpec) -> Pipeline;

    /// What it needs beside the ring.
    fn declare(k: &mut KernelBuilder<'k>, spec: &KernelSpec, pipeline: &Pipeline) -> Self;

    /// Fills the ring with the operands of each tile that this role is told of.
    fn load(&self, k: &mut KernelBuilder<'k>, spec: &KernelSpec, family: &F, feed: &Feed);
}

/// A warpgroup's place among those that multiply.
#[derive(Clone, Copy)]
pub(super) struct Place<'k> {
    /// Its index.
    pub(super) index: Expr<'k, I32, Warpgroup>,
    /// The first row that it has of a tile, or column where operands are swapped.
    pub(super) first: Expr<'k, I32, Warpgroup>,
}

impl<'k> Place<'k> {
    /// That of one that has tiles of its own.
    fn alone(k: &KernelBuilder<'k>, index: u32) -> Self {
        Place { index: k.int(index as i32).within(), first: k.int(0).within() }
    }

    /// That of one that shares each tile with all others.
    fn sharing(k: &KernelBuilder<'k>, spec: &KernelSpec) -> Self {
        match geometry::consumers(spec) {
            1 => Place::alone(k, 0),
            _ => Place { index: k.warpgroup(), first: k.warpgroup() * WGMMA_M * geometry::warpgroup_blocks(spec) },
        }
    }

    /// The named barrier at which its warps meet.
    pub(super) fn barrier(&self) -> Expr<'k, I32, Warpgroup> {
        self.index + FIRST_BARRIER
    }
}

/// What moves a warpgroup's sums to D.
pub(super) trait Writes<'k, F>: Sized {
    /// What it needs.
    fn declare(k: &mut KernelBuilder<'k>, spec: &KernelSpec) -> Self;

    /// Writes out what a warpgroup has of a tile.
    fn write_out(
        &self,
        k: &mut KernelBuilder<'k>,
        spec: &KernelSpec,
        family: &F,
        tile: &Tile<'k>,
        sums: (WarpgroupSums, Option<&TileScales<'k>>),
        place: Place<'k>,
    );

    /// Nothing may end while it is still used.
    fn finish(&self, _k: &mut KernelBuilder<'k>) {}
}

/// The roles of a CTA.
pub(super) struct Roles<'s, L, W> {
    spec: &'s KernelSpec,
    pipeline: Pipeline,
    main_loop: MainLoop,
    loads: L,
    writes: W,
    exchange: Option<Exchange>,
    partial_sums: Option<PartialSums>,
    scales: Option<BlockScales>,
    feed: Feed,
}

impl<'s, L, W> Roles<'s, L, W> {
    pub(super) fn declare<'k, F>(k: &mut KernelBuilder<'k>, spec: &'s KernelSpec) -> Self
    where
        L: Loads<'k, F>,
        W: Writes<'k, F>,
    {
        k.clusters_of(spec.cluster_ctas());
        let pipeline = L::pipeline(k, spec);
        let main_loop = MainLoop::declare(k, spec);
        Roles {
            spec,
            partial_sums: PartialSums::declare(k, spec, main_loop.sums()),
            main_loop,
            loads: L::declare(k, spec, &pipeline),
            writes: W::declare(k, spec),
            exchange: Exchange::declare(k, spec),
            scales: BlockScales::declare(k, spec),
            feed: Feed::declare(k, spec),
            pipeline,
        }
    }

    /// All roles, side by side.
    pub(super) fn write<'k, F>(&self, k: &mut KernelBuilder<'k>, family: &F)
    where
        F: Family<'k>,
        L: Loads<'k, F>,
        W: Writes<'k, F>,
    {
        self.pipeline.begin(k, self.spec);
        k.comment("What is above may overlap the end of the grid before this one, and the next grid's beginning this one's end.");
        k.await_grid();
        k.launch_dependents();
        let consumers = geometry::consumers(self.spec);
        match self.spec.schedule {
            Schedule::Pingpong => {
                for warpgroup in 0..consumers {
                    self.consumers(k, family, warpgroup..warpgroup + 1);
                }
            }
            // One text for all: each would fetch the instructions of its own from the cache that they share.
            Schedule::Cooperative | Schedule::Multistage => self.consumers(k, family, 0..consumers),
        }
        self.producers(k, family);
    }

    fn consumers<'k, F>(&self, k: &mut KernelBuilder<'k>, family: &F, warpgroups: Range<u32>)
    where
        F: Family<'k>,
        W: Writes<'k, F>,
    {
        let Range { start, end } = warpgroups;
        let budget = geometry::register_budget(self.spec);
        let registers = budget.map_or(RegisterBudget::Launch, |b| RegisterBudget::Grow(b.consumer));
        let name = if end - start > 1 { "consumers".to_owned() } else { format!("consumer {start}") };
        k.role(&name, start * WARPS_OF_WARPGROUP..end * WARPS_OF_WARPGROUP, registers, |k| {
            let is_pingpong = self.spec.schedule == Schedule::Pingpong;
            let place = if is_pingpong { Place::alone(k, start) } else { Place::sharing(k, self.spec) };
            let ring = self.pipeline.ring.consumer(k);
            let exchange = self.exchange.as_ref().map(|exchange| exchange.end(k, place.index));
            let scales = self.scales.as_ref().map(|scales| scales.reader(k));
            let reads = (&ring, scales.as_ref());
            if is_pingpong {
                self.in_turns(k, family, reads, (start, place, exchange.as_ref()));
            } else {
                self.together(k, family, reads, (place, exchange.as_ref()));
            }
            self.writes.finish(k);
            if let Some(exchange) = exchange {
                exchange.finish(k);
            }
        });
    }

    /// All warpgroups are at the same tile, each at its own rows of it.
    ///
    /// Rows that do not exist are zeros and are multiplied like others: at the card's limit of power that costs next to
    /// nothing, and a warpgroup that left them out won nothing (docs/tuning.md).
    fn together<'k, F>(
        &self,
        k: &mut KernelBuilder<'k>,
        family: &F,
        (ring, block_scales): (&Consumer<'k>, Option<&ScaleReader<'k>>),
        (place, exchange): (Place<'k>, Option<&ExchangeEnd<'k>>),
    ) where
        F: Family<'k>,
        W: Writes<'k, F>,
    {
        self.feed.each(k, |k, tile| {
            let Part { length: reduction, .. } = part_of(k, self.spec, family, tile);
            let scales = self.scales_of_rows(k, family, tile, reduction);
            let of = (tile, reduction, block_scales);
            self.main_loop.begin(k);
            self.main_loop.run(k, self.spec, &self.pipeline, ring, of, |_| {});
            self.write_out(k, family, (tile, scales.as_ref()), place, exchange);
        });
    }

    /// Two warpgroups have a tile each: one multiplies while the other writes out.
    fn in_turns<'k, F>(
        &self,
        k: &mut KernelBuilder<'k>,
        family: &F,
        (ring, block_scales): (&Consumer<'k>, Option<&ScaleReader<'k>>),
        (warpgroup, place, exchange): (u32, Place<'k>, Option<&ExchangeEnd<'k>>),
    ) where
        F: Family<'k>,
        W: Writes<'k, F>,
    {
        let turn = warpgroup as i32;
        let next = k.var::<I32, Cta, _>("next", 0);
        if warpgroup == 1 {
            k.comment("The other's turn to multiply ends before it ever began.");
            k.pass(TURN, 2 * THREADS_OF_WARPGROUP);
        }
        self.feed.each(k, |k, tile| {
            let Part { length: reduction, .. } = part_of(k, self.spec, family, tile);
            k.when_else(
                next.get().equals(turn),
                |k| {
                    let scales = self.scales_of_rows(k, family, tile, reduction);
                    self.main_loop.begin(k);
                    k.meet(TURN + turn, 2 * THREADS_OF_WARPGROUP);
                    let of = (tile, reduction, block_scales);
                    self.main_loop.run(k, self.spec, &self.pipeline, ring, of, |k| {
                        k.pass(TURN + 1 - turn, 2 * THREADS_OF_WARPGROUP);
                    });
                    self.write_out(k, family, (tile, scales.as_ref()), place, exchange);
                },
                |k| {
                    let blocks = reduction.ceil_div(self.spec.tile.k);
                    ring.skip(k, blocks);
                    block_scales.into_iter().for_each(|scales| scales.skip(k, blocks));
                },
            );
            let other = k.int(1) - next.get();
            k.set(next, other);
        });
    }

    /// The scales with which a tile leaves.
    fn scales_of_rows<'k>(
        &self,
        k: &mut KernelBuilder<'k>,
        family: &impl Family<'k>,
        tile: &Tile<'k>,
        reduction: Expr<'k, I32, Cta>,
    ) -> Option<TileScales<'k>> {
        let scales = family.scales().filter(|_| self.spec.scaling == Scaling::Row)?;
        Some(scales.of(k, tile, reduction))
    }

    /// Writes out what a warpgroup has of a tile, where it is summed up.
    fn write_out<'k, F>(
        &self,
        k: &mut KernelBuilder<'k>,
        family: &F,
        (tile, scales): (&Tile<'k>, Option<&TileScales<'k>>),
        place: Place<'k>,
        exchange: Option<&ExchangeEnd<'k>>,
    ) where
        W: Writes<'k, F>,
    {
        let sums = self.main_loop.sums();
        let write =
            |k: &mut KernelBuilder<'k>| self.writes.write_out(k, self.spec, family, tile, (sums, scales), place);
        match (exchange, self.partial_sums, tile.piece) {
            (Some(exchange), ..) => exchange.combine(k, self.spec, sums, write),
            (None, Some(partial), Some(piece)) => partial.combine(k, sums, place, &piece, write),
            _ => write(k),
        }
    }

    /// The warp that finds tiles, and those that load their operands and scales.
    fn producers<'k, F>(&self, k: &mut KernelBuilder<'k>, family: &F)
    where
        F: Family<'k>,
        L: Loads<'k, F>,
    {
        let spec = self.spec;
        let [finder, loader] = geometry::producers(spec);
        let first = WARPS_OF_WARPGROUP * geometry::consumers(spec);
        let warps = first..first + geometry::producer_warps(spec);
        let find = |k: &mut KernelBuilder<'k>| {
            k.role("finder", finder.clone(), RegisterBudget::Launch, |k| self.feed.find(k, spec, family));
        };
        let load = |k: &mut KernelBuilder<'k>, registers: RegisterBudget| {
            k.role("loader", loader.clone(), registers, |k| self.loads.load(k, spec, family, &self.feed));
            if let (Some(scales), Some(warp)) = (&self.scales, geometry::scale_warp(spec)) {
                let copy = |k: &mut KernelBuilder<'k>| scales.copy(k, spec, family, &self.feed);
                k.role("scales", warp..warp + 1, RegisterBudget::Launch, copy);
            }
        };
        match geometry::register_budget(spec) {
            None => {
                find(k);
                load(k, RegisterBudget::Launch);
            }
            Some(budget) if loader.len() as u32 == WARPS_OF_WARPGROUP => {
                load(k, RegisterBudget::Grow(budget.loader));
                k.role("finders", loader.end..warps.end, RegisterBudget::Shrink(budget.finder), find);
            }
            Some(budget) => k.role("producers", warps, RegisterBudget::Shrink(budget.finder), |k| {
                find(k);
                load(k, RegisterBudget::Launch);
            }),
        }
    }
}
