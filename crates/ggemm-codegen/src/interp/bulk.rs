//! Bulk copies: boxes that land on barriers in pieces, and stores whose reads end before their writes.

use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::memory::decode;
use super::observe::{Actor, StartedLoad, TileSlot};
use super::scalars::lanes_of;
use super::schedule::Policy;
use super::shared::{Bytes, OperationId, PIECE};
use super::tiles::Tile;
use super::warp::Mask;
use crate::dtype::Dtype;
use crate::ir::{BulkLoad, BulkStore, EncodedMap, ExprId, ParamId, SharedId, Stmt, StmtId};

/// How a barrier learns what has landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// By the copy engine's or remote stores' bytes.
    Bytes,
    /// By so many arrivals once all of it has landed: copies of the generic proxy.
    Arrivals(u32),
}

/// A load on its way into one CTA.
pub(super) struct Load {
    operation: OperationId,
    pub(super) stmt: StmtId,
    /// The warp that started it.
    pub(super) issuer: (usize, usize),
    barrier: usize,
    /// The phase in which it counts.
    phase: u32,
    counted: Counted,
    /// Pieces that have not landed.
    pieces: Vec<(u32, Bytes)>,
}

/// A store on its way.
pub(super) struct Store {
    map: ParamId,
    add: bool,
    dtype: Dtype,
    pieces: Vec<StorePiece>,
    /// The issuing thread has waited for its reads.
    reads_ended: bool,
}

struct StorePiece {
    address: u32,
    /// The element that the first of the piece is, and how many exist.
    first: i64,
    elements: usize,
    read: Option<Bytes>,
    written: bool,
}

impl Store {
    /// Whether its reads of shared memory were not waited for.
    pub(super) fn may_read(&self) -> bool {
        !self.reads_ended
    }
}

/// A row of a box: the shared offset of its first element, and where it lies in the tensor.
struct BoxRow {
    row: u32,
    first_col: u32,
    /// The tensor's element at the row's inner coordinate 0.
    base: Option<i64>,
    /// The inner coordinate of the row's first element.
    inner: i64,
    extent: i64,
}

impl BoxRow {
    /// The elements from column `col` of the row on that exist, of `count`.
    fn elements(&self, col: u32, count: usize) -> impl Iterator<Item = (usize, i64)> + '_ {
        let first = self.inner + i64::from(col);
        (0..count).filter_map(move |e| {
            let at = first + e as i64;
            self.base.filter(|_| (0..self.extent).contains(&at)).map(|base| (e, base + at))
        })
    }
}

