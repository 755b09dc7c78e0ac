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

/// Whether `name` is what `pattern` says, in which `*` stands for any letters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(middle, tail)| (Some(middle), tail));
    // The first place for each part leaves the most for the parts after it.
    for part in middle.into_iter().flat_map(|middle| middle.split('*')) {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(tail)
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

    #[test]
    fn a_star_is_any_letters() {
        for (pattern, name) in
            [("abc", "abc"), ("*", ""), ("a*", "abc"), ("*c", "abc"), ("a*c", "ac"), ("a*b*b", "abb"), ("**b**", "abc")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("abc", "abcd"), ("", "a"), ("a*a", "a"), ("*b*b*", "abc"), ("a*bb", "ab"), ("b*", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
