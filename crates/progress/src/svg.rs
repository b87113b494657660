//! A run as an animated picture: SVG that needs no fonts, scripts or other files.

use std::collections::HashMap;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Effects, Style};

use crate::line::Line;
use crate::recording::Recording;
use crate::replay::replay;
use crate::run_state::Verbosity;
use crate::{final_frame, live};

/// Columns and rows of text, in pixels.
const COLUMN: f64 = 8.4;
const ROW: f64 = 20.0;
/// Space around the text, in pixels.
const MARGIN: f64 = 16.0;
/// How long the last frame stays before the picture starts anew, in microseconds.
const LAST_MICROS: u64 = 6_000_000;

/// The time between two frames of a recorded run, in microseconds.
const STEP_MICROS: u64 = 500_000;
/// The most frames. Those of a run that takes longer are further apart.
const MAX_FRAMES: u64 = 1_000;

/// The picture of a recorded run on a terminal of `width` columns and `height` rows. `before` is
/// shown above it, such as the command, and `after` below the last frame, such as its result.
pub fn picture(recording: &Recording, (width, height): (usize, usize), before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(Line::plain).collect::<Vec<_>>();
    let step = STEP_MICROS.max(recording.ended().saturating_sub(recording.header.began) / MAX_FRAMES);
    let mut frames = Vec::new();
    let mut add = |shown: Vec<Line>, after: Vec<Line>| {
        let lines = lines(before).into_iter().chain(shown).chain(after).collect();
        frames.push(SvgFrame { micros: step, lines });
    };
    let state = replay(recording, Verbosity::Normal, step, |state, now| {
        add(live::draw(state, width, height, now), Vec::new());
        true
    });
    let is_call = recording.header.command == "call";
    let last = final_frame::draw(&state, width, height, recording.ended(), recording.ending(), is_call);
    add(last, lines(after));
    let title = before.lines().next().unwrap_or("A run of rondel");
    svg(&frames, width, title.trim_start_matches("$ "))
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SvgFrame {
    /// How long it is shown, in microseconds. The last frame is shown longer.
    pub micros: u64,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// The picture of `frames` on a terminal of `columns` columns. It repeats without an end. A viewer
/// that does not move pictures shows the last frame.
pub fn svg(frames: &[SvgFrame], columns: usize, title: &str) -> String {
    let frames = merged(frames);
    let rows = frames.iter().map(|frame| frame.lines.len()).max().unwrap_or(0).max(1);
    let (width, height) = ((columns as f64 * COLUMN).ceil(), rows as f64 * ROW);
    let (outer_width, outer_height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {outer_width} {outer_height}\" width=\"{outer_width}\" \
         height=\"{outer_height}\" role=\"img\">\n<title>{}</title>\n",
        escaped(title)
    );
    let style = "text{white-space:pre;font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;\
                 fill:#e6edf3}";
    let _ = writeln!(out, "<style>{style}{}</style>", animation(&frames, outer_width));
    let frame = "fill=\"#0d1117\" stroke=\"#30363d\"";
    let _ = writeln!(
        out,
        "<rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"8\" {frame}/>",
        outer_width - 1.0,
        outer_height - 1.0
    );
    // Equal lines of different frames are written once.
    let mut known: HashMap<&Line, usize> = HashMap::new();
    let mut definitions = String::new();
    let mut film = String::new();
    for (at, frame) in frames.iter().enumerate() {
        let _ = writeln!(film, "<g transform=\"translate({} 0)\">", at as f64 * outer_width);
        for (row, line) in frame.lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            let next = known.len();
            let id = *known.entry(line).or_insert_with(|| {
                let _ = writeln!(definitions, "<text id=\"l{next}\">{}</text>", spans(line));
                next
            });
            let y = MARGIN + (row as f64 + 0.75) * ROW;
            let _ = writeln!(film, "<use href=\"#l{id}\" x=\"{MARGIN}\" y=\"{y}\"/>");
        }
        film.push_str("</g>\n");
    }
    let _ = writeln!(out, "<defs>\n{definitions}</defs>");
    let window = outer_width - MARGIN / 2.0;
    let _ = writeln!(
        out,
        "<svg width=\"{window}\" height=\"{outer_height}\">\n<g class=\"film\">\n{film}</g>\n</svg>\n</svg>"
    );
    out
}

/// The frames without those that look like the one before.
fn merged(frames: &[SvgFrame]) -> Vec<SvgFrame> {
    let mut merged: Vec<SvgFrame> = Vec::new();
    for frame in frames {
        match merged.last_mut() {
            Some(last) if last.lines == frame.lines => last.micros += frame.micros,
            _ => merged.push(frame.clone()),
        }
    }
    merged
}

/// Moves the film so that one frame after the other is in the window.
fn animation(frames: &[SvgFrame], width: f64) -> String {
    let count = frames.len();
    let lengths = frames.iter().enumerate().map(|(at, f)| f.micros + if at + 1 == count { LAST_MICROS } else { 0 });
    let all: u64 = lengths.clone().sum::<u64>().max(1);
    let mut keys = String::new();
    let mut from = 0;
    for (at, length) in lengths.enumerate() {
        let percent = from as f64 * 100.0 / all as f64;
        let _ = write!(keys, "{percent:.2}%{{transform:translateX({}px)}}", -(at as f64 * width));
        from += length;
    }
    let last = -(count.saturating_sub(1) as f64 * width);
    format!(
        "@keyframes film{{{keys}}}.film{{transform:translateX({last}px);animation:film {:.1}s step-end infinite}}\
         @media(prefers-reduced-motion){{.film{{animation:none}}}}",
        all as f64 / 1e6
    )
}

fn spans(line: &Line) -> String {
    let span = |(style, text): (Style, &str)| match attributes(style) {
        attributes if attributes.is_empty() => escaped(text),
        attributes => format!("<tspan{attributes}>{}</tspan>", escaped(text)),
    };
    line.pieces().map(span).collect()
}

fn attributes(style: Style) -> String {
    let effects = style.get_effects();
    let color = if effects.contains(Effects::INVERT) { style.get_bg_color() } else { style.get_fg_color() };
    let mut attributes = color.map(|color| format!(" fill=\"{}\"", hex(color))).unwrap_or_default();
    for (effect, attribute) in [
        (Effects::BOLD, " font-weight=\"bold\""),
        (Effects::DIMMED, " fill-opacity=\".6\""),
        (Effects::ITALIC, " font-style=\"italic\""),
        (Effects::UNDERLINE, " text-decoration=\"underline\""),
        (Effects::STRIKETHROUGH, " text-decoration=\"line-through\""),
    ] {
        if effects.contains(effect) {
            attributes.push_str(attribute);
        }
    }
    attributes
}

/// The colour on a dark background.
fn hex(color: Color) -> String {
    let named = |color: AnsiColor| match color {
        AnsiColor::Black => "#484f58",
        AnsiColor::Red => "#ff7b72",
        AnsiColor::Green => "#3fb950",
        AnsiColor::Yellow => "#d29922",
        AnsiColor::Blue => "#58a6ff",
        AnsiColor::Magenta => "#bc8cff",
        AnsiColor::Cyan => "#39c5cf",
        AnsiColor::White => "#b1bac4",
        AnsiColor::BrightBlack => "#6e7681",
        AnsiColor::BrightRed => "#ffa198",
        AnsiColor::BrightGreen => "#56d364",
        AnsiColor::BrightYellow => "#e3b341",
        AnsiColor::BrightBlue => "#79c0ff",
        AnsiColor::BrightMagenta => "#d2a8ff",
        AnsiColor::BrightCyan => "#56d4dd",
        AnsiColor::BrightWhite => "#ffffff",
    };
    match color {
        Color::Ansi(color) => named(color).to_owned(),
        Color::Rgb(color) => format!("#{:02x}{:02x}{:02x}", color.r(), color.g(), color.b()),
        Color::Ansi256(color) => match (color.into_ansi(), color.index()) {
            (Some(color), _) => named(color).to_owned(),
            // A cube of 6 × 6 × 6 colours, then 24 shades of grey.
            (None, index @ 16..=231) => {
                let level = |value: u8| if value == 0 { 0 } else { 55 + 40 * value };
                let index = index - 16;
                format!("#{:02x}{:02x}{:02x}", level(index / 36), level(index / 6 % 6), level(index % 6))
            }
            (None, index) => {
                let grey = 8 + 10 * index.saturating_sub(232);
                format!("#{grey:02x}{grey:02x}{grey:02x}")
            }
        },
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_become_a_film() {
        let line = Line::plain("a < b ").with(AnsiColor::Red.on_default().bold(), "no");
        let frame = |lines: &[Line]| SvgFrame { micros: 500_000, lines: lines.to_vec() };
        let alone = frame(std::slice::from_ref(&line));
        let picture = svg(&[alone.clone(), alone, frame(&[Line::plain("x"), line])], 10, "a & b");
        assert_eq!(picture.matches("<g transform").count(), 2);
        assert_eq!(picture.matches("a &lt; b <tspan fill=\"#ff7b72\" font-weight=\"bold\">no</tspan>").count(), 1);
        assert!(
            picture.contains("<title>a &amp; b</title>") && picture.contains("animation:film 7.5s step-end infinite")
        );
        assert!(
            picture.contains("@keyframes film{0.00%{transform:translateX(-0px)}13.33%{transform:translateX(-116px)}}")
        );
    }

    #[test]
    fn a_long_run_has_few_frames() {
        let hour = 3_600_000_000;
        let header = crate::recording::Header::new("", "call", 0);
        let recording = Recording {
            header,
            events: Vec::new(),
            end: Some((crate::ending::Ending::Done, 8_000 * hour)),
            is_cut: false,
        };
        let picture = picture(&recording, (80, 24), "$ rondel call", "");
        assert!(picture.matches("translateX").count() < 1_100 && picture.len() < 200_000);
    }

    #[test]
    fn colours() {
        for (index, want) in
            [(1, "#ff7b72"), (16, "#000000"), (196, "#ff0000"), (231, "#ffffff"), (232, "#080808"), (255, "#eeeeee")]
        {
            assert_eq!(hex(anstyle::Ansi256Color(index).into()), want);
        }
    }
}
