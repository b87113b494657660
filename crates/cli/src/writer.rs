//! Text on its way to standard error, written by a thread of its own.
//!
//! *Invariants.* Whoever reads may be slow, and then nothing is lost or reordered. Whoever does not read at all holds
//! nobody up for longer than [`PATIENCE`]: what finds no room then is left out and counted, and the count is said where
//! it was.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rondel_fault::lock;

/// How much text may wait, in bytes.
const ROOM: usize = 4 << 20;
/// As much is written at a time, so that a slow reader is seen to read.
const PIECE: usize = 4 << 10;
/// A reader that takes nothing for this long is taken for one that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where text is left to be written. Dropping it waits as [`Writer::flush`] does.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    patience: Duration,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    texts: VecDeque<String>,
    /// Bytes that are not written yet, those under way included.
    waiting: usize,
    /// When the reader last took something, or had nothing to take.
    taken: Instant,
    /// How many texts found no room since the last one that did.
    left_out: usize,
    over: bool,
}

impl Writer {
    /// Writes to standard error.
    pub(crate) fn new() -> Self {
        Self::to(std::io::stderr(), PATIENCE)
    }

    fn to(sink: impl Write + Send + 'static, patience: Duration) -> Self {
        let queue = Queue { texts: VecDeque::new(), waiting: 0, taken: Instant::now(), left_out: 0, over: false };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new() });
        let writing = shared.clone();
        std::thread::spawn(move || writing.write(sink));
        Self { shared, patience }
    }

    /// Leaves `text` to be written. Waits for room as long as somebody reads.
    pub(crate) fn push(&self, text: String) {
        let mut queue = self.wait(|queue| queue.waiting < ROOM);
        if queue.waiting >= ROOM {
            queue.left_out += 1;
            return;
        }
        queue.say_what_is_missing();
        queue.add(text);
        self.shared.changed.notify_all();
    }

    /// Whether everything was written.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.lock().waiting == 0
    }

    /// Waits until everything was written, as long as somebody reads.
    pub(crate) fn flush(&self) {
        drop(self.wait(|queue| queue.waiting == 0));
    }

    fn wait(&self, enough: impl Fn(&Queue) -> bool) -> MutexGuard<'_, Queue> {
        let mut queue = self.shared.lock();
        while !enough(&queue) {
            let left = self.patience.saturating_sub(queue.taken.elapsed());
            if left.is_zero() {
                break;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.flush();
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

impl Queue {
    fn add(&mut self, text: String) {
        if self.waiting == 0 {
            self.taken = Instant::now();
        }
        self.waiting += text.len();
        self.texts.push_back(text);
    }

    fn say_what_is_missing(&mut self) {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            1 => self.add("(1 line was left out: nobody was reading)\n".into()),
            lines => self.add(format!("({lines} lines were left out: nobody was reading)\n")),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Writes until there will be no more.
    fn write(&self, mut sink: impl Write) {
        while let Some(text) = self.next() {
            for piece in text.as_bytes().chunks(PIECE) {
                // A sink that is gone takes everything, as a reader without interest would.
                let _ = sink.write_all(piece);
                let mut queue = self.lock();
                queue.waiting -= piece.len();
                queue.taken = Instant::now();
                if queue.waiting == 0 {
                    queue.say_what_is_missing();
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
            if queue.over {
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

    /// More than a pipe and the queue hold.
    const MUCH: usize = (ROOM + (1 << 20)) / 100;

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
        let writer = Writer::to(to, Duration::from_secs(60));
        (0..MUCH).for_each(|number| writer.push(line(number)));
        writer.flush();
        assert!(writer.is_idle());
        drop(writer);
        let text = reader.join().expect("the reader ends").expect("it is text");
        assert!(text == (0..MUCH).map(line).collect::<String>());
    }

    #[test]
    fn nobody_waits_for_who_does_not_read() {
        let (mut from, to) = std::io::pipe().expect("a pipe");
        let writer = Writer::to(to, Duration::from_secs(1));
        let began = Instant::now();
        (0..MUCH).for_each(|number| writer.push(line(number)));
        writer.flush();
        assert!(!writer.is_idle());
        assert!(began.elapsed() < Duration::from_secs(30));
        // Who begins to read late gets what had room, and is told what had none.
        drop(writer);
        let mut text = String::new();
        from.read_to_string(&mut text).expect("it is text");
        let kept = text.lines().count() - 1;
        let said = format!("({} lines were left out: nobody was reading)\n", MUCH - kept);
        assert!(text == (0..kept).map(line).chain([said]).collect::<String>());
    }
}
