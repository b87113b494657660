//! Detects renames: added files that equal or resemble removed ones.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rondel_digest::Digest;
use rondel_fault::Result;

use super::compare::{DiffEntry, DiffKind};
use super::content::{self, regular};
use super::lines;

/// With more pairs of files, no similar files are searched.
const MAX_PAIRS: usize = 40_000;
/// Larger files are not compared for similarity.
const MAX_BYTES: u64 = 1 << 20;

/// Returns pairs of a removed and an added path as positions in `differences`: first equal files,
/// then files that share at least half of their bytes in whole lines, the most similar first.
pub(crate) fn find(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    differences: &[DiffEntry],
) -> Result<Vec<(usize, usize)>> {
    let mut removed = candidates(before, differences, DiffKind::Removed)?;
    let mut added = candidates(after, differences, DiffKind::Added)?;
    let mut found = equal(before, after, differences, &mut removed, &mut added)?;
    removed.retain(|file| file.size <= MAX_BYTES);
    added.retain(|file| file.size <= MAX_BYTES);
    if !removed.is_empty() && removed.len().saturating_mul(added.len()) <= MAX_PAIRS {
        found.extend(similar(before, after, differences, &removed, &added)?);
    }
    Ok(found)
}

struct RenameCandidate {
    index: usize,
    size: u64,
}

fn candidates(top: BorrowedFd<'_>, differences: &[DiffEntry], what: DiffKind) -> Result<Vec<RenameCandidate>> {
    let mut found = Vec::new();
    for (index, difference) in differences.iter().enumerate().filter(|(_, d)| d.what == what && !d.dir) {
        if let Some((size, _)) = regular(top, &difference.path)?.filter(|(size, _)| *size > 0) {
            found.push(RenameCandidate { index, size });
        }
    }
    Ok(found)
}

/// Takes pairs with equal content out of both lists. Among several, pairs with equal names come
/// first.
fn equal(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    differences: &[DiffEntry],
    removed: &mut Vec<RenameCandidate>,
    added: &mut Vec<RenameCandidate>,
) -> Result<Vec<(usize, usize)>> {
    let digest = |top, path: &Path| -> Result<Digest> {
        Ok(Digest::of_bytes(content::read(top, path)?.as_ref().map_or(&[][..], |content| content.bytes())))
    };
    let mut old: HashMap<u64, Vec<(Digest, usize)>> = HashMap::new();
    let sizes: std::collections::HashSet<u64> = added.iter().map(|file| file.size).collect();
    for file in removed.iter().filter(|file| sizes.contains(&file.size)) {
        let digest = digest(before, &differences[file.index].path)?;
        old.entry(file.size).or_default().push((digest, file.index));
    }
    let mut found = Vec::new();
    for file in added.iter() {
        let Some(same_size) = old.get_mut(&file.size).filter(|list| !list.is_empty()) else { continue };
        let path = &differences[file.index].path;
        let digest = digest(after, path)?;
        let same = |(other, _): &(Digest, usize)| *other == digest;
        let named = |entry: &(Digest, usize)| same(entry) && differences[entry.1].path.file_name() == path.file_name();
        if let Some(at) = same_size.iter().position(named).or_else(|| same_size.iter().position(same)) {
            found.push((same_size.remove(at).1, file.index));
        }
    }
    removed.retain(|file| !found.iter().any(|(old, _)| *old == file.index));
    added.retain(|file| !found.iter().any(|(_, new)| *new == file.index));
    Ok(found)
}

fn similar(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    differences: &[DiffEntry],
    removed: &[RenameCandidate],
    added: &[RenameCandidate],
) -> Result<Vec<(usize, usize)>> {
    let summary = |top, file: &RenameCandidate| -> Result<LineSizes> {
        Ok(LineSizes::of(content::read(top, &differences[file.index].path)?.map_or(Vec::new(), |c| c.bytes().to_vec())))
    };
    let old: Vec<LineSizes> = removed.iter().map(|file| summary(before, file)).collect::<Result<_>>()?;
    let new: Vec<LineSizes> = added.iter().map(|file| summary(after, file)).collect::<Result<_>>()?;
    let mut pairs = Vec::new();
    for (i, a) in old.iter().enumerate() {
        for (j, b) in new.iter().enumerate() {
            let share = a.share(b);
            if share >= 50 {
                pairs.push((share, removed[i].index, added[j].index));
            }
        }
    }
    // ORDER: ties are decided by path.
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (_, old, new) in pairs {
        if !found.iter().any(|(taken, other)| *taken == old || *other == new) {
            found.push((old, new));
        }
    }
    Ok(found)
}

/// The lines of a text with the bytes that they make up.
struct LineSizes {
    lines: HashMap<Vec<u8>, usize>,
    size: usize,
}

impl LineSizes {
    fn of(text: Vec<u8>) -> Self {
        let mut found: HashMap<Vec<u8>, usize> = HashMap::new();
        for line in lines::lines(&text) {
            *found.entry(line.to_vec()).or_default() += line.len();
        }
        Self { lines: found, size: text.len() }
    }

    /// How much of the larger text is also in the other one, in percent.
    fn share(&self, other: &Self) -> usize {
        let larger = self.size.max(other.size).max(1);
        if self.size.min(other.size) * 2 < larger {
            return 0;
        }
        let common =
            |(line, bytes): (&Vec<u8>, &usize)| other.lines.get(line).map_or(0, |theirs| (*bytes).min(*theirs));
        self.lines.iter().map(common).sum::<usize>() * 100 / larger
    }
}
