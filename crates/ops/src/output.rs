//! Captures the output of a process: redacted, bounded, and streamed to the progress.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

use rondel_events::{Emitter, Stream};
use rondel_fault::{Attempt, OutputTail, Result, lock};
use rondel_ports::process::OutputSink;

use crate::redact::{Redactor, Secrets};
use crate::utf8::whole_characters;

/// The most bytes stored of each stream. Later bytes are counted, and only the last of them are
/// kept.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The most bytes of each stream in the error of a process. Compatibility: clients rely on the
/// limit.
const MAX_ERROR_BYTES: usize = 102_400;

/// Collects both streams of one process.
#[derive(Clone)]
pub(crate) struct Capture(Arc<Mutex<CaptureState>>);

struct CaptureState {
    events: Emitter,
    streams: [StreamCapture; 2],
    combined: BoundedOutput,
}

struct StreamCapture {
    stream: Stream,
    redactor: Redactor,
    kept: BoundedOutput,
    /// The start of a character whose remaining bytes have not been written yet.
    partial: Vec<u8>,
    redirect: Option<File>,
    failure: Option<std::io::Error>,
}

/// The captured output.
pub(crate) struct Written {
    pub(crate) stdout: Arc<str>,
    pub(crate) stderr: Arc<str>,
    pub(crate) combined: Arc<str>,
    /// The ends of both streams, for errors.
    pub(crate) tails: [String; 2],
    /// The end of what was written to either of them.
    pub(crate) combined_tail: OutputTail,
    /// The files that received redirected streams.
    pub(crate) redirects: [Option<File>; 2],
}

impl Capture {
    /// Streams output to `events`. A stream with a file in `redirects` is also written there
    /// completely.
    pub(crate) fn new(events: Emitter, secrets: &Secrets, redirects: [Option<File>; 2]) -> Self {
        let mut redirects = redirects.into_iter();
        let streams = [Stream::Stdout, Stream::Stderr].map(|stream| StreamCapture {
            stream,
            redactor: secrets.redactor(),
            kept: BoundedOutput::default(),
            partial: Vec::new(),
            redirect: redirects.next().flatten(),
            failure: None,
        });
        Self(Arc::new(Mutex::new(CaptureState { events, streams, combined: BoundedOutput::default() })))
    }

    /// Receives standard output (0) or standard error (1).
    pub(crate) fn sink(&self, which: usize) -> OutputSink {
        let state = self.0.clone();
        Box::new(move |piece| {
            let mut state = lock(&state);
            let clean = state.streams[which].redactor.push(piece);
            state.take(which, &clean);
        })
    }

    /// Ends the capture.
    ///
    /// # Errors
    /// When a redirected stream could not be written.
    pub(crate) fn finish(self) -> Result<Written> {
        let mut state = lock(&self.0);
        for which in 0..2 {
            let rest = state.streams[which].redactor.finish();
            state.take(which, &rest);
            let partial = std::mem::take(&mut state.streams[which].partial);
            if !partial.is_empty() {
                state.events.log(state.streams[which].stream, String::from_utf8_lossy(&partial));
            }
            if let Some(error) = state.streams[which].failure.take() {
                return Err(error).attempt(|| "write the redirected output of a process".into());
            }
        }
        Ok(Written {
            stdout: state.streams[0].kept.text(),
            stderr: state.streams[1].kept.text(),
            combined: state.combined.text(),
            tails: [state.streams[0].kept.tail(), state.streams[1].kept.tail()],
            combined_tail: state.combined.last_lines(),
            redirects: [state.streams[0].redirect.take(), state.streams[1].redirect.take()],
        })
    }
}

impl CaptureState {
    fn take(&mut self, which: usize, clean: &[u8]) {
        if clean.is_empty() {
            return;
        }
        let stream = &mut self.streams[which];
        stream.kept.push(clean);
        self.combined.push(clean);
        if let (Some(file), None) = (&mut stream.redirect, &stream.failure) {
            stream.failure = file.write_all(clean).err();
        }
        stream.partial.extend_from_slice(clean);
        let whole = whole_characters(&stream.partial);
        if whole > 0 {
            let text = String::from_utf8_lossy(&stream.partial[..whole]).into_owned();
            stream.partial.drain(..whole);
            self.events.log(stream.stream, text);
        }
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The bounded head of a stream, and its tail.
#[derive(Default)]
struct BoundedOutput {
    head: Vec<u8>,
    /// The last bytes after the head.
    tail: Vec<u8>,
    total: u64,
    line_ends: u64,
}

impl BoundedOutput {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.line_ends += line_ends(bytes);
        let (first, rest) = bytes.split_at(bytes.len().min(MAX_KEPT_BYTES - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        if self.tail.len() > 4 * MAX_ERROR_BYTES {
            self.tail.drain(..self.tail.len() - MAX_ERROR_BYTES);
        }
    }

    fn text(&self) -> Arc<str> {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        let lost = self.total - self.head.len() as u64;
        if lost > 0 {
            text.push_str(&format!("\n[{lost} bytes more were written than are kept]\n"));
        }
        text.into()
    }

    /// The last [`MAX_ERROR_BYTES`] bytes.
    fn end(&self) -> Vec<u8> {
        let mut end = Vec::with_capacity(MAX_ERROR_BYTES);
        let from_tail = &self.tail[self.tail.len().saturating_sub(MAX_ERROR_BYTES)..];
        let wanted = MAX_ERROR_BYTES - from_tail.len();
        end.extend_from_slice(&self.head[self.head.len().saturating_sub(wanted)..]);
        end.extend_from_slice(from_tail);
        end
    }

    /// The last lines, for people.
    fn last_lines(&self) -> OutputTail {
        let end = self.end();
        OutputTail::new(&String::from_utf8_lossy(&end), self.line_ends - line_ends(&end))
    }

    /// The last [`MAX_ERROR_BYTES`] bytes without surrounding white space. If bytes are omitted, a
    /// marker overwrites the first ones.
    fn tail(&self) -> String {
        let mut end = self.end();
        let omitted = self.total - end.len() as u64;
        if omitted > 0 {
            let marker = format!("[omitting {omitted} bytes]...");
            end[..marker.len()].copy_from_slice(marker.as_bytes());
        }
        // Compatibility: clients compare the whole text.
        String::from_utf8_lossy(&end).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_the_end() {
        let mut kept = BoundedOutput::default();
        kept.push(b"\n star");
        kept.push(b"t\n\n");
        assert_eq!(kept.tail(), "start");
        kept.push(&vec![b'x'; MAX_ERROR_BYTES]);
        kept.push(b"end");
        let tail = kept.tail();
        assert_eq!(tail.len(), MAX_ERROR_BYTES);
        assert!(tail.starts_with("[omitting 12 bytes]...xxx"), "{}", &tail[..40]);
        assert!(tail.ends_with("xend"));
    }

    #[test]
    fn the_last_lines_are_counted() {
        let mut kept = BoundedOutput::default();
        kept.push(b"first\n");
        kept.push(&b"0123456789012345678901234567890123456789\n".repeat(10_000));
        kept.push(b"last");
        let tail = kept.last_lines();
        assert!(tail.text.ends_with("9\nlast"));
        assert_eq!((tail.text.lines().count(), tail.omitted_lines), (50, 9_952));
        assert_eq!(BoundedOutput::default().last_lines(), OutputTail::default());
    }
}
