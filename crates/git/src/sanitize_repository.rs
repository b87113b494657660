//! Sanitizes directories that came from outside, so that `git` may run on them.
//!
//! Of a git directory only objects and refs are kept, and only as regular files in directories: a
//! symlink would make `git`, which runs on this machine and not inside the tree, read or write
//! files of this machine. Of a work tree only files are kept: `git` reads the state of a nested
//! repository with that repository's configuration.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rondel_fault::{Attempt as _, Fault, Result};
use rustix::fs::OFlags;

/// The entries of a git directory that are kept. The configuration is read for the object format
/// and then replaced.
const KEPT_ENTRIES: [&str; 7] = ["HEAD", "config", "objects", "packed-refs", "refs", "reftable", "shallow"];
/// Files among the objects that refer to other object stores, or name files. They are never needed.
const REMOVED_OBJECT_FILES: [&str; 3] = ["info", "pack/multi-pack-index", "pack/multi-pack-index.d"];
/// The most bytes of a configuration that are read.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// Sanitizes the git directory in `folder`, which no other process uses.
///
/// # Errors
/// When it has entries other than regular files and directories.
pub(crate) fn git_dir(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).attempt(|| format!("list `{}`", folder.display()))? {
        let entry = entry.attempt(|| format!("list `{}`", folder.display()))?;
        if !KEPT_ENTRIES.iter().any(|taken| entry.file_name() == *taken) {
            discard(&entry.path())?;
        }
    }
    // ORDER: paths below `folder` are free of symlinks only after this.
    check_kinds(folder)?;
    for path in REMOVED_OBJECT_FILES {
        discard(&folder.join("objects").join(path))?;
    }
    for path in ["refs", "objects"] {
        let path = folder.join(path);
        fs::create_dir_all(&path).attempt(|| format!("make `{}`", path.display()))?;
    }
    configure(&folder.join("config"))
}

/// Empties nested repositories in `folder`, and removes the repository at its top.
pub(crate) fn work_tree(folder: &Path) -> Result<()> {
    discard(&folder.join(".git"))?;
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        let attempted = || format!("list `{}`", at.display());
        if at.as_path() != folder && fs::symlink_metadata(at.join(".git")).is_ok() {
            discard(&at)?;
            fs::create_dir(&at).attempt(|| format!("make `{}`", at.display()))?;
            continue;
        }
        for entry in fs::read_dir(&at).attempt(attempted)? {
            let entry = entry.attempt(attempted)?;
            if entry.file_type().attempt(attempted)?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}

fn check_kinds(folder: &Path) -> Result<()> {
    let mut pending = vec![folder.to_owned()];
    while let Some(at) = pending.pop() {
        let attempted = || format!("list `{}`", at.display());
        for entry in fs::read_dir(&at).attempt(attempted)? {
            let entry = entry.attempt(attempted)?;
            let kind = entry.file_type().attempt(attempted)?;
            if kind.is_dir() {
                pending.push(entry.path());
            } else if !kind.is_file() {
                let path = entry.path();
                let shown = path.strip_prefix(folder).unwrap_or(&path).display();
                let what = if kind.is_symlink() { "a symbolic link" } else { "no regular file" };
                return Err(Fault::user(format!("cannot use the git repository: its `{shown}` is {what}"))
                    .with_hint("take a clone of the repository, which has all its files itself"));
            }
        }
    }
    Ok(())
}

/// Replaces a configuration by a minimal one with the same object format.
fn configure(config: &Path) -> Result<()> {
    let attempted = || format!("write `{}`", config.display());
    let given = match File::open(config) {
        Ok(file) => {
            let mut given = Vec::new();
            file.take(MAX_CONFIGURATION).read_to_end(&mut given).attempt(|| format!("read `{}`", config.display()))?;
            String::from_utf8_lossy(&given).to_ascii_lowercase()
        }
        Err(_) => String::new(),
    };
    let sha256 = given.lines().any(|line| line.replace(char::is_whitespace, "") == "objectformat=sha256");
    let mut text = format!("[core]\n\trepositoryformatversion = {}\n\tbare = true\n", u8::from(sha256));
    text += "[uploadpack]\n\tallowAnySHA1InWant = true\n";
    if sha256 {
        text += "[extensions]\n\tobjectFormat = sha256\n";
    }
    discard(config)?;
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let made = OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(config);
    made.attempt(attempted)?.write_all(text.as_bytes()).attempt(attempted)
}

/// Removes the file or directory at `path`. Symlinks are not followed.
fn discard(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.attempt(|| format!("remove `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for made in ["objects/info", "objects/pack", "refs/heads", "hooks", "worktrees/x"] {
            fs::create_dir_all(folder.path().join(made)).expect("makes");
        }
        for (path, text) in [("HEAD", "ref: refs/heads/main\n"), ("config", "[core]\n\tfsmonitor = x\n")] {
            fs::write(folder.path().join(path), text).expect("writes");
        }
        folder
    }

    #[test]
    fn only_objects_and_refs_are_taken() {
        let folder = repository();
        let at = |path: &str| folder.path().join(path);
        let gone = [
            "commondir",
            "gitdir",
            "config.worktree",
            "index",
            "hooks/post-checkout",
            "objects/info/alternates",
            "objects/info/http-alternates",
            "objects/pack/multi-pack-index",
        ];
        for path in gone {
            fs::write(at(path), "../elsewhere\n").expect("writes");
        }
        git_dir(folder.path()).expect("is one");
        for path in gone.into_iter().chain(["worktrees", "hooks"]) {
            assert!(!at(path).exists(), "{path}");
        }
        assert!(!fs::read_to_string(at("config")).expect("is there").contains("fsmonitor"));
        assert!(at("HEAD").exists() && at("refs/heads").is_dir());
    }

    #[test]
    fn links_out_of_a_git_dir_are_refused_and_never_written_through() {
        let outside = tempfile::tempdir().expect("a folder");
        let canary = outside.path().join("canary");
        for path in
            ["config", "HEAD", "packed-refs", "objects", "refs", "refs/heads/x", "objects/pack/x", "objects/info"]
        {
            fs::write(&canary, "canary").expect("writes");
            let folder = repository();
            let at = folder.path().join(path);
            discard(&at).expect("makes room");
            symlink(&canary, &at).expect("links");
            let refused = git_dir(folder.path()).expect_err(path).full_message();
            assert!(
                refused.contains(&format!("`{path}` is a symbolic link")) && !refused.contains("canary"),
                "{refused}"
            );
            assert_eq!(fs::read_to_string(&canary).expect("is there"), "canary", "{path}");
        }
    }

    #[test]
    fn nested_repositories_are_empty_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        for made in ["a/nested/.git", "a/plain", "by-file"] {
            fs::create_dir_all(at(made)).expect("makes");
        }
        for path in ["a/nested/file", "a/plain/file", "by-file/.git", "by-file/file"] {
            fs::write(at(path), "gitdir: /elsewhere").expect("writes");
        }
        work_tree(folder.path()).expect("works");
        assert!(at("a/nested").is_dir() && at("by-file").is_dir() && at("a/plain/file").exists());
        assert!(!at("a/nested/.git").exists() && !at("a/nested/file").exists() && !at("by-file/file").exists());
    }
}
