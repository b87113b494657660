//! Sockets as streams of bytes: what client and engine both do to carry bytes between them.
//!
//! *Invariants.* Everything that waits is bounded: a side that reads slowly makes the other wait, and datagrams that nobody takes are
//! dropped, as they are on every network. No task outlives the stream it serves.

pub mod datagrams;
pub mod packets;
pub mod tty;
pub mod unix;
