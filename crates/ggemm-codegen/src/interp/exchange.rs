//! Sums that travel between the CTAs of a cluster: they land in pieces on a barrier of the CTA that they go to.

use super::bulk::Counted;
use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::shared::PIECE;
use super::warp::LANES;
use crate::geometry::{MMA_M, MMA_N, THREADS_OF_WARPGROUP};
use crate::ir::{AddSums, SendSums, Stmt, SumsPart};

impl Machine<'_, '_> {
    /// Where each piece of a warp's lies in its tile, and which of the warp's registers it is: the row of the first two
    /// sums, whose neighbours they are, and the others' 8 rows below.
    fn pieces_of_part(warp: usize, part: &SumsPart, rows: u32) -> impl Iterator<Item = (u32, [(usize, usize); 4])> {
        let (block, first) = (part.block as usize * 64, part.first);
        (0..rows / THREADS_OF_WARPGROUP).flat_map(move |j| {
            (0..LANES as u32).map(move |lane| {
                let row = j * THREADS_OF_WARPGROUP + (warp as u32 % 4) * LANES as u32 + lane;
                let (r, c) = (block + lane as usize / 4, ((first + j) * MMA_N + lane % 4 * 2) as usize);
                let below = r + MMA_M as usize / 2;
                (row, [(r, c), (r, c + 1), (below, c), (below, c + 1)])
            })
        })
    }

    pub(super) fn send_sums(&mut self, cta: usize, warp: usize, stmt: &Stmt, send: &SendSums) -> Step {
        self.touch(cta, warp, send.from.fragment)?;
        let tile = self.tile(cta, warp, &send.to)?;
        let target = self.peer(cta, self.uniform(cta, warp, send.rank)?)?;
        let barrier = self.barrier_index(cta, warp, &send.at, 0)?;
        let registers = &self.ctas[cta].warps[warp].registers[send.from.fragment.0 as usize];
        if !registers.filled[0] {
            let fragment = self.kernel.body.fragments[send.from.fragment.0 as usize].name.clone();
            return Err(FindingKind::UninitializedFragment { fragment });
        }
        let pieces = Self::pieces_of_part(warp, &send.from, tile.tile.layout.shape().0).map(|(row, sums)| {
            let mut bytes = [0; PIECE as usize];
            for (to, (r, c)) in bytes.chunks_exact_mut(4).zip(sums) {
                to.copy_from_slice(&registers.values[0][r * registers.cols + c].to_le_bytes());
            }
            (tile.tile.layout.offset(row, 0), bytes)
        });
        let pieces = pieces.collect();
        self.start_load(cta, warp, stmt, target, (barrier, Counted::Bytes), (send.to.tile, &tile), pieces)?;
        self.note(cta, warp, stmt, format!(" -> {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }

    pub(super) fn add_sums(&mut self, cta: usize, warp: usize, stmt: &Stmt, add: &AddSums) -> Step {
        self.touch(cta, warp, add.to.fragment)?;
        let tile = self.tile(cta, warp, &add.from)?;
        for (row, sums) in Self::pieces_of_part(warp, &add.to, tile.tile.layout.shape().0) {
            let offset = tile.tile.layout.offset(row, 0);
            let c = &mut self.ctas[cta];
            let w = &mut c.warps[warp];
            let bytes = c.shared.read(tile.address(offset), warp, &w.known, tile.place(offset))?;
            let registers = &mut w.registers[add.to.fragment.0 as usize];
            for (from, (r, c)) in bytes.chunks_exact(4).zip(sums) {
                let sent = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
                registers.values[0][r * registers.cols + c] += sent;
            }
        }
        self.note(cta, warp, stmt, format!(" <- {}[{}]", tile.tile.name, tile.slot));
        Ok(())
    }
}
