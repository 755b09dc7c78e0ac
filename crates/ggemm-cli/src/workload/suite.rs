//! `--suite`: a file of layers, or one of those that are part of the command.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use ggemm_runtime::tune::{Suite, SuiteError};

/// Where a suite is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SuiteArg {
    /// Layers of well-known models, which the project itself measures.
    Public,
    /// Layers of other models, and odd ones: what choices are judged by that nobody fitted to them.
    HeldOut,
    /// Layers of no model, spread over what models may have: what choices for all others are corrected by.
    Calibration,
    /// A file.
    File(PathBuf),
}

impl SuiteArg {
    /// Where a suite is asked for and none is named.
    pub(crate) const DEFAULT: &str = "public";

    /// The layers.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub(crate) fn read(&self) -> Result<Suite, SuiteError> {
        match self {
            SuiteArg::Public => Suite::parse(include_str!("../../suites/public.json")),
            SuiteArg::HeldOut => Suite::parse(include_str!("../../suites/held-out.json")),
            SuiteArg::Calibration => Suite::parse(include_str!("../../suites/calibration.json")),
            SuiteArg::File(path) => Suite::read(path),
        }
    }
}

impl FromStr for SuiteArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "public" => SuiteArg::Public,
            "held-out" => SuiteArg::HeldOut,
            "calibration" => SuiteArg::Calibration,
            path => SuiteArg::File(path.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ggemm_runtime::tune::Key;

    use super::*;

    fn keys(suite: &SuiteArg) -> HashSet<Key> {
        let layers = suite.read().unwrap().layers;
        layers.iter().flat_map(|layer| layer.tasks(&|problem| problem).unwrap()).map(|task| task.key()).collect()
    }

    #[test]
    fn built_in_suites_are_what_they_say() {
        let public = SuiteArg::Public.read().unwrap();
        let operations: usize = public.layers.iter().map(|layer| layer.operations.len()).sum();
        // 14 layers, two of them forward alone.
        assert_eq!((public.layers.len(), operations), (14, 12 * 3 + 2));
        let held_out = SuiteArg::HeldOut.read().unwrap();
        assert!(held_out.layers.len() >= 40, "{}", held_out.layers.len());
        let names: HashSet<&str> = held_out.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names.len(), held_out.layers.len(), "a name is one case's");
        assert!(held_out.layers.iter().all(|layer| layer.source.is_some()), "each shape is from somewhere");
    }

    /// What is held out is in no way what is tuned: no such problem as tables know it, and no layer of the calibration's
    /// with other rows.
    #[test]
    fn what_is_held_out_is_neither_public_nor_of_the_calibration() {
        let held_out = keys(&SuiteArg::HeldOut);
        assert!(held_out.is_disjoint(&keys(&SuiteArg::Public)) && held_out.is_disjoint(&keys(&SuiteArg::Calibration)));
        let layers = |suite: &SuiteArg| -> HashSet<(usize, usize)> {
            suite.read().unwrap().layers.iter().map(|layer| (layer.n, layer.k)).collect()
        };
        assert!(layers(&SuiteArg::HeldOut).is_disjoint(&layers(&SuiteArg::Calibration)));
    }
}
