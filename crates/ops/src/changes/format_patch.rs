//! Writes changes as a patch in git's format.

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rondel_fault::{Attempt, Result};
use sha1::{Digest as _, Sha1};

use super::binary::literal;
use super::compare::{DiffEntry, DiffKind};
use super::content::{self, Content};
use super::lines::{self, Hunk};

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// Writes `differences` to `out` in their order. Directories are not part of a patch.
pub(crate) fn write(
    before: BorrowedFd<'_>,
    after: BorrowedFd<'_>,
    differences: &[DiffEntry],
    out: &mut dyn Write,
) -> Result<()> {
    for difference in differences.iter().filter(|d| !d.dir && d.what != DiffKind::Mode) {
        let old = if difference.what == DiffKind::Added { None } else { content::read(before, &difference.path)? };
        let new = if difference.what == DiffKind::Removed { None } else { content::read(after, &difference.path)? };
        let text = match (&old, &new) {
            // A file that becomes a symlink, or the reverse, is a removed and an added file.
            (Some(old @ Content::File { .. }), Some(new @ Content::Link(_)))
            | (Some(old @ Content::Link(_)), Some(new @ Content::File { .. })) => {
                let mut text = entry(&difference.path, Some(old), None)?;
                text.extend(entry(&difference.path, None, Some(new))?);
                text
            }
            (old, new) => entry(&difference.path, old.as_ref(), new.as_ref())?,
        };
        out.write_all(&text).attempt(|| "write a patch".into())?;
    }
    Ok(())
}

