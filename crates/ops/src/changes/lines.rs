//! Line diffs and three-way merges of texts.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// A hunk: a range of lines of the older text, and the range that replaces it in the newer text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// Lines of the older text.
    pub(crate) old: Range<usize>,
    /// Lines of the newer text.
    pub(crate) new: Range<usize>,
}

/// Splits a text into lines that keep their line ends.
pub(crate) fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}

/// Above this total size, equal heads and tails are cut off before the comparison by lines, which
/// needs several times the memory of its input.
const LARGE: usize = 32 << 20;

/// Computes the hunks between two texts, in order.
pub(crate) fn hunks(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    match old.len() + new.len() > LARGE {
        true => hunks_inside(old, new),
        false => compared(old, new),
    }
}

/// Computes the hunks without the equal lines at the head and tail of both texts.
fn hunks_inside(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let head = old[..same].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let lines_before = old[..head].iter().filter(|&&byte| byte == b'\n').count();
    let (old, new) = (&old[head..], &new[head..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let starts_line = |text: &[u8]| text.len() == same || text[text.len() - same - 1] == b'\n';
    let tail = match starts_line(old) && starts_line(new) {
        true => same,
        // The equal tail starts inside a line that differs, so it is cut to whole lines.
        false => old[old.len() - same..].iter().position(|&byte| byte == b'\n').map_or(0, |end| same - end - 1),
    };
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let count = |text: &[u8]| text.split_inclusive(|&byte| byte == b'\n').count();
    let mut hunks = match (old, new) {
        ([], []) => Vec::new(),
        ([], _) | (_, []) => vec![Hunk { old: 0..count(old), new: 0..count(new) }],
        _ => compared(old, new),
    };
    for range in hunks.iter_mut().flat_map(|hunk| [&mut hunk.old, &mut hunk.new]) {
        *range = range.start + lines_before..range.end + lines_before;
    }
    hunks
}

fn compared(old: &[u8], new: &[u8]) -> Vec<Hunk> {
    let input = InternedInput::new(imara_diff::sources::byte_lines(old), imara_diff::sources::byte_lines(new));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let range = |range: &Range<u32>| range.start as usize..range.end as usize;
    diff.hunks().map(|hunk| Hunk { old: range(&hunk.before), new: range(&hunk.after) }).collect()
}

/// Counts the added and removed lines.
pub(crate) fn counts(old: &[u8], new: &[u8]) -> (usize, usize) {
    hunks(old, new).iter().fold((0, 0), |(added, removed), hunk| (added + hunk.new.len(), removed + hunk.old.len()))
}

/// Which side wins where both texts changed the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConflictSide {
    /// Neither: both are written between conflict markers.
    Neither,
    /// Ours.
    Ours,
    /// Theirs.
    Theirs,
}

/// The result of a three-way merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MergedText {
    /// The text.
    pub(crate) text: Vec<u8>,
    /// Whether both sides changed the same lines in different ways.
    pub(crate) conflicts: bool,
}

/// Merges two texts that were both made from `base`.
pub(crate) fn merge(base: &[u8], ours: &[u8], theirs: &[u8], on_conflict: ConflictSide) -> MergedText {
    let mut merge = LineMerge {
        ours: MergeSide { lines: lines(ours), hunks: hunks(base, ours), next: 0, shift: 0 },
        theirs: MergeSide { lines: lines(theirs), hunks: hunks(base, theirs), next: 0, shift: 0 },
        out: MergedText { text: Vec::new(), conflicts: false },
        on_conflict,
    };
    let base = lines(base);
    let mut at = 0;
    while let Some(range) = merge.next_range() {
        merge.write(&base[at..range.start]);
        at = range.end;
        merge.range(range);
    }
    merge.write(&base[at..]);
    merge.out
}

/// One of the two changed texts.
struct MergeSide<'a> {
    lines: Vec<&'a [u8]>,
    hunks: Vec<Hunk>,
    /// The index of the next hunk.
    next: usize,
    /// How many lines further down this text is than the base after the hunks taken so far.
    shift: isize,
}

impl<'a> MergeSide<'a> {
    fn peek(&self) -> Option<&Hunk> {
        self.hunks.get(self.next)
    }

    /// Takes the hunks inside `range` of the base. Returns whether there are any, and this side's
    /// lines.
    fn take(&mut self, range: &Range<usize>) -> (bool, Vec<&'a [u8]>) {
        let start = range.start.saturating_add_signed(self.shift);
        let first = self.next;
        while let Some(hunk) = self.hunks.get(self.next).filter(|hunk| hunk.old.end <= range.end) {
            self.shift = hunk.new.end.cast_signed() - hunk.old.end.cast_signed();
            self.next += 1;
        }
        let end = range.end.saturating_add_signed(self.shift);
        (self.next > first, self.lines[start..end].to_vec())
    }
}

struct LineMerge<'a> {
    ours: MergeSide<'a>,
    theirs: MergeSide<'a>,
    out: MergedText,
    on_conflict: ConflictSide,
}

