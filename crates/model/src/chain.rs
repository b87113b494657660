//! Persistent lists. A copy shares all items with its original and adds only its own. So a series
//! of values, each one item longer than the last, needs memory in proportion to its length.

use std::fmt;
use std::sync::Arc;

/// A list that grows at its end.
pub struct Chain<T>(Option<Arc<Link<T>>>);

struct Link<T> {
    item: T,
    before: Chain<T>,
    len: usize,
}

impl<T> Chain<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Self(None)
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        let len = self.len() + 1;
        let before = std::mem::take(self);
        self.0 = Some(Arc::new(Link { item, before, len }));
    }

    /// The items from the last one to the first one.
    pub fn newest_first(&self) -> NewestFirst<'_, T> {
        NewestFirst(self)
    }

    /// The items from the first one to the last one. Takes memory for a reference to each.
    pub fn iter(&self) -> std::iter::Rev<std::vec::IntoIter<&T>> {
        self.newest_first().collect::<Vec<_>>().into_iter().rev()
    }

    /// The item at `index`, counted from the first one.
    pub fn get(&self, index: usize) -> Option<&T> {
        let back = self.len().checked_sub(index + 1)?;
        self.newest_first().nth(back)
    }

    /// Whether both are the same list in memory, not only equal.
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

impl<T: Clone> Chain<T> {
    /// Keeps the items for which `keep` is true. Items before the first removed one stay shared.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = Vec::new();
        let mut shared = self.clone();
        let (mut rest, mut later) = (&*self, Vec::new());
        while let Some(link) = &rest.0 {
            match keep(&link.item) {
                true => later.push(&link.item),
                false => {
                    kept.append(&mut later);
                    shared = link.before.clone();
                }
            }
            rest = &link.before;
        }
        kept.into_iter().rev().cloned().collect::<Vec<_>>().into_iter().for_each(|item| shared.push(item));
        *self = shared;
    }

    /// Inserts `item` before the trailing run of items for which `ends` is true.
    pub fn push_before(&mut self, item: T, ends: impl Fn(&T) -> bool) {
        let (mut start, mut after) = (self.clone(), Vec::new());
        while let Some(link) = start.0.clone().filter(|link| ends(&link.item)) {
            after.push(link.item.clone());
            start = link.before.clone();
        }
        start.push(item);
        after.into_iter().rev().for_each(|item| start.push(item));
        *self = start;
    }

    /// Replaces the item at `index`, counted from the first one. Items before it stay shared.
    pub fn replace(&mut self, index: usize, item: T) {
        let Some(mut back) = self.len().checked_sub(index + 1) else { return };
        let (mut start, mut after) = (self.clone(), Vec::new());
        while let Some(link) = start.0.clone() {
            start = link.before.clone();
            if back == 0 {
                break;
            }
            after.push(link.item.clone());
            back -= 1;
        }
        start.push(item);
        after.into_iter().rev().for_each(|item| start.push(item));
        *self = start;
    }

    /// Copies the items into a vector.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().cloned().collect()
    }
}

/// See [`Chain::newest_first`].
pub struct NewestFirst<'a, T>(&'a Chain<T>);

impl<'a, T> Iterator for NewestFirst<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        let link = self.0.0.as_ref()?;
        self.0 = &link.before;
        Some(&link.item)
    }
}

impl<T> Clone for Chain<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T> Drop for Chain<T> {
    // Without recursion: lists are longer than stacks are deep.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.before.0.take();
        }
    }
}

impl<T> FromIterator<T> for Chain<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut chain = Self::new();
        items.into_iter().for_each(|item| chain.push(item));
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(text: &str) -> Chain<char> {
        text.chars().collect()
    }

    fn text(chain: &Chain<char>) -> String {
        chain.iter().collect()
    }

    #[test]
    fn copies_share_what_they_have_in_common() {
        let one = chain("abc");
        let mut other = one.clone();
        other.push('d');
        assert_eq!((text(&one), text(&other)), ("abc".into(), "abcd".into()));
        let before = other.0.as_ref().expect("has items").before.clone();
        assert!(before.is_same(&one));
    }

    #[test]
    fn items_are_removed_and_replaced() {
        let retained = |from: &str, gone: &str| {
            let mut chain = chain(from);
            chain.retain(|item| !gone.contains(*item));
            text(&chain)
        };
        assert_eq!(retained("abcd", "b"), "acd");
        assert_eq!(retained("abcd", "ad"), "bc");
        assert_eq!(retained("abcd", "abcd"), "");
        assert_eq!(retained("abcd", "x"), "abcd");
        let one = chain("abcd");
        let mut other = one.clone();
        other.retain(|item| *item != 'x');
        assert!(other.is_same(&one));
        other.replace(1, 'B');
        assert_eq!((text(&one), text(&other)), ("abcd".into(), "aBcd".into()));
        assert_eq!((other.get(1), other.get(4)), (Some(&'B'), None));
        other.push_before('x', |item| "cd".contains(*item));
        assert_eq!(text(&other), "aBxcd");
    }

    #[test]
    fn a_long_list_is_dropped_without_a_deep_stack() {
        let long: Chain<u32> = (0..1_000_000).collect();
        assert_eq!(long.len(), 1_000_000);
        let copy = long.clone();
        drop(long);
        assert_eq!(copy.newest_first().next(), Some(&999_999));
    }
}
