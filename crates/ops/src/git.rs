//! Git: checks out commits as trees, and reads refs and the work tree's state.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use rondel_events::Work;
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::git::{GitAccess, GitRemote, GitSource, GitTree};
use rondel_model::op::{Filter, TreePath};
use rondel_model::{AbsPath, SecretRef, Snapshot, SocketRef};
use rondel_ports::dirs::TempDir;
use rondel_ports::git::{Agent, Checkout, Credentials, References, Repository};
use rondel_ports::outcome::in_span;
use rondel_ports::snapshots::Snapshots;
use rondel_streams::relay::{self, Relay};
use tokio::net::UnixListener;

use crate::context::OpContext;
use crate::key::{self, Key};
use crate::root::{Root, open_dir};
use crate::service_client::ServiceHost;
use crate::stat::EntryKind;
use crate::stats::count;
use crate::work_layer::change;
use crate::{Ops, copy, dedup_layers};

/// The user name beside a token if none was given. Servers accept any.
const TOKEN_USER: &str = "x-access-token";
/// How many connections to an SSH agent may be open at a time; further ones wait to be accepted.
const MAX_AGENT_CONNECTIONS: usize = 64;
/// The entries of a git directory that count.
const COUNTS: [&str; 7] = ["HEAD", "config", "packed-refs", "shallow", "objects", "refs", "reftable"];

/// The uncommitted changes of a directory with a repository.
#[derive(Clone, Debug)]
pub struct Uncommitted {
    /// The files of the last commit.
    pub before: Snapshot,
    /// The files of the work tree, without ignored ones.
    pub after: Snapshot,
}

impl Ops {
    /// The current refs of a repository.
    ///
    /// # Errors
    /// When there is no repository, the server refuses (`Denied`), or the server cannot be reached.
    pub async fn git_references(self: &Arc<Self>, cx: &OpContext, source: &GitSource) -> Result<References> {
        let GitSource::Remote(remote) = source else {
            let (repository, _) = self.repository(cx, source).await?;
            return self.ports.git.references(&repository).await;
        };
        let span = cx.events.span(Work::Other, format!("list the refs of {}", shown_url(&remote.url)));
        let reporting = cx.reporting(span.emitter());
        let listing = async {
            let (repository, service_host) = self.repository(&reporting, source).await?;
            service_host.during(self.ports.git.references(&repository)).await
        };
        in_span(span, listing).await
    }

    /// The best common ancestor (merge base) of two commits, or `None`.
    ///
    /// # Errors
    /// As for [`Ops::git_references`], and when a commit is missing.
    pub async fn git_common_ancestor(
        self: &Arc<Self>,
        cx: &OpContext,
        one: (&GitSource, &str),
        other: (&GitSource, &str),
    ) -> Result<Option<String>> {
        let (first, first_host) = self.repository(cx, one.0).await?;
        let (second, second_host) = self.repository(cx, other.0).await?;
        let found = self.ports.git.common_ancestor((&first, one.1), (&second, other.1));
        first_host.during(second_host.during(found)).await
    }

    /// The uncommitted changes of the directory `place`. `None` if it has no work tree.
    ///
    /// # Errors
    /// When it has no repository.
    pub async fn git_uncommitted(self: &Arc<Self>, cx: &OpContext, place: &TreePath) -> Result<Option<Uncommitted>> {
        let (git_dir, is_tree) = self.git_dir(cx, place).await?;
        if !is_tree {
            return Ok(None);
        }
        let tree = self.tree(cx, &place.fs).await?;
        let source = GitSource::Local(place.clone());
        let repository = self.local_repository(&tree, git_dir).await?;
        let head = self.ports.git.references(&repository).await?.head;
        let before = match head {
            None => Snapshot::empty(),
            Some(head) => {
                let (commit, name) = (head.commit.into(), "".into());
                let tree = GitTree { source, commit, name, depth: 1, tags: false, discard_git_dir: true };
                self.git_tree(cx, &tree).await?
            }
        };
        let folders = self.temp_dir().await?;
        let (copied, into) = (folders.path().join("work"), folders.path().join("tree"));
        let (place, target) = (place.clone(), copied.clone());
        self.blocking(move |ops| {
            // Nested repositories keep only their `.git` itself, so that `git` leaves their
            // directories alone.
            let exclude = vec![".git".into(), "**/.git/**".into()];
            let filter = Filter { exclude, ..Filter::default() };
            copy_out(&*ops.ports.snapshots, &tree, &place.path, &filter, &target)
        })
        .await?;
        std::fs::create_dir(&into).attempt(|| format!("make `{}`", into.display()))?;
        self.ports.git.committed(&repository, &copied, &into).await?;
        let after = self.take(folders, into).await?;
        Ok(Some(Uncommitted { before, after }))
    }

