//! Scales of fp8 operands in registers, and the sums that they multiply.

use std::collections::BTreeMap;

use super::bulk::Counted;
use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::memory::decode;
use super::shared::PIECE;
use super::warp::LANES;
use crate::dtype::Dtype;
use crate::ir::{CopyScales, FragmentId, LoadScales, OuterScales, Promote, ReadScales, ScaleSums, Stmt};
use crate::scaling::SCALE_BLOCK;

impl Machine<'_, '_> {
    pub(super) fn load_scales(&mut self, cta: usize, warp: usize, load: &LoadScales) -> Step {
        let [origin, stride, count] =
            [load.origin, load.stride, load.count].map(|value| self.uniform(cta, warp, value));
        let (origin, stride, count) = (origin?, stride?, count?);
        for (at, (row, col)) in self.places_of(warp, load.to) {
            let place = i64::from(row + col);
            let scale = if place < count {
                decode(Dtype::F32, self.read_global(load.pointer, origin + place * stride)?)
            } else {
                0.0
            };
            self.ctas[cta].warps[warp].registers[load.to.0 as usize].values[0][at] = scale;
        }
        self.ctas[cta].warps[warp].registers[load.to.0 as usize].filled.fill(true);
        Ok(())
    }

    /// The registers of a warp's scales, and the row and column of the accumulator that each is of.
    fn places_of(&self, warp: usize, id: FragmentId) -> Vec<(usize, (u32, u32))> {
        let map = &self.kernel.body.fragments[id.0 as usize].map;
        let cols = self.ctas[0].warps[warp].registers[id.0 as usize].cols;
        // The first thread's own values are the warp's first rows and columns.
        let (row0, col0) = map.coordinates((warp * LANES) as u32, 0);
        let lanes = (0..LANES as u32).flat_map(|lane| (0..map.value_count()).map(move |value| (lane, value)));
        let place = |(lane, value)| {
            let (row, col) = map.coordinates(warp as u32 * LANES as u32 + lane, value);
            ((row - row0) as usize * cols + (col - col0) as usize, (row, col))
        };
        lanes.map(place).collect()
    }

