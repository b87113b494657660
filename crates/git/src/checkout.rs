//! Checks out the files of a commit, and finds common ancestors of commits.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::git::{Checkout, Credentials, Repository};
use rondel_ports::snapshots::MAX_LEVELS;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::command::Run;
use crate::context::GitContext;
use crate::git_error::{GitError, without_password};
use crate::remote::{CommitRequest, Objects, RemoteSource, Store, address};
use crate::{sanitize_repository, transport};

/// The first bytes of a git LFS pointer file.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";
/// The ref of a fetched commit during the fetch.
const FETCHED: &str = "refs/rondel/fetched";
/// The modification time of every file, in seconds since the Unix epoch.
const MODIFIED: u64 = 1;

/// Writes the files of a commit into `into`.
pub(crate) async fn checkout(
    git: &GitContext,
    repository: &Repository,
    what: &Checkout,
    into: &Path,
    progress: &Emitter,
) -> Result<()> {
    let mut objects = objects(git, repository, &want(what), progress).await?;
    let mut done = write(git, repository, &objects, what, into).await;
    if let (Err(failure), Objects::Store(store), Repository::Remote { url, key, credentials }) =
        (&done, &mut objects, repository)
        && failure.is_damage()
    {
        store.renew(git, url, &what.commit).await?;
        store.have(git, &RemoteSource { url, key, credentials, progress }, &want(what)).await?;
        empty(into)?;
        done = write(git, repository, &objects, what, into).await;
    }
    done.map_err(|failure| match repository {
        Repository::Remote { url, .. } => failure.at(url),
        Repository::Kept { .. } => failure.on_folder("checkout".as_ref()),
    })?;
    drop(objects);
    let (into, keep) = (into.to_owned(), what.keep_git_dir);
    let finished = tokio::task::spawn_blocking(move || finish(&into, keep)).await;
    finished.unwrap_or_else(|e| Err(Fault::bug(format!("work on files panicked: {e}"))))
}

fn want(what: &Checkout) -> CommitRequest<'_> {
    CommitRequest { commit: &what.commit, name: &what.name, depth: what.depth, tags: what.tags }
}

async fn objects(
    git: &GitContext,
    repository: &Repository,
    want: &CommitRequest<'_>,
    progress: &Emitter,
) -> Result<Objects> {
    match repository {
        Repository::Remote { url, key, credentials } => {
            let store = Store::open(git, url, credentials, want.commit, progress).await?;
            store.have(git, &RemoteSource { url, key, credentials, progress }, want).await?;
            Ok(Objects::Store(store))
        }
        Repository::Kept { folder, guard } => Ok(Objects::Kept(folder.clone(), guard.clone())),
    }
}