    /// The files of a commit.
    // IDENTITY: address and credentials are part of the key. A client that knows a commit does not
    // get a tree that only other credentials may read.
    pub(crate) async fn git_tree(self: &Arc<Self>, cx: &OpContext, tree: &GitTree) -> Result<Snapshot> {
        let local = match &tree.source {
            GitSource::Remote(_) => None,
            GitSource::Local(place) => Some((self.tree(cx, &place.fs).await?.digest(), &place.path)),
        };
        let remote = match &tree.source {
            GitSource::Remote(remote) => Some(&**remote),
            GitSource::Local(_) => None,
        };
        let (commit, name) = (&*tree.commit, &*tree.name);
        let (depth, tags, discard_git_dir) = (tree.depth, tree.tags, tree.discard_git_dir);
        // A tree without `.git` is the same under every ref name.
        let (name, depth, tags) = if discard_git_dir { ("", 1, false) } else { (name, depth, tags) };
        let version = key::CHECKOUT;
        let key = Key::Git(key::Git { version, remote, local, commit, name, depth, tags, discard_git_dir }).digest();
        if let Some(snapshot) = self.stored::<Snapshot>(&key, &self.stats.files_cached, |s| vec![s]) {
            return Ok(snapshot);
        }
        count(&self.stats.files_done);
        let span = cx.events.span(Work::Pull, format!("git checkout {}", shown(tree)));
        let reporting = cx.reporting(span.emitter());
        let snapshot = in_span(span, self.check_out(&reporting, tree, depth, tags)).await?;
        self.store(&key, &snapshot)?;
        Ok(snapshot)
    }

    async fn check_out(self: &Arc<Self>, cx: &OpContext, tree: &GitTree, depth: u32, tags: bool) -> Result<Snapshot> {
        let (repository, service_host) = self.repository(cx, &tree.source).await?;
        let what = Checkout {
            commit: tree.commit.to_string(),
            name: tree.name.to_string(),
            depth,
            tags,
            keep_git_dir: !tree.discard_git_dir,
        };
        let folders = self.temp_dir().await?;
        let into = folders.path().join("tree");
        std::fs::create_dir(&into).attempt(|| format!("make `{}`", into.display()))?;
        service_host.during(self.ports.git.checkout(&repository, &what, &into, &cx.events)).await?;
        self.take(folders, into).await
    }

    /// Commits the files in the directory `from` as a snapshot.
    async fn take(self: &Arc<Self>, folders: TempDir, from: PathBuf) -> Result<Snapshot> {
        self.blocking(move |ops| {
            let folder = std::fs::File::open(&from).attempt(|| format!("open `{}`", from.display()))?;
            let taken = change(&*ops.ports.snapshots, &Snapshot::empty(), |root| {
                copy::as_root(folder.as_fd(), &Filter::default(), root.0, None)
            });
            drop(folders);
            taken
        })
        .await
    }

    /// A repository for the `git` port, and the service that its host may be, which stays up while
    /// it is used.
    async fn repository(self: &Arc<Self>, cx: &OpContext, source: &GitSource) -> Result<(Repository, ServiceHost)> {
        match source {
            GitSource::Local(place) => {
                let (git_dir, _) = self.git_dir(cx, place).await?;
                let tree = self.tree(cx, &place.fs).await?;
                Ok((self.local_repository(&tree, git_dir).await?, ServiceHost::by_name()))
            }
            GitSource::Remote(remote) => {
                let service_host = self.connect_service(cx, remote.service.as_ref()).await?;
                let credentials =
                    Credentials { host: service_host.host.clone(), ..self.credentials(cx, remote).await? };
                let key = rondel_digest::of("git/access/v1", remote);
                Ok((Repository::Remote { url: remote.url.to_string(), key, credentials }, service_host))
            }
        }
    }

    async fn credentials(self: &Arc<Self>, cx: &OpContext, remote: &GitRemote) -> Result<Credentials> {
        let GitAccess { username, token, header, known_hosts, agent } = &remote.access;
        let authorization = match (header, token) {
            (Some(header), _) => Some(text(cx, header).await?),
            (None, Some(token)) => {
                let user = if username.is_empty() { TOKEN_USER } else { username };
                let pair = format!("{user}:{}", text(cx, token).await?);
                Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
            }
            (None, None) => None,
        };
        let agent = match agent {
            Some(socket) => Some(self.agent(cx, socket).await?),
            None => None,
        };
        Ok(Credentials {
            authorization,
            known_hosts: known_hosts.to_string(),
            agent,
            host: None,
            egress: remote.egress,
        })
    }