fn entry(path: &Path, old: Option<&Content>, new: Option<&Content>) -> Result<Vec<u8>> {
    if [old, new].contains(&Some(&Content::Special)) {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let (from, to) = (quoted("a/", path), quoted("b/", path));
    let header = format!("diff --git {from} {to}\n");
    out.extend_from_slice(header.as_bytes());
    let mut line = |text: String| out.extend_from_slice(text.as_bytes());
    match (old, new) {
        (None, Some(new)) => line(format!("new file mode {}\n", new.git_mode())),
        (Some(old), None) => line(format!("deleted file mode {}\n", old.git_mode())),
        (Some(old), Some(new)) if old.git_mode() != new.git_mode() => {
            line(format!("old mode {}\nnew mode {}\n", old.git_mode(), new.git_mode()));
        }
        _ => {}
    }
    let (was, is) = (old.map_or(&[][..], Content::bytes), new.map_or(&[][..], Content::bytes));
    if was == is && old.is_some() && new.is_some() {
        return Ok(out);
    }
    let text = old.is_none_or(Content::is_text) && new.is_none_or(Content::is_text);
    let length = if text { 7 } else { 40 };
    let name = |content: Option<&Content>| content.map_or("0".repeat(40), blob)[..length].to_owned();
    let mode = match (old, new) {
        (Some(old), Some(new)) if old.git_mode() == new.git_mode() => format!(" {}", new.git_mode()),
        _ => String::new(),
    };
    line(format!("index {}..{}{mode}\n", name(old), name(new)));
    if !text {
        out.extend_from_slice(b"GIT binary patch\n");
        out.extend(literal(is)?);
        out.extend(literal(was)?);
        return Ok(out);
    }
    if was == is {
        return Ok(out);
    }
    // A name with a space ends with a tab, because other tools write a time there.
    let ended = |name: String| if name.contains(' ') { format!("{name}\t") } else { name };
    line(format!("--- {}\n", old.map_or("/dev/null".into(), |_| ended(from))));
    line(format!("+++ {}\n", new.map_or("/dev/null".into(), |_| ended(to))));
    out.extend(unified(was, is));
    Ok(out)
}

/// The git blob id of a file's content.
fn blob(content: &Content) -> String {
    let mut sha = Sha1::new();
    sha.update(format!("blob {}\0", content.bytes().len()));
    sha.update(content.bytes());
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The path with the prefix `side`, quoted as git does it when it has control characters, quotes or
/// backslashes.
fn quoted(side: &str, path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let plain = |text: &str| !text.chars().any(|c| c.is_control() || c == '"' || c == '\\');
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| plain(text)) {
        return format!("{side}{text}");
    }
    let mut out = format!("\"{side}");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('"');
    out
}

fn unified(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (hunks, old, new) = (lines::hunks(old, new), lines::lines(old), lines::lines(new));
    let mut out = Vec::new();
    let mut rest = &hunks[..];
    while let Some(first) = rest.first() {
        let near = |pair: &[Hunk]| pair[1].old.start - pair[0].old.end <= 2 * CONTEXT;
        let count = 1 + rest.windows(2).take_while(|pair| near(pair)).count();
        let (group, others) = rest.split_at(count);
        let last = &group[count - 1];
        let head = first.old.start.min(CONTEXT);
        let tail = (old.len() - last.old.end).min(CONTEXT);
        let start = |at: usize, len: usize| if len == 0 { at } else { at + 1 };
        let (from, to) = (first.old.start - head, first.new.start - head);
        let (gone, come) = (last.old.end + tail - from, last.new.end + tail - to);
        let size = |len: usize| if len == 1 { String::new() } else { format!(",{len}") };
        let header = format!("@@ -{}{} +{}{} @@\n", start(from, gone), size(gone), start(to, come), size(come));
        out.extend_from_slice(header.as_bytes());
        let mut at = from;
        for hunk in group {
            prefixed(&mut out, b' ', &old[at..hunk.old.start]);
            prefixed(&mut out, b'-', &old[hunk.old.clone()]);
            prefixed(&mut out, b'+', &new[hunk.new.clone()]);
            at = hunk.old.end;
        }
        prefixed(&mut out, b' ', &old[at..at + tail]);
        rest = others;
    }
    out
}

fn prefixed(out: &mut Vec<u8>, prefix: u8, lines: &[&[u8]]) {
    for line in lines {
        out.push(prefix);
        out.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            out.extend_from_slice(b"\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(text: &str, mode: u32) -> Content {
        Content::File { bytes: text.as_bytes().to_vec(), mode }
    }

    fn patch(old: Option<&Content>, new: Option<&Content>) -> String {
        String::from_utf8(entry(Path::new("a b"), old, new).unwrap()).unwrap()
    }

    #[test]
    fn texts() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("4\n5\n", "4\nfive\n").replace("20\n", "20");
        assert_eq!(
            patch(Some(&file(&old, 0o644)), Some(&file(&new, 0o644))),
            "diff --git a/a b b/a b\nindex 0ff3bbb..5a9a6a1 100644\n--- a/a b\t\n+++ b/a b\t\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n\
             @@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n"
                .replace("5a9a6a1", &blob(&file(&new, 0))[..7])
        );
        assert_eq!(
            patch(None, Some(&file("x\n", 0o755))),
            "diff --git a/a b b/a b\nnew file mode 100755\nindex 0000000..587be6b\n--- /dev/null\n+++ b/a b\t\n@@ -0,0 +1 @@\n+x\n"
        );
        assert_eq!(
            patch(Some(&file("x\n", 0o644)), None),
            "diff --git a/a b b/a b\ndeleted file mode 100644\nindex 587be6b..0000000\n--- a/a b\t\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        );
    }

    #[test]
    fn large_texts_stay_text() {
        let line = format!("{}\n", "0123456789abcdef".repeat(64));
        let half = line.repeat(17_000);
        let text = |middle: &str| file(&format!("{half}{middle}\n{half}"), 0o644);
        let (old, new) = (text("old"), text("new"));
        assert!(old.bytes().len() > 32 << 20);
        let patch = patch(Some(&old), Some(&new));
        assert!(patch.contains("\n@@ -16998,7 +16998,7 @@\n") && patch.contains("\n-old\n+new\n"), "{}", patch.len());
        assert_eq!(lines::counts(old.bytes(), new.bytes()), (1, 1));
    }

    #[test]
    fn modes_and_empty_files() {
        assert_eq!(
            patch(Some(&file("x", 0o644)), Some(&file("x", 0o755))),
            "diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n"
        );
        assert_eq!(
            patch(None, Some(&file("", 0o644))),
            "diff --git a/a b b/a b\nnew file mode 100644\nindex 0000000..e69de29\n"
        );
    }

    #[test]
    fn names_are_quoted() {
        let check = |name: &[u8], want: &str| {
            assert_eq!(quoted("a/", Path::new(std::ffi::OsStr::from_bytes(name))), want);
        };
        check(b"plain", "a/plain");
        check("ä b".as_bytes(), "a/ä b");
        check(b"a\"b\\c\n\t\x01", r#""a/a\"b\\c\n\t\001""#);
        check(b"\xff", r#""a/\377""#);
    }
}
