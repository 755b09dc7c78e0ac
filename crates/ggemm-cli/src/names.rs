//! "Did you mean": the known names that a wrong one is nearest to.

/// The `count` names of `known` with the fewest letters to change, nearest first. Ties stay in their order.
pub(crate) fn nearest(name: &str, known: impl IntoIterator<Item = String>, count: usize) -> Vec<String> {
    let mut known: Vec<(usize, String)> =
        known.into_iter().map(|known| (strsim::osa_distance(name, &known), known)).collect();
    known.sort_by_key(|(edits, _)| *edits);
    known.into_iter().take(count).map(|(_, name)| name).collect()
}

/// Of these, the ones that `name` may have been meant to be: at most half of the letters differ. Others would only
/// confuse.
pub(crate) fn likely(name: &str, known: impl IntoIterator<Item = String>, count: usize) -> Vec<String> {
    let mut near = nearest(name, known, count);
    near.retain(|near| 2 * strsim::osa_distance(name, near) <= near.chars().count());
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_come_first() {
        let known = || ["128x64", "128x128", "16x64"].map(String::from);
        assert_eq!(nearest("16x6", known(), 2), ["16x64", "128x64"]);
        assert_eq!(nearest("128x128", known(), 1), ["128x128"]);
        assert!(nearest("x", Vec::new(), 3).is_empty());
        assert_eq!(likely("128x6", known(), 3), ["128x64", "128x128"]);
        assert!(likely("forward", known(), 3).is_empty());
    }
}
