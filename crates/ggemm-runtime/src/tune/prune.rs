//! Which candidates are worth timing.

use crate::select::Candidate;

/// Of candidates in the order of a planner's preference, those whose predicted time is within a factor of the least,
/// best predicted first. There is always one, where there is any.
pub fn worth_timing(candidates: &[Candidate], within: f64) -> Vec<Candidate> {
    let seconds = |candidate: &Candidate| candidate.prediction.seconds;
    let least = candidates.iter().map(seconds).min_by(f64::total_cmp).unwrap_or_default();
    let mut worth: Vec<Candidate> =
        candidates.iter().filter(|candidate| seconds(candidate) <= least * within.max(1.0)).copied().collect();
    worth.sort_by(|a, b| seconds(a).total_cmp(&seconds(b)));
    worth
}

#[cfg(test)]
mod tests {
    use ggemm_codegen::{Arch, Problem};

    use super::*;
    use crate::{Device, Planner};

    #[test]
    fn those_within_the_factor_are_kept() {
        let problem = Problem::forward(8, 4096, 1536, 2048);
        let explanation = Planner::new(Device::cpu()).explain(&problem, Arch::Sm90a).unwrap();
        let all = explanation.candidates();
        let least = all.iter().map(|c| c.prediction.seconds).min_by(f64::total_cmp).unwrap();
        for within in [0.0, 1.0, 1.2, 2.0, f64::INFINITY] {
            let worth = worth_timing(all, within);
            assert!(worth.is_sorted_by_key(|c| c.prediction.seconds) && !worth.is_empty());
            let count = all.iter().filter(|c| c.prediction.seconds <= least * within.max(1.0)).count();
            assert_eq!(worth.len(), count, "{within}");
        }
        assert_eq!(worth_timing(all, f64::INFINITY).len(), all.len());
        assert!(worth_timing(&[], 2.0).is_empty());
    }
}
