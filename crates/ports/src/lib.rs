//! Ports: what the engine needs from the world, one small trait per need.
//!
//! *Invariants.* No implementation here. A port speaks in terms of `rondel-model` and plain data;
//! it knows neither GraphQL nor sessions. Blocking ports say so: their callers use the blocking
//! pool.

pub mod cache;
pub mod dirs;
pub mod egress;
pub mod git;
pub mod host;
pub mod http;
pub mod images;
pub mod index;
pub mod network;
pub mod outcome;
pub mod process;
pub mod secrets;
pub mod snapshots;
pub mod streams;

pub use futures_util::future::BoxFuture;
pub use tokio_util::sync::CancellationToken;
