//! Interprets the output of programs: escape sequences, carriage returns, incomplete lines.
//!
//! *Invariants.* Colours and other SGR attributes are kept. A carriage return, a backspace and
//! sequences that edit the present line have their effect on it, so that a progress bar becomes its
//! last state. Every other sequence is dropped.

use anstyle::{Ansi256Color, AnsiColor, Color, Effects, RgbColor, Style};
use anstyle_parse::{DefaultCharAccumulator, Params, Parser, Perform};

use crate::line::Line;

/// The most characters of one line. Further ones are dropped.
const MAX_LINE_CHARS: usize = 16 << 10;
/// Distance of tab stops, in characters.
const TAB: usize = 8;

/// The output of one program, cut into lines.
#[derive(Default)]
pub struct ProgramOutput {
    parser: Option<Box<Parser<DefaultCharAccumulator>>>,
    /// The parser is within an escape sequence.
    in_sequence: bool,
    line: CurrentLine,
}

/// The line that is not complete yet.
#[derive(Default)]
struct CurrentLine {
    cells: Vec<(char, Style)>,
    cursor: usize,
    style: Style,
    complete: Vec<Line>,
    sequence_ended: bool,
}

impl ProgramOutput {
    /// Takes further output and returns the lines that are complete now.
    pub fn write(&mut self, text: &str) -> Vec<Line> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if self.in_sequence {
                self.parse(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                continue;
            }
            let end = rest.find(char::is_control).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            let control = after.chars().next();
            rest = after.get(control.map_or(0, char::len_utf8)..).unwrap_or_default();
            if control == Some('\n') && self.line.takes_whole(run) {
                self.line.complete.push(Line::plain(run));
                continue;
            }
            run.chars().for_each(|c| self.line.put(c));
            match control {
                Some('\x1b') => self.parse('\x1b'),
                Some(control) => self.line.control(control),
                None => {}
            }
        }
        std::mem::take(&mut self.line.complete)
    }

    /// The line that is not complete yet. `None` if it is empty.
    pub fn incomplete(&self) -> Option<Line> {
        (!self.line.cells.is_empty()).then(|| self.line.to_line())
    }

    /// Ends the output and returns what was not complete.
    pub fn finish(&mut self) -> Option<Line> {
        let rest = self.incomplete();
        *self = Self::default();
        rest
    }

    fn parse(&mut self, c: char) {
        let parser = self.parser.get_or_insert_default();
        self.line.sequence_ended = false;
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            parser.advance(&mut self.line, byte);
        }
        self.in_sequence = c == '\x1b' || !self.line.sequence_ended;
    }
}

impl CurrentLine {
    /// Whether `run` is the whole line, unstyled and of a usual length.
    fn takes_whole(&self, run: &str) -> bool {
        self.cells.is_empty() && self.cursor == 0 && self.style.is_plain() && run.len() <= MAX_LINE_CHARS
    }

    fn put(&mut self, c: char) {
        if self.cursor >= MAX_LINE_CHARS {
            return;
        }
        while self.cells.len() < self.cursor {
            self.cells.push((' ', Style::new()));
        }
        match self.cells.get_mut(self.cursor) {
            Some(cell) => *cell = (c, self.style),
            None => self.cells.push((c, self.style)),
        }
        self.cursor += 1;
    }

    fn control(&mut self, c: char) {
        match c {
            '\n' => {
                let line = self.to_line();
                self.complete.push(line);
                self.cells.clear();
                self.cursor = 0;
            }
            '\r' => self.cursor = 0,
            '\u{8}' => self.cursor = self.cursor.saturating_sub(1),
            '\t' => {
                let stop = (self.cursor / TAB + 1) * TAB;
                while self.cursor < stop.min(MAX_LINE_CHARS) {
                    self.put(' ');
                }
            }
            _ => {}
        }
    }

    fn to_line(&self) -> Line {
        let mut line = Line::default();
        let mut text = [0; 4];
        for (c, style) in &self.cells {
            line.push(*style, c.encode_utf8(&mut text));
        }
        line
    }

    fn erase(&mut self, how: u16) {
        match how {
            0 => self.cells.truncate(self.cursor),
            1 => self.cells.iter_mut().take(self.cursor + 1).for_each(|cell| *cell = (' ', Style::new())),
            _ => self.cells.clear(),
        }
    }
}

impl Perform for CurrentLine {
    fn print(&mut self, c: char) {
        self.sequence_ended = true;
        self.put(c);
    }

    fn execute(&mut self, byte: u8) {
        // A control character within a sequence has its effect, and does not end the sequence.
        self.control(char::from(byte));
        self.sequence_ended |= matches!(byte, 0x18 | 0x1a);
    }

    fn unhook(&mut self) {
        self.sequence_ended = true;
    }

    fn osc_dispatch(&mut self, _: &[&[u8]], _: bool) {
        self.sequence_ended = true;
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, _: u8) {
        self.sequence_ended = true;
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        self.sequence_ended = true;
        if ignore || !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|group| group.first()).copied().unwrap_or(0);
        let count = usize::from(first.max(1));
        match action {
            b'm' => self.style = with_sgr(self.style, params),
            b'K' => self.erase(first),
            // From here to the end of the screen. What erases other lines is dropped.
            b'J' if first == 0 => self.erase(0),
            b'G' => self.cursor = count - 1,
            b'C' => self.cursor = (self.cursor + count).min(MAX_LINE_CHARS),
            b'D' => self.cursor = self.cursor.saturating_sub(count),
            _ => {}
        }
    }
}