async fn write(
    git: &GitContext,
    repository: &Repository,
    objects: &Objects,
    what: &Checkout,
    into: &Path,
) -> Result<(), GitError> {
    let inner = into.join(".git");
    let quiet = |run| async { git.runner.run(run).await.map(drop) };
    let format = if what.commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    let init = ["init", "--quiet", "--template=", format].map(AsRef::as_ref);
    quiet(Run::new(init.into_iter().chain([into.as_os_str()]))).await?;
    let mut fetch: Vec<&OsStr> =
        ["fetch", "--quiet", "--no-write-fetch-head", "--update-shallow"].map(AsRef::as_ref).into();
    let depth = format!("--depth={}", what.depth);
    if what.depth > 0 {
        fetch.push(depth.as_ref());
    }
    // `git` fetches tags of the commit only if the commit is fetched into a ref.
    let named = format!("{}:{FETCHED}", what.commit);
    if !what.tags {
        fetch.push("--no-tags".as_ref());
    }
    let from = objects.folder();
    fetch.extend(["--".as_ref(), from.as_os_str(), named.as_ref()]);
    quiet(Run::on(&inner, fetch)).await?;
    quiet(Run::on(&inner, ["update-ref", "-d", FETCHED])).await?;
    let _ = fs::remove_dir(inner.join("refs/rondel"));
    if what.name.starts_with("refs/heads/") {
        quiet(Run::on(&inner, ["update-ref", "--end-of-options", &what.name, &what.commit])).await?;
        quiet(Run::on(&inner, ["symbolic-ref", "HEAD", &what.name])).await?;
    } else {
        // The commit may be given by its tag object, which no ref names any more.
        let commit = format!("{}^{{commit}}", what.commit);
        quiet(Run::on(&inner, ["update-ref", "--no-deref", "HEAD", &commit])).await?;
        let has_tag = git.runner.run(Run::on(&inner, ["rev-parse", "--verify", "--quiet", &what.name])).await.is_ok();
        if what.name.starts_with("refs/tags/") && !has_tag {
            quiet(Run::on(&inner, ["update-ref", "--end-of-options", &what.name, &what.commit])).await?;
        }
    }
    if let Repository::Remote { url, .. } = repository {
        for (key, value) in [
            ("remote.origin.url", &*without_password(url)),
            ("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"),
        ] {
            quiet(Run::on(&inner, ["config", key, value])).await?;
        }
    }
    quiet(Run::on(&inner, ["reset", "--hard", "--quiet"]).variable("GIT_WORK_TREE", into)).await?;
    if let Repository::Remote { url, credentials, .. } = repository
        && into.join(".gitmodules").is_file()
    {
        let args = ["-C".as_ref(), into.as_os_str()];
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"].map(AsRef::as_ref);
        let run =
            |limit: Option<&'static str>| Run::new(args.into_iter().chain(update).chain(limit.map(AsRef::as_ref)));
        match transport::run(git, run(Some("--depth=1")), &address(url), credentials).await {
            Err(failure) if failure.is_whole_histories_only() => {
                transport::run(git, run(None), &address(url), credentials).await?;
            }
            done => _ = done?,
        }
    }
    // An index without inode numbers and times: the same for the same commit.
    fs::remove_file(inner.join("index")).map_err(|e| GitError::Messages(e.to_string()))?;
    quiet(Run::on(&inner, ["read-tree", "HEAD"])).await
}

/// Finds the best common ancestor of two commits.
pub(crate) async fn common_ancestor(
    git: &GitContext,
    one: (&Repository, &str),
    other: (&Repository, &str),
) -> Result<Option<String>> {
    let all = |commit| CommitRequest { commit, name: "", depth: 0, tags: false };
    let progress = &Emitter::nowhere();
    let first = objects(git, one.0, &all(one.1), progress).await?;
    let same = match (one.0, other.0) {
        (
            Repository::Remote { url: a, credentials: one, .. },
            Repository::Remote { url: b, credentials: other, .. },
        ) => {
            let service = |credentials: &Credentials| credentials.host.as_ref().map(|host| host.key);
            a == b && service(one) == service(other)
        }
        (Repository::Kept { folder: a, .. }, Repository::Kept { folder: b, .. }) => a == b,
        _ => false,
    };
    let (folder, borrowed) = match (&first, other.0) {
        (Objects::Store(store), Repository::Remote { url, key, credentials }) if same => {
            store.have(git, &RemoteSource { url, key, credentials, progress }, &all(other.1)).await?;
            (first.folder().to_owned(), None)
        }
        _ if same => (first.folder().to_owned(), None),
        _ => {
            let folder = first.folder().to_owned();
            // Two stores are never locked at the same time, which could deadlock.
            drop(first);
            let second = objects(git, other.0, &all(other.1), progress).await?;
            (folder, Some(second))
        }
    };
    let mut run = Run::on(&folder, ["merge-base", one.1, other.1]);
    if let Some(second) = &borrowed {
        run = run.variable("GIT_ALTERNATE_OBJECT_DIRECTORIES", second.folder().join("objects"));
    }
    match git.runner.run(run).await {
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output).trim().to_owned())),
        Err(GitError::Messages(messages)) if messages.trim().is_empty() => Ok(None),
        Err(failure) => Err(failure.on_folder("merge-base".as_ref())),
    }
}

