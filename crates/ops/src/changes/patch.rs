//! A patch, applied to a directory.

use std::io::{BufRead, Read as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use diffy::binary::BinaryPatch;
use diffy::patch_set::{FileMode, FileOperation, FilePatch, ParseOptions, PatchKind, PatchSet};
use rondel_fault::{Attempt, Fault, Result};

use super::content::{self, Content};
use super::put::{self, New};
use crate::root::Root;

/// The largest part of a patch: two versions of the largest text that is patched by lines.
const MOST_PART: usize = 2 * content::MOST_TEXT + (1 << 20);

/// What begins the part of a file in the form of git.
const GIT: &[u8] = b"diff --git ";

/// Applies the patch that `patch` gives to the directory `top`. Of a patch in the form of git, one file's part is in
/// memory at a time; without any change in it, nothing happens.
pub(crate) fn apply(top: Root<'_>, mut patch: impl BufRead) -> Result<()> {
    let mut part = Vec::new();
    let mut git = false;
    loop {
        let mut line = Vec::new();
        let end = patch.read_until(b'\n', &mut line).attempt(|| "read the patch".into())? == 0;
        if end || line.starts_with(GIT) {
            if git {
                each(top, &part, ParseOptions::gitdiff())?;
            } else if end {
                return rest(top, &part);
            }
            // What stands before the first part is a message.
            git = true;
            part.clear();
        }
        if end {
            return Ok(());
        }
        if part.len() > MOST_PART {
            return Err(Fault::user(format!("a part of the patch is larger than {MOST_PART} bytes")));
        }
        part.append(&mut line);
    }
}

/// Applies a patch that is not in the form of git.
fn rest(top: Root<'_>, patch: &[u8]) -> Result<()> {
    if patch.trim_ascii().is_empty() {
        return Ok(());
    }
    each(top, patch, ParseOptions::unidiff())
}

fn each(top: Root<'_>, text: &[u8], form: ParseOptions) -> Result<()> {
    for file in PatchSet::parse_bytes(text, form) {
        let file = file.map_err(|e| Fault::user(format!("cannot read the patch: {e}")))?;
        one(top, &file)?;
    }
    Ok(())
}

fn one(top: Root<'_>, file: &FilePatch<'_, [u8]>) -> Result<()> {
    let (from, to) = paths(top, file.operation())?;
    let named = to.as_ref().or(from.as_ref()).map(|path| path.display().to_string()).unwrap_or_default();
    let old = match &from {
        None => None,
        Some(path) => Some(content::read(top.0, path)?.ok_or_else(|| {
            Fault::user(format!("cannot apply the patch to `{}`: no such file or directory", path.display()))
        })?),
    };
    if let Some(path) = to.as_ref().filter(|to| from.as_ref() != Some(to))
        && content::read(top.0, path)?.is_some()
    {
        return Err(Fault::user(format!("cannot apply the patch to `{named}`: it already exists")));
    }
    if file.new_mode() == Some(&FileMode::Gitlink) || file.old_mode() == Some(&FileMode::Gitlink) {
        return Err(Fault::user(format!("cannot apply the patch to `{named}`: it is a submodule")));
    }
    let new = patched(file.patch(), old.as_ref().map_or(&[][..], Content::bytes), &named)?;
    let owner = from.as_ref().map(|path| put::owner(top.0, path)).transpose()?.flatten();
    let keep = matches!(file.operation(), FileOperation::Copy { .. });
    if let Some(from) = from.as_ref().filter(|from| !keep && to.as_ref() != Some(from)) {
        if to.is_none() && !new.is_empty() {
            return Err(Fault::user(format!(
                "cannot apply the patch to `{named}`: patch does not apply: it removes the file, which holds more than it says"
            )));
        }
        put::remove(top.0, from)?;
    }
    let Some(to) = to else { return Ok(()) };
    let mode = match (file.new_mode(), old.as_ref()) {
        (Some(FileMode::Executable), Some(Content::File { mode, .. })) => mode | ((mode & 0o444) >> 2),
        (Some(FileMode::Regular), Some(Content::File { mode, .. })) => mode & !0o111,
        (Some(FileMode::Executable), _) => 0o755,
        (None, Some(Content::File { mode, .. })) => *mode,
        _ => 0o644,
    };
    let link = match file.new_mode() {
        Some(mode) => *mode == FileMode::Symlink,
        None => matches!(old, Some(Content::Link(_))),
    };
    put::write(top.0, &to, &New { bytes: &new, mode, link, owner })
}

fn patched(patch: &PatchKind<'_, [u8]>, old: &[u8], name: &str) -> Result<Vec<u8>> {
    match patch {
        PatchKind::Text(patch) => diffy::apply_bytes(old, patch).map_err(|error| {
            let number = error.to_string().rsplit('#').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
            let range = patch.hunks().get(number - 1).map(|hunk| {
                let (old, new) = (hunk.old_range(), hunk.new_range());
                format!(" (`@@ -{},{} +{},{} @@`)", old.start(), old.len(), new.start(), new.len())
            });
            let range = range.unwrap_or_default();
            Fault::user(format!(
                "cannot apply the patch to `{name}`: hunk {number}{range} does not match: patch does not apply"
            ))
        }),
        PatchKind::Binary(BinaryPatch::Marker) => {
            Err(Fault::user(format!("cannot apply the patch to `{name}`: it has no data of this binary file"))
                .with_hint("make the patch with `git diff --binary`"))
        }
        // ORDER: looked at first: the library never ends on data that is cut off, and does not bound what it unpacks.
        PatchKind::Binary(binary) if !is_whole(binary) => {
            Err(Fault::user(format!("cannot apply the patch to `{name}`: its data of this binary file is damaged")))
        }
        PatchKind::Binary(binary) => binary
            .apply(old)
            .map_err(|e| Fault::user(format!("cannot apply the patch to `{name}`: patch does not apply: {e}"))),
    }
}

/// Whether the new content in a binary patch unpacks to the size that it says, which is bounded.
fn is_whole(patch: &BinaryPatch<'_>) -> bool {
    let BinaryPatch::Full { forward, .. } = patch else { return true };
    let (size, mut packed) = (forward.data.size, Vec::new());
    for line in forward.data.data.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some((length, digits)) = line.split_first() else { continue };
        let length = match length {
            b'A'..=b'Z' => usize::from(length - b'A') + 1,
            b'a'..=b'z' => usize::from(length - b'a') + 27,
            _ => return false,
        };
        let start = packed.len();
        for group in digits.chunks(5) {
            let value = group.iter().try_fold(0_u64, |value, digit| {
                let digit = BASE85.iter().position(|known| known == digit)?;
                Some(value * 85 + digit as u64)
            });
            let Some(value) = value.filter(|_| group.len() == 5).and_then(|value| u32::try_from(value).ok()) else {
                return false;
            };
            packed.extend(value.to_be_bytes());
        }
        packed.truncate(start + length);
    }
    let mut unpacked = flate2::read::ZlibDecoder::new(&packed[..]).take(size.min(MOST_PART as u64) + 1);
    std::io::copy(&mut unpacked, &mut std::io::sink()).is_ok_and(|found| found == size)
}

