//! Sums that travel between the CTAs of the grid: through slots of device memory, on the word of those who wrote them.

use super::finding::FindingKind;
use super::machine::{Machine, Step};
use super::scalars::lanes_of;
use super::warp::{Mask, State};
use crate::geometry::WARPS_OF_WARPGROUP;
use crate::ir::{AddSaved, AwaitWord, ParamId, ParamRole, SaveSums, Stmt};

/// A warp's sums in a slot.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    values: Vec<f32>,
    /// The CTA and warp that wrote them, and its interval.
    writer: (usize, usize),
    interval: u32,
}

impl Machine<'_, '_> {
    /// The first of a parameter's words among all words of the launch: those of slots follow the workspace.
    pub(super) fn first_word(&self, pointer: ParamId) -> usize {
        match self.kernel.contract.params[pointer.0 as usize].role {
            ParamRole::PartialSumsReady => self.kernel.contract.workspace_bytes as usize / 4,
            _ => 0,
        }
    }

    /// Where the sums of a warp lie among those of all slots.
    fn place_of_sums(&self, warp: usize, pointer: ParamId, slot: i64, access: &'static str) -> Step<usize> {
        let warps = self.kernel.contract.partial_sums.map_or(0, |p| (p.words * WARPS_OF_WARPGROUP) as usize);
        let slots = self.ctas.len();
        match usize::try_from(slot) {
            Ok(slot) if slot < slots => Ok(slot * warps + warp % warps.max(1)),
            _ => {
                let operand = self.kernel.contract.params[pointer.0 as usize].name.clone();
                Err(FindingKind::OutOfBounds { access, operand, index: slot, len: slots })
            }
        }
    }

    pub(super) fn save_sums(&mut self, cta: usize, warp: usize, stmt: &Stmt, save: &SaveSums) -> Step {
        self.touch(cta, warp, save.from)?;
        let slot = self.uniform(cta, warp, save.slot)?;
        let place = self.place_of_sums(warp, save.pointer, slot, "writes")?;
        let registers = &self.ctas[cta].warps[warp].registers[save.from.0 as usize];
        if !registers.filled[0] {
            let fragment = self.kernel.body.fragments[save.from.0 as usize].name.clone();
            return Err(FindingKind::UninitializedFragment { fragment });
        }
        let values = registers.values[0].clone();
        let interval = self.known(cta, warp).clock[self.participant(cta, warp)];
        if self.saved[place].is_some() {
            let operand = self.kernel.contract.params[save.pointer.0 as usize].name.clone();
            return Err(FindingKind::WrittenTwice { operand, index: slot });
        }
        self.saved[place] = Some(Saved { values, writer: (cta, warp), interval });
        self.note(cta, warp, stmt, format!(" -> slot {slot}"));
        Ok(())
    }

    pub(super) fn add_saved(&mut self, cta: usize, warp: usize, stmt: &Stmt, add: &AddSaved) -> Step {
        self.touch(cta, warp, add.to)?;
        let slot = self.uniform(cta, warp, add.slot)?;
        let place = self.place_of_sums(warp, add.pointer, slot, "reads")?;
        let not_ready = |why| {
            let operand = self.kernel.contract.params[add.pointer.0 as usize].name.clone();
            Err(FindingKind::SumsNotReady { operand, slot, why })
        };
        let Some(saved) = &self.saved[place] else { return not_ready("which nobody has written") };
        let (writer, of) = (self.participant(saved.writer.0, saved.writer.1), self.cluster_of(saved.writer.0));
        let known = self.known(cta, warp);
        let through = if of == self.cluster_of(cta) { known.clock[writer] } else { known.apart(of, writer) };
        if through < saved.interval {
            return not_ready("which this warp does not know to be written");
        }
        let registers = &mut self.ctas[cta].warps[warp].registers[add.to.0 as usize];
        registers.values[0].iter_mut().zip(&saved.values).for_each(|(sum, saved)| *sum += saved);
        self.note(cta, warp, stmt, format!(" <- slot {slot}"));
        Ok(())
    }

    pub(super) fn await_word(&mut self, cta: usize, warp: usize, stmt: &Stmt, word: &AwaitWord, mask: Mask) -> Step {
        let lane = lanes_of(mask).next().unwrap_or(0);
        let index = self.lane_value(cta, warp, word.index, lane)?;
        let value = self.lane_value(cta, warp, word.value, lane)?;
        let (first, len) = (self.first_word(word.pointer), self.words.len());
        let Some(at) = usize::try_from(index).ok().map(|i| first + i).filter(|i| *i < len) else {
            let operand = self.kernel.contract.params[word.pointer.0 as usize].name.clone();
            return Err(FindingKind::OutOfBounds { access: "waits for", operand, index, len: len - first });
        };
        self.note(cta, warp, stmt, format!(" {index}"));
        self.ctas[cta].warps[warp].state = State::AtWord { stmt: stmt.id, word: at, value };
        Ok(())
    }
}
