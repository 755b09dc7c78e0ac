//! Scalar values of lanes, and the variables that hold them.

use super::evaluate::Environment;
use super::machine::{Machine, Step};
use super::warp::{LANES, Mask};
use crate::ir::{ExprId, VarId};

impl Machine<'_, '_> {
    pub(super) fn environment(&self, cta: usize, warp: usize) -> Environment<'_> {
        Environment {
            exprs: &self.kernel.body.exprs,
            vars: &self.ctas[cta].warps[warp].vars,
            params: &self.params,
            cta: cta as i64,
            ctas: self.ctas.len() as i64,
            warp: warp as i64,
            cluster: self.participants.ctas as i64,
        }
    }

    /// A lane's value.
    pub(super) fn lane_value(&self, cta: usize, warp: usize, id: ExprId, lane: usize) -> Step<i64> {
        self.environment(cta, warp).lane_value(id, lane)
    }

    /// A value that is the same in all lanes.
    pub(super) fn uniform(&self, cta: usize, warp: usize, id: ExprId) -> Step<i64> {
        self.environment(cta, warp).lane_value(id, 0)
    }

    /// A value of each lane of `mask`; the others get 0.
    pub(super) fn lanes(&self, cta: usize, warp: usize, id: ExprId, mask: Mask) -> Step<[i64; LANES]> {
        let env = self.environment(cta, warp);
        if self.kernel.body.exprs[id].scope >= crate::ir::Scope::Warp {
            return Ok([env.lane_value(id, 0)?; LANES]);
        }
        let mut values = [0; LANES];
        for lane in lanes_of(mask) {
            values[lane] = env.lane_value(id, lane)?;
        }
        Ok(values)
    }

    pub(super) fn mask_of(&self, cta: usize, warp: usize, id: ExprId, mask: Mask) -> Step<Mask> {
        let values = self.lanes(cta, warp, id, mask)?;
        Ok(lanes_of(mask).filter(|l| values[*l] != 0).fold(0, |m, l| m | 1 << l))
    }

    pub(super) fn assign(&mut self, cta: usize, warp: usize, var: VarId, values: [i64; LANES], mask: Mask) {
        let target = &mut self.ctas[cta].warps[warp].vars[var.0 as usize];
        for lane in lanes_of(mask) {
            target[lane] = values[lane];
        }
    }
}

/// The lanes of a mask.
pub(super) fn lanes_of(mask: Mask) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |l| mask >> l & 1 == 1)
}
