//! Paths in a compact binary form, in the order of a walk.

use std::cmp::Ordering;

/// Appends `path` to `bytes`: its length in four bytes, little endian, then the path.
pub(crate) fn path(bytes: &mut Vec<u8>, path: &[u8]) {
    bytes.extend(u32::try_from(path.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(path);
}

/// The order of a walk: a directory before its content, and all of that before the next name.
pub(crate) fn order(one: &[u8], other: &[u8]) -> Ordering {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    match at {
        None => one.len().cmp(&other.len()),
        // No name has a slash or a zero: where a path goes deeper, the other name has come to its
        // end.
        Some(at) => {
            let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
            rank(one[at]).cmp(&rank(other[at]))
        }
    }
}

/// Reads the packed form.
pub(crate) struct PackedReader<'a>(&'a [u8]);

impl<'a> PackedReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// The next path, or `None` if the bytes end before.
    pub(crate) fn path(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take()?);
        self.0.split_off(..usize::try_from(length).ok()?)
    }

    /// The next bytes, or `None` if there are fewer.
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.0.split_off(..N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_walk() {
        let sorted: [&[u8]; 8] = [b"a", b"a/b", b"a/b/c", b"a/c", b"a\x01", b"a-b", b"a.b", b"b"];
        for pair in sorted.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(order(b"a/b", b"a/b"), Ordering::Equal);
    }
}
