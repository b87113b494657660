//! Read-ahead in a thread of its own: one processor produces the next bytes while another one works
//! on the previous ones.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};

/// What is read at once.
const CHUNK: usize = 64 << 10;
/// How many chunks wait for the reader at most.
const WAITING: usize = 16;

/// Lets `work` read what `source` gives; `source` is read ahead of it. What `work` leaves may have
/// been read or not.
pub(crate) fn read_ahead<T>(mut source: impl Read + Send, work: impl FnOnce(&mut ReadAhead) -> T) -> T {
    let (sender, receiver) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let chunk = chunk_of(&mut source);
                let last = !matches!(&chunk, Ok(bytes) if !bytes.is_empty());
                if sender.send(chunk).is_err() || last {
                    break;
                }
            }
        });
        work(&mut ReadAhead { receiver, chunk: Vec::new(), read: 0, ended: false })
    })
}

/// The next bytes, none at the end.
fn chunk_of(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    source.take(CHUNK as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

/// The bytes that were read ahead.
pub(crate) struct ReadAhead {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// How much of the chunk was taken.
    read: usize,
    ended: bool,
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() && !self.ended {
            // The other side hangs up after the end and after an error only.
            self.chunk = self.receiver.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.read = 0;
            self.ended = self.chunk.is_empty();
        }
        let rest = &self.chunk[self.read..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("torn"));
            }
            let given = self.0.min(buffer.len()).min(1000);
            self.0 -= given;
            buffer[..given].fill(7);
            Ok(given)
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let bytes: Vec<u8> = (0..3 * CHUNK + 17).map(|at| (at % 251) as u8).collect();
        let mut seen = Vec::new();
        let outcome = read_ahead(bytes.as_slice(), |reader| reader.read_to_end(&mut seen));
        assert_eq!(outcome.expect("reads"), bytes.len());
        assert_eq!(seen, bytes);
    }

    #[test]
    fn an_error_is_told() {
        let outcome = read_ahead(Broken(3 * CHUNK), |reader| io::copy(reader, &mut io::sink()));
        assert_eq!(outcome.expect_err("fails").to_string(), "torn");
    }

    #[test]
    fn who_stops_early_does_not_wait() {
        let first = read_ahead(io::repeat(1), |reader| {
            let mut one = [0];
            reader.read_exact(&mut one).map(|()| one[0])
        });
        assert_eq!(first.expect("reads"), 1);
    }
}
