//! How far a measurement may be off.

/// The middle of these values; of none 0.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// The standard deviation of one of these values, in parts of their median: half again the mean distance from it, the
/// furthest value left out, so that one round that something else disturbed does not count. Fewer than three values
/// say nothing of it: 0.
pub fn deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    if values.len() < 3 || middle <= 0.0 {
        return 0.0;
    }
    let mut distances: Vec<f64> = values.iter().map(|value| (value / middle - 1.0).abs()).collect();
    distances.sort_by(f64::total_cmp);
    distances.pop();
    1.5 * distances.iter().sum::<f64>() / distances.len() as f64
}

/// The standard error of the median of these values, in parts of it.
pub(crate) fn of_median(values: &[f64]) -> f64 {
    // (π / 2)^½ times the mean's.
    1.2533 * deviation(values) / (values.len().max(1) as f64).sqrt()
}

/// Where most of some values lie, and how far they scatter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The middle.
    pub at: f64,
    /// The standard deviation.
    pub scatter: f64,
}

impl Level {
    /// Values below this number are no crowd.
    const FEWEST: usize = 8;

    /// Of values of which a third may be anywhere: mean and deviation of those that are near the shortest stretch with
    /// half of all (Rousseeuw's least median of squares, reweighted). `None` for fewer than eight.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count < Self::FEWEST {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let half = count.div_ceil(2);
        let stretches = sorted.windows(half).map(|stretch| (stretch[0], stretch[half - 1]));
        let shortest = stretches.min_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
        let (least, most) = shortest.unwrap_or((0.0, 0.0));
        // Of a normal distribution it is 1.349 deviations long; of few values less, for which Rousseeuw and Leroy give
        // the factor.
        let few = 1.0 + 5.0 / (count - 1) as f64;
        let middle = (least + most) / 2.0;
        let far = 2.5 * few * (most - least) / 1.349;
        // At least the stretch itself is near.
        let near: Vec<f64> = sorted.into_iter().filter(|value| (value - middle).abs() <= far).collect();
        let number = near.len().max(1) as f64;
        let at = near.iter().sum::<f64>() / number;
        let square = near.iter().map(|value| (value - at).powi(2)).sum::<f64>() / number;
        Some(Level { at, scatter: few * square.sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use ggemm_runtime::random::Rng;

    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!([median(&[]), median(&[3.0]), median(&[4.0, 1.0, 2.0]), median(&[4.0, 2.0])], [0.0, 3.0, 2.0, 3.0]);
    }

    /// Normal values of a known deviation, alone and with one that is far off.
    #[test]
    fn the_deviation_is_found_whatever_one_value_is() {
        let mut rng = Rng::new(1);
        for rounds in [5, 9, 15, 31] {
            for outlier in [false, true] {
                let trials = 400;
                let mean: f64 = (0..trials)
                    .map(|_| {
                        let mut values: Vec<f64> =
                            (0..rounds).map(|_| 50.0 * (1.0 + 0.01 * f64::from(rng.normal()))).collect();
                        if outlier {
                            values[0] = 80.0;
                        }
                        deviation(&values)
                    })
                    .sum::<f64>()
                    / f64::from(trials);
                assert!((0.0065..0.015).contains(&mean), "{rounds} {outlier}: {mean}");
            }
        }
        assert_eq!([deviation(&[]), deviation(&[1.0, 2.0]), deviation(&[0.0; 4])], [0.0; 3]);
    }

    #[test]
    fn a_crowd_is_found_beside_half_as_many_others_again() {
        let mut rng = Rng::new(2);
        let mut values: Vec<f64> = (0..30).map(|_| 0.03 + 0.01 * f64::from(rng.normal())).collect();
        values.extend([0.4; 10]);
        let level = Level::of(&values).unwrap();
        assert!((level.at - 0.03).abs() < 0.01 && (0.005..0.025).contains(&level.scatter), "{level:?}");
        assert_eq!(Level::of(&[1.0; 7]), None);
        assert_eq!(Level::of(&[1.0; 8]), Some(Level { at: 1.0, scatter: 0.0 }));
    }
}
