//! How a router spreads tokens over experts.

use clap::ValueEnum;
use ggemm_runtime::random::{Rng, Spread};

/// A way to spread rows over groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Router {
    /// The same for every group, as far as the rows divide
    Balanced,
    /// Every row picks any group with the same chance
    Uniform,
    /// Every row picks a group in proportion to 1 / rank^0.6
    Zipf,
    /// One group has all rows
    OneHot,
    /// Cuts at random rows; about one group in four is empty
    Ragged,
}

impl Router {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Router::Balanced => "balanced",
            Router::Uniform => "uniform",
            Router::Zipf => "zipf",
            Router::OneHot => "one-hot",
            Router::Ragged => "ragged",
        }
    }

    /// Sizes of `groups` groups with `rows` rows together.
    pub(crate) fn sizes(self, groups: usize, rows: usize, seed: u64) -> Vec<usize> {
        let mut rng = Rng::new(seed);
        match self {
            Router::Balanced => Spread::Balanced.sizes(groups, rows, &mut rng),
            Router::Zipf => Spread::Zipf.sizes(groups, rows, &mut rng),
            Router::OneHot => Spread::OneHot.sizes(groups, rows, &mut rng),
            Router::Ragged => Spread::Ragged.sizes(groups, rows, &mut rng),
            Router::Uniform => {
                let mut sizes = vec![0; groups];
                for _ in 0..rows {
                    if let Some(size) = sizes.get_mut(rng.below(groups)) {
                        *size += 1;
                    }
                }
                sizes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_router_spreads_all_rows_and_the_seed_decides() {
        for router in Router::value_variants() {
            for (groups, rows) in [(1, 0), (1, 7), (5, 3), (8, 1000)] {
                let sizes = router.sizes(groups, rows, 3);
                assert_eq!((sizes.len(), sizes.iter().sum::<usize>()), (groups, rows), "{router:?}");
                assert_eq!(sizes, router.sizes(groups, rows, 3));
            }
            let name = router.to_possible_value().map(|v| v.get_name().to_owned());
            assert_eq!(name.as_deref(), Some(router.name()));
        }
        assert_ne!(Router::Uniform.sizes(8, 1000, 1), Router::Uniform.sizes(8, 1000, 2));
        assert_eq!(Router::OneHot.sizes(8, 9, 1).iter().max(), Some(&9));
    }
}
