//! Remote repositories: lists their refs, and keeps a store of fetched objects for each.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rondel_digest::Digest;
use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Result, lock};
use rondel_ports::git::{Credentials, Reference, References, Repository};
use tokio::sync::OwnedMutexGuard;

use crate::command::{Run, end_recorded};
use crate::context::GitContext;
use crate::git_error::{GitError, without_password};
use crate::transport;

/// How long a server may take to list its refs.
const LIST_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a server may be silent while it sends a commit.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);

/// Lists the refs of `repository`.
pub(crate) async fn references(git: &GitContext, repository: &Repository) -> Result<References> {
    let listing = ["ls-remote", "--symref", "--"];
    match repository {
        Repository::Kept { folder, .. } => {
            let run = Run::new(listing.iter().map(AsRef::as_ref).chain([folder.as_os_str()]));
            Ok(parse(&git.runner.text(run).await?))
        }
        Repository::Remote { url, key, credentials } => {
            let address = address(url);
            let mut run = Run::new(listing.iter().copied().chain([&*address]));
            run.timeout = LIST_TIMEOUT;
            let output = transport::run(git, run, &address, credentials).await.map_err(|failure| failure.at(url))?;
            lock(&git.admitted).insert(*key);
            Ok(parse(&String::from_utf8_lossy(&output)))
        }
    }
}

fn parse(text: &str) -> References {
    let mut references = References::default();
    let (mut branch, mut head) = (None, None);
    for line in text.lines() {
        let Some((what, name)) = line.split_once('\t') else { continue };
        match (what.strip_prefix("ref: "), name) {
            (Some(target), "HEAD") => branch = Some(target.to_owned()),
            (Some(_), _) => {}
            (None, "HEAD") => head = Some(what.to_owned()),
            (None, name) => match (name.strip_suffix("^{}"), references.all.last_mut()) {
                (Some(tag), Some(last)) if last.name == tag => {
                    let object = std::mem::replace(&mut last.commit, what.to_owned());
                    references.annotated.push((object, what.to_owned()));
                }
                (Some(_), _) => {}
                (None, _) => references.all.push(Reference { name: name.to_owned(), commit: what.to_owned() }),
            },
        }
    }
    references.head = head.map(|commit| Reference { name: branch.unwrap_or_else(|| commit.clone()), commit });
    references
}

/// The address for `git`. SSH addresses without a user get the user `git`.
pub(crate) fn address(url: &str) -> String {
    match url.strip_prefix("ssh://") {
        Some(rest) if !rest.split('/').next().unwrap_or_default().contains('@') => format!("ssh://git@{rest}"),
        _ => url.to_owned(),
    }
}

/// The store of one address, locked for one operation at a time.
pub(crate) struct Store {
    pub(crate) folder: PathBuf,
    #[allow(dead_code, reason = "what is locked is not removed to make room")]
    held: File,
    _turn: OwnedMutexGuard<bool>,
}

impl Store {
    /// Opens the store of `url` for the object format of `commit`, which its length tells.
    // IDENTITY: two services with the same address are different repositories.
    pub(crate) async fn open(
        git: &GitContext,
        url: &str,
        credentials: &Credentials,
        commit: &str,
        progress: &Emitter,
    ) -> Result<Self> {
        let key = match &credentials.host {
            None => rondel_digest::of("git/store/v1", &(url, commit.len())),
            Some(host) => rondel_digest::of("git/store/service/v1", &(url, commit.len(), host.key)),
        };
        let folder = git.folder.join("remotes").join(key.hex());
        let turn = lock(&git.stores).entry(key).or_default().clone();
        let on = || "other work on the same repository".into();
        let mut turn = progress.waiting(on, turn.lock_owned()).await;
        if !*turn {
            end_recorded(&running(&folder))?;
            if folder.exists() {
                remove_locks(&folder);
            }
            *turn = true;
        }
        let held = hold(git, &folder, url, commit).await?;
        Ok(Self { folder, held, _turn: turn })
    }

    /// Replaces the store by an empty one, because it was found damaged.
    pub(crate) async fn renew(&mut self, git: &GitContext, url: &str, commit: &str) -> Result<()> {
        std::fs::remove_dir_all(&self.folder).attempt(|| format!("remove `{}`", self.folder.display()))?;
        self.held = hold(git, &self.folder, url, commit).await?;
        Ok(())
    }

