//! Times of candidates that take turns.
//!
//! A card at its limit of power clocks by what it ran in the last milliseconds: behind a cool launch a hot one looks up
//! to 7 % faster than it is. So a turn is a block of launches of one candidate, of which the first warm the card up, and
//! whose turn it is is drawn anew in each round.

use std::time::Duration;

use super::bench::Clock;
use crate::error::Error;
use crate::random::Rng;

/// How long turns are, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Turns of each candidate, of which the median counts.
    pub rounds: usize,
    /// How long a turn lasts before it counts.
    pub warm_up: Duration,
    /// How long it then counts.
    pub counted: Duration,
    /// Launches that each of both parts has at least, however long they take. No time to warm up is no launch.
    pub fewest: usize,
    /// Seed of the order.
    pub seed: u64,
}

impl Turns {
    const MOST: usize = 10_000;

    /// Launches that fill a span.
    fn launches(&self, span: Duration, each: Duration) -> usize {
        let count = span.as_secs_f64() / each.as_secs_f64().max(1e-9);
        (count.round() as usize).clamp(self.fewest.clamp(1, Turns::MOST), Turns::MOST)
    }
}

impl Default for Turns {
    fn default() -> Self {
        Turns { rounds: 9, warm_up: Duration::from_millis(4), counted: Duration::from_millis(24), fewest: 3, seed: 0 }
    }
}

/// The times of each candidate, for each round the median of its turn, in ascending order. `progress` is called with the
/// part done, from 0 to 1.
///
/// # Errors
/// What the clock returns.
pub fn take_turns(
    clock: &mut dyn Clock,
    candidates: usize,
    turns: &Turns,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Vec<Duration>>, Error> {
    let mut spans = Vec::with_capacity(candidates);
    for candidate in 0..candidates {
        spans.push(clock.overhead() + middle(clock.block(candidate, turns.fewest.max(1))?));
    }
    let rounds = turns.rounds.max(1);
    let mut rng = Rng::new(turns.seed);
    let mut order: Vec<usize> = (0..candidates).collect();
    let mut times = vec![Vec::with_capacity(rounds); candidates];
    for round in 0..rounds {
        for i in (1..order.len()).rev() {
            order.swap(i, rng.below(i + 1));
        }
        for (place, &candidate) in order.iter().enumerate() {
            if !turns.warm_up.is_zero() {
                clock.block(candidate, turns.launches(turns.warm_up, spans[candidate]))?;
            }
            let counted = clock.block(candidate, turns.launches(turns.counted, spans[candidate]))?;
            times[candidate].push(middle(counted));
            progress((round * candidates + place + 1) as f64 / (rounds * candidates) as f64);
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    Ok(times)
}

/// Of sorted times; of none 0.
pub fn median(times: &[Duration]) -> Duration {
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    median(&times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::Wrong;

    /// A card that the last candidate leaves hot or cool: each launch moves its heat towards the candidate's own, and
    /// takes longer the hotter the card is.
    struct Card {
        seconds: Vec<f64>,
        heats: Vec<f64>,
        heat: f64,
        order: Vec<usize>,
        rng: Rng,
    }

    impl Card {
        fn new(seconds: &[f64], heats: &[f64]) -> Self {
            let (seconds, heats) = (seconds.to_vec(), heats.to_vec());
            Card { seconds, heats, heat: 0.5, order: Vec::new(), rng: Rng::new(1) }
        }
    }

    impl Clock for Card {
        fn set_draw(&mut self, _: usize) {}

        fn block(&mut self, candidate: usize, launches: usize) -> Result<Vec<Duration>, Error> {
            self.order.push(candidate);
            let mut times = Vec::new();
            for _ in 0..launches {
                let seconds = self.seconds[candidate];
                // Within a millisecond the heat is the candidate's own.
                self.heat += (self.heats[candidate] - self.heat) * (seconds / 1e-3).min(1.0);
                let noise = 1.0 + 0.01 * f64::from(self.rng.normal());
                times.push(Duration::from_secs_f64(seconds * (1.0 + 0.07 * self.heat) * noise));
            }
            Ok(times)
        }

        fn verify(&mut self, _: usize) -> Result<(), Wrong> {
            Ok(())
        }
    }

    #[test]
    fn each_is_timed_as_hot_as_it_makes_the_card() {
        let mut card = Card::new(&[100e-6, 98e-6, 300e-6], &[0.0, 1.0, 0.5]);
        let mut parts = Vec::new();
        let turns = Turns::default();
        let times = take_turns(&mut card, 3, &turns, &mut |part| parts.push(part)).unwrap();
        let medians: Vec<f64> = times.iter().map(|times| median(times).as_secs_f64()).collect();
        for (found, expected) in medians.iter().zip([100e-6, 98e-6 * 1.07, 300e-6 * 1.035]) {
            assert!((found / expected - 1.0).abs() < 0.005, "{medians:?}");
        }
        assert!(times.iter().all(|times| times.len() == turns.rounds && times.is_sorted()));
        assert!(parts.is_sorted() && parts.last() == Some(&1.0));
    }

    #[test]
    fn turns_come_in_an_order_of_their_own_each_round() {
        let mut card = Card::new(&[1e-3; 4], &[0.5; 4]);
        take_turns(&mut card, 4, &Turns { rounds: 6, ..Turns::default() }, &mut |_| ()).unwrap();
        // The first four find out how long a launch takes; of each turn the first block warms up.
        let order: Vec<usize> = card.order[4..].iter().step_by(2).copied().collect();
        let mut rounds: Vec<&[usize]> = order.chunks(4).collect();
        for round in &rounds {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
        }
        rounds.sort();
        rounds.dedup();
        assert!(rounds.len() > 2, "{rounds:?}");
    }

    #[test]
    fn a_turn_lasts_as_long_whatever_a_launch_takes() {
        let (turns, span) = (Turns::default(), Duration::from_millis(24));
        assert_eq!(turns.launches(span, Duration::from_micros(24)), 1000);
        assert_eq!(turns.launches(span, Duration::from_secs(1)), turns.fewest);
        assert_eq!(turns.launches(span, Duration::ZERO), Turns::MOST);
        let mut card = Card::new(&[1e-3], &[0.5]);
        let cold = Turns { rounds: 2, warm_up: Duration::ZERO, counted: span, fewest: 1, seed: 0 };
        take_turns(&mut card, 1, &cold, &mut |_| ()).unwrap();
        // One launch to find out how long it takes, and two turns without a part to warm up.
        assert_eq!(card.order.len(), 3);
        assert_eq!(median(&[]), Duration::ZERO);
        assert!(take_turns(&mut Card::new(&[], &[]), 0, &Turns::default(), &mut |_| ()).unwrap().is_empty());
    }
}