impl LineMerge<'_> {
    /// The next range of the base that either side changed. Adjacent changes count as one range.
    fn next_range(&self) -> Option<Range<usize>> {
        let starts = [&self.ours, &self.theirs].into_iter().filter_map(|side| side.peek().map(|hunk| hunk.old.start));
        let start = starts.min()?;
        let mut range = start..start;
        let (mut a, mut b) = (self.ours.next, self.theirs.next);
        loop {
            let mut grown = false;
            for (side, next) in [(&self.ours, &mut a), (&self.theirs, &mut b)] {
                while let Some(hunk) = side.hunks.get(*next).filter(|hunk| hunk.old.start <= range.end) {
                    range.end = range.end.max(hunk.old.end);
                    *next += 1;
                    grown = true;
                }
            }
            if !grown {
                return Some(range);
            }
        }
    }

    fn range(&mut self, range: Range<usize>) {
        let (we, ours) = self.ours.take(&range);
        let (they, theirs) = self.theirs.take(&range);
        match (we, they) {
            (_, false) => self.write(&ours),
            (false, true) => self.write(&theirs),
            (true, true) if ours == theirs => self.write(&ours),
            (true, true) => self.conflict(&ours, &theirs),
        }
    }

    fn conflict(&mut self, ours: &[&[u8]], theirs: &[&[u8]]) {
        let head = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
        let tail = ours[head..].iter().rev().zip(theirs[head..].iter().rev()).take_while(|(a, b)| a == b).count();
        let (mine, other) = (&ours[head..ours.len() - tail], &theirs[head..theirs.len() - tail]);
        self.out.conflicts = true;
        self.write(&ours[..head]);
        match self.on_conflict {
            ConflictSide::Ours => self.write(mine),
            ConflictSide::Theirs => self.write(other),
            ConflictSide::Neither => {
                self.mark(b"<<<<<<< ours\n");
                self.write(mine);
                self.mark(b"=======\n");
                self.write(other);
                self.mark(b">>>>>>> theirs\n");
            }
        }
        self.write(&ours[ours.len() - tail..]);
    }

    fn write(&mut self, lines: &[&[u8]]) {
        lines.iter().for_each(|line| self.out.text.extend_from_slice(line));
    }

    fn mark(&mut self, mark: &[u8]) {
        if self.out.text.last().is_some_and(|&last| last != b'\n') {
            self.out.text.push(b'\n');
        }
        self.out.text.extend_from_slice(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted() {
        let check =
            |old: &str, new: &str, want| assert_eq!(counts(old.as_bytes(), new.as_bytes()), want, "{old} {new}");
        check("", "", (0, 0));
        check("", "a\nb", (2, 0));
        check("a\nb\nc\n", "a\nx\nc\n", (1, 1));
        check("a", "a\n", (1, 1));
        check("a\nb\n", "", (0, 2));
    }

    #[test]
    fn what_large_texts_share_is_left_out() {
        let texts = ["", "a", "a\n", "a\nb\nc\n", "a\nb\nc", "a\nx\nc\n", "b\na\n\nb\n", "a\nb\nb\nc\n", "xa\nb\nc\n"];
        for old in texts {
            for new in texts {
                let (before, after) = (lines(old.as_bytes()), lines(new.as_bytes()));
                let (mut at, mut made) = (0, Vec::new());
                for hunk in hunks_inside(old.as_bytes(), new.as_bytes()) {
                    made.extend_from_slice(&before[at..hunk.old.start]);
                    made.extend_from_slice(&after[hunk.new]);
                    at = hunk.old.end;
                }
                made.extend_from_slice(&before[at..]);
                assert_eq!(made, after, "{old:?} {new:?}");
            }
        }
    }

    #[test]
    fn two_changes_in_one() {
        let check = |base: &str, ours: &str, theirs: &str, want: Result<&str, &str>| {
            let merged = merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes(), ConflictSide::Neither);
            let text = String::from_utf8_lossy(&merged.text).into_owned();
            let got = if merged.conflicts { Err(text) } else { Ok(text) };
            assert_eq!(got, want.map(ToOwned::to_owned).map_err(ToOwned::to_owned), "{base:?} {ours:?} {theirs:?}");
        };
        let base = "1\n2\n3\n4\n5\n";
        check(base, "one\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n", Ok("one\n2\n3\n4\nfive\n"));
        check(base, base, "1\n5\n", Ok("1\n5\n"));
        check(base, "0\n1\n2\n3\n4\n5\n", "1\n2\n3\n5\n6\n", Ok("0\n1\n2\n3\n5\n6\n"));
        check(base, "1\nx\n3\n4\n5\n", "1\nx\n3\n4\n5\n", Ok("1\nx\n3\n4\n5\n"));
        check(
            base,
            "1\na\n3\n4\n5\n",
            "1\nb\n3\n4\n5\n",
            Err("1\n<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n3\n4\n5\n"),
        );
        check("", "a", "b", Err("<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"));
        check("", "a\nsame\n", "b\nsame\n", Err("<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\nsame\n"));
    }

    #[test]
    fn a_side_is_favoured_only_where_both_changed() {
        let check = |on_conflict, want: &[u8]| {
            let merged = merge(b"1\n2\n3\n", b"one\nours\n3\n", b"1\ntheirs\n3\nfour\n", on_conflict);
            assert_eq!(merged.text, want);
        };
        check(ConflictSide::Ours, b"one\nours\n3\nfour\n");
        check(ConflictSide::Theirs, b"1\ntheirs\n3\nfour\n");
    }

    #[test]
    fn merging_with_what_did_not_change_gives_the_other() {
        let texts = ["", "a", "a\n", "a\nb\nc\n", "b\na\n\nb\n", "x\ny\nz\na\nb\nc"];
        for base in texts {
            for other in texts {
                let (base, other) = (base.as_bytes(), other.as_bytes());
                let on_conflict = ConflictSide::Neither;
                assert_eq!(
                    merge(base, other, base, on_conflict),
                    MergedText { text: other.to_vec(), conflicts: false }
                );
                assert_eq!(
                    merge(base, base, other, on_conflict),
                    MergedText { text: other.to_vec(), conflicts: false }
                );
                assert_eq!(
                    merge(base, other, other, on_conflict),
                    MergedText { text: other.to_vec(), conflicts: false }
                );
            }
        }
    }
}
