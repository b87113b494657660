//! Styled lines, measured in columns of a terminal.

use anstyle::Style;
use unicode_width::UnicodeWidthChar as _;

/// One line: pieces of text, each with a style. It holds no control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Line {
    pieces: Vec<(Style, String)>,
}

impl Line {
    /// A line of one unstyled text.
    pub fn plain(text: &str) -> Self {
        Self::default().with(Style::new(), text)
    }

    /// The line with `text` appended in `style`.
    #[must_use]
    pub fn with(mut self, style: Style, text: &str) -> Self {
        self.push(style, text);
        self
    }

    /// Appends `text` in `style`. Control characters become spaces, and characters that change the
    /// direction of text are left out.
    pub fn push(&mut self, style: Style, text: &str) {
        let clean = text.chars().filter(|c| !changes_direction(*c));
        let clean = clean.map(|c| if c.is_control() { ' ' } else { c });
        match self.pieces.last_mut() {
            Some((last, end)) if *last == style => end.extend(clean),
            _ => {
                let fresh: String = clean.collect();
                if !fresh.is_empty() {
                    self.pieces.push((style, fresh));
                }
            }
        }
    }

    /// Appends another line.
    pub fn append(&mut self, other: &Line) {
        for (style, text) in &other.pieces {
            self.push(*style, text);
        }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (Style, &str)> {
        self.pieces.iter().map(|(style, text)| (*style, text.as_str()))
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The text without styles.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The most columns that the line takes on any terminal.
    pub fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| width(text)).sum()
    }

    /// The line in at most `columns` columns. A line that was cut ends with `…`.
    #[must_use]
    pub fn clip(&self, columns: usize) -> Line {
        if self.width() <= columns {
            return self.clone();
        }
        let mut clipped = Line::default();
        let mut room = columns.saturating_sub(1);
        for (style, text) in &self.pieces {
            let fits = prefix(text, room);
            clipped.push(*style, fits);
            room -= width(fits);
            if fits.len() < text.len() {
                clipped.push(*style, if columns == 0 { "" } else { "…" });
                break;
            }
        }
        clipped
    }

    /// The line for a terminal, with SGR sequences if `color`. It ends in the default style.
    pub fn ansi(&self, color: bool) -> String {
        if !color {
            return self.text();
        }
        let mut out = String::new();
        for (style, text) in &self.pieces {
            out.push_str(&format!("{}{text}{}", style.render(), style.render_reset()));
        }
        out
    }
}

/// The most columns that `text` takes on any terminal.
///
/// Terminals do not agree on emoji sequences: some draw the parts of a sequence one after the
/// other. A line that is narrower than measured is harmless, and one that is wider is not. So the
/// parts are added up.
pub fn width(text: &str) -> usize {
    let mut last = 0;
    text.chars().map(|c| char_width(c, &mut last)).sum()
}

/// The longest beginning of `text` in at most `columns` columns. Marks that combine with the last
/// character are part of it.
pub fn prefix(text: &str, columns: usize) -> &str {
    let (mut used, mut last) = (0, 0);
    let end = text.char_indices().find(|(_, c)| {
        used += char_width(*c, &mut last);
        used > columns
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

/// `last` is the width of the last character that had one.
fn char_width(c: char, last: &mut usize) -> usize {
    // The presentation selector of emoji makes a narrow character wide.
    if c == '\u{fe0f}' {
        let more = usize::from(*last == 1);
        *last += more;
        return more;
    }
    let width = c.width().unwrap_or(0);
    if width > 0 {
        *last = width;
    }
    width
}

/// Whether the character changes the direction of the text after it, also beyond the line.
fn changes_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths() {
        for (text, want) in [
            ("abc", 3),
            ("日本語", 6),
            ("e\u{301}", 1),
            ("👍", 2),
            ("❤\u{fe0f}", 2),
            ("1\u{fe0f}\u{20e3}", 2),
            ("👨\u{200d}👩\u{200d}👧", 6),
            ("", 0),
        ] {
            assert_eq!(width(text), want, "{text}");
        }
    }

    #[test]
    fn lines_are_clipped_between_characters() {
        let check = |text: &str, columns, want: &str| {
            let clipped = Line::plain(text).clip(columns);
            assert_eq!(clipped.text(), want);
            assert!(clipped.width() <= columns);
        };
        check("abcd", 4, "abcd");
        check("abcde", 4, "abc…");
        check("日本語", 6, "日本語");
        check("日本語", 5, "日本…");
        check("日本語", 4, "日…");
        check("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…");
        check("ab", 1, "…");
        check("ab", 0, "");
    }

    #[test]
    fn styles_are_ended_and_control_characters_never_pass() {
        let red = Style::new().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let line = Line::plain("a\tb").with(red, "c\x1b\u{202e}d");
        assert_eq!(line.text(), "a bc d");
        assert_eq!(line.ansi(true), "a b\x1b[31mc d\x1b[0m");
        assert_eq!(line.ansi(false), "a bc d");
        assert_eq!(line.clip(4).ansi(true), "a b\x1b[31m…\x1b[0m");
    }
}
