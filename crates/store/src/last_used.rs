//! Times of last use, for LRU eviction. A use is recorded in memory immediately, and written to
//! disk later: for layers and blobs as the modification time of a file, for cache volumes in the
//! index. A crash loses the times that were not written yet.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Differences below this are not written to disk, in milliseconds.
pub(crate) const CLOCK_GRANULARITY_MS: i64 = 30_000;

/// The time of the last use, in milliseconds since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct LastUsed {
    used: AtomicI64,
    written: AtomicI64,
}

impl LastUsed {
    /// First use now. A file that is created now has that time already.
    pub(crate) fn now() -> Self {
        Self::at(now())
    }

    /// Last use at `millis`, already on disk.
    pub(crate) fn at(millis: i64) -> Self {
        Self { used: AtomicI64::new(millis), written: AtomicI64::new(millis) }
    }

    /// Reads the modification time of a file.
    pub(crate) fn from_mtime(path: &Path) -> Self {
        let modified = std::fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Self::at(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Marks a use now.
    pub(crate) fn touch(&self) {
        self.used.fetch_max(now(), Ordering::Relaxed);
    }

    /// The last use.
    pub(crate) fn millis(&self) -> i64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the last use if it must be written to disk, and assumes that it is written.
    pub(crate) fn due(&self) -> Option<i64> {
        let used = self.millis();
        (used - self.written.load(Ordering::Relaxed) >= CLOCK_GRANULARITY_MS).then(|| {
            self.written.store(used, Ordering::Relaxed);
            used
        })
    }
}

/// Name and uses of one cache volume, as stored in the index.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct VolumeUse {
    pub(crate) name: String,
    #[serde(rename = "made")]
    pub(crate) created_at: i64,
    #[serde(rename = "used")]
    pub(crate) last_used: i64,
    /// The last use that is on disk.
    #[serde(skip)]
    pub(crate) persisted: i64,
    /// Its size on disk, and when that was determined.
    #[serde(skip)]
    pub(crate) size: Option<(u64, i64)>,
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Sets the modification time of the file `path` to `millis`. On failure the time is known until
/// the engine ends.
pub(crate) fn write_mtime(path: &Path, millis: i64) {
    let time = Timespec { tv_sec: millis.div_euclid(1000), tv_nsec: millis.rem_euclid(1000) * 1_000_000 };
    let times = Timestamps { last_access: time, last_modification: time };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}
