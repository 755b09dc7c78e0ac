//! The sizes of groups, as far as the host knows them: how many there are, the rows of all, and how a router spreads them.

use crate::contraction::Contraction;
use crate::spec::Ragged;

/// How unlike the sizes of groups are that a router makes: the group of rank i has rows in proportion to 1 / i^0.6.
pub const SKEW: f64 = 0.6;

/// Parts into which the ranks of groups are cut, each of which counts as rows spread evenly from its smallest group's to
/// its largest's.
const PARTS: usize = 8;

/// How far a group's rows are from what its rank says, either way, in square roots of them: rows are thrown at random.
const CHANCE: f64 = 1.7;

/// How rows are spread over groups, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All groups have as many rows, but for one.
    Even,
    /// As a router spreads them.
    Routed,
}

/// The sizes of a problem's groups. What they say of one variant's tiles they say of all: they are counted out once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    groups: f64,
    mean: f64,
    parts: [Part; PARTS],
    /// Parts that there are.
    count: usize,
}

/// Groups whose ranks follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Part {
    /// Their mean.
    size: f64,
    /// How far they are from it.
    reach: f64,
    /// How many of them have rows.
    occupied: f64,
}

impl Sizes {
    /// Those of a problem's groups, along the dimension that groups divide. Where all share one weight, a ragged reduction is
    /// one.
    pub fn of(problem: &Contraction, spread: Spread) -> Self {
        let (ragged, merged) = match problem.ragged {
            Ragged::Rows => (problem.rows, false),
            Ragged::Reduction => (problem.reduction, problem.weight_shared),
        };
        let groups = if merged { 1.0 } else { problem.groups as f64 };
        Sizes::new(ragged as f64 / groups, groups, spread)
    }

    fn new(mean: f64, groups: f64, spread: Spread) -> Self {
        let mut sizes = Sizes { groups, mean, parts: [Part::default(); PARTS], count: 0 };
        if mean <= 0.0 || groups <= 1.0 || spread == Spread::Even {
            return sizes;
        }
        // The rows of all groups up to a rank, but for a factor: sums over ranks as integrals.
        let up_to = |rank: f64| rank.powf(1.0 - SKEW) / (1.0 - SKEW);
        sizes.count = (groups as usize).min(PARTS);
        let groups_of_part = groups / sizes.count as f64;
        let (mut rank, mut rows) = (0.5, up_to(0.5));
        let factor = mean * groups / (up_to(groups + 0.5) - rows);
        for (part, place) in sizes.parts.iter_mut().zip(1..=sizes.count) {
            let next_rank = 0.5 + place as f64 * groups_of_part;
            let next_rows = up_to(next_rank);
            let size = factor * (next_rows - rows) / groups_of_part;
            let spread = match groups_of_part > 1.0 {
                true => factor * (1.0 - SKEW) * (rows / rank - next_rows / next_rank) / 2.0,
                false => 0.0,
            };
            // As far below as above, so that the mean stays.
            let reach = (spread + CHANCE * size.sqrt()).min(size);
            *part = Part { size, reach, occupied: 1.0 - (-size).exp() };
            (rank, rows) = (next_rank, next_rows);
        }
        sizes
    }

    /// Groups that have tiles of their own.
    pub fn groups(&self) -> f64 {
        self.groups
    }

    /// Whether some groups have more rows than others.
    pub fn differ(&self) -> bool {
        self.count > 0
    }

    /// Tiles of `side` that a group needs on average.
    pub fn tiles(&self, side: f64) -> f64 {
        if self.count == 0 {
            // Rows come whole: some groups have one more than the others.
            let (least, more) = (self.mean.floor(), self.mean.fract());
            return (least / side).ceil() * (1.0 - more) + ((least + 1.0) / side).ceil() * more;
        }
        let of_part = |part: &Part| {
            let (least, most) = ((part.size - part.reach) / side, (part.size + part.reach) / side);
            let whole = (whole_up_to(most) - whole_up_to(least)) / (most - least);
            // No more groups have a tile than have rows, and no tile has more rows than its side.
            (whole * part.occupied).max(part.size / side)
        };
        self.parts.iter().take(self.count).map(of_part).sum::<f64>() / self.count as f64
    }
}

/// The integral of ⌈x⌉ from 0.
fn whole_up_to(x: f64) -> f64 {
    let whole = x.floor();
    whole * (whole + 1.0) / 2.0 + (whole + 1.0) * (x - whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as groups have whose sizes are in proportion to 1 / rank^0.6, but for chance.
    #[test]
    fn tiles_are_those_that_a_router_makes() {
        for (groups, mean, side) in [8_u32, 64, 128, 512]
            .into_iter()
            .flat_map(|groups| [4.0, 20.0, 60.0, 300.0, 2000.0].map(|mean| (groups, mean)))
            .flat_map(|(groups, mean)| [64.0, 128.0, 256.0].map(|side| (groups, mean, side)))
        {
            let shares: Vec<f64> = (1..=groups).map(|rank| f64::from(rank).powf(-SKEW)).collect();
            let of_one = mean * f64::from(groups) / shares.iter().sum::<f64>();
            let tiles: f64 = shares.iter().map(|share| (of_one * share / side).ceil()).sum();
            let expected = Sizes::new(mean, f64::from(groups), Spread::Routed).tiles(side) * f64::from(groups);
            assert!((expected / tiles - 1.0).abs() < 0.15, "{expected} of {tiles}: {groups} groups of {mean}, {side}");
        }
        let routed = |mean, groups| Sizes::new(mean, groups, Spread::Routed).tiles(128.0);
        assert_eq!([routed(130.0, 1.0), routed(0.0, 8.0)], [2.0, 0.0]);
        // Of few rows some groups have none.
        assert!((0.3..0.5).contains(&routed(0.5, 64.0)));
    }

    #[test]
    fn even_groups_have_as_many_tiles_but_for_a_row() {
        let even = |mean| Sizes::new(mean, 8.0, Spread::Even).tiles(128.0);
        assert_eq!([0.0, 0.25, 1.0, 128.0, 128.5, 129.0, 300.75].map(even), [0.0, 0.25, 1.0, 1.0, 1.5, 2.0, 3.0]);
    }
}
