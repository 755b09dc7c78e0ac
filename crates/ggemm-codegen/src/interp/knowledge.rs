//! What a warp knows of the others: vector clocks (Mattern 1989; FastTrack, Flanagan and Freund 2009).
//!
//! Everything in a cluster that others can be ordered after is a *participant* with a counter: a warp counts its own
//! intervals, an mbarrier its ended phases, the grids before this one count as one. Synchronization joins clocks.

use std::collections::BTreeMap;

/// The participants of a cluster, each at its place in a clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Participants {
    pub(super) ctas: usize,
    /// Warps of a CTA.
    pub(super) warps: usize,
    /// Mbarriers of a CTA.
    pub(super) barriers: usize,
}

impl Participants {
    pub(super) fn warp(&self, rank: usize, warp: usize) -> usize {
        rank * self.warps + warp
    }

    pub(super) fn barrier(&self, rank: usize, barrier: usize) -> usize {
        self.ctas * self.warps + rank * self.barriers + barrier
    }

    /// The grids that this one depends on.
    pub(super) fn grid(&self) -> usize {
        self.ctas * (self.warps + self.barriers)
    }

    fn count(&self) -> usize {
        self.grid() + 1
    }
}

/// Up to which interval of each participant its holder is ordered after it.
#[derive(Clone, Debug)]
pub(super) struct Knowledge {
    pub(super) clock: Vec<u32>,
    /// The same for ordinary writes that the writer has fenced for the async proxy.
    pub(super) fenced: Vec<u32>,
    /// The clocks of other clusters, as far as their warps released them to the whole device.
    released: BTreeMap<usize, Vec<u32>>,
}

impl Knowledge {
    /// Of nobody.
    pub(super) fn none(participants: &Participants) -> Self {
        Knowledge {
            clock: vec![0; participants.count()],
            fenced: vec![0; participants.ctas * participants.warps],
            released: BTreeMap::new(),
        }
    }

    /// Of a warp that starts: its first interval has begun.
    pub(super) fn of_warp(participants: &Participants, own: usize) -> Self {
        let mut knowledge = Knowledge::none(participants);
        knowledge.clock[own] = 1;
        knowledge
    }

    pub(super) fn join(&mut self, other: &Knowledge) {
        for (mine, theirs) in [(&mut self.clock, &other.clock), (&mut self.fenced, &other.fenced)] {
            raise(mine, theirs);
        }
        for (cluster, clock) in &other.released {
            self.learn(*cluster, clock);
        }
    }

    /// Learns what a warp of another cluster knew when it released it.
    pub(super) fn learn_apart(&mut self, own: usize, (cluster, other): (usize, &Knowledge)) {
        for (cluster, clock) in other.released.iter().map(|(c, clock)| (*c, clock)).chain([(cluster, &other.clock)]) {
            if cluster != own {
                self.learn(cluster, clock);
            }
        }
    }

    fn learn(&mut self, cluster: usize, clock: &[u32]) {
        let mine = self.released.entry(cluster).or_default();
        mine.resize(clock.len(), 0);
        raise(mine, clock);
    }

    /// Up to which interval of a participant of another cluster the holder is ordered after it.
    pub(super) fn apart(&self, cluster: usize, participant: usize) -> u32 {
        self.released.get(&cluster).map_or(0, |clock| clock[participant])
    }

    pub(super) fn forget(&mut self) {
        self.clock.fill(0);
        self.fenced.fill(0);
        self.released.clear();
    }
}

fn raise(mine: &mut [u32], theirs: &[u32]) {
    mine.iter_mut().zip(theirs).for_each(|(a, b)| *a = (*a).max(*b));
}
