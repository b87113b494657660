//! Progress on standard error.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use rondel_client::link::OnEvent;
use rondel_fault::lock;
use rondel_progress::run_state::Totals;
use rondel_progress::{Plain, Tty};

use crate::settings::Progress;
use crate::writer::Writer;

/// At most this many frames a second are drawn.
const FRAME_MICROS: u64 = 50_000;

/// How many lines are kept while the terminal is somebody else's.
const MAX_KEPT: usize = 1000;

/// What is shown.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Mutex<State>>);

struct State {
    shown: Shown,
    writer: Writer,
    /// What was to be shown while the terminal was somebody else's.
    kept: Option<Vec<String>>,
}

enum Shown {
    Plain(Plain),
    Tty { tty: Tty, drawn: u64 },
    Silent(Plain),
}

impl Screen {
    pub(crate) fn new(progress: Progress) -> Self {
        let shown = match progress {
            Progress::Plain => Shown::Plain(Plain::default()),
            Progress::Tty => Shown::Tty { tty: Tty::default(), drawn: 0 },
            Progress::Silent => Shown::Silent(Plain::default()),
        };
        Self(Arc::new(Mutex::new(State { shown, writer: Writer::new(), kept: None })))
    }

    /// Receives the events of a run.
    pub(crate) fn on_event(&self) -> OnEvent {
        let shown = self.0.clone();
        Box::new(move |event| {
            let State { shown, writer, kept } = &mut *lock(&shown);
            match shown {
                Shown::Plain(plain) => {
                    for line in plain.lines(event) {
                        match kept {
                            Some(kept) if kept.len() < MAX_KEPT => kept.push(line),
                            Some(_) => {}
                            None => writer.push(line + "\n"),
                        }
                    }
                }
                Shown::Tty { tty, drawn } => {
                    tty.apply(event);
                    let now = now();
                    // Of frames only the newest is of interest: none is drawn before the last one is on the terminal.
                    if kept.is_none() && writer.is_idle() && now.saturating_sub(*drawn) >= FRAME_MICROS {
                        *drawn = now;
                        let (width, height) = size();
                        writer.push(tty.frame(width, height, now));
                    }
                }
                Shown::Silent(plain) => drop(plain.lines(event)),
            }
        })
    }

    /// Shows nothing until [`Screen::resume`]: the terminal is somebody else's.
    pub(crate) fn pause(&self) {
        let State { shown, writer, kept } = &mut *lock(&self.0);
        *kept = Some(Vec::new());
        if let Shown::Tty { tty, .. } = shown {
            writer.push(tty.erase());
        }
        writer.flush();
    }

    /// Shows what there was to be shown since [`Screen::pause`].
    pub(crate) fn resume(&self) {
        let mut state = lock(&self.0);
        for line in state.kept.take().into_iter().flatten() {
            state.writer.push(line + "\n");
        }
    }

    /// Takes away what will not stay, waits until the rest is written, and gives the counts of the run.
    pub(crate) fn finish(&self) -> Totals {
        let State { shown, writer, .. } = &mut *lock(&self.0);
        let totals = match shown {
            Shown::Plain(plain) | Shown::Silent(plain) => plain.state().totals(),
            Shown::Tty { tty, .. } => {
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
