//! "Did you mean": the known names that a wrong one is nearest to.

/// The `count` names of `known` with the fewest letters to change, nearest first. Ties stay in their order.
pub(crate) fn nearest(name: &str, known: impl IntoIterator<Item = String>, count: usize) -> Vec<String> {
    let mut known: Vec<(usize, String)> =
        known.into_iter().map(|known| (strsim::osa_distance(name, &known), known)).collect();
    known.sort_by_key(|(edits, _)| *edits);
    known.into_iter().take(count).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_come_first() {
        let known = || ["128x64", "128x128", "16x64"].map(String::from);
        assert_eq!(nearest("128x6", known(), 2), ["128x64", "16x64"]);
        assert_eq!(nearest("128x128", known(), 1), ["128x128"]);
        assert!(nearest("x", Vec::new(), 3).is_empty());
    }
}