/// The digits of binary data in patches of git.
const BASE85: &[u8; 85] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

type Paths = (Option<PathBuf>, Option<PathBuf>);

/// The paths before and after, relative to the directory. A patch has one more directory in front of its paths.
fn paths(top: Root<'_>, operation: &FileOperation<'_, [u8]>) -> Result<Paths> {
    let stripped = match operation {
        // Names behind `rename` and `copy` have no directory in front.
        FileOperation::Rename { .. } | FileOperation::Copy { .. } => operation.strip_prefix(0),
        other => other.strip_prefix(1),
    };
    Ok(match &stripped {
        FileOperation::Delete(path) => (Some(inside(path)?), None),
        FileOperation::Create(path) => (None, Some(inside(path)?)),
        FileOperation::Rename { from, to } | FileOperation::Copy { from, to } => {
            (Some(inside(from)?), Some(inside(to)?))
        }
        FileOperation::Modify { original, modified } => {
            let (original, modified) = (inside(original)?, inside(modified)?);
            // `file.orig` and `file`, as other tools write them: what is there is meant.
            let path = match content::read(top.0, &modified)? {
                Some(_) => modified,
                None if original != modified && content::read(top.0, &original)?.is_some() => original,
                None => modified,
            };
            (Some(path.clone()), Some(path))
        }
    })
}

fn inside(path: &[u8]) -> Result<PathBuf> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let normal = |part| matches!(part, std::path::Component::Normal(_));
    if path.as_os_str().is_empty() || !path.components().all(normal) {
        return Err(Fault::user(format!(
            "cannot apply the patch to `{}`: the path leads out of the directory",
            path.display()
        )));
    }
    Ok(path.components().collect())
}

/// Applies `patch`, in the form of git, to the directory `dir`: all of it or, on an error, a part.
///
/// # Errors
/// When it is no patch, does not fit the files, or leads out of the directory.
pub fn apply_to(dir: &impl AsFd, patch: impl BufRead) -> Result<()> {
    apply(Root(dir.as_fd()), patch)
}
