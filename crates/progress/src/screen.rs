//! The bytes that keep a block of lines at the bottom of a terminal.
//!
//! *Invariants.* The block is drawn over the one before, in place. Nothing above it is touched, and
//! of the block nothing is left but what [`Screen::finish`] leaves. The cursor is hidden while
//! there is a block.

use crate::line::Line;

/// Begins a synchronized update: the terminal shows nothing of it before its end.
const BEGIN_UPDATE: &str = "\x1b[?2026h";
const END_UPDATE: &str = "\x1b[?2026l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// A terminal that finds a line wider than we do cuts it off instead of using a second row.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const ERASE_TO_END_OF_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// What is on the terminal.
#[derive(Debug)]
pub struct Screen {
    color: bool,
    reflows: bool,
    /// The lines of the block, and their widths.
    drawn: Vec<(String, usize)>,
    /// Columns and rows when the block was drawn.
    size: (usize, usize),
}

impl Screen {
    /// A terminal without a block. `color` allows SGR sequences. A terminal that `reflows` breaks
    /// lines anew when it becomes narrower.
    pub fn new(color: bool, reflows: bool) -> Self {
        Self { color, reflows, drawn: Vec::new(), size: (0, 0) }
    }

    /// The bytes that make `lines` the block, on a terminal of this size. Empty if the terminal
    /// shows them already. No line is wider than the terminal.
    pub fn draw(&mut self, lines: &[Line], width: usize, height: usize) -> String {
        let fresh: Vec<(String, usize)> = lines.iter().map(|line| (line.ansi(self.color), line.width())).collect();
        if (fresh == self.drawn && self.size == (width, height)) || (fresh.is_empty() && self.drawn.is_empty()) {
            return String::new();
        }
        let mut out = format!("{BEGIN_UPDATE}{HIDE_CURSOR}{NO_WRAP}{}", self.to_top(width, height));
        for (text, _) in &fresh {
            out.push_str(text);
            out.push_str(ERASE_TO_END_OF_LINE);
            out.push_str("\r\n");
        }
        out.push_str(ERASE_BELOW);
        out.push_str(WRAP);
        if fresh.is_empty() {
            out.push_str(SHOW_CURSOR);
        }
        out.push_str(END_UPDATE);
        (self.drawn, self.size) = (fresh, (width, height));
        out
    }

    /// The bytes that remove the block and show the cursor.
    pub fn clear(&mut self, width: usize, height: usize) -> String {
        self.draw(&[], width, height)
    }

    /// The bytes that put `lines` in the place of the block, as lines that stay.
    pub fn finish(&mut self, lines: &[Line], width: usize, height: usize) -> String {
        let mut out = self.clear(width, height);
        for line in lines {
            out.push_str(&line.ansi(self.color));
            out.push_str("\r\n");
        }
        out
    }

    /// Moves the cursor from below the block to its top, as far as it is still on the screen.
    fn to_top(&self, width: usize, height: usize) -> String {
        let narrower = self.reflows && width < self.size.0;
        let rows_of = |columns: usize| if narrower { columns.div_ceil(width.max(1)).max(1) } else { 1 };
        let rows: usize = self.drawn.iter().map(|(_, columns)| rows_of(*columns)).sum();
        match rows.min(height.saturating_sub(1)) {
            0 => "\r".to_owned(),
            rows => format!("\r\x1b[{rows}A"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        texts.iter().map(|text| Line::plain(text)).collect()
    }

    #[test]
    fn a_block_is_replaced_in_place() {
        let mut screen = Screen::new(true, false);
        let first = screen.draw(&lines(&["a", "b"]), 80, 24);
        assert_eq!(first, "\x1b[?2026h\x1b[?25l\x1b[?7l\ra\x1b[K\r\nb\x1b[K\r\n\x1b[J\x1b[?7h\x1b[?2026l");
        assert_eq!(screen.draw(&lines(&["a", "b"]), 80, 24), "");
        assert!(screen.draw(&lines(&["a"]), 80, 24).contains("\r\x1b[2Aa\x1b[K\r\n\x1b[J"));
        assert_eq!(screen.clear(80, 24), "\x1b[?2026h\x1b[?25l\x1b[?7l\r\x1b[1A\x1b[J\x1b[?7h\x1b[?25h\x1b[?2026l");
        assert_eq!(screen.clear(80, 24), "");
        assert_eq!(screen.finish(&lines(&["end"]), 80, 24), "end\r\n");
    }

    #[test]
    fn a_resized_terminal_keeps_what_is_above() {
        let up = |reflows: bool, width: usize, height: usize| {
            let mut screen = Screen::new(false, reflows);
            screen.draw(&lines(&["0123456789", "0123", ""]), 80, 24);
            let bytes = screen.draw(&lines(&["x"]), width, height);
            let at = bytes.find("\r\x1b[").expect("it moves up") + 3;
            bytes[at..].split('A').next().and_then(|rows| rows.parse().ok()).unwrap_or(0)
        };
        assert_eq!(up(false, 5, 24), 3);
        assert_eq!(up(true, 5, 24), 4);
        assert_eq!(up(true, 100, 24), 3);
        assert_eq!(up(true, 80, 3), 2);
    }
}