/// Writes the files that a commit of everything in `work_tree` would have into `into`.
pub(crate) async fn committed(git: &GitContext, repository: &Repository, work_tree: &Path, into: &Path) -> Result<()> {
    let Repository::Kept { folder, guard: _guard } = repository else {
        return Err(Fault::bug("a repository on a server has no work tree"));
    };
    let tree = work_tree.to_owned();
    let sanitized = tokio::task::spawn_blocking(move || sanitize_repository::work_tree(&tree)).await;
    sanitized.unwrap_or_else(|e| Err(Fault::bug(format!("work on files panicked: {e}"))))?;
    let index = git.fresh();
    let on =
        |args: &[&str]| Run::on(folder, args).variable("GIT_INDEX_FILE", &index).variable("GIT_WORK_TREE", work_tree);
    let born = git.runner.run(on(&["rev-parse", "--verify", "--quiet", "HEAD"])).await.is_ok();
    let mut steps: Vec<&[&str]> = vec![&["add", "--all", "--", "."]];
    if born {
        steps.insert(0, &["read-tree", "HEAD"]);
    }
    for step in steps {
        git.runner.text(on(step)).await?;
    }
    let run = on(&["checkout-index", "--all", "--force"]).variable("GIT_WORK_TREE", into);
    let written = git.runner.text(run).await;
    let _ = fs::remove_file(&index);
    written?;
    let into = into.to_owned();
    let finished = tokio::task::spawn_blocking(move || finish(&into, false)).await;
    finished.unwrap_or_else(|e| Err(Fault::bug(format!("work on files panicked: {e}"))))
}

fn empty(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).and_then(|()| fs::create_dir(folder)).attempt(|| format!("empty `{}`", folder.display()))
}

/// Removes files of `.git` that depend on the run, and gives every file the same time and one of
/// two permissions.
fn finish(into: &Path, keep_git_dir: bool) -> Result<()> {
    for name in ["FETCH_HEAD", "ORIG_HEAD", "description", "branches", "logs", "hooks"] {
        let path = into.join(".git").join(name);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    let mut walk = Walk { keep_git_dir, lfs: false, pointer: None };
    walk.folder(into, 0).attempt(|| "finish a checkout".into())?;
    match walk.pointer {
        Some(pointer) if walk.lfs => {
            let pointer = pointer.strip_prefix(into).unwrap_or(&pointer).to_owned();
            Err(Fault::user(format!("the file `{}` of the repository is in git LFS", pointer.display())).with_hint(
                "files in git LFS are not fetched; clone the repository in a container with `git-lfs` instead",
            ))
        }
        _ => Ok(()),
    }
}

struct Walk {
    keep_git_dir: bool,
    /// Whether some `.gitattributes` use git LFS.
    lfs: bool,
    /// The first git LFS pointer file.
    pointer: Option<PathBuf>,
}

impl Walk {
    /// Finishes `folder`, which is `level` directories below the checkout.
    fn folder(&mut self, folder: &Path, level: usize) -> std::io::Result<()> {
        if level > MAX_LEVELS {
            return Err(std::io::Error::other(format!("more than {MAX_LEVELS} directories are inside one another")));
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if entry.file_name() == ".git" {
                match (self.keep_git_dir, kind.is_dir()) {
                    (true, _) => normalise(&path)?,
                    (false, true) => fs::remove_dir_all(&path)?,
                    (false, false) => fs::remove_file(&path)?,
                }
            } else if kind.is_dir() {
                self.folder(&path, level + 1)?;
            } else {
                if kind.is_file() {
                    self.file(&path)?;
                }
                set_mode_and_time(&path, kind)?;
            }
        }
        set_mode_and_time(folder, fs::symlink_metadata(folder)?.file_type())
    }

    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        if path.file_name() == Some(OsStr::new(".gitattributes")) {
            self.lfs |= String::from_utf8_lossy(&fs::read(path)?).contains("filter=lfs");
        } else if self.pointer.is_none()
            && fs::symlink_metadata(path)?.len() < 1024
            && fs::read(path)?.starts_with(POINTER)
        {
            self.pointer = Some(path.to_owned());
        }
        Ok(())
    }
}

fn normalise(path: &Path) -> std::io::Result<()> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_dir() {
        for entry in fs::read_dir(path)? {
            normalise(&entry?.path())?;
        }
    }
    set_mode_and_time(path, kind)
}

fn set_mode_and_time(path: &Path, kind: fs::FileType) -> std::io::Result<()> {
    if !kind.is_symlink() {
        let executable = kind.is_dir() || fs::symlink_metadata(path)?.permissions().mode() & 0o100 != 0;
        fs::set_permissions(path, Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    }
    let at = Timespec { tv_sec: MODIFIED.cast_signed(), tv_nsec: 0 };
    let times = Timestamps { last_access: at, last_modification: at };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
