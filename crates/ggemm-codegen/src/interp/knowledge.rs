//! What a warp knows of the others: vector clocks (Mattern 1989; FastTrack, Flanagan and Freund 2009).
//!
//! Everything in a cluster that others can be ordered after is a *participant* with a counter: a warp counts its own
//! intervals, an mbarrier its ended phases, the grids before this one count as one. Synchronization joins clocks.

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
}

impl Knowledge {
    /// Of nobody.
    pub(super) fn none(participants: &Participants) -> Self {
        Knowledge { clock: vec![0; participants.count()], fenced: vec![0; participants.ctas * participants.warps] }
    }

    /// Of a warp that starts: its first interval has begun.
    pub(super) fn of_warp(participants: &Participants, own: usize) -> Self {
        let mut knowledge = Knowledge::none(participants);
        knowledge.clock[own] = 1;
        knowledge
    }

    pub(super) fn join(&mut self, other: &Knowledge) {
        for (mine, theirs) in [(&mut self.clock, &other.clock), (&mut self.fenced, &other.fenced)] {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a = (*a).max(*b));
        }
    }

    pub(super) fn forget(&mut self) {
        self.clock.fill(0);
        self.fenced.fill(0);
    }
}
