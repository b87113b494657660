//! Prints the progress of a run to standard error.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rondel_client::link::OnEvent;
use rondel_fault::lock;
use rondel_progress::run_state::Totals;
use rondel_progress::{Plain, Tty};

use crate::background_writer::BackgroundWriter;
use crate::settings::Progress;

/// The shortest time between two frames.
const FRAME_MICROS: u64 = 50_000;

/// How many lines are held while output is paused. Further lines are dropped.
const MAX_HELD_LINES: usize = 1000;

/// Progress output of one client. Clones share it.
#[derive(Clone)]
pub(crate) struct ProgressOutput(Arc<Mutex<OutputState>>);

struct OutputState {
    display: Display,
    writer: BackgroundWriter,
    /// Lines to print after the pause. `None` when output is not paused.
    held: Option<Vec<String>>,
}

enum Display {
    Plain(Plain),
    Tty { tty: Tty, drawn_at: u64 },
    Silent(Plain),
}

impl ProgressOutput {
    pub(crate) fn new(progress: Progress) -> Self {
        let display = match progress {
            Progress::Plain => Display::Plain(Plain::default()),
            Progress::Tty => Display::Tty { tty: Tty::default(), drawn_at: 0 },
            Progress::Silent => Display::Silent(Plain::default()),
        };
        Self(Arc::new(Mutex::new(OutputState { display, writer: BackgroundWriter::new(), held: None })))
    }

    /// Returns the callback that receives the events of a run.
    pub(crate) fn on_event(&self) -> OnEvent {
        let display = self.0.clone();
        Box::new(move |event| {
            let OutputState { display, writer, held } = &mut *lock(&display);
            match display {
                Display::Plain(plain) => {
                    for line in plain.lines(event) {
                        match held {
                            Some(held) if held.len() < MAX_HELD_LINES => held.push(line),
                            Some(_) => {}
                            None => writer.push(line + "\n"),
                        }
                    }
                }
                Display::Tty { tty, drawn_at } => {
                    tty.apply(event);
                    let now = now();
                    // Only the newest frame matters: no frame is drawn before the terminal took the
                    // last one.
                    if held.is_none() && writer.is_idle() && now.saturating_sub(*drawn_at) >= FRAME_MICROS {
                        *drawn_at = now;
                        let (width, height) = size();
                        writer.push(tty.frame(width, height, now));
                    }
                }
                Display::Silent(plain) => drop(plain.lines(event)),
            }
        })
    }

    /// Pauses output until [`ProgressOutput::resume`], while a process uses the terminal.
    pub(crate) fn pause(&self) {
        let OutputState { display, writer, held } = &mut *lock(&self.0);
        *held = Some(Vec::new());
        if let Display::Tty { tty, .. } = display {
            writer.push(tty.erase());
        }
        writer.flush();
    }

    /// Ends a pause and prints the lines that were held.
    pub(crate) fn resume(&self) {
        let mut state = lock(&self.0);
        for line in state.held.take().into_iter().flatten() {
            state.writer.push(line + "\n");
        }
    }

    /// Erases the block of running work, waits until all output is written, and returns the counts
    /// of the run.
    pub(crate) fn finish(&self) -> Totals {
        let OutputState { display, writer, .. } = &mut *lock(&self.0);
        let totals = match display {
            Display::Plain(plain) | Display::Silent(plain) => plain.state().totals(),
            Display::Tty { tty, .. } => {
                writer.push(tty.erase());
                tty.state().totals()
            }
        };
        writer.flush();
        totals
    }
}

fn size() -> (usize, usize) {
    let found = rustix::termios::tcgetwinsize(std::io::stderr());
    found.map_or((80, 24), |size| (usize::from(size.ws_col).max(1), usize::from(size.ws_row).max(1)))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