    /// Fetches the commit unless it is here, with `depth` commits of history (zero for all), and
    /// all tags of the server if they are wanted.
    pub(crate) async fn have(&self, git: &GitContext, from: &RemoteSource<'_>, want: &CommitRequest<'_>) -> Result<()> {
        if !git_has(git, from).await? {
            return Err(Fault::bug("a server's commits are asked for before its refs"));
        }
        let here = self.has(git, want.commit).await;
        if !(here && (!self.is_shallow() || want.depth == 1)) {
            self.fetch_commit(git, from, want).await?;
        }
        if want.tags {
            // Tags that the server no longer has are removed: they would be taken for tags of
            // commits that it still has.
            let all = ["+refs/tags/*:refs/tags/*".to_owned()];
            let fetched = self.fetch(git, from, &all, want.depth, Stale::Removed).await;
            fetched.map_err(|failure| failure.at(from.url))?;
        }
        Ok(())
    }

    async fn fetch_commit(&self, git: &GitContext, from: &RemoteSource<'_>, want: &CommitRequest<'_>) -> Result<()> {
        let kept = format!("refs/rondel/{}", want.commit);
        let by_commit = self.fetch(git, from, &[format!("+{}:{kept}", want.commit)], want.depth, Stale::Kept).await;
        match by_commit {
            Ok(()) => return Ok(()),
            Err(failure) if !failure.is_missing_commit() => return Err(failure.at(from.url)),
            Err(_) => {}
        }
        // Old servers send refs only.
        let mut tries = vec![(vec!["+refs/heads/*:refs/rondel/heads/*".to_owned()], 0)];
        if want.name.starts_with("refs/") {
            tries.insert(0, (vec![format!("+{}:{kept}", want.name)], want.depth));
        }
        for (refs, depth) in tries {
            match self.fetch(git, from, &refs, depth, Stale::Kept).await {
                Ok(()) if self.has(git, want.commit).await => return Ok(()),
                Err(failure) if !failure.is_missing_commit() => return Err(failure.at(from.url)),
                _ => {}
            }
        }
        Err(Fault::user(format!("the repository `{}` has no commit `{}`", without_password(from.url), want.commit)))
    }

    async fn has(&self, git: &GitContext, commit: &str) -> bool {
        git.runner.run(Run::on(&self.folder, ["cat-file", "-e", &format!("{commit}^{{commit}}")])).await.is_ok()
    }

    /// Whether the store is shallow now. Each fetch may change that.
    fn is_shallow(&self) -> bool {
        std::fs::metadata(self.folder.join("shallow")).is_ok_and(|file| file.len() > 0)
    }

    /// Fetches `refs` with `depth` commits of history, zero for all. A server that only supports
    /// whole histories sends those.
    async fn fetch(
        &self,
        git: &GitContext,
        from: &RemoteSource<'_>,
        refs: &[String],
        depth: u32,
        stale: Stale,
    ) -> Result<(), GitError> {
        let limit = match depth {
            0 if self.is_shallow() => Some("--unshallow".to_owned()),
            0 => None,
            depth => Some(format!("--depth={depth}")),
        };
        match self.fetch_limited(git, from, refs, limit.as_deref(), stale).await {
            Err(failure) if limit.is_some() && failure.is_whole_histories_only() => {
                self.fetch_limited(git, from, refs, None, stale).await
            }
            fetched => fetched,
        }
    }

    async fn fetch_limited(
        &self,
        git: &GitContext,
        from: &RemoteSource<'_>,
        refs: &[String],
        limit: Option<&str>,
        stale: Stale,
    ) -> Result<(), GitError> {
        let address = address(from.url);
        let mut args: Vec<String> =
            ["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--force", "--update-shallow"]
                .map(Into::into)
                .into();
        args.extend(limit.map(ToOwned::to_owned));
        if stale == Stale::Removed {
            args.push("--prune".into());
        }
        args.extend(["--".to_owned(), address.clone()]);
        args.extend(refs.iter().cloned());
        let record = running(&self.folder);
        let mut run = Run::on(&self.folder, args);
        run.timeout = FETCH_TIMEOUT;
        run.record = Some(&record);
        run.progress = Some(from.progress);
        transport::run(git, run, &address, from.credentials).await.map(drop)
    }
}

/// What to do with refs that the server no longer has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Kept,
    Removed,
}

