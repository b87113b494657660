//! Progress on standard error.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rondel_client::link::OnEvent;
use rondel_progress::state::Totals;
use rondel_progress::{Plain, Tty};

use crate::settings::Progress;

/// At most this many frames a second are drawn.
const FRAME_MICROS: u64 = 50_000;

/// How many lines are kept while the terminal is somebody else's.
const MOST_KEPT: usize = 1000;

/// What is shown.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Mutex<State>>);

struct State {
    shown: Shown,
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
        Self(Arc::new(Mutex::new(State { shown, kept: None })))
    }

    /// Receives the events of a run.
    pub(crate) fn on_event(&self) -> OnEvent {
        let shown = self.0.clone();
        Box::new(move |event| {
            let mut err = std::io::stderr().lock();
            let State { shown, kept } = &mut *shown.lock().unwrap_or_else(PoisonError::into_inner);
            match shown {
                Shown::Plain(plain) => {
                    for line in plain.lines(event) {
                        match kept {
                            Some(kept) if kept.len() < MOST_KEPT => kept.push(line),
                            Some(_) => {}
                            None => _ = writeln!(err, "{line}"),
                        }
                    }
                }
                Shown::Tty { tty, drawn } => {
                    tty.apply(event);
                    let now = now();
                    if kept.is_none() && now.saturating_sub(*drawn) >= FRAME_MICROS {
                        *drawn = now;
                        let (width, height) = size();
                        let _ = err.write_all(tty.frame(width, height, now).as_bytes());
                    }
                }
                Shown::Silent(plain) => drop(plain.lines(event)),
            }
        })
    }

    /// Shows nothing until [`Screen::resume`]: the terminal is somebody else's.
    pub(crate) fn pause(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept = Some(Vec::new());
        if let Shown::Tty { tty, .. } = &mut state.shown {
            let _ = std::io::stderr().lock().write_all(tty.erase().as_bytes());
        }
    }

    /// Shows what there was to be shown since [`Screen::pause`].
    pub(crate) fn resume(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in state.kept.take().into_iter().flatten() {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }

    /// Takes away what will not stay, and gives the counts of the run.
    pub(crate) fn finish(&self) -> Totals {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut shown.shown {
            Shown::Plain(plain) | Shown::Silent(plain) => plain.state().totals(),
            Shown::Tty { tty, .. } => {
                let _ = std::io::stderr().lock().write_all(tty.erase().as_bytes());
                tty.state().totals()
            }
        }
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
