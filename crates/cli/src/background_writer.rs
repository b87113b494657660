//! Writes text to standard error on a thread of its own.
//!
//! *Invariants.* A slow reader gets every line in order. A reader that reads nothing for
//! [`STALL_TIMEOUT`] does not hold up the caller any longer: lines that do not fit into the queue
//! are dropped and counted, and the count is printed in their place.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rondel_fault::lock;

/// The size of the queue, in bytes.
const MAX_QUEUED_BYTES: usize = 4 << 20;
/// How many bytes are written at a time. Small, so that progress of a slow reader is noticed.
const CHUNK_BYTES: usize = 4 << 10;
/// A reader that reads nothing for this long counts as stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A queue of text and the thread that writes it. Dropping it waits as
/// [`BackgroundWriter::flush`] does.
pub(crate) struct BackgroundWriter {
    shared: Arc<Shared>,
    stall_timeout: Duration,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    texts: VecDeque<String>,
    /// Bytes that are not written yet, including those that are being written.
    queued_bytes: usize,
    /// When the reader last read something, or the queue was last empty.
    last_progress: Instant,
    /// How many texts were dropped since the last one that was queued.
    dropped: usize,
    is_closed: bool,
}

impl BackgroundWriter {
    /// Writes to standard error.
    pub(crate) fn new() -> Self {
        Self::to(std::io::stderr(), STALL_TIMEOUT)
    }

    fn to(sink: impl Write + Send + 'static, stall_timeout: Duration) -> Self {
        let queue = Queue {
            texts: VecDeque::new(),
            queued_bytes: 0,
            last_progress: Instant::now(),
            dropped: 0,
            is_closed: false,
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let writing = shared.clone();
        std::thread::spawn(move || writing.write(sink));
        Self { shared, stall_timeout }
    }

    /// Queues `text`. Waits for room in the queue unless the reader is stalled; then drops the
    /// text.
    pub(crate) fn push(&self, text: String) {
        let mut queue = self.wait(|queue| queue.queued_bytes < MAX_QUEUED_BYTES);
        if queue.queued_bytes >= MAX_QUEUED_BYTES {
            queue.dropped += 1;
            return;
        }
        queue.report_dropped();
        queue.add(text);
        self.shared.changed.notify_all();
    }

    /// Returns whether everything was written.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.lock().queued_bytes == 0
    }

    /// Waits until everything was written, or the reader is stalled.
    pub(crate) fn flush(&self) {
        drop(self.wait(|queue| queue.queued_bytes == 0));
    }

    fn wait(&self, enough: impl Fn(&Queue) -> bool) -> MutexGuard<'_, Queue> {
        let mut queue = self.shared.lock();
        while !enough(&queue) {
            let left = self.stall_timeout.saturating_sub(queue.last_progress.elapsed());
            if left.is_zero() {
                break;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }
}

impl Drop for BackgroundWriter {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Queue {
    fn add(&mut self, text: String) {
        if self.queued_bytes == 0 {
            self.last_progress = Instant::now();
        }
        self.queued_bytes += text.len();
        self.texts.push_back(text);
    }

    fn report_dropped(&mut self) {
        match std::mem::take(&mut self.dropped) {
            0 => {}
            1 => self.add("(1 line was dropped: standard error was not read)\n".into()),
            lines => self.add(format!("({lines} lines were dropped: standard error was not read)\n")),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Writes texts until the queue is empty and closed.
    fn write(&self, mut sink: impl Write) {
        while let Some(text) = self.next() {
            for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
                // A sink that fails is treated like one that reads everything: there is nothing to
                // do about it.
                let _ = sink.write_all(chunk);
                let mut queue = self.lock();
                queue.queued_bytes -= chunk.len();
                queue.last_progress = Instant::now();
                if queue.queued_bytes == 0 {
                    queue.report_dropped();
                }
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<String> {
        let mut queue = self.lock();
        loop {
            if let Some(text) = queue.texts.pop_front() {
                return Some(text);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// More lines than a pipe and the queue hold.
    const MUCH: usize = (MAX_QUEUED_BYTES + (1 << 20)) / 100;

    fn line(number: usize) -> String {
        format!("{number:099}\n")
    }

    #[test]
    fn a_slow_reader_gets_everything_in_order() {
        let (mut from, to) = std::io::pipe().expect("a pipe");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).map(|_| text)
        });
        let writer = BackgroundWriter::to(to, Duration::from_secs(60));
        (0..MUCH).for_each(|number| writer.push(line(number)));
        writer.flush();
        assert!(writer.is_idle());
        drop(writer);
        let text = reader.join().expect("the reader ends").expect("it is text");
        assert!(text == (0..MUCH).map(line).collect::<String>());
    }

    #[test]
    fn a_stalled_reader_holds_nothing_up() {
        let (mut from, to) = std::io::pipe().expect("a pipe");
        let writer = BackgroundWriter::to(to, Duration::from_secs(1));
        let began = Instant::now();
        (0..MUCH).for_each(|number| writer.push(line(number)));
        writer.flush();
        assert!(!writer.is_idle());
        assert!(began.elapsed() < Duration::from_secs(30));
        // A reader that starts late gets what fit into the queue, and the count of the rest.
        drop(writer);
        let mut text = String::new();
        from.read_to_string(&mut text).expect("it is text");
        let kept = text.lines().count() - 1;
        let note = format!("({} lines were dropped: standard error was not read)\n", MUCH - kept);
        assert!(text == (0..kept).map(line).chain([note]).collect::<String>());
    }
}
