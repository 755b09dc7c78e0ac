//! "Did you mean": the known word that a misspelt one is nearest to.

/// The word of `known` that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (near, edits) = known.iter().map(|known| (*known, edits(word, known))).min_by_key(|(_, edits)| *edits)?;
    // A third of the letters may be wrong; beyond that a guess confuses more than a list of all words.
    let allowed = (word.chars().count().max(near.chars().count()) / 3).max(1);
    (edits <= allowed).then_some(near)
}

/// `a, b or c`, each in backquotes.
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Letters to insert, remove, replace or exchange with their neighbour (optimal string alignment distance).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        rows.rotate_left(1);
        let [before, above, row] = &mut rows;
        *row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
    }
    rows[2].last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_letters() {
        for (a, b, count) in
            [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("tiles", "tile", 1), ("arhc", "arch", 1), ("ops", "dtypes", 5)]
        {
            assert_eq!(edits(a, b), count, "{a} {b}");
        }
    }

    #[test]
    fn a_likely_word_is_suggested_and_an_unlikely_one_is_not() {
        let known = ["ops", "dtypes", "tiles"];
        assert_eq!(nearest("dtype", &known), Some("dtypes"));
        assert_eq!(nearest("op", &known), Some("ops"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(list(&known), "`ops`, `dtypes` or `tiles`");
        assert_eq!(list(&known[..1]), "`ops`");
    }
}
