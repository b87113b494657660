//! Background removal of files and directories.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rondel_fault::{Attempt, Result, lock};

use crate::sys;

enum TrashRequest {
    Remove(PathBuf, Option<OwnedFd>),
    Flush(SyncSender<()>),
}

/// A thread that removes trees one after another. On drop it finishes the current tree. The rest
/// stays in `scratch` or `trash` and is removed when the state directory is opened again.
pub(crate) struct BackgroundRemover {
    requests: Option<Mutex<Sender<TrashRequest>>>,
    thread: Option<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
}

impl BackgroundRemover {
    pub(crate) fn start() -> Result<Self> {
        let (send, receive) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let seen = ending.clone();
        let thread = std::thread::Builder::new()
            .name("remover".into())
            .spawn(move || remove_all(&receive, &seen))
            .attempt(|| "start the thread that removes files".into())?;
        Ok(Self { requests: Some(Mutex::new(send)), thread: Some(thread), ending })
    }

    /// Closes `mount` and removes `path` later. The name must not be used again.
    pub(crate) fn remove(&self, path: PathBuf, mount: Option<OwnedFd>) {
        self.request(TrashRequest::Remove(path, mount));
    }

    /// Waits until every request so far is done.
    pub(crate) fn flush(&self) {
        let (tell, told) = sync_channel(1);
        self.request(TrashRequest::Flush(tell));
        let _ = told.recv();
    }

    fn request(&self, request: TrashRequest) {
        if let Some(requests) = &self.requests {
            // If the thread is gone, the next start removes the rest.
            let _ = lock(requests).send(request);
        }
    }
}

fn remove_all(requests: &Receiver<TrashRequest>, ending: &AtomicBool) {
    while let Ok(request) = requests.recv() {
        match request {
            TrashRequest::Remove(..) if ending.load(Ordering::Relaxed) => {}
            TrashRequest::Remove(path, mount) => {
                drop(mount);
                let _ = sys::remove_tree(&path);
            }
            TrashRequest::Flush(tell) => drop(tell.send(())),
        }
    }
}

impl Drop for BackgroundRemover {
    // ORDER: the thread has ended before the lock of the state directory is given back: the next
    // engine uses the same names.
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
