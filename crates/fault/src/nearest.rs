//! Names near a mistyped one, for hints.

/// The one of `names` that is nearest to `word`, if a typing error can explain the difference: at
/// most one edit in three characters, without regard to case. An edit is a character that is
/// missing, extra, different or swapped with its neighbour.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    let edits = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
    let near = names.into_iter().map(|name| (edits(name), name)).filter(|(edits, _)| *edits <= most);
    near.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_offered() {
        let check = |word: &str, want: Option<&str>| {
            assert_eq!(nearest(word, ["mirrors", "offline", "idle-seconds", "name", "ci"]), want, "{word}");
        };
        check("mirors", Some("mirrors"));
        check("Offline", Some("offline"));
        check("idle_second", Some("idle-seconds"));
        check("nmae", Some("name"));
        check("cl", Some("ci"));
        check("metrics", None);
        check("", None);
    }
}
