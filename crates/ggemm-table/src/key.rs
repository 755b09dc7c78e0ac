//! What an entry is found by, and how far two problems are from each other.

use std::fmt;
use std::str::FromStr;

use ggemm_codegen::{GroupForm, IndexType, Problem, Tail};
use serde::{Deserialize, Serialize};

/// How rows are spread over groups, as far as it decides which variant is fastest.
///
/// Sizes are known on the device alone, so that nobody can look them up: a planner is told which of these to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// The largest group has at most one and a half times the mean.
    Even,
    /// As a trained router spreads them: some groups have several times the mean. The default.
    #[default]
    Skewed,
    /// One of several groups has more than three quarters of all rows.
    Single,
}

impl Routing {
    /// All of them.
    pub const ALL: [Routing; 3] = [Routing::Even, Routing::Skewed, Routing::Single];

    /// `even`, `skewed` or `single`.
    pub const fn name(self) -> &'static str {
        match self {
            Routing::Even => "even",
            Routing::Skewed => "skewed",
            Routing::Single => "single",
        }
    }

    /// What these rows of each group are.
    pub fn of(sizes: &[usize]) -> Self {
        let largest = sizes.iter().max().map_or(0, |size| *size as u128);
        let total: u128 = sizes.iter().map(|size| *size as u128).sum();
        // Rows come whole: where there are few, the mean is rounded up.
        let mean = total.div_ceil(sizes.len().max(1) as u128);
        match () {
            () if 2 * largest <= 3 * mean => Routing::Even,
            () if 4 * largest > 3 * total => Routing::Single,
            () => Routing::Skewed,
        }
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Routing`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a routing: expected even, skewed or single")]
pub struct UnknownRouting(pub String);

impl FromStr for Routing {
    type Err = UnknownRouting;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Routing::ALL.into_iter().find(|r| r.name() == s).ok_or_else(|| UnknownRouting(s.to_owned()))
    }
}

/// A problem as far as it decides which variant is fastest.
///
/// M counts to the nearest half power of two, of strides only their alignment. Sizes or ends, their integers and the
/// tail do not count: a variant reads them all alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The problem, without what does not count. A field that problems may get one day counts until this says
    /// otherwise.
    problem: Problem,
    /// Bytes that divide the offset of each row.
    alignment: u32,
    routing: Routing,
}

impl Key {
    /// The key of `problem`, with rows spread like this.
    pub fn new(problem: &Problem, routing: Routing) -> Self {
        let alignment = problem.contraction().stride_alignment();
        let mut problem = problem.clone().group_array(GroupForm::Sizes, IndexType::I32).tail(Tail::Undeclared);
        problem.m = bucket(problem.m);
        problem.x_row_stride = None;
        problem.y_row_stride = None;
        problem.w_row_stride = None;
        problem.w_group_stride = None;
        Key { problem, alignment, routing }
    }

    /// How far another problem is; `None` where operation, types, layouts or alignment differ, which no distance
    /// bridges.
    pub fn distance(&self, other: &Key) -> Option<Distance> {
        let (a, b) = (&self.problem, &other.problem);
        let mut alike = b.clone();
        (alike.groups, alike.m, alike.n, alike.k) = (a.groups, a.m, a.n, a.k);
        if alike != *a || self.alignment != other.alignment {
            return None;
        }
        let routing = if self.routing == other.routing { 0.0 } else { OTHER_ROUTING };
        let rows_of_group = |p: &Problem| p.m.max(1) as f64 / p.groups.max(1) as f64;
        Some(Distance {
            layer: octaves(a.n as f64, b.n as f64) + octaves(a.k as f64, b.k as f64),
            batch: octaves(rows_of_group(a), rows_of_group(b))
                + HALF * octaves(a.groups as f64, b.groups as f64)
                + routing,
        })
    }
}

/// Rows that are spread otherwise are as far as groups whose rows are half an octave more.
const OTHER_ROUTING: f64 = 0.5;

/// As many groups more, each with as many rows, change less than any other dimension does.
const HALF: f64 = 0.5;

/// How far two problems are from each other: a sum of octaves, which are powers of two between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Distance {
    /// The octaves between the two N and between the two K.
    pub layer: f64,
    /// The octaves between the mean rows of a group, half of those between the two G, and half of one where rows are
    /// spread otherwise.
    pub batch: f64,
}

impl Distance {
    /// That of a problem from itself.
    pub const NONE: Distance = Distance { layer: 0.0, batch: 0.0 };

    /// The whole of it.
    pub fn total(self) -> f64 {
        self.layer + self.batch
    }
}

fn octaves(a: f64, b: f64) -> f64 {
    let logarithm = |x: f64| if x > 0.0 { x.log2() } else { 0.0 };
    (logarithm(a) - logarithm(b)).abs()
}

/// The half power of two that is nearest, as a whole number.
fn bucket(m: usize) -> usize {
    if m == 0 {
        return 0;
    }
    let halves = ((m as f64).log2() * 2.0).round();
    (halves / 2.0).exp2().round() as usize
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Dtype, WeightLayout, WeightSharing};

    use super::*;

    fn key(problem: &Problem) -> Key {
        Key::new(problem, Routing::Skewed)
    }

    fn base() -> Problem {
        Problem::forward(8, 4096, 1536, 2048)
    }

    #[test]
    fn buckets_are_half_powers_of_two() {
        for (m, expected) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (4000, 4096), (5000, 5793), (6000, 5793)]
        {
            assert_eq!(bucket(m), expected, "{m}");
        }
        // A bucket's own number is in it.
        for m in (1..5000).chain([Problem::MAX_DIMENSION]) {
            assert_eq!(bucket(bucket(m)), bucket(m), "{m}");
        }
    }

    #[test]
    fn sizes_say_how_rows_are_spread() {
        for (sizes, expected) in [
            (&[][..], Routing::Even),
            (&[0, 0], Routing::Even),
            (&[7], Routing::Even),
            (&[10, 11, 12, 10], Routing::Even),
            (&[1, 0, 1, 1], Routing::Even),
            (&[20, 5, 5, 10], Routing::Skewed),
            (&[0, 100, 0, 0], Routing::Single),
            (&[usize::MAX, usize::MAX], Routing::Even),
        ] {
            assert_eq!(Routing::of(sizes), expected, "{sizes:?}");
        }
        for routing in Routing::ALL {
            assert_eq!(routing.name().parse(), Ok(routing));
        }
    }

    #[test]
    fn what_decides_the_speed_tells_and_nothing_else() {
        let same = [
            base().group_array(GroupForm::Ends, IndexType::I64),
            base().tail(Tail::Untouched),
            base().x_row_stride(2056),
            Problem::forward(8, 4200, 1536, 2048),
        ];
        for problem in same {
            assert_eq!(key(&problem), key(&base()), "{problem}");
        }
        let apart = [
            base().with_operation(ggemm_codegen::Operation::GradX),
            base().operand(Dtype::F16),
            base().output(Dtype::F32),
            base().weight_layout(WeightLayout::Kn),
            base().weight_sharing(WeightSharing::Shared),
            base().x_row_stride(2049),
        ];
        for problem in apart {
            assert_ne!(key(&problem), key(&base()), "{problem}");
            assert_eq!(key(&problem).distance(&key(&base())), None, "{problem}");
        }
        assert_ne!(Key::new(&base(), Routing::Even), key(&base()));
    }

    #[test]
    fn distances_count_octaves() {
        let distance = |problem: &Problem| key(&base()).distance(&key(problem)).unwrap();
        assert_eq!(distance(&base()), Distance { layer: 0.0, batch: 0.0 });
        assert_eq!(distance(&Problem::forward(8, 16384, 1536, 2048)), Distance { layer: 0.0, batch: 2.0 });
        // Twice the groups with half the rows each, and with as many.
        assert_eq!(distance(&Problem::forward(16, 4096, 1536, 2048)), Distance { layer: 0.0, batch: 1.5 });
        assert_eq!(distance(&Problem::forward(16, 8192, 1536, 2048)), Distance { layer: 0.0, batch: 0.5 });
        assert_eq!(distance(&Problem::forward(8, 4096, 3072, 2048)), Distance { layer: 1.0, batch: 0.0 });
        assert_eq!(distance(&Problem::forward(8, 4096, 1536, 1024)).total(), 1.0);
        let even = Key::new(&base(), Routing::Even);
        assert_eq!(even.distance(&key(&base())), Some(Distance { layer: 0.0, batch: 0.5 }));
        // Nothing at all has a distance too.
        assert!(distance(&Problem::forward(8, 0, 0, 2048)).total().is_finite());
    }
}
