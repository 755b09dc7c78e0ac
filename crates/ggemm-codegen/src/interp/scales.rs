//! Scales of fp8 operands in registers, and the sums that they multiply.

use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::memory::decode;
use super::warp::LANES;
use crate::dtype::Dtype;
use crate::ir::{FragmentId, LoadScales, OuterScales, Promote, ScaleSums};

impl Machine<'_, '_> {
    pub(super) fn load_scales(&mut self, cta: usize, warp: usize, load: &LoadScales) -> Step {
        let [origin, stride, count] =
            [load.origin, load.stride, load.count].map(|value| self.uniform(cta, warp, value));
        let (origin, stride, count) = (origin?, stride?, count?);
        let map = &self.kernel.body.fragments[load.to.0 as usize].map;
        // The first thread's own values are the warp's first rows and columns.
        let (row0, col0) = map.coordinates((warp * LANES) as u32, 0);
        let block = if map.values[0].extent == 1 { map.values[1].col.max(1) } else { 1 };
        for (lane, value) in (0..LANES as u32).flat_map(|l| (0..map.value_count()).map(move |v| (l, v))) {
            let (row, col) = map.coordinates(warp as u32 * LANES as u32 + lane, value);
            let place = i64::from(row + col);
            let scale = if place < count {
                let index = origin + place / i64::from(block) * stride;
                decode(Dtype::F32, self.read_global(load.pointer, index)?)
            } else {
                0.0
            };
            let r = &mut self.ctas[cta].warps[warp].registers[load.to.0 as usize];
            r.values[0][(row - row0) as usize * r.cols + (col - col0) as usize] = scale;
        }
        self.ctas[cta].warps[warp].registers[load.to.0 as usize].filled.fill(true);
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
        let partial = &registers[p.partial.0 as usize];
        let mut total = registers[p.total.0 as usize].values[0].clone();
        for (at, (sum, x)) in total.iter_mut().zip(&partial.values[0]).enumerate() {
            let (row, col) = (at / partial.cols, at % partial.cols);
            *sum = match &scales {
                None => *sum + x,
                Some(s) if s.shared.is_some() => x.mul_add(s.rows[row] * s.of_column(col), *sum),
                Some(s) => (x * s.of_column(col)).mul_add(s.rows[row], *sum),
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
