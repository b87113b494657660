//! Hard links among imported files: which paths are one inode.

use std::collections::HashMap;

use rondel_digest::{Digest, Hasher};

use crate::walk::WalkEntry;

/// For each further path of an inode: the index of its first path. Paths whose stat or content
/// differs are separate files, so that a file system with unreliable inode numbers loses nothing.
pub(crate) fn find(items: &[WalkEntry], digests: &[Option<Digest>]) -> HashMap<usize, usize> {
    let mut firsts = HashMap::new();
    let mut links = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let Some(shared) = item.shared else { continue };
        let first = *firsts.entry(shared).or_insert(at);
        if first != at && items[first].stamp == item.stamp && digests[first] == digests[at] && digests[at].is_some() {
            links.insert(at, first);
        }
    }
    links
}

/// Digests of files, where the digest of a hard-linked file covers all of its paths. If one path
/// comes, goes or changes, each of them counts as changed, because an overlay breaks a hard link
/// when it copies one path up.
pub(crate) fn group_digests(
    items: &[WalkEntry],
    digests: &[Option<Digest>],
    links: &HashMap<usize, usize>,
) -> Vec<Option<Digest>> {
    let mut grouped = digests.to_vec();
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    for (at, first) in links {
        groups.entry(*first).or_default().push(*at);
    }
    for (first, mut others) in groups {
        others.sort_unstable();
        let mut hasher = Hasher::new("hostlink/linked/v1");
        digests[first].iter().for_each(|digest| _ = hasher.bytes(digest.as_bytes()));
        for at in std::iter::once(first).chain(others.iter().copied()) {
            hasher.bytes(&items[at].path);
        }
        let digest = hasher.finish();
        for at in std::iter::once(first).chain(others) {
            grouped[at] = Some(digest);
        }
    }
    grouped
}