/// The style after a sequence of ECMA-48, "select graphic rendition".
fn with_sgr(mut style: Style, params: &Params) -> Style {
    let mut groups = params.iter();
    while let Some(group) = groups.next() {
        let Some((code, sub)) = group.split_first() else { continue };
        match code {
            0 => style = Style::new(),
            1 => style |= Effects::BOLD,
            2 => style |= Effects::DIMMED,
            3 => style |= Effects::ITALIC,
            4 if sub == [0] => style -= Effects::UNDERLINE,
            4 | 21 => style |= Effects::UNDERLINE,
            7 => style |= Effects::INVERT,
            9 => style |= Effects::STRIKETHROUGH,
            22 => style -= Effects::BOLD | Effects::DIMMED,
            23 => style -= Effects::ITALIC,
            24 => style -= Effects::UNDERLINE,
            27 => style -= Effects::INVERT,
            29 => style -= Effects::STRIKETHROUGH,
            30..=37 => style = style.fg_color(basic(code - 30, false)),
            40..=47 => style = style.bg_color(basic(code - 40, false)),
            90..=97 => style = style.fg_color(basic(code - 90, true)),
            100..=107 => style = style.bg_color(basic(code - 100, true)),
            39 => style = style.fg_color(None),
            49 => style = style.bg_color(None),
            38 | 48 => {
                let color = if sub.is_empty() {
                    let mut next = || groups.next().and_then(|group| group.first()).copied();
                    match next() {
                        Some(5) => next().map(indexed),
                        Some(2) => next().zip(next()).zip(next()).map(|((r, g), b)| rgb(r, g, b)),
                        _ => None,
                    }
                } else {
                    match *sub {
                        [5, index] => Some(indexed(index)),
                        [2, r, g, b] | [2, _, r, g, b] => Some(rgb(r, g, b)),
                        _ => None,
                    }
                };
                style = if *code == 38 { style.fg_color(color) } else { style.bg_color(color) };
            }
            _ => {}
        }
    }
    style
}

fn basic(index: u16, bright: bool) -> Option<Color> {
    let color = match index {
        0 => AnsiColor::Black,
        1 => AnsiColor::Red,
        2 => AnsiColor::Green,
        3 => AnsiColor::Yellow,
        4 => AnsiColor::Blue,
        5 => AnsiColor::Magenta,
        6 => AnsiColor::Cyan,
        _ => AnsiColor::White,
    };
    Some(color.bright(bright).into())
}

fn indexed(index: u16) -> Color {
    Ansi256Color(u8::try_from(index).unwrap_or(u8::MAX)).into()
}

fn rgb(red: u16, green: u16, blue: u16) -> Color {
    let part = |value| u8::try_from(value).unwrap_or(u8::MAX);
    RgbColor(part(red), part(green), part(blue)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], complete: &[&str], incomplete: Option<&str>) {
        let mut output = ProgramOutput::default();
        let lines: Vec<String> = pieces.iter().flat_map(|p| output.write(p)).map(|line| line.ansi(true)).collect();
        assert_eq!(lines, complete, "{pieces:?}");
        assert_eq!(output.incomplete().map(|line| line.ansi(true)).as_deref(), incomplete, "{pieces:?}");
    }

    #[test]
    fn lines() {
        check(&["a\nb", "c\r\n\nd"], &["a", "bc", ""], Some("d"));
        check(&["a\tb\n"], &["a       b"], None);
        check(&["日本\n"], &["日本"], None);
    }

    #[test]
    fn a_progress_bar_becomes_its_last_state() {
        check(&["10%\r20%\r", "100% done\n"], &["100% done"], None);
        check(&["downloading 9\r\x1b[Kdone"], &[], Some("done"));
        check(&["abc\x08\x08X\n", "ab\x1b[2Kc\n"], &["aXc", "  c"], None);
        check(&["\x1b[5Gx\x1b[3Dy\n"], &["  y x"], None);
    }

    #[test]
    fn colours_are_kept_and_everything_else_is_dropped() {
        check(&["\x1b[31mred\n", "still\x1b[0m not\n"], &["\x1b[31mred\x1b[0m", "\x1b[31mstill\x1b[0m not"], None);
        check(
            &["\x1b[1;38;5;208mx\x1b[22my\x1b[39mz\n"],
            &["\x1b[1m\x1b[38;5;208mx\x1b[0m\x1b[38;5;208my\x1b[0mz"],
            None,
        );
        check(
            &["\x1b[38:2::1:2:3ma\x1b[48;2;4;5;6mb\n"],
            &["\x1b[38;2;1;2;3ma\x1b[0m\x1b[38;2;1;2;3m\x1b[48;2;4;5;6mb\x1b[0m"],
            None,
        );
        check(&["\x1b]0;title\x07a\x1b]8;;x\x1b\\b\x1b[?25lc\x1b[2Ad\x1b(Be\x07\n"], &["abcde"], None);
    }

    #[test]
    fn sequences_may_be_split_anywhere() {
        let text = "a\x1b[31mé\x1b]8;;http://x\x1b\\b\x1b[0m\x1b[Kc\n";
        let whole = ProgramOutput::default().write(text);
        for (at, _) in text.char_indices() {
            let mut output = ProgramOutput::default();
            let mut lines = output.write(&text[..at]);
            lines.extend(output.write(&text[at..]));
            assert_eq!(lines, whole, "split at {at}");
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut output = ProgramOutput::default();
        let lines = output.write(&format!("{}\nnext\n\x1b[60000Cx\n", "x".repeat(MAX_LINE_CHARS * 2)));
        assert_eq!(lines[0].width(), MAX_LINE_CHARS);
        assert_eq!(lines[1].text(), "next");
        assert!(lines[2].width() <= MAX_LINE_CHARS);
    }
}
