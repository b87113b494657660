//! Hard links among imported files: which names are one file.

use std::collections::HashMap;

use rondel_digest::{Digest, Hasher};

use crate::walk::WalkEntry;

/// For each listed file that is a further name of another: which one has its first name. What a listing or the content
/// says differently of two names makes them two files, so that a file system with unreliable inode numbers loses nothing.
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

/// The digests of files, where that of a file with several names says all of them: when one name comes, goes or changes,
/// each of them counts as changed, because an overlay takes a file apart of which it copies one name.
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
