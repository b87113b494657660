//! Locks that outlive a panic of their holder.

use std::sync::Mutex;

pub(crate) use rondel_fault::lock;
