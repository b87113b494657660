//! Wraps comments that are too wide.
//!
//! Only paragraphs with a line that is too wide change. Lists keep their hanging indent; headings,
//! tables, code and fences stay as they are.

use super::comments::{MAX_COLUMNS, in_rust};

/// The file with its wide comments wrapped. A wide comment behind code moves above its line.
pub(super) fn wrap(content: &str) -> String {
    let lines: Vec<&str> = content.lines().collect();
    let mut found: Vec<String> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some((prefix, _)) = split(lines[at]) else {
            found.extend(behind_code(lines[at]));
            at += 1;
            continue;
        };
        let same = |line: &&&str| split(line).is_some_and(|(other, _)| other == prefix);
        let count = lines[at..].iter().take_while(same).count();
        let texts: Vec<&str> = lines[at..at + count].iter().filter_map(|line| Some(split(line)?.1)).collect();
        found.extend(comment(prefix, &texts).into_iter().map(|text| format!("{prefix}{text}").trim_end().to_owned()));
        at += count;
    }
    found.join("\n") + "\n"
}

/// Indent and marker of a line that is nothing but a comment, and its text.
fn split(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start();
    let marker = ["///", "//!", "//"].into_iter().find(|marker| text.starts_with(marker))?;
    Some(line.split_at(line.len() - text.len() + marker.len()))
}

fn behind_code(line: &str) -> Vec<String> {
    let behind = in_rust(line).filter(|_| line.chars().count() > MAX_COLUMNS);
    let Some(text) = behind else { return vec![line.to_owned()] };
    let indent = &line[..line.len() - line.trim_start().len()];
    let code = line[..line.len() - text.len()].trim_end();
    let mut lines: Vec<String> = comment(&format!("{indent}//"), &[&text[2..]])
        .into_iter()
        .map(|text| format!("{indent}//{text}").trim_end().to_owned())
        .collect();
    lines.push(code.to_owned());
    lines
}

/// The texts of one comment, behind a prefix of that width.
fn comment(prefix: &str, texts: &[&str]) -> Vec<String> {
    let room = MAX_COLUMNS - prefix.chars().count();
    let mut found = Vec::new();
    let mut fenced = false;
    let mut paragraph: Vec<&str> = Vec::new();
    for text in texts {
        let words = text.trim_start();
        let is_fence = words.starts_with("```");
        let is_fixed =
            fenced || is_fence || words.is_empty() || words.starts_with(['#', '|']) || text.starts_with("     ");
        if is_fixed || item(text) > 0 {
            found.extend(fill(&std::mem::take(&mut paragraph), room));
        }
        match is_fixed && paragraph.is_empty() {
            true => found.push((*text).to_owned()),
            false => paragraph.push(text),
        }
        fenced = fenced != is_fence;
    }
    found.extend(fill(&paragraph, room));
    found
}

/// The width of a list's marker with the space behind it. 0 for what is no item of a list.
fn item(text: &str) -> usize {
    let words = text.trim_start();
    let digits = words.chars().take_while(char::is_ascii_digit).count();
    if words.starts_with("* ") || words.starts_with("- ") {
        2
    } else if digits > 0 && words[digits..].starts_with(". ") {
        digits + 2
    } else {
        0
    }
}

/// A paragraph as it is when it fits, otherwise filled anew.
fn fill(lines: &[&str], room: usize) -> Vec<String> {
    let Some(first) = lines.first().filter(|_| lines.iter().any(|line| line.chars().count() > room)) else {
        return lines.iter().map(|line| (*line).to_owned()).collect();
    };
    let indent = " ".repeat(first.len() - first.trim_start().len());
    let hanging = format!("{indent}{}", " ".repeat(item(first)));
    let mut found: Vec<String> = Vec::new();
    let mut line = indent;
    let mut is_empty = true;
    for word in lines.iter().flat_map(|line| line.split_whitespace()) {
        let width = line.chars().count() + word.chars().count();
        if !is_empty && width + 1 > room {
            found.push(std::mem::replace(&mut line, hanging.clone()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    found.push(line);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_paragraphs_are_filled_and_others_stay() {
        let words = "word ".repeat(12);
        let text = format!(
            "//! Short\n//! lines.\n//!\n//! * {words}{words}\n//!   and on\n//! * two\n\n    /// | {words}{words}|\nfn a() {{}}\n"
        );
        let found = wrap(&text);
        assert!(found.starts_with("//! Short\n//! lines.\n//!\n//! * word"), "{found}");
        assert!(found.contains("\n//!   word"), "{found}");
        assert!(found.contains(" and on\n//! * two\n\n    /// | word"), "{found}");
        assert_eq!(wrap(&found), found);
        assert!(found.lines().filter(|l| !l.contains('|')).all(|l| l.chars().count() <= MAX_COLUMNS), "{found}");
    }

    #[test]
    fn a_wide_comment_behind_code_moves_above_it() {
        let words = "word ".repeat(18);
        let found = wrap(&format!("    let a = b; // {words}\n"));
        assert_eq!(found, format!("    // {}\n    let a = b;\n", words.trim()));
    }
}
