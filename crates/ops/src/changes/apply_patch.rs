//! Applies a patch to a directory.

use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use diffy::binary::BinaryPatch;
use diffy::patch_set::{FileMode, FileOperation, FilePatch, ParseOptions, PatchKind, PatchSet};
use rondel_fault::{Attempt, Fault, Result};

use super::binary;
use super::content::{self, Content};
use super::write_file::{self, NewFile};
use crate::root::Root;

/// The largest part of a patch for one file: two versions of the largest text that is patched by
/// lines.
const MAX_PART: usize = 2 * content::MAX_TEXT + (1 << 20);

/// The start of each file's part in a git patch.
const GIT: &[u8] = b"diff --git ";

/// Applies `patch` to the directory `top`. Of a git patch, one file's part at a time is in memory.
/// An empty patch changes nothing.
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
            // Text before the first part is a commit message.
            git = true;
            part.clear();
        }
        if end {
            return Ok(());
        }
        if part.len() > MAX_PART {
            return Err(Fault::user(format!("a part of the patch is larger than {MAX_PART} bytes")));
        }
        part.append(&mut line);
    }
}

/// Applies a patch in plain unified format.
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
            Fault::not_found(format!("cannot apply the patch to `{}`: no such file or directory", path.display()))
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
    let owner = from.as_ref().map(|path| write_file::owner(top.0, path)).transpose()?.flatten();
    let keep = matches!(file.operation(), FileOperation::Copy { .. });
    if let Some(from) = from.as_ref().filter(|from| !keep && to.as_ref() != Some(from)) {
        if to.is_none() && !new.is_empty() {
            return Err(Fault::user(format!(
                "cannot apply the patch to `{named}`: patch does not apply: it removes the file, which holds more than it says"
            )));
        }
        write_file::remove(top.0, from)?;
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
    write_file::write(top.0, &to, &NewFile { bytes: &new, mode, link, owner })
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
        PatchKind::Binary(BinaryPatch::Full { forward, .. }) => binary::apply(forward, old)
            .map_err(|why| Fault::user(format!("cannot apply the patch to `{name}`: patch does not apply: {why}"))),
    }
}

type Paths = (Option<PathBuf>, Option<PathBuf>);

/// The paths before and after, relative to the directory. Patches have one more leading component
/// (`a/`, `b/`).
fn paths(top: Root<'_>, operation: &FileOperation<'_, [u8]>) -> Result<Paths> {
    let stripped = match operation {
        // The paths after `rename` and `copy` have no such component.
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
            // Other tools write `file.orig` and `file`. The path that exists is used.
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

/// Applies a git patch to the directory `dir`. On an error, a part of it may be applied.
///
/// # Errors
/// When it is not a patch, does not fit the files, or leads out of the directory.
pub fn apply_to(dir: &impl AsFd, patch: impl BufRead) -> Result<()> {
    apply(Root(dir.as_fd()), patch)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    /// Output of `git diff --binary` for a new file and for a changed one.
    const OF_GIT: &str = "\
diff --git a/new b/new
new file mode 100644
index 0000000000000000000000000000000000000000..f9e371ff2657e5d2bd4389e3b323fe0550e3a860
GIT binary patch
literal 4
LcmZR`ODzWg0*?Vp

literal 0
HcmV?d00001

diff --git a/old b/old
index c8b49c8cd518e58491924bfc364ff26e01a85009..26b8bc6bb9ce93c2982cd7ffcdc579bc71ac3d8f 100644
GIT binary patch
delta 11
ScmZqRXklBx%#xay!T<mg+XC?b

delta 9
QcmZo+Yv5SGyoiwz01cu7S^xk5

";

    #[test]
    fn a_binary_patch_of_git_applies() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..=255).collect();
        fs::write(folder.path().join("old"), all.repeat(4)).unwrap();
        let dir = File::open(folder.path()).unwrap();
        apply_to(&dir, OF_GIT.as_bytes()).unwrap();
        assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"\0new");
        assert_eq!(fs::read(folder.path().join("old")).unwrap(), [&all.repeat(3)[..], b"end\0"].concat());
        // It does not apply twice, and then changes nothing.
        fs::remove_file(folder.path().join("new")).unwrap();
        let again = apply_to(&dir, OF_GIT.as_bytes()).unwrap_err().to_string();
        assert!(again.contains("`old`: patch does not apply: it was made for a file of 1024 bytes"), "{again}");
    }

    #[test]
    fn a_binary_patch_that_is_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = File::open(folder.path()).unwrap();
        // Found by the fuzz target `patch`: unpacking did not end.
        let found = include_bytes!("../../../../fuzz/corpus/patch/binary-cut-off");
        let error = apply_to(&dir, &found[..]).unwrap_err().to_string();
        assert!(error.contains("binary data"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
