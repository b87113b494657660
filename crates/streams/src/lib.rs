//! Sockets as streams of bytes, carried between client and engine.
//!
//! *Invariants.* Everything that waits is bounded: a side that reads slowly makes the other wait,
//! and datagrams without a reader are dropped, as they are on every network. No task outlives the
//! stream it serves.

use tokio::io::{AsyncRead, AsyncWrite};

pub mod datagrams;
pub mod inet;
pub mod packets;
pub mod relay;
pub mod tty;
pub mod unix;

/// A stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Bytes in both directions. Bytes that the other side did not read yet are bounded: writing
/// waits. It ends when either side drops it.
pub type Stream = Box<dyn ByteStream>;