    /// A socket of this machine that leads to the client's SSH agent.
    async fn agent(self: &Arc<Self>, cx: &OpContext, socket: &SocketRef) -> Result<Agent> {
        cx.sockets.find(socket).await.map_err(|e| e.context("find the SSH agent"))?;
        let folder = self.temp_dir().await?;
        let path = folder.path().join("agent");
        let listener = UnixListener::bind(&path).attempt(|| format!("listen on `{}`", path.display()))?;
        let (sockets, socket) = (cx.sockets.clone(), socket.clone());
        let relay = Relay::start(listener, MAX_AGENT_CONNECTIONS, move |mut near| {
            let (sockets, socket) = (sockets.clone(), socket.clone());
            async move {
                if let Ok(mut far) = sockets.connect(&socket).await {
                    let _ = relay::copy(&mut near, &mut far).await;
                }
            }
        });
        Ok(Agent { path, guard: Arc::new((relay, folder)) })
    }

    async fn local_repository(self: &Arc<Self>, tree: &Snapshot, git_dir: AbsPath) -> Result<Repository> {
        let key = rondel_digest::of("git/local/v1", &(tree.digest(), &git_dir));
        let tree = tree.clone();
        self.blocking(move |ops| {
            ops.ports.git.keep(&key, &mut |folder: &Path| {
                let include = COUNTS.iter().flat_map(|name| [(*name).to_owned(), format!("{name}/**")]).collect();
                let filter = Filter { include, ..Filter::default() };
                copy_out(&*ops.ports.snapshots, &tree, &git_dir, &filter, folder)
            })
        })
        .await
    }

    /// Finds the git directory of the repository in `place`, and whether it has a work tree.
    async fn git_dir(self: &Arc<Self>, cx: &OpContext, place: &TreePath) -> Result<(AbsPath, bool)> {
        let kind = async |path: AbsPath| {
            let found = self.stat(cx, &TreePath { fs: place.fs.clone(), path }, true).await?;
            Ok::<_, Fault>(found.map(|stat| stat.kind))
        };
        let inner = place.path.join(".git");
        match kind(inner.clone()).await? {
            Some(EntryKind::Directory) => return Ok((inner, true)),
            Some(_) => {
                return Err(Fault::user("not a git repository: `.git` leads to another folder, which is not here")
                    .with_hint("take the directory that has the repository itself, or a clone"));
            }
            None => {}
        }
        let bare = kind(place.path.join("HEAD")).await? == Some(EntryKind::File)
            && kind(place.path.join("objects")).await? == Some(EntryKind::Directory);
        if bare {
            return Ok((place.path.clone(), false));
        }
        // Users match on this text; see behaviour GIT-006.
        Err(Fault::user("not a git repository (or any of the parent directories): .git"))
    }
}

/// Copies the directory `path` of a snapshot, filtered, to the directory `into`.
fn copy_out(store: &dyn Snapshots, tree: &Snapshot, path: &AbsPath, filter: &Filter, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into).attempt(|| format!("make `{}`", into.display()))?;
    let tree = dedup_layers::view(store, tree)?;
    let from = open_dir(Root(tree.root.as_fd()), path)?;
    let to = std::fs::File::open(into).attempt(|| format!("open `{}`", into.display()))?;
    copy::as_root(from.as_fd(), filter, to.as_fd(), None)
}

/// The name of a checkout in the progress.
fn shown(tree: &GitTree) -> String {
    let short = tree.commit.get(..12).unwrap_or(&tree.commit);
    match &tree.source {
        GitSource::Local(_) => short.to_owned(),
        GitSource::Remote(remote) => format!("{}@{short}", shown_url(&remote.url)),
    }
}

/// The address of a repository without scheme and credentials.
fn shown_url(url: &str) -> &str {
    let url = url.split_once("://").map_or(url, |(_, rest)| rest);
    url.rsplit_once('@').map_or(url, |(_, url)| url)
}

async fn text(cx: &OpContext, secret: &SecretRef) -> Result<String> {
    let plaintext = cx.secrets.plaintext(secret).await?;
    let text = std::str::from_utf8(plaintext.bytes()).ok().map(str::trim_end);
    match text.filter(|text| !text.contains(['\n', '\r', '\0'])) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Fault::user("the secret for a git repository is not one line of text")),
    }
}
