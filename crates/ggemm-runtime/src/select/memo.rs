//! Choices that were made before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ggemm_codegen::{Arch, Problem};

use super::Selection;

/// What a planner chose, by problem. It is that of one state of the planner: what changes the planner starts another.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<HashMap<Problem, Vec<(Arch, Selection)>>>);

/// Problems that are kept. Where M is another in every call they would be without end.
const MOST: usize = 4096;

impl Memo {
    pub(crate) fn get(&self, problem: &Problem, arch: Arch) -> Option<Selection> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(problem)?.iter().find(|(of, _)| *of == arch).map(|(_, selection)| *selection)
    }

    pub(crate) fn keep(&self, problem: &Problem, arch: Arch, selection: Selection) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        let of_problem = known.entry(problem.clone()).or_default();
        if !of_problem.iter().any(|(of, _)| *of == arch) {
            of_problem.push((arch, selection));
        }
    }
}
