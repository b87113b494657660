//! A line of source code with a marker, and lines of programs as text that is safe to print.

use rondel_progress::Line;
use rondel_progress::program_output::ProgramOutput;
use unicode_width::UnicodeWidthChar;

/// The columns that a tab takes in an excerpt.
const TAB: usize = 4;
/// The least columns of a line that are shown before its marker when the line is cut.
const BEFORE_MARKER: usize = 20;

/// The text of a line and the marker below it, cut to `room` columns. `columns` are those of the
/// marked characters, from one, and the one after the last. No marker is below a line that is
/// marked as a whole.
pub(super) fn excerpt(line: &str, columns: (usize, usize), room: Option<usize>) -> (String, Option<String>) {
    let line = line.trim_end();
    let length = line.chars().count();
    let mut cells: Vec<(String, usize, bool)> = line
        .chars()
        .enumerate()
        .map(|(at, c)| {
            let marked = columns.0 > 0 && (columns.0..columns.1).contains(&(at + 1));
            match c {
                '\t' => (" ".repeat(TAB), TAB, marked),
                c if is_hidden(c) => (String::new(), 0, marked),
                c => (c.to_string(), c.width().unwrap_or(0), marked),
            }
        })
        .collect();
    // What is missing at the end of a line is marked after its last character.
    if columns.0 == length + 1 {
        cells.push((" ".to_owned(), 1, true));
    }
    let width = |cells: &[(String, usize, bool)]| cells.iter().map(|(_, width, _)| width).sum::<usize>();
    let ellipsis = || ("…".to_owned(), 1, false);
    let mut shown = cells.clone();
    if let Some(room) = room.map(|room| room.max(BEFORE_MARKER)).filter(|room| width(&cells) > *room) {
        let first = cells.iter().position(|(_, _, marked)| *marked).unwrap_or(0);
        let fits = width(&cells[..first]) + BEFORE_MARKER < room;
        let mut from = if fits { 0 } else { first.saturating_sub(BEFORE_MARKER) };
        // A line that ends soon after its marker leaves room before it.
        while from > 0 && width(&cells[from - 1..]) + 1 < room {
            from -= 1;
        }
        shown = (from > 0).then(ellipsis).into_iter().collect();
        for cell in &cells[from..] {
            if width(&shown) + cell.1 >= room {
                shown.push(ellipsis());
                break;
            }
            shown.push(cell.clone());
        }
    }
    let text: String = shown.iter().map(|(text, _, _)| text.as_str()).collect();
    let marker: String =
        shown.iter().map(|(_, width, marked)| if *marked { "^" } else { " " }.repeat(*width)).collect();
    let whole = marker.trim().len() == text.trim().chars().filter_map(UnicodeWidthChar::width).sum::<usize>();
    let marker = Some(marker.trim_end().to_owned()).filter(|marker| !marker.is_empty() && !whole);
    (text.trim_end().to_owned(), marker)
}

/// The lines of a program's output as a terminal would leave them, with their colours if `colour`.
pub(super) fn clean_lines(text: &str, colour: bool) -> Vec<String> {
    let mut output = ProgramOutput::default();
    let mut lines = output.write(text);
    lines.extend(output.finish());
    let shown = |line: &Line| line.ansi(colour).chars().filter(|c| *c == '\x1b' || !is_hidden(*c)).collect::<String>();
    lines.iter().map(shown).map(|line| line.trim_end().to_owned()).collect()
}

/// Whether a character is a control character, or changes the order of those around it.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers() {
        let check = |line: &str, columns: (usize, usize), room: Option<usize>, text: &str, marker: Option<&str>| {
            let got = excerpt(line, columns, room);
            assert_eq!((got.0.as_str(), got.1.as_deref()), (text, marker), "{line:?} {columns:?} {room:?}");
        };
        check("  return a[b]", (10, 14), None, "  return a[b]", Some("         ^^^^"));
        check("  raise X()", (3, 12), None, "  raise X()", None);
        check("  x = 1", (0, 0), None, "  x = 1", None);
        check("\tf(世界, x)", (8, 9), None, "    f(世界, x)", Some("            ^"));
        check("\tf(世界)", (4, 6), None, "    f(世界)", Some("      ^^^^"));
        check("x", (1, 200), None, "x", None);
        check("  f()", (6, 7), None, "  f()", Some("     ^"));
        check("", (1, 2), None, "", Some("^"));
        check("a\u{202e}b", (3, 4), None, "ab", Some(" ^"));
        let long = format!("{}here{}", "a".repeat(50), "b".repeat(50));
        check(
            &long,
            (51, 55),
            Some(40),
            &format!("…{}here{}…", "a".repeat(20), "b".repeat(14)),
            Some(&format!("{}^^^^", " ".repeat(21))),
        );
        check(&long, (1, 3), Some(30), &format!("{}…", "a".repeat(29)), Some("^^"));
        let end = format!("{}here{}", "a".repeat(50), "b".repeat(5));
        let want = format!("…{}here{}", "a".repeat(29), "b".repeat(5));
        check(&end, (51, 55), Some(40), &want, Some(&format!("{}^^^^", " ".repeat(30))));
    }

    #[test]
    fn lines_of_programs() {
        let check = |text: &str, plain: &[&str], coloured: &[&str]| {
            assert_eq!(clean_lines(text, false), plain);
            assert_eq!(clean_lines(text, true), coloured);
        };
        check("a\tb\r\n\nc", &["a       b", "", "c"], &["a       b", "", "c"]);
        check("10%\r20%\r100%\r\r", &["100%"], &["100%"]);
        check("\x1b[31mred\x1b[0m\x1b[2K\x1b[3A", &[], &[]);
        check("\x1b[31mred\x1b[0m.\x1b[3A", &["red."], &["\x1b[31mred\x1b[0m."]);
        check("\x1b]0;title\x07x\x1b]8;;url\x1b\\y", &["xy"], &["xy"]);
        check("a\x07\x00b\u{202e}c", &["abc"], &["abc"]);
        check("", &[], &[]);
    }
}
