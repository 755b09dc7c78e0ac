//! Who runs next and when copies land: seeded, so that a failure replays.

use std::fmt;
use std::str::FromStr;

use crate::ir::Contract;

/// How warps are interleaved and copies land.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Copies land as they are issued; warps take turns at barriers only.
    Eager,
    /// Copies land when they are waited for and not before.
    Late,
    /// Copies land piece by piece at random moments; warps and CTAs are interleaved at random.
    Random,
    /// Like `Random`, but one warp of each CTA, picked by the seed, runs only when no other can.
    Starve,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 4] = [Policy::Eager, Policy::Late, Policy::Random, Policy::Starve];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Eager => "eager",
            Policy::Late => "late",
            Policy::Random => "random",
            Policy::Starve => "starve",
        }
    }
}

/// A name that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a schedule policy: expected eager, late, random or starve")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Policy::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| UnknownPolicy(s.to_owned()))
    }
}

/// Long enough that warps drift apart, short enough that they meet in every order.
const BURST: usize = 12;

/// A schedule and a size of the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The policy.
    pub policy: Policy,
    /// The seed of every random choice.
    pub seed: u64,
    /// CTAs of the launch, at least 1.
    pub ctas: usize,
    /// Statements, summed over warps, after which a run counts as endless.
    pub limit: u64,
    /// Statements that a warp executes in a row at most, at least 1, where a policy interleaves at random.
    pub burst: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { policy: Policy::Random, seed: 0, ctas: 2, limit: 50_000_000, burst: BURST }
    }
}

impl Settings {
    /// CTAs of a launch of this kernel: whole clusters.
    pub fn ctas_of(&self, contract: &Contract) -> usize {
        self.ctas.max(1).next_multiple_of(contract.cluster.max(1) as usize)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}, seed {}, {} CTAs", self.policy.name(), self.seed, self.ctas)?;
        if self.burst == BURST { Ok(()) } else { write!(f, ", bursts of {}", self.burst) }
    }
}

/// A small generator (SplitMix64, Steele, Lea and Flood 2014): replay must not depend on a library's version.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }
}
