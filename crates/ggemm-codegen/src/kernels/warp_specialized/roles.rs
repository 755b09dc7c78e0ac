//! Who does what: a warp that finds tiles, one that loads them, and warpgroups that multiply and write out.

use super::super::groups::Groups;
use super::super::walk::{Tile, Walk};
use super::feed::Feed;
use super::main_loop::MainLoop;
use super::output::Output;
use super::pipeline::Pipeline;
use crate::descriptor::WGMMA_M;
use crate::dsl::{BarrierSlot, Consumer, Cta, Expr, I32, KernelBuilder, Map, Slot};
use crate::geometry::{self, THREADS_OF_WARPGROUP, WARPS_OF_WARPGROUP};
use crate::ir::RegisterBudget;
use crate::spec::{KernelSpec, Schedule};

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
}

/// What a family tells the roles.
pub(super) trait Family<'k> {
    /// Which tiles there are, and who visits them.
    fn walk(&self) -> (&Walk<'k>, &Groups<'k>);

    /// The tensor maps.
    fn maps(&self) -> [Map; 3];

    /// The length of a tile's reduction.
    fn reduction(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>) -> Expr<'k, I32, Cta>;

    /// Starts the loads of a stage.
    fn load(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, stage: &Stage<'k>);

    /// Starts the store of 64 rows of a panel of D, whose first row and column in the tile are these.
    fn store(&self, k: &mut KernelBuilder<'k>, tile: &Tile<'k>, panel: &Slot, at: [Expr<'k, I32, Cta>; 2]);
}

/// The roles of a CTA.
pub(super) struct Roles<'s> {
    pub(super) spec: &'s KernelSpec,
    pub(super) pipeline: Pipeline,
    main_loop: MainLoop,
    output: Output,
    feed: Feed,
}

impl<'s> Roles<'s> {
    pub(super) fn declare(k: &mut KernelBuilder<'_>, spec: &'s KernelSpec) -> Self {
        k.clusters_of(spec.cluster.ctas());
        Roles {
            spec,
            pipeline: Pipeline::declare(k, spec),
            main_loop: MainLoop::declare(k, spec),
            output: Output::declare(k, spec),
            feed: Feed::declare(k, spec),
        }
    }

    /// All roles, side by side.
    pub(super) fn write<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>) {
        self.pipeline.begin(k, self.spec);
        for warpgroup in 0..geometry::consumers(self.spec) {
            self.consumer(k, family, warpgroup);
        }
        self.producers(k, family);
    }

    fn consumer<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>, warpgroup: u32) {
        let first = WARPS_OF_WARPGROUP * warpgroup;
        let budget = geometry::register_budget(self.spec);
        let registers = budget.map_or(RegisterBudget::Launch, |b| RegisterBudget::Grow(b.consumer));
        k.role(&format!("consumer {warpgroup}"), first..first + WARPS_OF_WARPGROUP, registers, |k| {
            let ring = self.pipeline.ring.consumer(k);
            match self.spec.schedule {
                Schedule::Pingpong => self.in_turns(k, family, &ring, warpgroup),
                Schedule::Cooperative | Schedule::Multistage => self.together(k, family, &ring, warpgroup),
            }
            self.output.finish(k);
        });
    }

    /// All warpgroups are at the same tile, each at its own rows of it.
    ///
    /// Rows that do not exist are zeros and are multiplied like others: at the card's limit of power that costs next to
    /// nothing, and a warpgroup that left them out won nothing (docs/tuning.md).
    fn together<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>, ring: &Consumer<'k>, warpgroup: u32) {
        let first_row = WGMMA_M * geometry::warpgroup_blocks(self.spec) * warpgroup;
        self.feed.each(k, |k, tile| {
            let reduction = family.reduction(k, tile);
            self.main_loop.begin(k);
            self.main_loop.run(k, self.spec, &self.pipeline, ring, reduction, |_| {});
            self.write_out(k, family, tile, (warpgroup, first_row));
        });
    }

    /// Two warpgroups have a tile each: one multiplies while the other writes out.
    fn in_turns<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>, ring: &Consumer<'k>, warpgroup: u32) {
        let turn = warpgroup as i32;
        let next = k.var::<I32, Cta, _>("next", 0);
        if warpgroup == 1 {
            k.comment("The other's turn to multiply ends before it ever began.");
            k.pass(TURN, 2 * THREADS_OF_WARPGROUP);
        }
        self.feed.each(k, |k, tile| {
            let reduction = family.reduction(k, tile);
            k.when_else(
                next.get().equals(turn),
                |k| {
                    self.main_loop.begin(k);
                    k.meet(TURN + turn, 2 * THREADS_OF_WARPGROUP);
                    self.main_loop.run(k, self.spec, &self.pipeline, ring, reduction, |k| {
                        k.pass(TURN + 1 - turn, 2 * THREADS_OF_WARPGROUP);
                    });
                    self.write_out(k, family, tile, (warpgroup, 0));
                },
                |k| ring.skip(k, reduction.ceil_div(self.spec.tile.k)),
            );
            let other = k.int(1) - next.get();
            k.set(next, other);
        });
    }

    /// Writes out what a warpgroup has of a tile, from a row of it on.
    fn write_out<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>, tile: &Tile<'k>, of: (u32, u32)) {
        self.output.write(k, self.spec, self.main_loop.sums(), of, |k, panel, at| family.store(k, tile, panel, at));
    }

    /// Two warps: one finds tiles, the other asks the copy engine for their operands.
    fn producers<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>) {
        let first = WARPS_OF_WARPGROUP * geometry::consumers(self.spec);
        let roles = |k: &mut KernelBuilder<'k>| {
            k.role("finder", first..first + 1, RegisterBudget::Launch, |k| self.feed.find(k, family.walk()));
            k.role("loader", first + 1..first + 2, RegisterBudget::Launch, |k| self.load(k, family));
        };
        match geometry::register_budget(self.spec) {
            None => roles(k),
            Some(budget) => {
                let warps = first..first + geometry::producer_warps(self.spec);
                k.role("producers", warps, RegisterBudget::Shrink(budget.producer), roles);
            }
        }
    }

    fn load<'k>(&self, k: &mut KernelBuilder<'k>, family: &impl Family<'k>) {
        let spec = self.spec;
        k.elect(|k| family.maps().into_iter().for_each(|map| k.prefetch_map(map)));
        let ring = self.pipeline.ring.producer(k);
        self.feed.each(k, |k, tile| {
            let reduction = family.reduction(k, tile);
            let blocks = k.let_("blocks", reduction.ceil_div(spec.tile.k));
            self.feed.each_block(k, blocks, spec.stages, |k, block| {
                ring.fill(k, self.pipeline.stage_bytes, |k, slot| {
                    let stage = Stage {
                        a: self.pipeline.a_tiles.slot(slot.index),
                        b: self.pipeline.b_tiles.slot(slot.index),
                        full: slot.full,
                        offset: block * spec.tile.k,
                    };
                    family.load(k, tile, &stage);
                });
            });
        });
        if spec.cluster.ctas() > 1 {
            k.comment("The other CTAs may still say that they have read what was loaded for them.");
            ring.drain(k);
        }
    }
}
