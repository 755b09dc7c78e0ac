//! A suite of layers in a file, as `benches/gpu/suite.json` is one. How rows are spread over groups decides no kernel.

use std::path::Path;

use ggemm_codegen::Problem;
use ggemm_runtime::tune::Suite;

use super::CacheError;

/// The problems of the suite in this file, one an operation.
pub(super) fn read(path: &Path) -> Result<Vec<Problem>, CacheError> {
    let wrong = |source| CacheError::Suite { path: path.to_owned(), source };
    let suite = Suite::read(path).map_err(wrong)?;
    let mut problems = Vec::new();
    for layer in &suite.layers {
        let tasks = layer.tasks(&|problem| problem).map_err(wrong)?;
        problems.extend(tasks.iter().map(|task| task.problem().clone()));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benches_suite_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/gpu/suite.json");
        let problems = read(&path).unwrap();
        // 14 layers, two of them forward alone.
        assert_eq!(problems.len(), 12 * 3 + 2);
        assert_eq!(problems[0], Problem::forward(4, 6144, 512, 256));
        assert_eq!(problems[37], Problem::forward(64, 256, 4096, 7168));
    }
}
