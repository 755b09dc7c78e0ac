//! One statement of a warp at a time: blocks, loops and branches here, the rest where its kind is.

use super::finding::{Finding, FindingKind};
use super::knowledge::Knowledge;
use super::machine::{Machine, Step};
use super::observe::Actor;
use super::scalars::lanes_of;
use super::warp::{ALL_LANES, Frame, LANES, Mask, Repeat, State};
use crate::ir::{Op, ShuffleFrom, Stmt};

impl<'k> Machine<'k, '_> {
    /// Executes one statement of a warp, or leaves a block.
    pub(super) fn step(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let frames = &mut self.ctas[cta].warps[warp].frames;
        let Some(frame) = frames.last_mut() else {
            return self.end(cta, warp);
        };
        let Some(stmt) = frame.block.0.get(frame.next) else {
            self.leave_block(cta, warp);
            return Ok(());
        };
        frame.next += 1;
        let mask = frame.mask;
        self.statistics.statements += 1;
        if self.statistics.statements > self.settings.limit {
            let limit = self.settings.limit;
            return Err(self.finding(cta, warp, stmt.id, FindingKind::Endless { limit }));
        }
        if self.follows {
            self.tell(cta, warp, stmt, mask);
        }
        self.execute(cta, warp, stmt, mask).map_err(|kind| self.finding(cta, warp, stmt.id, kind))
    }

    fn end(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let w = &mut self.ctas[cta].warps[warp];
        w.state = State::Done;
        if self.follows {
            self.observer.ended(Actor { cta, warp });
        }
        let w = &mut self.ctas[cta].warps[warp];
        let pieces = w.in_flight().count();
        let products = w.products.iter().map(Vec::len).sum::<usize>() + w.products_open.len();
        let stores = w.stores.iter().flatten().chain(&w.stores_open).filter(|s| s.may_read()).count();
        let left = if pieces > 0 {
            Some(FindingKind::LeftInFlight { pieces })
        } else if products > 0 {
            Some(FindingKind::LeftRunning { operation: "its products", count: products })
        } else if stores > 0 {
            Some(FindingKind::LeftRunning { operation: "its bulk stores", count: stores })
        } else {
            None
        };
        if let Some(kind) = left {
            return Err(self.finding(cta, warp, self.last_of(cta, warp), kind));
        }
        self.settle_cluster(self.cluster_of(cta));
        if self.ctas[cta].warps.iter().all(|w| w.state == State::Done) {
            self.end_cta(cta, warp)?;
        }
        Ok(())
    }

    /// The CTA's shared memory goes: nothing may come to it any more.
    fn end_cta(&mut self, cta: usize, warp: usize) -> Result<(), Box<Finding>> {
        let mut known = Knowledge::none(&self.participants);
        self.ctas[cta].warps.iter().for_each(|w| known.join(&w.known));
        let unseen =
            |b: &usize| known.clock[self.barrier_participant(cta, *b)] < self.ctas[cta].barriers[*b].loaded_through;
        let count = (0..self.participants.barriers).filter(unseen).count();
        self.ctas[cta].gone = Some(known);
        if count > 0 {
            let kind = FindingKind::LeftRunning { operation: "the barriers that bulk loads count on", count };
            return Err(self.finding(cta, warp, self.last_of(cta, warp), kind));
        }
        Ok(())
    }

    fn leave_block(&mut self, cta: usize, warp: usize) {
        let w = &mut self.ctas[cta].warps[warp];
        let Some(frame) = w.frames.last_mut() else { return };
        match &mut frame.repeat {
            Repeat::Counted { var, next, end } if *next < *end => {
                w.vars[var.0 as usize] = [*next; LANES];
                *next += 1;
                frame.next = 0;
            }
            Repeat::Forever => frame.next = 0,
            Repeat::No | Repeat::Counted { .. } => {
                w.frames.pop();
            }
        }
    }

    fn execute(&mut self, cta: usize, warp: usize, stmt: &'k Stmt, mask: Mask) -> Step {
        self.check_agreements(cta, warp, stmt)?;
        self.check_grid(cta, warp, &stmt.op)?;
        match &stmt.op {
            Op::Comment(_) => {}
            Op::Let { var, value } | Op::Assign { var, value } => {
                let value = self.lanes(cta, warp, *value, mask)?;
                self.assign(cta, warp, *var, value, mask);
            }
            Op::If { condition, then, otherwise } => {
                let holds = self.mask_of(cta, warp, *condition, mask)?;
                // Both paths where lanes differ; the other path is executed after the first.
                for (block, lanes) in [(otherwise, mask & !holds), (then, holds)] {
                    if lanes != 0 && !block.0.is_empty() {
                        let frame = Frame { block, next: 0, mask: lanes, repeat: Repeat::No };
                        self.ctas[cta].warps[warp].frames.push(frame);
                    }
                }
            }
            Op::For { var, end, body, .. } => {
                let end = self.uniform(cta, warp, *end)?;
                if end > 0 {
                    let w = &mut self.ctas[cta].warps[warp];
                    w.vars[var.0 as usize] = [0; LANES];
                    let repeat = Repeat::Counted { var: *var, next: 1, end };
                    w.frames.push(Frame { block: body, next: 0, mask, repeat });
                }
            }
            Op::Loop { body } => {
                let frame = Frame { block: body, next: 0, mask, repeat: Repeat::Forever };
                self.ctas[cta].warps[warp].frames.push(frame);
            }
            Op::Break { condition } => {
                if self.uniform(cta, warp, *condition)? != 0 {
                    let frames = &mut self.ctas[cta].warps[warp].frames;
                    while let Some(frame) = frames.pop() {
                        if matches!(frame.repeat, Repeat::Forever) {
                            break;
                        }
                    }
                }
            }
            Op::LoadIndex { var, pointer, index, wide, guard } => {
                let guard = self.mask_of(cta, warp, *guard, mask)?;
                let index = self.lanes(cta, warp, *index, guard)?;
                if guard != 0 {
                    self.check_width(*pointer, self.uniform(cta, warp, *wide)? != 0)?;
                }
                let mut values = [0; LANES];
                for lane in lanes_of(guard) {
                    values[lane] = self.read_global(*pointer, index[lane])? as i64;
                }
                self.assign(cta, warp, *var, values, mask);
            }
            Op::Shuffle { var, value, from } => {
                let offered = self.lanes(cta, warp, *value, ALL_LANES)?;
                let values = match from {
                    ShuffleFrom::Below(distance) => {
                        let distance = *distance as usize;
                        std::array::from_fn(|l| if l >= distance { offered[l - distance] } else { offered[l] })
                    }
                    ShuffleFrom::Lane(lane) => {
                        let lane = self.uniform(cta, warp, *lane)?;
                        [offered[lane.rem_euclid(LANES as i64) as usize]; LANES]
                    }
                };
                self.assign(cta, warp, *var, values, ALL_LANES);
            }
            Op::Ballot { var, predicate } => {
                let holds = self.mask_of(cta, warp, *predicate, ALL_LANES)?;
                self.assign(cta, warp, *var, [i64::from(holds); LANES], ALL_LANES);
            }
            Op::Barrier => {
                self.note(cta, warp, stmt, String::new());
                self.ctas[cta].warps[warp].state = State::AtBarrier(stmt.id);
            }
            Op::CopyTile { from, to, map } => self.copy_tile(cta, warp, stmt, from, to, map)?,
            Op::CommitCopies => {
                let w = &mut self.ctas[cta].warps[warp];
                let group = std::mem::take(&mut w.open);
                w.groups.push_back(group);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitCopies { pending } => {
                self.await_copies(cta, warp, *pending as usize);
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::BeginStaging { fragment, from } => self.begin_staging(cta, warp, *fragment, from)?,
            Op::LoadStaging { to, pieces } => self.load_staging(cta, warp, *to, pieces)?,
            Op::StoreStaging { from, to, pieces } => self.store_staging(cta, warp, stmt, (*from, pieces), to)?,
            Op::Zero { fragment } => {
                self.touch(cta, warp, *fragment)?;
                let registers = &mut self.ctas[cta].warps[warp].registers[fragment.0 as usize];
                registers.values.iter_mut().for_each(|slot| slot.fill(0.0));
                registers.filled.fill(true);
            }
            Op::LoadMatrix { to, to_slot, from, step, transposed } => {
                self.load_matrix(cta, warp, stmt, (*to, *to_slot), from, *step, *transposed)?;
            }
            Op::Multiply { accumulator, a, b, slot } => self.multiply(cta, warp, *accumulator, *a, *b, *slot)?,
            Op::StoreTile { from, to, accumulate, paired } => {
                self.store_tile(cta, warp, *from, to, *accumulate, *paired)?;
            }
            Op::Role(role) => {
                if (role.first_warp..role.first_warp + role.warps).contains(&(warp as u32)) {
                    let frame = Frame { block: &role.body, next: 0, mask, repeat: Repeat::No };
                    self.ctas[cta].warps[warp].frames.push(frame);
                }
            }
            Op::Elect { body } => {
                let lane = mask & mask.wrapping_neg();
                let frame = Frame { block: body, next: 0, mask: lane, repeat: Repeat::No };
                self.ctas[cta].warps[warp].frames.push(frame);
            }
            Op::InitBarrier { barrier } => self.init_barrier(cta, warp, *barrier),
            Op::FenceBarrierInit => self.fence_barrier_init(cta, warp),
            Op::Arrive(arrive) => self.arrive(cta, warp, stmt, arrive, mask)?,
            Op::Await { at, parity } => self.await_phase(cta, warp, stmt, at, *parity, mask)?,
            Op::NamedBarrier { id, threads, wait } => self.named_barrier(cta, warp, stmt, (*id, *threads, *wait))?,
            Op::ClusterArrive => self.cluster_arrive(cta, warp, stmt)?,
            Op::ClusterWait => self.cluster_wait(cta, warp, stmt)?,
            Op::BulkLoad(load) => self.bulk_load(cta, warp, stmt, load, mask)?,
            Op::BulkStore(store) => self.bulk_store(cta, warp, stmt, store, mask)?,
            Op::CommitStores => {
                let w = &mut self.ctas[cta].warps[warp];
                let group = std::mem::take(&mut w.stores_open);
                w.stores.push_back(group);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitStores { pending, reads } => {
                self.await_stores(cta, warp, *pending as usize, *reads)?;
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::FenceProducts => self.fence_products(cta, warp),
            Op::WarpgroupMultiply(product) => self.warpgroup_multiply(cta, warp, stmt, product)?,
            Op::CommitProducts => {
                self.commit_products(cta, warp);
                self.note(cta, warp, stmt, String::new());
            }
            Op::AwaitProducts { pending, .. } => {
                self.await_products(cta, warp, *pending as usize);
                self.note(cta, warp, stmt, format!(" (pending {pending})"));
            }
            Op::LoadScales(load) => self.load_scales(cta, warp, load)?,
            Op::CopyScales(copy) => self.copy_scales(cta, warp, stmt, copy)?,
            Op::ReadScales(read) => self.read_scales(cta, warp, stmt, read)?,
            Op::Promote(promote) => self.promote(cta, warp, promote)?,
            Op::ScaleSums(scale) => self.scale_sums(cta, warp, scale)?,
            Op::FenceProxy => self.fence_proxy(cta, warp),
            Op::StoreFragment { from, to, row, col, block, transposed, scales } => {
                self.store_fragment(cta, warp, stmt, (*from, *scales), to, (*row, *block), *col, *transposed)?;
            }
            Op::SendSums(send) => self.send_sums(cta, warp, stmt, send)?,
            Op::AddSums(add) => self.add_sums(cta, warp, stmt, add)?,
            Op::WriteWord { to, value } => self.write_word(cta, warp, stmt, to, *value, mask)?,
            Op::ReadWord { var, from } => self.read_word(cta, warp, stmt, *var, from, mask)?,
            Op::SaveSums(save) => self.save_sums(cta, warp, stmt, save)?,
            Op::AddSaved(add) => self.add_saved(cta, warp, stmt, add)?,
            Op::AwaitWord(word) => self.await_word(cta, warp, stmt, word, mask)?,
            Op::FetchAdd(add) => self.fetch_add(cta, warp, stmt.id, add, mask)?,
            Op::Quantize(step) => self.quantize(cta, warp, stmt, step)?,
            Op::Rows(step) => self.rows(cta, warp, stmt, step)?,
            Op::AwaitGrid => self.await_grid(cta, warp),
            // What a prefetch brings and who starts early changes no result.
            Op::PrefetchMap { .. } | Op::LaunchDependents => {}
        }
        Ok(())
    }
}
