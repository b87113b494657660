//! Options of a store.

/// Options that can be chosen when a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Snapshots with more layers than this are mounted with their lower layers merged into one.
    pub flatten_above: usize,
    /// Limits for archives that are unpacked.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { flatten_above: 100, limits: Limits::default() }
    }
}

/// Limits for the content of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The number of entries.
    pub entries: u64,
    /// The sum of the sizes of the files, holes included.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 10_000_000, bytes: 1 << 40 }
    }
}
