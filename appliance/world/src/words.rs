//! Words that people type: what a mistyped one was probably meant to be.

/// The known word that `typed` was probably meant to be, if one is near.
#[must_use]
pub fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |word: &&str| distance(typed, word) <= 1 + word.chars().count() / 4;
    known.into_iter().filter(near).min_by_key(|word| distance(typed, word))
}

/// How many letters must be put in, taken out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for letter in one.chars() {
        let mut diagonal = row.first().copied().unwrap_or_default();
        let mut left = diagonal + 1;
        for (cell, against) in row.iter_mut().skip(1).zip(other.chars()) {
            let changed = diagonal + usize::from(letter != against);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first += 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_nonsense_finds_none() {
        let known = ["--address", "--gateway", "--tap"];
        assert_eq!(meant("--adress", known), Some("--address"));
        assert_eq!(meant("--gatway", known), Some("--gateway"));
        assert_eq!(meant("--tpa", known), Some("--tap"));
        assert_eq!(meant("--nonsense", known), None);
    }

    #[test]
    fn the_distance_counts_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ä", "a"), 1);
    }
}
