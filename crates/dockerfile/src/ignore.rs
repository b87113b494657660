//! `.dockerignore`: one pattern a line.

/// The patterns of an ignore file, in order; `!` takes back what earlier ones picked.
pub fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim).filter(|line| !line.is_empty());
    let clean = |line: &str| match line.strip_prefix('!') {
        Some(rest) => format!("!{}", rest.trim().trim_start_matches('/')),
        None => line.trim_start_matches('/').to_owned(),
    };
    lines.map(clean).filter(|pattern| !matches!(&**pattern, "" | "!")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files() {
        let text = "\u{feff}# comment\n\n  a/*.txt \n/b\n! /c\n!\n/\n**/d\n";
        assert_eq!(patterns(text), ["a/*.txt", "b", "!c", "**/d"]);
    }
}