impl<'k> Machine<'k, '_> {
    /// The rows of a tile's boxes, panel by panel.
    fn box_rows(
        &self,
        cta: usize,
        warp: usize,
        lane: usize,
        map: ParamId,
        (coordinates, first_row): (&[ExprId], ExprId),
        tile: &Tile<'_>,
    ) -> Step<Vec<BoxRow>> {
        let operand = || self.kernel.contract.params[map.0 as usize].name.clone();
        let Some(encoded) = &self.maps[map.0 as usize] else {
            return Err(FindingKind::NoTensorMap { operand: operand() });
        };
        if let Some(reason) = encoded.unaddressable() {
            return Err(FindingKind::Unaddressable { operand: operand(), reason });
        }
        let at = coordinates.iter().map(|c| self.lane_value(cta, warp, *c, lane)).collect::<Step<Vec<i64>>>()?;
        // Strides are multiples of 16 bytes, so that the contiguous dimension alone decides it.
        if at[0].wrapping_mul(i64::from(encoded.element_bytes)) % i64::from(PIECE) != 0 {
            return Err(FindingKind::UnalignedBox { operand: operand(), column: at[0] });
        }
        let (tile_rows, cols) = tile.tile.layout.shape();
        let (panel, rows) = (encoded.counts[0].max(1), encoded.counts[1]);
        let step = self.lane_value(cta, warp, first_row, lane)?;
        let inside = u32::try_from(step).ok().filter(|r| r % 8 == 0 && r.saturating_add(rows) <= tile_rows);
        let Some(first_row) = inside else {
            return Err(FindingKind::OutsideTile { tile: tile.tile.name.clone(), step });
        };
        let mut found = Vec::with_capacity((rows * cols.div_ceil(panel)) as usize);
        for first_col in (0..cols).step_by(panel as usize) {
            for row in 0..rows {
                let mut here = at.clone();
                here[0] = 0;
                here[1] += i64::from(row);
                found.push(BoxRow {
                    row: first_row + row,
                    first_col,
                    base: encoded.element(&here),
                    inner: at[0] + i64::from(first_col),
                    extent: encoded.extents[0] as i64,
                });
            }
        }
        Ok(found)
    }

    pub(super) fn bulk_load(&mut self, cta: usize, warp: usize, stmt: &Stmt, load: &BulkLoad, mask: Mask) -> Step {
        let tile = self.tile(cta, warp, &load.to)?;
        let bytes = tile.tile.dtype.size_bytes();
        let elements = (PIECE / bytes) as usize;
        for lane in lanes_of(mask) {
            let index = self.barrier_index(cta, warp, &load.at, lane)?;
            let mut pieces = Vec::new();
            for r in self.box_rows(cta, warp, lane, load.map, (&load.coordinates, load.row), &tile)? {
                let panel = self.maps[load.map.0 as usize].as_ref().map_or(0, |m| m.counts[0]);
                for col in (0..panel).step_by(elements) {
                    let mut piece = [0; PIECE as usize];
                    for (e, element) in r.elements(col, elements) {
                        let bits = self.read_global(load.map, element)?.to_le_bytes();
                        let (from, n) = (e * bytes as usize, bytes as usize);
                        piece[from..from + n].copy_from_slice(&bits[..n]);
                    }
                    pieces.push((tile.tile.layout.offset(r.row, r.first_col + col), piece));
                }
            }
            let targets = match load.multicast {
                None => vec![cta],
                Some(ranks) => {
                    let ranks = self.lane_value(cta, warp, ranks, lane)?;
                    let size = self.participants.ctas as u32;
                    if ranks <= 0 || ranks >> size != 0 {
                        return Err(FindingKind::NoSuchRank { rank: ranks, size: size as usize });
                    }
                    (0..size as i64).filter(|r| ranks >> r & 1 == 1).map(|r| self.peer(cta, r)).collect::<Step<_>>()?
                }
            };
            for target in targets {
                self.start_load(
                    cta,
                    warp,
                    stmt,
                    target,
                    (index, Counted::Bytes),
                    (load.to.tile, &tile),
                    pieces.clone(),
                )?;
            }
        }
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Starts what lands in pieces on a barrier.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn start_load(
        &mut self,
        cta: usize,
        warp: usize,
        stmt: &Stmt,
        target: usize,
        (barrier, counted): (usize, Counted),
        (id, tile): (SharedId, &Tile<'_>),
        mut pieces: Vec<(u32, Bytes)>,
    ) -> Step {
        let known = self.known(cta, warp).clone();
        if self.ctas[target].gone.is_some() {
            return Err(FindingKind::CtaGone { rank: self.rank(target), what: "a load goes to" });
        }
        self.check_ready(&known, target, barrier, true)?;
        let (writer, operation) = (self.barrier_participant(target, barrier), self.next_operation());
        let c = &mut self.ctas[target];
        let phase = c.barriers[barrier].phase;
        for (offset, _) in &mut pieces {
            let address = tile.address(*offset);
            let name = (counted == Counted::Bytes).then_some("a bulk load");
            c.shared.begin_copy(address, (operation, name), writer, &known, tile.place(*offset))?;
            *offset = address;
        }
        let through = &mut c.barriers[barrier].loaded_through;
        *through = (*through).max(phase + 1);
        // Pieces land in any order.
        if matches!(self.settings.policy, Policy::Random | Policy::Starve) {
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, self.dice.below(i + 1));
            }
        }
        let count = pieces.len();
        let issuer = (cta, warp);
        self.ctas[target].loads.push(Load { operation, stmt: stmt.id, issuer, barrier, phase, counted, pieces });
        if self.follows {
            self.observer.load_started(&StartedLoad {
                operation,
                issuer: Actor { cta, warp },
                stmt: stmt.id,
                cta: target,
                to: TileSlot { tile: id, slot: tile.slot },
                barrier: self.barrier_slot(barrier),
                bytes: count as u32 * PIECE,
            });
        }
        if self.settings.policy == Policy::Eager {
            let last = self.ctas[target].loads.len() - 1;
            self.land_load(target, last, count)?;
        }
        Ok(())
    }

    /// Lets `count` pieces of a CTA's load land.
    pub(super) fn land_load(&mut self, cta: usize, load: usize, count: usize) -> Step {
        let Load { operation, barrier, phase, counted, .. } = self.ctas[cta].loads[load];
        let writer = self.barrier_participant(cta, barrier);
        let left = self.ctas[cta].loads[load].pieces.len();
        for _ in 0..count.min(left) {
            let c = &mut self.ctas[cta];
            if let Some((address, bytes)) = c.loads[load].pieces.pop() {
                c.shared.land_on_barrier(address, bytes, writer, phase + 1, counted != Counted::Bytes);
                self.statistics.landed += 1;
                if counted == Counted::Bytes {
                    self.count_bytes(cta, barrier, phase, i64::from(PIECE), operation)?;
                }
            }
        }
        if self.ctas[cta].loads[load].pieces.is_empty() {
            self.ctas[cta].loads.swap_remove(load);
            if let Counted::Arrivals(arrivals) = counted {
                self.count_arrivals(cta, barrier, arrivals, operation)?;
            }
            if self.follows {
                self.observer.load_landed(operation);
            }
        }
        Ok(())
    }

    pub(super) fn bulk_store(&mut self, cta: usize, warp: usize, stmt: &Stmt, store: &BulkStore, mask: Mask) -> Step {
        let tile = self.tile(cta, warp, &store.from)?;
        let dtype = tile.tile.dtype;
        let elements = (PIECE / dtype.size_bytes()) as usize;
        let name = if store.add { "a bulk addition" } else { "a bulk store" };
        if let Some(reason) = self.maps[store.map.0 as usize].as_ref().and_then(EncodedMap::unstorable) {
            let operand = self.kernel.contract.params[store.map.0 as usize].name.clone();
            return Err(FindingKind::Unaddressable { operand, reason });
        }
        for lane in lanes_of(mask) {
            let mut pieces = Vec::new();
            let panel = self.maps[store.map.0 as usize].as_ref().map_or(0, |m| m.counts[0]);
            for r in self.box_rows(cta, warp, lane, store.map, (&store.coordinates, store.row), &tile)? {
                for col in (0..panel).step_by(elements) {
                    let offset = tile.tile.layout.offset(r.row, r.first_col + col);
                    let address = tile.address(offset);
                    // The box is read whether its elements exist or not.
                    let c = &mut self.ctas[cta];
                    let known = &c.warps[warp].known;
                    c.shared.begin_read(address, warp, known, name, tile.place(offset))?;
                    let existing: Vec<(usize, i64)> = r.elements(col, elements).collect();
                    // What exists of a piece is its beginning, save where a box begins before the tensor.
                    let first = existing.first().map_or(0, |(e, at)| at - *e as i64);
                    let skipped = existing.first().map_or(0, |(e, _)| *e);
                    if skipped > 0 {
                        return Err(FindingKind::Undefined { operation: "a store that begins before its tensor" });
                    }
                    pieces.push(StorePiece { address, first, elements: existing.len(), read: None, written: false });
                }
            }
            let mut flight = Store { map: store.map, add: store.add, dtype, pieces, reads_ended: false };
            if self.settings.policy == Policy::Eager {
                self.progress_store(cta, &mut flight, usize::MAX, usize::MAX)?;
            }
            self.ctas[cta].warps[warp].stores_open.push(flight);
        }
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// Lets up to `reads` pieces of a store be read and up to `writes` of those that were be written.
    pub(super) fn progress_store(
        &mut self,
        cta: usize,
        store: &mut Store,
        mut reads: usize,
        mut writes: usize,
    ) -> Step {
        for piece in &mut store.pieces {
            if piece.read.is_none() && reads > 0 {
                piece.read = Some(self.ctas[cta].shared.bytes(piece.address));
                reads -= 1;
            }
            if let (Some(bytes), false, true) = (piece.read, piece.written, writes > 0) {
                piece.written = true;
                writes -= 1;
                self.statistics.landed += 1;
                let size = store.dtype.size_bytes() as usize;
                for (e, chunk) in bytes.chunks_exact(size).take(piece.elements).enumerate() {
                    let mut bits = [0; 8];
                    bits[..size].copy_from_slice(chunk);
                    let value = decode(store.dtype, u64::from_le_bytes(bits));
                    self.write_global(store.map, piece.first + e as i64, value, store.add)?;
                }
            }
        }
        Ok(())
    }

    /// Completes the reads, or reads and writes, of all but the last `pending` groups of a warp's stores.
    pub(super) fn await_stores(&mut self, cta: usize, warp: usize, pending: usize, reads: bool) -> Step {
        let groups = self.ctas[cta].warps[warp].stores.len();
        let writes = if reads { 0 } else { usize::MAX };
        for group in 0..groups.saturating_sub(pending) {
            let mut stores = std::mem::take(&mut self.ctas[cta].warps[warp].stores[group]);
            for store in &mut stores {
                self.progress_store(cta, store, usize::MAX, writes)?;
                if !std::mem::replace(&mut store.reads_ended, true) {
                    let c = &mut self.ctas[cta];
                    for piece in &store.pieces {
                        c.shared.end_read(piece.address, warp, &c.warps[warp].known);
                    }
                }
            }
            self.ctas[cta].warps[warp].stores[group] = stores;
        }
        if !reads {
            let done = groups.saturating_sub(pending);
            self.ctas[cta].warps[warp].stores.drain(..done);
        }
        Ok(())
    }

    /// Some pieces of one of a warp's stores are read or written.
    pub(super) fn progress_some_store(&mut self, cta: usize, warp: usize) -> Step {
        let (groups, open) = {
            let w = &self.ctas[cta].warps[warp];
            (w.stores.len(), w.stores_open.len())
        };
        if groups + open == 0 {
            return Ok(());
        }
        let (reads, writes) = (self.dice.below(64), self.dice.below(64));
        let chosen = self.dice.below(groups + 1).min(groups);
        let take = |m: &mut Self| match chosen < groups {
            true => std::mem::take(&mut m.ctas[cta].warps[warp].stores[chosen]),
            false => std::mem::take(&mut m.ctas[cta].warps[warp].stores_open),
        };
        let mut stores = take(self);
        for store in &mut stores {
            self.progress_store(cta, store, reads, writes)?;
        }
        match chosen < groups {
            true => self.ctas[cta].warps[warp].stores[chosen] = stores,
            false => self.ctas[cta].warps[warp].stores_open = stores,
        }
        Ok(())
    }

    /// A warp's stores are written, now that the kernel has ended.
    pub(super) fn finish_stores(&mut self, cta: usize, warp: usize) -> Step {
        self.await_stores(cta, warp, 0, false)
    }
}
