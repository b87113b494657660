//! The local cache as users see it: records with size and last use, the disk policy, pruning.

use std::any::Any;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rondel_fault::{Fault, Result};
use rondel_model::explain::Note;
use serde::{Deserialize, Deserializer, Serialize};

use crate::BoxFuture;

/// A size as users write it: bytes (`512`, `75GB`, `1.5 GiB`) or a share of the disk (`20%`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Percent of the disk that holds the state directory.
    Percent(f64),
}

impl Size {
    /// In bytes, on a disk of `disk` bytes.
    pub fn bytes(self, disk: u64) -> u64 {
        match self {
            Size::Bytes(bytes) => bytes,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            Size::Percent(percent) => (disk as f64 * percent / 100.0) as u64,
        }
    }
}

/// The units of sizes: powers of 1000, and with an `i` powers of 1024.
const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl FromStr for Size {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Fault::user(format!("`{text}` is no size"))
                .with_hint("write bytes, such as `512` or `75GB`, or a share of the disk, such as `20%`")
        };
        let trimmed = text.trim();
        if let Some(share) = trimmed.strip_suffix('%') {
            let percent: f64 = share.trim().parse().map_err(|_| wrong())?;
            return if (0.0..=100.0).contains(&percent) { Ok(Size::Percent(percent)) } else { Err(wrong()) };
        }
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(wrong)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Size::Bytes).ok_or_else(wrong);
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        Ok(Size::Bytes((number * factor as f64) as u64))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes, such as 512 or \"75GB\", or a share of the disk, such as \"20%\"")
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> std::result::Result<Size, E> {
                Ok(Size::Bytes(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> std::result::Result<Size, E> {
                u64::try_from(bytes).map(Size::Bytes).map_err(|_| E::custom("a size is not negative"))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The disk policy: how much the cache may take, in bytes. Zero means no limit. A policy of zeros
/// keeps only what is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The maximum size of the cache.
    pub max_used: u64,
    /// The size that the cache may always take, however full the disk is.
    pub reserved: u64,
    /// The space that stays free on the disk.
    pub min_free: u64,
    /// The size that a prune reduces the cache to.
    pub target: u64,
}

impl Policy {
    /// The size to prune to, if the cache takes `used` bytes and the disk has `free` bytes left.
    /// `None` means that nothing has to be pruned.
    pub fn allows(&self, used: u64, free: u64) -> Option<u64> {
        if *self == Self::default() {
            return Some(0);
        }
        let mut most = if self.max_used == 0 { u64::MAX } else { self.max_used };
        if self.min_free > free {
            most = most.min(used.saturating_sub(self.min_free - free));
        }
        if self.max_used == 0 && self.min_free == 0 && self.reserved > 0 {
            most = self.reserved;
        }
        let most = most.max(self.reserved);
        if used <= most {
            return None;
        }
        Some(if self.target == 0 { most } else { most.min(self.target.max(self.reserved)) })
    }
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A layer: the changes of one step, with its compressed blobs.
    Layer,
    /// A blob that belongs to no layer in the store: a manifest, an image configuration.
    Blob,
    /// A cache volume.
    Volume,
    /// The objects of a git repository.
    Repository,
}

/// One entry of the cache that can be pruned on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// Its name in the store.
    pub id: String,
    /// The kind of work that made it, in the terms of the API: `exec.cachemount`, `source.local`,
    /// `regular`, …
    pub record_type: String,
    /// The description that is shown to users.
    pub description: String,
    /// The call that made it, such as `Container.withExec`; may be empty.
    pub call: String,
    /// Its size on disk, in bytes.
    pub bytes: u64,
    /// Creation time, in milliseconds since the Unix epoch.
    #[serde(rename = "made")]
    pub created_at: i64,
    /// Time of the last use, in milliseconds since the Unix epoch.
    #[serde(rename = "used")]
    pub last_used: i64,
    /// Whether running work may need it. Active records are not pruned.
    pub active: bool,
}

/// What to prune.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRequest {
    /// The policy to apply. `None` applies the policy of the engine.
    pub policy: Option<Policy>,
    /// Prune only records that were not used for this long.
    #[serde(default)]
    pub unused_for: Duration,
    /// Prune only records of this kind or record type.
    #[serde(default)]
    pub kind: Option<String>,
    /// Prune only records whose description contains this text.
    #[serde(default)]
    pub matching: Option<String>,
    /// Report what would be pruned, and remove nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The result of a prune.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The pruned records, or with `dry_run` those that would be.
    pub records: Vec<Record>,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
    /// The size of the cache afterwards, in bytes.
    pub left: u64,
}

/// The local cache of the engine.
pub trait Cache: Send + Sync {
    /// The disk policy of the engine.
    fn policy(&self) -> Policy;

    /// The size of the disk, in bytes.
    fn disk(&self) -> u64;

    /// Lists all records.
    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// Prunes what `request` selects, least recently used first. Records in use stay.
    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned>>;
}

/// Observes the work of the engine: which records are in use, and why work ran. Never delays that
/// work.
pub trait Watch: Send + Sync + fmt::Debug {
    /// Marks the start of some work. Records that are used from now on stay in use until the guard
    /// is dropped.
    fn begin(&self) -> Box<dyn Any + Send + Sync>;

    /// Records why some work ran or was skipped. The implementation adds the time.
    fn note(&self, note: Note);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let check = |text: &str, want: Option<u64>| {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.bytes(1000)), want, "{text}");
        };
        check("512", Some(512));
        check("1GB", Some(1_000_000_000));
        check("1.5 KiB", Some(1536));
        check("20%", Some(200));
        check("120%", None);
        check("-1", None);
        check("much", None);
        check("", None);
        check("99999999999GB", None);
    }

    #[test]
    fn what_a_policy_allows() {
        let check = |limits: [u64; 4], used: u64, free: u64, want: Option<u64>| {
            let [max_used, reserved, min_free, target] = limits;
            let policy = Policy { max_used, reserved, min_free, target };
            assert_eq!(policy.allows(used, free), want, "{policy:?}, {used} used, {free} free");
        };
        check([0, 0, 0, 0], 10, 1000, Some(0));
        check([100, 0, 0, 0], 100, 0, None);
        check([100, 0, 0, 0], 101, 0, Some(100));
        check([100, 0, 0, 50], 101, 0, Some(50));
        check([0, 0, 20, 0], 100, 30, None);
        check([0, 0, 20, 0], 100, 5, Some(85));
        check([0, 90, 20, 0], 100, 5, Some(90));
        check([0, 90, 20, 10], 100, 5, Some(90));
        check([0, 90, 20, 0], 80, 0, None);
        check([0, 50, 0, 0], 80, 0, Some(50));
    }
}
