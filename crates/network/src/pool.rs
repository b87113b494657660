//! Networks that are ready before somebody asks for them: new ones, and those that came back as they were given out.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rondel_fault::Result;
use rondel_ports::network::Network;

use crate::namespace;

const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How many networks lie ready at most, for each that is made in advance: those beyond came back.
const MAX_READY_FACTOR: usize = 3;

/// Networks held ready.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    ready: Vec<Network>,
    /// How many are made in advance.
    size: usize,
    closed: bool,
    filler: Option<JoinHandle<()>>,
}

impl Pool {
    /// A network that is ready.
    pub(crate) fn take(&self) -> Option<Network> {
        let network = self.lock().ready.pop()?;
        self.changed.notify_one();
        Some(network)
    }

    /// Takes a network back, unless there are enough; then it is not made.
    pub(crate) fn give_back(&self, network: impl FnOnce() -> Network) {
        let mut state = self.lock();
        if !state.closed && state.ready.len() < state.size * MAX_READY_FACTOR {
            state.ready.push(network());
        }
    }

    /// Keeps `size` networks ready from now on, in the background.
    pub(crate) fn start(
        self: &Arc<Self>,
        make: impl Fn() -> Result<Network> + Send + Sync + 'static,
        size: usize,
    ) -> io::Result<()> {
        let mut state = self.lock();
        if size == 0 || state.closed || state.filler.is_some() {
            return Ok(());
        }
        let pool = self.clone();
        let filler = std::thread::Builder::new().name("rondel-netpool".into()).spawn(move || pool.fill(&make, size))?;
        (state.filler, state.size) = (Some(filler), size);
        Ok(())
    }

    /// Gives everything back and returns when the background work has ended.
    pub(crate) fn close(&self) {
        let (filler, ready) = {
            let mut state = self.lock();
            state.closed = true;
            (state.filler.take(), std::mem::take(&mut state.ready))
        };
        drop(ready);
        self.changed.notify_all();
        if let Some(filler) = filler {
            let _ = filler.join();
        }
    }

    fn fill(&self, make: &(impl Fn() -> Result<Network> + Sync), size: usize) {
        let mut state = self.lock();
        while !state.closed {
            if state.ready.len() >= size {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let made = namespace::on_thread(|| make().map_err(io::Error::other));
            state = self.lock();
            match made {
                // Others may have come back meanwhile.
                Ok(network) if !state.closed && state.ready.len() < size * MAX_READY_FACTOR => {
                    state.ready.push(network)
                }
                // ORDER: a network that goes asks this pool to take it back.
                Ok(network) => {
                    drop(state);
                    drop(network);
                    state = self.lock();
                }
                // Whoever asks next tries for himself and is told why.
                Err(_) => {
                    state = self.changed.wait_timeout(state, RETRY_DELAY).unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
