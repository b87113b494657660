//! Shows the progress of a run on standard error, and records it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rondel_client::link::OnEvent;
use rondel_events::Event;
use rondel_fault::lock;
use rondel_progress::printer::is_listing_shown;
use rondel_progress::run_state::Counts;
use rondel_progress::{Ending, Printer, RunState, Screen, Totals, Verbosity, final_frame, live};

use crate::background_writer::BackgroundWriter;
use crate::interrupt::Interruption;
use crate::progress_mode::{ErrorStream, ProgressMode};
use crate::recorder::Recorder;

/// The time between two frames.
const TICK: Duration = Duration::from_millis(100);
/// How often what was recorded is written to its file, in ticks.
const FLUSH_TICKS: usize = 10;
/// How much text is held while output is paused, in bytes. Further text is dropped.
const MAX_HELD_BYTES: usize = 256 << 10;

/// How the progress of one run is shown and recorded.
#[derive(Clone)]
pub(crate) struct ProgressSettings {
    /// How it is shown.
    pub(crate) mode: ProgressMode,
    /// How much is shown.
    pub(crate) verbosity: Verbosity,
    /// Where it is shown.
    pub(crate) stream: ErrorStream,
    /// The command lists something: nothing is shown unless something fails or takes long.
    pub(crate) is_listing: bool,
    /// The command calls a function: the summary says whether a process was started.
    pub(crate) is_call: bool,
    /// The name of the command.
    pub(crate) command: String,
    /// The state directory in which the run is recorded. `None` if it is not recorded.
    pub(crate) record_in: Option<PathBuf>,
    /// Whether a signal has ended the command.
    pub(crate) interruption: Interruption,
    /// When the command was started, in microseconds since the Unix epoch.
    pub(crate) began: u64,
}

/// Progress output of one client. It ends when it is dropped, as that of a run that failed.
pub(crate) struct ProgressOutput(ProgressHandle);

/// A part of the program that shares the terminal with progress output.
#[derive(Clone)]
pub(crate) struct ProgressHandle(Arc<Mutex<OutputState>>);

struct OutputState {
    display: Display,
    settings: ProgressSettings,
    writer: BackgroundWriter,
    recorder: Option<Recorder>,
    /// Text to print after the pause. `None` when output is not paused.
    held: Option<String>,
    is_finished: bool,
}

enum Display {
    Screen {
        state: Box<RunState>,
        screen: Screen,
        /// A listing turned out to take long, and is shown.
        is_shown: bool,
        foreign: ForeignOutput,
    },
    Text(Printer),
}

impl ProgressOutput {
    pub(crate) fn new(settings: ProgressSettings) -> Self {
        let state = RunState::new(settings.verbosity, Some(settings.began));
        let stream = settings.stream;
        let display = match settings.mode {
            ProgressMode::Tty => Display::Screen {
                state: Box::new(state),
                screen: Screen::new(stream.color, stream.reflows),
                is_shown: !settings.is_listing,
                foreign: ForeignOutput::default(),
            },
            ProgressMode::Plain => {
                Display::Text(Printer::plain(state, stream.groups, settings.is_listing, stream.color))
            }
            ProgressMode::Dots => Display::Text(Printer::dots(state, stream.color)),
            ProgressMode::Logs => Display::Text(Printer::Logs { state, color: stream.color }),
            ProgressMode::Json => Display::Text(Printer::Json(state)),
            ProgressMode::Quiet => Display::Text(Printer::Quiet(state)),
        };
        let recorder = settings.record_in.as_deref().map(|dir| Recorder::new(dir, &settings.command, settings.began));
        let writer = BackgroundWriter::new();
        let output = OutputState { display, settings, writer, recorder, held: None, is_finished: false };
        let output = Arc::new(Mutex::new(output));
        let ticking = Arc::downgrade(&output);
        std::thread::spawn(move || tick(&ticking));
        Self(ProgressHandle(output))
    }

    /// Returns the callback that receives the events of a run.
    pub(crate) fn on_event(&self) -> OnEvent {
        let output = self.0.0.clone();
        Box::new(move |event| lock(&output).event(&event))
    }

    /// A handle for what shares the terminal.
    pub(crate) fn handle(&self) -> ProgressHandle {
        self.0.clone()
    }

    /// Whether a block of lines is kept on the terminal.
    pub(crate) fn keeps_block(&self) -> bool {
        matches!(lock(&self.0.0).display, Display::Screen { .. })
    }

    /// Ends the output of a run that has its result: what stays is printed. Waits until all output
    /// is written, and returns the counts of the run.
    pub(crate) fn finish(&self) -> Totals {
        lock(&self.0.0).end(Ending::Done)
    }

    /// Like [`ProgressOutput::finish`], for a run without a result.
    pub(crate) fn abort(&self) -> Totals {
        let mut output = lock(&self.0.0);
        let ending = match output.settings.interruption.is_set() {
            true => Ending::Interrupted,
            false => Ending::Aborted,
        };
        output.end(ending)
    }
}

impl Drop for ProgressOutput {
    fn drop(&mut self) {
        self.abort();
    }
}

impl ProgressHandle {
    /// Pauses output until [`ProgressHandle::resume`], while a process uses the terminal.
    pub(crate) fn pause(&self) {
        let output = &mut *lock(&self.0);
        output.held = Some(String::new());
        output.clear();
        output.writer.flush();
    }

