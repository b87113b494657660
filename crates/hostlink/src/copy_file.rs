//! Content of files: copies, digests, and modification times.
//!
//! A copy shares the blocks of the original where the file system supports it. Otherwise the kernel
//! copies the bytes, if it can copy between the two files. A copy that shares blocks is always of
//! the whole file, even in [`at_most`].

use std::fs::File;
use std::io::{self, Read};

use rondel_digest::Digest;
use rustix::fs::{Timespec, Timestamps};

/// Copies all bytes of `from` to `to`.
pub(crate) fn content(from: &File, to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let (mut from, mut to) = (from, to);
    io::copy(&mut from, &mut to).map(drop)
}

/// Copies the bytes of `from`, of one that grows no more than `size`, to `to`.
pub(crate) fn at_most(from: &File, to: &File, size: u64) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut to = to;
    io::copy(&mut from.take(size), &mut to).map(drop)
}

/// The digest of the content of `file`. Calls `progress` with the size of each piece.
pub(crate) fn digest(mut file: &File, size: u64, progress: impl Fn(u64)) -> io::Result<Digest> {
    const STEP: usize = 2 << 20;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; usize::try_from(size).unwrap_or(STEP).saturating_add(1).min(STEP)];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_bytes(*hasher.finalize().as_bytes()));
        }
        if read >= 1 << 20 {
            hasher.update_rayon(&buffer[..read]);
        } else {
            hasher.update(&buffer[..read]);
        }
        progress(read as u64);
    }
}

/// A modification time, in nanoseconds since the Unix epoch, in the form of system calls.
pub(crate) fn times(nanos: i64) -> Timestamps {
    let spec = Timespec { tv_sec: nanos.div_euclid(1_000_000_000), tv_nsec: nanos.rem_euclid(1_000_000_000) };
    Timestamps { last_access: spec, last_modification: spec }
}
