//! Golden frames: recorded runs, replayed on terminals of several widths.
//!
//! `tests/recordings` has recordings of real runs. Runs that take too long or transfer too much to
//! be recorded are made here. `UPDATE_GOLDENS=1` writes `tests/frames` anew.

use std::path::{Path, PathBuf};

use rondel_events::{Event, Outcome, SpanId, Stream, Unit, Work};
use rondel_progress::recording::{Encoder, Header, Recording};
use rondel_progress::replay::{TICK_MICROS, replay};
use rondel_progress::{Ending, Line, RunState, Verbosity, final_frame, live};

const SECOND: u64 = 1_000_000;
/// Columns and rows.
const SIZES: [(usize, usize); 3] = [(80, 24), (120, 40), (200, 60)];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn recorded(name: &str) -> Recording {
    let path = folder("recordings").join(format!("{name}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Recording::parse(&text).unwrap_or_else(|bad| panic!("{}: {bad}", path.display()))
}

fn last_frame(recording: &Recording, state: &RunState, width: usize, height: usize) -> Vec<Line> {
    let is_call = recording.header.command == "call";
    final_frame::draw(state, width, height, recording.ended(), recording.ending(), is_call)
}

/// Compares frames of a run with its golden file: at a quarter, half and three quarters of its time,
/// and the last one. `ansi` shows the escape character as `␛`.
fn check(name: &str, recording: &Recording, ansi: bool) {
    let text =
        |lines: &[Line]| -> String { lines.iter().map(|line| line.ansi(ansi).replace('\x1b', "␛") + "\n").collect() };
    for (width, height) in SIZES {
        check_every_frame(recording, width, height);
        let took = recording.ended() - recording.header.began;
        let mut wanted = [took / 4, took / 2, took * 3 / 4].into_iter().peekable();
        let mut frames = String::new();
        let state = replay(recording, Verbosity::Normal, TICK_MICROS, |state, now| {
            let at = now - recording.header.began;
            if wanted.next_if(|wanted| *wanted <= at).is_some() {
                frames.push_str(&format!("── {:.1} s\n", at as f64 / 1e6));
                frames.push_str(&text(&live::draw(state, width, height, now)));
            }
            true
        });
        frames.push_str("── the end\n");
        frames.push_str(&text(&last_frame(recording, &state, width, height)));
        let path = folder("frames").join(format!("{name}-{width}.txt"));
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            std::fs::write(&path, &frames).expect("the golden file is written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(frames == golden, "`{}` differs; `UPDATE_GOLDENS=1` writes it anew:\n{frames}", path.display());
    }
}

/// No frame takes more than half of the terminal, and no line all columns.
fn check_every_frame(recording: &Recording, width: usize, height: usize) {
    let check = |lines: &[Line], what: u64| {
        assert!(lines.len() <= height / 2, "{} lines at {what} on {height} rows", lines.len());
        for line in lines {
            assert!(line.width() < width, "`{}` at {what}", line.text());
            assert!(!line.text().contains(char::is_control), "{:?}", line.text());
        }
    };
    let state = replay(recording, Verbosity::Normal, TICK_MICROS, |state, now| {
        check(&live::draw(state, width, height, now), now - recording.header.began);
        true
    });
    check(&last_frame(recording, &state, width, height), u64::MAX);
}

#[test]
fn all_cached() {
    check("all_cached", &recorded("all_cached"), false);
}

#[test]
fn failing_step() {
    check("failing_step", &recorded("failing_step"), false);
}

#[test]
fn exception_in_user_code() {
    check("exception", &recorded("exception"), false);
}

#[test]
fn eight_parallel_execs_of_which_one_fails() {
    check("eight_parallel", &recorded("eight_parallel"), false);
}

#[test]
fn service_and_waiting_exec() {
    check("service", &recorded("service"), false);
}

#[test]
fn cjk_output() {
    check("cjk", &recorded("cjk"), false);
}

#[test]
fn colours_and_progress_bars_of_programs() {
    check("colours", &recorded("colours"), true);
}

#[test]
fn interrupted() {
    check("interrupted", &recorded("interrupted"), false);
}

#[test]
fn long_pull() {
    let total = 640_000_000;
    let mut events = vec![(0, start(1, 0, Work::Pull, "pull postgres:17", 0))];
    for step in 0..=300_u64 {
        // It is slow in the middle.
        let done = if step < 100 { step * 3_000_000 } else { 300_000_000 + (step - 100) * 1_700_000 };
        let progress = Event::Progress { span: SpanId(1), done: done.min(total), total, unit: Unit::Bytes };
        events.push((step * TICK_MICROS, progress));
    }
    events.push((31 * SECOND, end(1, Outcome::Done, 31 * SECOND)));
    check("long_pull", &recording(events, Ending::Done), false);
}

#[test]
fn five_hundred_parallel_execs() {
    let mut events = vec![(0, start(1, 0, Work::Function, "ci test-all", 0))];
    for n in 0..500_u64 {
        let span = n + 2;
        events.push((n * 1_000, start(span, 1, Work::Exec, &format!("exec go test ./pkg{n:03}"), n * 1_000)));
    }
    for n in 0..500_u64 {
        let (span, at) = (n + 2, 2 * SECOND + n * 20_000);
        events.push((at, Event::Log { span: SpanId(span), stream: Stream::Stdout, text: format!("ok  pkg{n:03}\n") }));
        let outcome = if n == 250 { Outcome::Failed("exit code: 1".into()) } else { Outcome::Done };
        events.push((at, end(span, outcome, at)));
    }
    events.push((13 * SECOND, end(1, Outcome::Failed("exit code: 1".into()), 13 * SECOND)));
    check("five_hundred", &recording(events, Ending::Aborted), false);
}

#[test]
fn ten_rows_are_enough() {
    let recording = recorded("eight_parallel");
    for (width, height) in [(80, 10), (40, 4), (20, 2), (10, 3)] {
        check_every_frame(&recording, width, height);
    }
    let mut frame = String::new();
    replay(&recording, Verbosity::Normal, TICK_MICROS, |state, now| {
        frame = live::draw(state, 80, 10, now).iter().map(|line| line.text() + "\n").collect();
        true
    });
    let path = folder("frames").join("ten_rows.txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &frame).expect("the golden file is written");
    }
    assert_eq!(frame, std::fs::read_to_string(&path).unwrap_or_default(), "`UPDATE_GOLDENS=1` writes it anew");
}

/// What was shown while a run went on is shown again when its recording is replayed.
#[test]
fn a_recorded_run_replays_to_the_same_frames() {
    for name in ["eight_parallel", "service", "colours", "exception"] {
        let run = recorded(name);
        // As the command line does it: events are applied and recorded when they come, and a frame
        // is drawn every tick.
        let (mut encoder, mut text) = Encoder::new(&run.header);
        let mut state = RunState::new(Verbosity::Normal, Some(run.header.began));
        let mut shown = Vec::new();
        let mut events = run.events.iter().peekable();
        let mut now = run.header.began;
        while now < run.ended() {
            while let Some((at, event)) = events.next_if(|(at, _)| *at <= now) {
                state.apply(event, *at);
                text.push_str(&encoder.event(event, *at));
            }
            shown.push(live::draw(&state, 100, 30, now));
            now += TICK_MICROS;
        }
        for (at, event) in events {
            state.apply(event, *at);
            text.push_str(&encoder.event(event, *at));
        }
        shown.push(final_frame::draw(&state, 100, 30, run.ended(), run.ending(), false));
        text.push_str(&encoder.end(run.ending(), run.ended()));

        let recording = Recording::parse(&text).expect("it is a recording");
        let mut replayed = Vec::new();
        let state = replay(&recording, Verbosity::Normal, TICK_MICROS, |state, now| {
            replayed.push(live::draw(state, 100, 30, now));
            true
        });
        replayed.push(final_frame::draw(&state, 100, 30, recording.ended(), recording.ending(), false));
        assert!(shown == replayed, "{name}");
        assert!(shown.len() > 3, "{name}");
    }
}

/// The state of a run of 100,000 spans is that of a few hundred, and so is the memory.
#[test]
fn memory_is_bounded() {
    let resident = || -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there is a line");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number")
    };
    let before = resident();
    let mut state = RunState::new(Verbosity::All, Some(0));
    state.apply(&start(1, 0, Work::Function, "ci everything", 0), 0);
    for n in 0..100_000_u64 {
        let (span, at) = (n + 2, n * 1_000);
        let name = format!("exec a program with a title of a usual length and the number {n}");
        state.apply(&start(span, 1, Work::Exec, &name, at), at);
        let text = format!("{n} says something that is as long as a usual line of output\n").repeat(10);
        state.apply(&Event::Log { span: SpanId(span), stream: Stream::Stdout, text }, at);
        let outcome = match n % 3 {
            0 => Outcome::Cached,
            1 => Outcome::Done,
            _ => Outcome::Failed("exit code: 1\n".repeat(1000)),
        };
        // Some run for a long time.
        let end_of = if n >= 100 { span - 100 } else { span };
        state.apply(&end(end_of, outcome, at + 1_000_000), at + 1_000_000);
    }
    let counts = state.counts();
    assert!(counts.done + counts.cached + counts.failed > 99_000, "{counts:?}");
    assert!(state.spans().count() < 1_000, "{} spans are kept", state.spans().count());
    let grown = resident().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} kB more");
    assert!(live::draw(&state, 80, 24, 200 * SECOND).len() <= 12);
}

fn start(span: u64, parent: u64, work: Work, name: &str, at: u64) -> Event {
    Event::Start { span: SpanId(span), parent: SpanId(parent), work, name: name.into(), internal: false, at }
}

fn end(span: u64, outcome: Outcome, at: u64) -> Event {
    Event::End { span: SpanId(span), outcome, at }
}

fn recording(events: Vec<(u64, Event)>, ending: Ending) -> Recording {
    let last = events.last().map_or(0, |(at, _)| *at);
    Recording { header: Header::new("0.1.0", "query", 0), events, end: Some((ending, last)), is_cut: false }
}
