//! Who goes on next, what lands meanwhile, and what is said when nobody can.

use super::finding::{Finding, FindingKind};
use super::machine::Machine;
use super::schedule::Policy;
use super::warp::{State, Warp};
use crate::ir::StmtId;

impl Machine<'_, '_> {
    /// Whether a warp can make a step.
    pub(super) fn can_go_on(&self, cta: usize, warp: usize) -> bool {
        let c = &self.ctas[cta];
        let w = &c.warps[warp];
        match w.state {
            State::Ready => true,
            State::AtPhase { barrier, parity, .. } => c.barriers[barrier].has_ended(parity),
            State::AtCluster(_) => w.cluster_generation != Some(self.clusters[self.cluster_of(cta)].generation),
            State::AtWord { word, value, .. } => self.words[word].value == value,
            State::AtBarrier(_) | State::AtNamed { .. } | State::Done => false,
        }
    }

    /// The next warp to run; `None` when none can.
    pub(super) fn pick(&mut self) -> Option<(usize, usize)> {
        let ready: Vec<(usize, usize)> = (0..self.ctas.len())
            .flat_map(|c| (0..self.ctas[c].warps.len()).map(move |w| (c, w)))
            .filter(|(c, w)| self.can_go_on(*c, *w))
            .collect();
        self.able = ready.len();
        let favoured: Vec<(usize, usize)> = match self.settings.policy {
            Policy::Starve => {
                let starved = self.settings.seed as usize % self.ctas[0].warps.len().max(1);
                ready.iter().copied().filter(|(_, w)| *w != starved).collect()
            }
            Policy::Eager | Policy::Late => ready.first().copied().into_iter().collect(),
            Policy::Random => Vec::new(),
        };
        let from = if favoured.is_empty() { &ready } else { &favoured };
        if from.is_empty() { None } else { Some(from[self.dice.below(from.len())]) }
    }

    /// Lets random parts of a CTA's asynchronous operations happen.
    pub(super) fn land_some(&mut self, index: usize) -> Result<(), Box<Finding>> {
        if !matches!(self.settings.policy, Policy::Random | Policy::Starve) {
            return Ok(());
        }
        let cta = &mut self.ctas[index];
        // Now and then a random share of one warp's pieces, from a single one to all.
        let chosen = self.dice.below(4 * cta.warps.len());
        if let Some(warp) = cta.warps.get_mut(chosen) {
            let share = 1 + self.dice.below(8);
            for piece in warp.in_flight().filter(|p| !p.landed) {
                if self.dice.below(share) == 0 {
                    cta.shared.land(piece.address, piece.bytes);
                    piece.landed = true;
                    self.statistics.landed += 1;
                }
            }
            let running: usize = warp.products.iter().map(Vec::len).sum::<usize>() + warp.products_open.len();
            let stores = warp.stores.len() + warp.stores_open.len();
            if running > 0 {
                let count = self.dice.below(running + 1);
                self.progress_products(index, chosen, count);
            }
            if stores > 0 {
                let progress = self.progress_some_store(index, chosen);
                progress.map_err(|kind| self.finding(index, chosen, StmtId(0), kind))?;
            }
        }
        let loads = self.ctas[index].loads.len();
        if loads > 0 && self.dice.below(2) == 0 {
            let (load, count) = (self.dice.below(loads), 1 + self.dice.below(2048));
            self.land(index, load, count)?;
        }
        Ok(())
    }

    /// Lets pieces of a load land; what is wrong with that is wrong with the load.
    fn land(&mut self, cta: usize, load: usize, count: usize) -> Result<(), Box<Finding>> {
        let (issuer, stmt) = (self.ctas[cta].loads[load].issuer, self.ctas[cta].loads[load].stmt);
        self.land_load(cta, load, count).map_err(|kind| self.finding(issuer.0, issuer.1, stmt, kind))
    }

    /// Nobody can go on: a load lands, or all are stuck for good.
    pub(super) fn land_one_or_give_up(&mut self) -> Result<(), Box<Finding>> {
        let loads: Vec<(usize, usize)> =
            (0..self.ctas.len()).flat_map(|c| (0..self.ctas[c].loads.len()).map(move |l| (c, l))).collect();
        if !loads.is_empty() {
            let (cta, load) = loads[self.dice.below(loads.len())];
            return self.land(cta, load, usize::MAX);
        }
        let stuck: Vec<(usize, usize)> = (0..self.ctas.len())
            .flat_map(|c| (0..self.ctas[c].warps.len()).map(move |w| (c, w)))
            .filter(|(c, w)| self.ctas[*c].warps[*w].state != State::Done)
            .collect();
        let (cta, warp) = stuck.first().copied().unwrap_or((0, 0));
        let starved = stuck.iter().find_map(|(c, w)| self.starved_of_bytes(*c, *w).map(|kind| (*c, *w, kind)));
        let (cta, warp, kind) = starved.unwrap_or_else(|| {
            let waiting: Vec<String> = stuck.iter().filter_map(|(c, w)| self.describe(*c, *w)).collect();
            (cta, warp, FindingKind::Deadlock { waiting: waiting.join("; ") })
        });
        let at = match self.ctas[cta].warps[warp].state {
            State::AtBarrier(stmt)
            | State::AtCluster(stmt)
            | State::AtPhase { stmt, .. }
            | State::AtWord { stmt, .. }
            | State::AtNamed { stmt, .. } => stmt,
            State::Ready | State::Done => StmtId(0),
        };
        Err(self.finding(cta, warp, at, kind))
    }

    /// Opens the CTA's barrier if all its warps are there; notices a CTA in which some never will be.
    pub(super) fn meet(&mut self, index: usize) -> Result<(), Box<Finding>> {
        let cta = &mut self.ctas[index];
        let settled = |w: &Warp<'_>| matches!(w.state, State::AtBarrier(_) | State::Done);
        if !cta.warps.iter().all(settled) || cta.warps.iter().all(|w| w.state == State::Done) {
            return Ok(());
        }
        let first = cta.warps[0].state;
        if !cta.warps.iter().all(|w| matches!(w.state, State::AtBarrier(_)) && w.state == first) {
            let waiting: Vec<String> = (0..cta.warps.len()).filter_map(|w| self.describe(index, w)).collect();
            let states = self.ctas[index].warps.iter().map(|w| w.state);
            let at = states.clone().find_map(|s| if let State::AtBarrier(id) = s { Some(id) } else { None });
            let warp = states.clone().position(|s| s != State::Done).unwrap_or(0);
            let kind = FindingKind::Deadlock { waiting: waiting.join(", ") };
            return Err(self.finding(index, warp, at.unwrap_or(StmtId(0)), kind));
        }
        let mut together = cta.warps[0].known.clone();
        cta.warps.iter().for_each(|w| together.join(&w.known));
        let first = self.rank(index) * self.participants.warps;
        for (w, warp) in self.ctas[index].warps.iter_mut().enumerate() {
            warp.known.clone_from(&together);
            warp.known.clock[first + w] += 1;
            warp.state = State::Ready;
        }
        (0..self.participants.warps).for_each(|warp| self.tell_resumed(index, warp));
        self.statistics.barriers += 1;
        Ok(())
    }
}
