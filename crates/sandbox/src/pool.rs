//! A pool of threads that watch one container each. It is our own, because a container dies with
//! the thread that started it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rondel_fault::{Attempt, Result, lock};

use crate::child::Stacks;

/// Work for one thread, with the stacks for the processes it starts.
pub(crate) type Job = Box<dyn FnOnce(&mut Stacks) + Send>;

/// A pool that grows with the work and keeps a few idle threads.
pub(crate) struct Pool {
    keep: usize,
    state: Mutex<PoolState>,
    wake: Condvar,
}

#[derive(Default)]
struct PoolState {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

impl Pool {
    /// A pool that keeps up to `keep` idle threads.
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Runs the job at once, on a waiting thread or a new one.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) -> Result<()> {
        let mut state = self.lock();
        if state.idle > state.jobs.len() {
            state.jobs.push_back(job);
            // Unlocked first, because the woken thread needs the lock.
            drop(state);
            self.wake.notify_one();
            return Ok(());
        }
        drop(state);
        let pool = Arc::clone(self);
        thread::Builder::new()
            .name("sandbox".into())
            .spawn(move || pool.work(job))
            .attempt(|| "start a thread for a container".into())?;
        Ok(())
    }

    /// Ends the idle threads. Busy ones end after their container.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn work(&self, first: Job) {
        let mut stacks = Stacks::default();
        let mut next = Some(first);
        while let Some(job) = next {
            job(&mut stacks);
            next = self.wait();
        }
    }

    fn wait(&self) -> Option<Job> {
        let mut state = self.lock();
        if state.idle >= self.keep {
            return None;
        }
        state.idle += 1;
        while state.jobs.is_empty() && !state.closed {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.idle -= 1;
        state.jobs.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}
