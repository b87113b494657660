//! An index of a long list of patterns, which finds those that could match a path without trying
//! each.
//!
//! Literal patterns are found by their text. A pattern with wildcards is found by three of its
//! literal bytes in a row, the rarest that it has; one without such bytes is always tried.

use std::collections::HashMap;

use super::glob::{Glob, GlobKind, GlobToken, SLASH};

/// Shorter lists are tried pattern by pattern.
const MIN_INDEXED: usize = 16;

/// How many bytes in a row a pattern is found by.
const GRAM: usize = 3;

type Positions = Vec<u32>;

/// The positions of the patterns of a list by what a path must have for them to match.
#[derive(Debug, Clone, Default)]
pub(super) struct PatternIndex {
    paths: HashMap<Vec<u8>, Positions>,
    any_depth: HashMap<Vec<u8>, Positions>,
    /// The most parts that a text in `any_depth` has.
    any_depth_parts: usize,
    grams: HashMap<[u8; GRAM], Positions>,
    always: Positions,
}

impl PatternIndex {
    /// The index of a list. `None` when it is so short that it needs none.
    pub(super) fn of<'a>(globs: impl ExactSizeIterator<Item = &'a Glob>) -> Option<Self> {
        if globs.len() < MIN_INDEXED {
            return None;
        }
        let mut index = Self::default();
        for (at, glob) in (0..).zip(globs) {
            index.add(at, glob);
        }
        Some(index)
    }

    fn add(&mut self, at: u32, glob: &Glob) {
        match &glob.kind {
            GlobKind::Path(text) => self.paths.entry(text.clone()).or_default().push(at),
            GlobKind::AnyDepth(text) => {
                self.any_depth_parts = self.any_depth_parts.max(text.split(|byte| *byte == b'/').count());
                self.any_depth.entry(text.clone()).or_default().push(at);
            }
            GlobKind::General { .. } => {
                let grams = literals(&glob.tokens);
                let grams = grams.iter().flat_map(|literal| literal.windows(GRAM));
                let rarest = grams.min_by_key(|gram| self.grams.get(*gram).map_or(0, Vec::len));
                match rarest.and_then(|gram| <[u8; GRAM]>::try_from(gram).ok()) {
                    Some(gram) => self.grams.entry(gram).or_default().push(at),
                    None => self.always.push(at),
                }
            }
        }
    }

    /// The positions of every pattern that could match `path` or a directory above it, the last
    /// first.
    pub(super) fn candidates(&self, path: &[u8]) -> Positions {
        let mut found = self.always.clone();
        let mut take = |positions: Option<&Positions>| found.extend(positions.into_iter().flatten());
        let ends = || path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([path.len()]);
        if !self.paths.is_empty() {
            ends().for_each(|end| take(self.paths.get(&path[..end])));
        }
        if !self.any_depth.is_empty() {
            for (skipped, start) in std::iter::once(0).chain(ends().map(|end| end + 1)).enumerate() {
                let ends = ends().skip(skipped).take(self.any_depth_parts);
                ends.for_each(|end| take(path.get(start..end).and_then(|text| self.any_depth.get(text))));
            }
        }
        if !self.grams.is_empty() {
            path.windows(GRAM).for_each(|gram| take(self.grams.get(gram)));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found
    }
}

/// The runs of bytes that every path has that a pattern matches. A slash ends a run: a pattern may
/// match what has none in its place.
fn literals(tokens: &[GlobToken]) -> Vec<Vec<u8>> {
    let mut runs = vec![String::new()];
    for token in tokens {
        match (token, runs.last_mut()) {
            (GlobToken::Char(c), Some(run)) if *c != SLASH => run.extend(char::from_u32(*c)),
            _ => runs.push(String::new()),
        }
    }
    runs.into_iter().map(String::into_bytes).collect()
}
