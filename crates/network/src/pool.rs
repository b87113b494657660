//! A pool of networks that are ready for use: made in advance, or returned unmodified.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rondel_fault::{Result, lock};
use rondel_ports::network::Network;

use crate::namespace;

const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The pool holds at most this many times the networks that are made in advance. The others were
/// returned.
const MAX_READY_FACTOR: usize = 3;

/// The pool.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Default)]
struct PoolState {
    ready: Vec<Network>,
    /// How many networks are made in advance.
    size: usize,
    closed: bool,
    filler: Option<JoinHandle<()>>,
}

impl Pool {
    /// Takes a network that is ready, or `None` if there is none.
    pub(crate) fn take(&self) -> Option<Network> {
        let network = self.lock().ready.pop()?;
        self.changed.notify_one();
        Some(network)
    }

    /// Returns a network to the pool. `network` is not called if the pool is full.
    pub(crate) fn give_back(&self, network: impl FnOnce() -> Network) {
        let mut state = self.lock();
        if !state.closed && state.ready.len() < state.size * MAX_READY_FACTOR {
            state.ready.push(network());
        }
    }

    /// Starts to keep `size` networks ready in the background, made by `make`.
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

    /// Drops all networks and waits until the background work has ended.
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
                // Other networks may have been returned meanwhile.
                Ok(network) if !state.closed && state.ready.len() < size * MAX_READY_FACTOR => {
                    state.ready.push(network)
                }
                // ORDER: dropping a network locks this pool, to return it.
                Ok(network) => {
                    drop(state);
                    drop(network);
                    state = self.lock();
                }
                // The next caller makes a network itself and gets the error.
                Err(_) => {
                    state = self.changed.wait_timeout(state, RETRY_DELAY).unwrap_or_else(PoisonError::into_inner).0
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}