/// The repository to fetch from.
pub(crate) struct RemoteSource<'a> {
    pub(crate) url: &'a str,
    pub(crate) key: &'a Digest,
    pub(crate) credentials: &'a Credentials,
    /// Receives the bytes that the server sends.
    pub(crate) progress: &'a Emitter,
}

/// The commit to fetch.
pub(crate) struct CommitRequest<'a> {
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
    pub(crate) depth: u32,
    pub(crate) tags: bool,
}

/// Whether the server accepts the credentials. Each repository is checked once.
async fn git_has(git: &GitContext, from: &RemoteSource<'_>) -> Result<bool> {
    if !lock(&git.admitted).contains(from.key) {
        let (url, credentials) = (from.url.to_owned(), from.credentials.clone());
        references(git, &Repository::Remote { url, key: *from.key, credentials }).await?;
    }
    Ok(lock(&git.admitted).contains(from.key))
}

fn running(folder: &Path) -> PathBuf {
    folder.with_extension("running")
}

/// Makes the directory of a store if it is missing, and locks it until the file is dropped. Its
/// modification time is the time of its last use.
async fn hold(git: &GitContext, folder: &Path, url: &str, commit: &str) -> Result<File> {
    let attempted = || format!("use `{}`", folder.display());
    loop {
        if !folder.join("HEAD").exists() {
            make(git, folder, url, commit).await?;
        }
        let held = match File::open(folder) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            opened => opened.attempt(attempted)?,
        };
        // A process that removes the store holds the lock only for a rename.
        held.lock_shared().attempt(attempted)?;
        held.set_modified(SystemTime::now()).attempt(attempted)?;
        // ORDER: after locking. The store may have been removed before, and cannot be from then on.
        let there = std::fs::metadata(folder).ok().map(|there| there.ino());
        if there == Some(held.metadata().attempt(attempted)?.ino()) {
            return Ok(held);
        }
    }
}

async fn make(git: &GitContext, folder: &Path, url: &str, commit: &str) -> Result<()> {
    let format = if commit.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    let made = git.fresh();
    let args = ["init", "--quiet", "--bare", "--template=", format].map(AsRef::as_ref);
    git.runner.text(Run::new(args.into_iter().chain([made.as_os_str()]))).await?;
    let allow = ["config", "uploadpack.allowAnySHA1InWant", "true"];
    git.runner.text(Run::on(&made, allow)).await?;
    let description = made.join("description");
    std::fs::write(&description, without_password(url)).attempt(|| format!("write `{}`", description.display()))?;
    // ORDER: last, so that a visible store is complete.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&made, folder).attempt(|| format!("make `{}`", folder.display()))
}

/// Removes lock and temporary files that a killed `git` left behind. No other process uses the
/// directory.
fn remove_locks(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let below = name.len() == 2 || matches!(&*name, "pack" | "objects" | "refs" | "rondel" | "tags" | "heads");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if below {
                remove_locks(&path);
            }
        } else if name.ends_with(".lock") || name.starts_with("tmp_") {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The directory with the objects of a repository, and its guard.
pub(crate) enum Objects {
    Store(Store),
    Kept(PathBuf, #[allow(dead_code, reason = "keeps the folder")] Arc<dyn std::any::Any + Send + Sync>),
}

impl Objects {
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Store(store) => &store.folder,
            Self::Kept(folder, _) => folder,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_understood() {
        let text = "ref: refs/heads/main\tHEAD\n11\tHEAD\n11\trefs/heads/main\n22\trefs/tags/v1\n33\trefs/tags/v1^{}\n44\trefs/tags/v2\n";
        let found = parse(text);
        let one = |name: &str, commit: &str| Reference { name: name.into(), commit: commit.into() };
        assert_eq!(found.head, Some(one("refs/heads/main", "11")));
        assert_eq!(found.all, [one("refs/heads/main", "11"), one("refs/tags/v1", "33"), one("refs/tags/v2", "44")]);
        assert_eq!(found.annotated, [("22".to_owned(), "33".to_owned())]);
        assert_eq!(parse("11\tHEAD\n").head, Some(one("11", "11")));
        assert_eq!(parse(""), References::default());
    }

    #[test]
    fn who_asks_by_ssh() {
        assert_eq!(address("ssh://h/r"), "ssh://git@h/r");
        assert_eq!(address("ssh://me@h/r"), "ssh://me@h/r");
    }
}