    pub(super) fn copy_scales(&mut self, cta: usize, warp: usize, stmt: &Stmt, copy: &CopyScales) -> Step {
        let of = |value| self.uniform(cta, warp, value);
        let (origin, stride, block_stride) = (of(copy.origin)?, of(copy.stride)?, of(copy.block_stride)?);
        let (count, blocks) = (of(copy.count)?, of(copy.blocks)?);
        let tile = self.tile(cta, warp, &copy.to)?;
        let barrier = self.barrier_index(cta, warp, &copy.at, 0)?;
        let layout = &tile.tile.layout;
        let (places, columns) = layout.shape();
        let mut pieces = BTreeMap::new();
        for (place, block) in (0..places).flat_map(|place| (0..columns).map(move |block| (place, block))) {
            let exists = i64::from(place) < count && i64::from(block) < blocks;
            let index = origin + i64::from(place) * stride + i64::from(block) * block_stride;
            let bits = if exists { self.read_global(copy.pointer, index)? } else { 0 };
            let offset = layout.offset(place, block);
            let piece = pieces.entry(offset / PIECE * PIECE).or_insert([0; PIECE as usize]);
            let within = (offset % PIECE) as usize;
            piece[within..within + 4].copy_from_slice(&bits.to_le_bytes()[..4]);
        }
        let counted = (barrier, Counted::Arrivals(LANES as u32));
        self.start_load(cta, warp, stmt, cta, counted, (copy.to.tile, &tile), pieces.into_iter().collect())?;
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    pub(super) fn read_scales(&mut self, cta: usize, warp: usize, stmt: &Stmt, read: &ReadScales) -> Step {
        let tile = self.tile(cta, warp, &read.from)?;
        let (places, columns) = tile.tile.layout.shape();
        let step = self.uniform(cta, warp, read.block)?;
        let Some(block) = u32::try_from(step).ok().filter(|block| *block < columns) else {
            return Err(FindingKind::OutsideTile { tile: tile.tile.name.clone(), step });
        };
        let is_shared = self.kernel.body.fragments[read.to.0 as usize].map.values[0].extent == 1;
        let (shared, before) = match is_shared {
            true => (SCALE_BLOCK as u32, read.before.map_or(Ok(0), |before| self.uniform(cta, warp, before))? as u32),
            false => (1, 0),
        };
        for (at, (row, col)) in self.places_of(warp, read.to) {
            let place = before.saturating_add(row + col + read.first) / shared;
            if place >= places {
                return Err(FindingKind::OutsideTile { tile: tile.tile.name.clone(), step: i64::from(place) });
            }
            let offset = tile.tile.layout.offset(place, block);
            let (address, within) = (tile.address(offset / PIECE * PIECE), (offset % PIECE) as usize);
            let c = &mut self.ctas[cta];
            let w = &mut c.warps[warp];
            let bytes = c.shared.read(address, warp, &w.known, tile.place(offset))?;
            let scale = [0, 1, 2, 3].map(|byte| bytes[within + byte]);
            w.registers[read.to.0 as usize].values[0][at] = f32::from_le_bytes(scale);
        }
        self.ctas[cta].warps[warp].registers[read.to.0 as usize].filled.fill(true);
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    /// A fragment's values of one warp, by lane, where they have been set.
    pub(super) fn filled(&self, cta: usize, warp: usize, id: FragmentId) -> Step<&[f32]> {
        let registers = &self.ctas[cta].warps[warp].registers[id.0 as usize];
        if registers.filled[0] {
            return Ok(&registers.values[0]);
        }
        let fragment = self.kernel.body.fragments[id.0 as usize].name.clone();
        Err(FindingKind::UninitializedFragment { fragment })
    }

    /// The scales of a warp's rows and columns, if they were read.
    pub(super) fn outer_scales(&self, cta: usize, warp: usize, scales: Option<OuterScales>) -> Step<Option<Outer<'_>>> {
        let Some(OuterScales { rows, cols }) = scales else { return Ok(None) };
        let map = &self.kernel.body.fragments[cols.0 as usize].map;
        let shared = (map.values[0].extent == 1).then_some(map.values[1].col as usize);
        Ok(Some(Outer { rows: self.filled(cta, warp, rows)?, cols: self.filled(cta, warp, cols)?, shared }))
    }

    pub(super) fn promote(&mut self, cta: usize, warp: usize, p: &Promote) -> Step {
        for id in [p.total, p.partial] {
            self.touch(cta, warp, id)?;
            self.filled(cta, warp, id)?;
        }
        let scales = self.outer_scales(cta, warp, p.scales)?;
        let registers = &self.ctas[cta].warps[warp].registers;
        let (partial, sums) = (&registers[p.partial.0 as usize], &registers[p.total.0 as usize]);
        let mut total = sums.values[0].clone();
        let (first, count) = (p.columns.0 as usize, p.columns.1 as usize);
        for (at, x) in partial.values[0].iter().enumerate() {
            let (row, col) = (at / partial.cols, at % partial.cols);
            let Some(of_scales) = col.checked_sub(first).filter(|col| *col < count) else { continue };
            let sum = &mut total[row * sums.cols + p.first as usize + col];
            *sum = match &scales {
                None => *sum + x,
                Some(s) if s.shared.is_some() => x.mul_add(s.rows[row] * s.of_column(of_scales), *sum),
                Some(s) => (x * s.of_column(of_scales)).mul_add(s.rows[row], *sum),
            };
        }
        self.ctas[cta].warps[warp].registers[p.total.0 as usize].values[0] = total;
        Ok(())
    }

    pub(super) fn scale_sums(&mut self, cta: usize, warp: usize, p: &ScaleSums) -> Step {
        self.touch(cta, warp, p.sums)?;
        let mut sums = self.filled(cta, warp, p.sums)?.to_vec();
        let cols = self.ctas[cta].warps[warp].registers[p.sums.0 as usize].cols;
        if let Some(scales) = self.outer_scales(cta, warp, Some(p.scales))? {
            sums.iter_mut().enumerate().for_each(|(at, sum)| *sum = scales.times(*sum, (at / cols, at % cols)));
        }
        self.ctas[cta].warps[warp].registers[p.sums.0 as usize].values[0] = sums;
        Ok(())
    }
}

/// The scales of a warp's rows and columns.
pub(super) struct Outer<'a> {
    rows: &'a [f32],
    cols: &'a [f32],
    /// So many columns have one.
    shared: Option<usize>,
}

impl Outer<'_> {
    fn of_column(&self, col: usize) -> f32 {
        self.cols[self.shared.map_or(col, |block| col / block * block)]
    }

    /// A sum times the scale of its row and then of its column.
    pub(super) fn times(&self, sum: f32, (row, col): (usize, usize)) -> f32 {
        sum * self.rows[row] * self.of_column(col)
    }
}
