//! What may have been meant by a word that is none: "did you mean".

/// Letters that may be wrong in a slip.
const SLIPS: usize = 2;

/// The known word that is nearest to one that is not known, where it may be a slip of
/// it: at most two letters changed, added, left out or swapped, and not all of them.
/// Capitals make no difference.
pub fn similar<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&word, &name.to_lowercase()),
                name,
            )
        })
        .min()
        .filter(|(distance, name)| *distance <= SLIPS && *distance < name.chars().count())
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_seen_and_another_word_is_none() {
        let known = ["replication", "nodes", "storage", "pod"];
        for (word, meant) in [
            ("replicatoin", Some("replication")),
            ("Node", Some("nodes")),
            ("storages", Some("storage")),
            ("NODES", Some("nodes")),
            ("replicas", None),
            ("", None),
        ] {
            assert_eq!(similar(word, known), meant, "{word}");
        }
        assert_eq!(similar("ab", ["x", "yz"]), None, "nothing of it is left");
        assert_eq!(similar("x", []), None);
    }
}
