//! A suite of layers in a file, as `benches/gpu/suite.json` is one.

use std::path::Path;

use ggemm_codegen::{Operation, Problem, ProblemError};
use ggemm_runtime::random::Spread;
use serde::Deserialize;

use super::CacheError;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    cases: Vec<Case>,
}

/// A layer in bf16, with weights [G, N, K]. How its rows are spread over groups decides no kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    groups: usize,
    m: usize,
    n: usize,
    k: usize,
    #[serde(default, rename = "sizes")]
    _sizes: Vec<usize>,
    #[serde(default)]
    spread: Option<String>,
    #[serde(default)]
    operations: Option<Vec<Operation>>,
}

/// The problems of the suite in this file, one an operation.
pub(super) fn read(path: &Path) -> Result<Vec<Problem>, CacheError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| CacheError::SuiteFile { path: path.to_owned(), source })?;
    parse(&text).map_err(|reason| CacheError::Suite { path: path.to_owned(), reason })
}

fn parse(text: &str) -> Result<Vec<Problem>, String> {
    let suite: Suite = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut problems = Vec::new();
    for case in &suite.cases {
        let wrong = |reason: String| format!("case `{}`: {reason}", case.name);
        if let Some(spread) = &case.spread {
            spread.parse::<Spread>().map_err(|error| wrong(error.to_string()))?;
        }
        for &operation in case.operations.as_deref().unwrap_or(&Operation::ALL) {
            let problem = Problem::new(operation, case.groups, case.m, case.n, case.k);
            problem.validate().map_err(|error: ProblemError| wrong(error.to_string()))?;
            problems.push(problem);
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benches_suite_is_one() {
        let text = include_str!("../../../../../benches/gpu/suite.json");
        let problems = parse(text).unwrap();
        // 14 layers, two of them forward alone.
        assert_eq!(problems.len(), 12 * 3 + 2);
        assert_eq!(problems[0], Problem::forward(4, 6144, 512, 256));
        assert_eq!(problems[37], Problem::forward(64, 256, 4096, 7168));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let case = |fields: &str| parse(&format!(r#"{{"cases": [{{"name": "a", {fields}}}]}}"#)).unwrap_err();
        assert!(case(r#""groups": 1"#).starts_with("missing field `m`"));
        assert!(case(r#""groups": 0, "m": 1, "n": 1, "k": 1"#).starts_with("case `a`: G = 0"));
        assert!(case(r#""groups": 1, "m": 1, "n": 1, "k": 1, "spread": "even""#).starts_with("case `a`: `even`"));
        assert!(case(r#""groups": 1, "m": 1, "n": 1, "k": 1, "tail": 1"#).starts_with("unknown field `tail`"));
    }
}