    /// Ends a pause and prints the text that was held.
    pub(crate) fn resume(&self) {
        let mut output = lock(&self.0);
        if let Some(held) = output.held.take().filter(|held| !held.is_empty()) {
            output.writer.push(held);
        }
    }

    /// Prints output of another program above the block of lines.
    pub(crate) fn print_above(&self, bytes: &[u8]) {
        let output = &mut *lock(&self.0);
        output.clear();
        output.writer.flush();
        let _ = std::io::stderr().lock().write_all(bytes);
        if let Display::Screen { foreign, .. } = &mut output.display {
            foreign.wrote(bytes);
        }
    }
}

impl OutputState {
    fn event(&mut self, event: &Event) {
        let now = now();
        if let Some(recorder) = &mut self.recorder {
            recorder.event(event, now);
        }
        match &mut self.display {
            Display::Screen { state, .. } => drop(state.apply(event, now)),
            Display::Text(printer) => {
                let text = printer.apply(event, now);
                self.print(text);
            }
        }
    }

    /// Draws the next frame. Only the newest frame matters: none is drawn before the terminal took
    /// the last one.
    fn tick(&mut self) {
        let now = now();
        let is_idle = self.writer.is_idle();
        match &mut self.display {
            Display::Screen { state, screen, is_shown, foreign } => {
                *is_shown |= is_listing_shown(state, now);
                if self.held.is_none() && is_idle && *is_shown && !foreign.takes_screen() {
                    let (width, height) = size();
                    let bytes = screen.draw(&live::draw(state, width, height, now), width, height);
                    if !bytes.is_empty() {
                        self.writer.push(bytes);
                    }
                }
            }
            Display::Text(printer) => {
                let text = printer.tick(now);
                self.print(text);
            }
        }
    }

    fn print(&mut self, text: String) {
        match &mut self.held {
            _ if text.is_empty() || self.is_finished => {}
            Some(held) if held.len() + text.len() <= MAX_HELD_BYTES => held.push_str(&text),
            Some(_) => {}
            None => self.writer.push(text),
        }
    }

    fn clear(&mut self) {
        if let Display::Screen { screen, .. } = &mut self.display {
            let (width, height) = size();
            let bytes = screen.clear(width, height);
            if !bytes.is_empty() {
                self.writer.push(bytes);
            }
        }
    }

    fn end(&mut self, ending: Ending) -> Totals {
        if !self.is_finished {
            let now = now();
            let is_call = self.settings.is_call;
            let text = match &mut self.display {
                Display::Screen { state, screen, is_shown, foreign } => {
                    let (width, height) = size();
                    let is_empty = state.counts() == Counts::default() && state.spans().next().is_none();
                    let is_worth_it = (*is_shown && !is_empty) || state.counts().failed > 0;
                    let says_it = is_worth_it || (is_call && ending == Ending::Done);
                    let lines = match says_it {
                        true => final_frame::draw(state, width, height, now, ending, is_call),
                        false => Vec::new(),
                    };
                    // What another program wrote of a line stays.
                    let line_end = if foreign.takes_screen() && !lines.is_empty() { "\r\n" } else { "" };
                    line_end.to_owned() + &screen.finish(&lines, width, height)
                }
                Display::Text(printer) => printer.finish(now, ending, is_call),
            };
            self.print(text);
            self.is_finished = true;
            if let Some(recorder) = &mut self.recorder {
                recorder.end(ending, now);
            }
        }
        self.writer.flush();
        match &self.display {
            Display::Screen { state, .. } => state.totals(),
            Display::Text(printer) => printer.state().totals(),
        }
    }
}

/// Ticks until the output ends.
fn tick(output: &Weak<Mutex<OutputState>>) {
    for count in 1.. {
        std::thread::sleep(TICK);
        let Some(output) = output.upgrade() else { return };
        let output = &mut *lock(&output);
        if output.is_finished {
            return;
        }
        output.tick();
        if let Some(recorder) = output.recorder.as_mut().filter(|_| count % FLUSH_TICKS == 0) {
            recorder.flush();
        }
    }
}

/// What another program wrote to the terminal.
#[derive(Default)]
struct ForeignOutput {
    /// It wrote a part of a line.
    in_line: bool,
    /// It uses the alternate screen.
    on_alternate_screen: bool,
}

impl ForeignOutput {
    /// Whether the block cannot be drawn.
    fn takes_screen(&self) -> bool {
        self.in_line || self.on_alternate_screen
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let last = |sequence: &[u8]| bytes.windows(sequence.len()).rposition(|window| window == sequence);
        let (enters, leaves) = (last(b"\x1b[?1049h"), last(b"\x1b[?1049l"));
        if enters.is_some() || leaves.is_some() {
            self.on_alternate_screen = enters > leaves;
        }
        if let Some(last) = bytes.last() {
            self.in_line = *last != b'\n';
        }
    }
}

fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(std::io::stderr());
    let known = found.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// The time, in microseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_is_free_after_a_whole_line() {
        let mut foreign = ForeignOutput::default();
        for (bytes, takes_screen) in [
            (&b"line\n"[..], false),
            (b"prompt? ", true),
            (b"", true),
            (b"yes\n", false),
            (b"\x1b[?1049hpage\n", true),
            (b"more\n", true),
            (b"\x1b[?1049l\n", false),
            (b"\x1b[?1049lx\x1b[?1049h\n", true),
        ] {
            foreign.wrote(bytes);
            assert_eq!(foreign.takes_screen(), takes_screen, "{bytes:?}");
        }
    }
}
