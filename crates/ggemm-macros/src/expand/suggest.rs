//! "Did you mean": the known word that a misspelt one is nearest to.

use std::cmp::Reverse;

/// The word of `known` that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let same_start = |known: &str| word.chars().zip(known.chars()).take_while(|(a, b)| a == b).count();
    let far = |known: &&str| (edits(word, known), Reverse(same_start(known)));
    let near = known.iter().copied().min_by_key(far)?;
    // A third of the letters may be wrong; beyond that a guess confuses more than a list of all words.
    let letters = word.chars().count().max(near.chars().count());
    (edits(word, near) <= (letters / 3).max(1) && letters > 1).then_some(near)
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
            [("", "", 0), ("", "ab", 2), ("ab", "", 2), ("tiles", "tile", 1), ("arhc", "arch", 1), ("ops", "dtypes", 4)]
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
        assert_eq!(nearest("sm_90", &["sm_80", "sm_90a"]), Some("sm_90a"));
        assert_eq!(nearest("m", &["n", "k"]), None);
        assert_eq!(list(&known), "`ops`, `dtypes` or `tiles`");
        assert_eq!(list(&known[..1]), "`ops`");
    }
}
