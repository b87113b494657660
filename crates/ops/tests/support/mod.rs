//! A world for tests: the real store, and toys that record what they were asked for.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rondel_digest::{Digest, Sha256Digest};
use rondel_events::{Emitter, Event, Outcome, Sink};
use rondel_fault::{Fault, Result};
use rondel_model::exec::Scope;
use rondel_model::image::ImageRef;
use rondel_model::op::{CopyOp, Edit, Filter, FsOp, TreePath};
use rondel_model::{AbsPath, ExecOp, Fs, Platform, SecretRef, Snapshot, SocketRef};
use rondel_ops::{NoServices, OpContext, Ops, Options, Ports, ScopeBinding, Scopes};
use rondel_ports::host::HostFiles;
use rondel_ports::http::{Answer, Http, Request};
use rondel_ports::images::{Credentials, Images, MediaTypes, OutgoingImage, ResolvedImage};
use rondel_ports::network::{Host, Membership, Network, Networks};
use rondel_ports::process::{
    CommandSpec, Entrance, Exit, Limit, ProcessMountSource, ProcessSpec, ProcessStdin, Processes,
};
use rondel_ports::secrets::{Plaintext, Secrets};
use rondel_ports::snapshots::{LayerBlob, Snapshots};
use rondel_ports::streams::{Protocol, Sockets, Stream};
use rondel_ports::{BoxFuture, CancellationToken};
use rondel_store::Store;

pub struct World {
    pub ops: Arc<Ops>,
    pub cx: OpContext,
    pub store: Arc<Store>,
    pub processes: Arc<ToyProcesses>,
    pub images: Arc<ToyImages>,
    pub secrets: Arc<ToySecrets>,
    pub events: Arc<Recorder>,
    ports: Ports,
    pub dir: Arc<tempfile::TempDir>,
}

pub fn world() -> World {
    world_with(Options::default())
}

pub fn world_with(options: Options) -> World {
    world_on(options, |store| store)
}

/// A world whose layers are what `layers` makes of the store.
pub fn world_on(options: Options, layers: impl Fn(Arc<Store>) -> Arc<dyn Snapshots>) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state"), rondel_store::Options::default()).unwrap();
    let processes = Arc::new(ToyProcesses::default());
    let images = Arc::new(ToyImages::default());
    let secrets = Arc::new(ToySecrets::default());
    let events = Arc::new(Recorder::default());
    let ports = Ports {
        snapshots: layers(store.clone()),
        blobs: store.clone(),
        volumes: store.clone(),
        temp_dirs: store.clone(),
        index: store.clone(),
        processes: processes.clone(),
        networks: Arc::new(ToyNetworks),
        images: images.clone(),
        http: Arc::new(NoWeb),
        host: Arc::new(ToyHost),
        git: Arc::new(NoGit),
    };
    let cx = OpContext {
        events: Emitter::new(events.clone()),
        secrets: secrets.clone(),
        scopes: Arc::new(ToyScopes::default()),
        services: Arc::new(NoServices),
        sockets: Arc::new(NoSockets),
        egress: rondel_ports::egress::EgressScope::Anywhere,
        failures: None,
    };
    let ops = Ops::new_with(ports.clone(), options);
    World { ops, cx, store, processes, images, secrets, events, ports, dir: Arc::new(dir) }
}

impl World {
    /// The same store seen by an engine that has just started.
    pub fn restarted(&self) -> World {
        World {
            ops: Ops::new(self.ports.clone()),
            cx: self.cx.clone(),
            store: self.store.clone(),
            processes: self.processes.clone(),
            images: self.images.clone(),
            secrets: self.secrets.clone(),
            events: self.events.clone(),
            ports: self.ports.clone(),
            dir: self.dir.clone(),
        }
    }

    /// A tree with these files; a name that ends with a slash is a directory, one with ` -> ` a link.
    pub fn files(&self, files: &[(&str, &str)]) -> Fs {
        files.iter().fold(Fs::scratch(), |base, (name, content)| {
            let edit = match (name.split_once(" -> "), name.strip_suffix('/')) {
                (Some((path, target)), _) => Edit::Symlink { target: target.into(), path: AbsPath::new(path) },
                (None, Some(dir)) => Edit::MakeDir { path: AbsPath::new(dir), permissions: 0o755, owner: None },
                (None, None) => write(name, content),
            };
            Fs::new(FsOp::Edit { base, edit })
        })
    }

    /// Every path of a tree with its type, permissions, owner and content.
    pub async fn list(&self, fs: &Fs) -> Vec<String> {
        let snapshot = self.ops.tree(&self.cx, fs).await.unwrap_or_else(|e| panic!("{e:?}"));
        self.list_snapshot(&snapshot).await
    }

    pub async fn list_snapshot(&self, snapshot: &Snapshot) -> Vec<String> {
        let fs = Fs::known(snapshot.clone());
        let root = place(&fs, "/");
        let mut lines = Vec::new();
        let mut all = self.ops.glob(&self.cx, &root, "**").await.unwrap();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in all {
            let stat = self.ops.stat(&self.cx, &place(&fs, &entry.name), false).await.unwrap().unwrap();
            let content = match stat.kind {
                rondel_ops::EntryKind::File => {
                    String::from_utf8_lossy(&self.ops.read(&self.cx, &place(&fs, &entry.name)).await.unwrap())
                        .into_owned()
                }
                other => format!("<{other:?}>"),
            };
            lines.push(format!("{} {:o} {}:{} {content}", entry.name, stat.mode, stat.uid, stat.gid));
        }
        lines
    }

    /// A tree with one file that has all these names.
    pub async fn linked(&self, names: &[&str], content: &str) -> Snapshot {
        let tree = self.store.prepare(&Snapshot::empty()).unwrap();
        let at = |name: &str| PathBuf::from(format!("/proc/self/fd/{}{name}", tree.root.as_raw_fd()));
        for name in names {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            match name == &names[0] {
                true => fs::write(at(name), content).unwrap(),
                false => fs::hard_link(at(names[0]), at(name)).unwrap(),
            }
        }
        self.store.commit(tree).unwrap()
    }

    /// The tree with another modification time of a file, as it comes from a host.
    pub async fn touched(&self, fs: &Fs, name: &str) -> Fs {
        let tree = self.store.prepare(&self.ops.tree(&self.cx, fs).await.unwrap()).unwrap();
        let file = File::options().write(true).open(format!("/proc/self/fd/{}{name}", tree.root.as_raw_fd())).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(7)).unwrap();
        Fs::known(self.store.commit(tree).unwrap())
    }

    /// How many files of a tree these names are.
    pub async fn inodes(&self, fs: &Fs, names: &[&str]) -> usize {
        let tree = self.store.view(&self.ops.tree(&self.cx, fs).await.unwrap()).unwrap();
        let inode = |name: &&str| {
            fs::metadata(format!("/proc/self/fd/{}{name}", tree.root.as_raw_fd()))
                .unwrap_or_else(|e| panic!("{name}: {e}"))
                .ino()
        };
        names.iter().map(inode).collect::<std::collections::HashSet<u64>>().len()
    }

    /// The names in a tree, directories with a slash.
    pub async fn names(&self, fs: &Fs) -> Vec<String> {
        let all = self.ops.glob(&self.cx, &place(fs, "/"), "**").await.unwrap_or_else(|e| panic!("{e:?}"));
        let slash = |kind| if kind == rondel_ops::EntryKind::Directory { "/" } else { "" };
        all.into_iter().map(|e| format!("{}{}", e.name, slash(e.kind))).collect()
    }

    pub async fn error(&self, fs: &Fs) -> String {
        match self.ops.tree(&self.cx, fs).await {
            Ok(_) => panic!("no error"),
            Err(fault) => fault.to_string(),
        }
    }
}

pub fn place(fs: &Fs, path: &str) -> TreePath {
    TreePath { fs: fs.clone(), path: AbsPath::new(path) }
}

pub fn write(path: &str, content: &str) -> Edit {
    Edit::WriteFile { path: AbsPath::new(path), contents: content.as_bytes().into(), permissions: 0o644, owner: None }
}

pub fn edit(base: &Fs, edit: Edit) -> Fs {
    Fs::new(FsOp::Edit { base: base.clone(), edit })
}

pub fn copy(base: &Fs, source: &Fs, path: &str, target: &str) -> CopyOp {
    CopyOp {
        base: base.clone(),
        source: place(source, path),
        source_is_file: false,
        source_name: None,
        target: AbsPath::new(target),
        target_is_dir: target.ends_with('/'),
        filter: Filter::default(),
        owner: None,
        permissions: None,
    }
}

pub fn exec(rootfs: &Fs, args: &[&str]) -> ExecOp {
    ExecOp::new(rootfs.clone(), args.iter().map(|&arg| arg.to_owned()).collect(), Platform::native())
}

pub fn secret(text: &str) -> SecretRef {
    SecretRef { key: Digest::of_bytes(text.as_bytes()), name: "s".into(), uri: "".into(), from_nested_client: false }
}

/// Runs lines of a little language: words separated by `;` as an argument of its own.
#[derive(Default)]
pub struct ToyProcesses {
    pub runs: Mutex<Vec<Seen>>,
    pub started: tokio::sync::Notify,
    pub killed: AtomicU64,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<String>,
}

impl ToyProcesses {
    pub fn count(&self) -> usize {
        self.runs.lock().unwrap().len()
    }

    pub fn last(&self) -> Seen {
        self.runs.lock().unwrap().last().unwrap().clone()
    }
}

impl Processes for ToyProcesses {
    fn run(&self, mut spec: ProcessSpec, cancel: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(async move {
            let describe = |source: &ProcessMountSource| match source {
                ProcessMountSource::Detached { read_only, .. } => format!("detached ro={read_only}"),
                ProcessMountSource::Bind { path, .. } => format!("bind {}", path.display()),
                ProcessMountSource::Temp { size } => format!("temp {size:?}"),
                ProcessMountSource::Content { mode, owner, .. } => format!("content {mode:o} {owner}"),
            };
            self.runs.lock().unwrap().push(Seen {
                args: spec.args.clone(),
                env: spec.env.clone(),
                mounts: spec.mounts.iter().map(|m| format!("{} {}", m.target, describe(&m.source))).collect(),
            });
            self.started.notify_one();
            let args = spec.args.clone();
            let (mut code, mut limit) = (0, None);
            for words in args.split(|word| word == ";") {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                match words[..] {
                    ["wait"] => {
                        cancel.cancelled().await;
                        self.killed.fetch_add(1, Ordering::SeqCst);
                        return Err(Fault::cancelled("killed"));
                    }
                    ["exit", n] => code = n.parse().unwrap(),
                    ["starve"] => limit = Some(Limit::Memory(2_000_000_000)),
                    _ => step(&mut spec, &words)?,
                }
            }
            Ok(Exit { code, limit })
        })
    }

    fn enter(&self, _: Entrance, _: CommandSpec, _: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(std::future::ready(Err(Fault::environment("a toy process has no inside"))))
    }

    fn clean_up(&self) -> Result<()> {
        Ok(())
    }
}

fn step(spec: &mut ProcessSpec, words: &[&str]) -> Result<()> {
    match words {
        ["write", path, text] => fs::write(seen(spec, path), text).unwrap(),
        ["append", path, text] => {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(seen(spec, path)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        ["cat", path] => {
            let content = content(spec, path);
            (spec.stdout)(&content);
        }
        ["print", pieces @ ..] => pieces.iter().for_each(|piece| (spec.stdout)(piece.as_bytes())),
        ["warn", text] => (spec.stderr)(text.as_bytes()),
        ["env", name] => {
            let value = spec.env.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v).to_owned();
            (spec.stdout)(value.as_bytes());
        }
        ["stdin"] => {
            let content = match &spec.stdin {
                ProcessStdin::Empty | ProcessStdin::Terminal(_) => Vec::new(),
                ProcessStdin::Bytes(bytes) => bytes.clone(),
                ProcessStdin::Path(path) => content(spec, &path.clone()),
            };
            (spec.stdout)(&content);
        }
        ["true"] => {}
        [program, ..] => return Err(Fault::user(format!("exec: `{program}`: not found"))),
        [] => {}
    }
    Ok(())
}

fn content(spec: &ProcessSpec, path: &str) -> Vec<u8> {
    for mount in &spec.mounts {
        if let (true, ProcessMountSource::Content { bytes, .. }) = (mount.target == path, &mount.source) {
            return bytes.clone();
        }
    }
    fs::read(seen(spec, path)).unwrap()
}

fn seen(spec: &ProcessSpec, path: &str) -> PathBuf {
    let covering = spec.mounts.iter().rev().find_map(|mount| match &mount.source {
        ProcessMountSource::Detached { mount: fd, .. } => {
            let rest = Path::new(path).strip_prefix(&mount.target).ok()?;
            Some((fd.as_raw_fd(), rest.to_owned()))
        }
        _ => None,
    });
    let (fd, rest) = covering.unwrap_or((spec.root.as_raw_fd(), PathBuf::from(path.trim_start_matches('/'))));
    let base = PathBuf::from(format!("/proc/self/fd/{fd}"));
    if rest.as_os_str().is_empty() { base } else { base.join(rest) }
}

pub struct ToyNetworks;

impl Networks for ToyNetworks {
    fn connect(&self) -> BoxFuture<'_, Result<Network>> {
        let namespace = Arc::new(File::open("/dev/null").unwrap().into());
        Box::pin(async move { Ok(Network { namespace, address: None, resolv_conf: None, lease: Arc::new(()) }) })
    }

    fn of_machine(&self) -> Result<Network> {
        let namespace = Arc::new(File::open("/dev/null").unwrap().into());
        Ok(Network { namespace, address: None, resolv_conf: None, lease: Arc::new(()) })
    }

    fn listen(&self, _: &Network) -> Result<TcpListener> {
        Ok(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn socket(&self, _: BorrowedFd<'_>, _: Protocol) -> Result<OwnedFd> {
        Ok(std::net::TcpListener::bind("127.0.0.1:0").unwrap().into())
    }

    fn join(&self, _: &Network, _: &str) -> Result<Membership> {
        Ok(Box::new(()))
    }

    fn publish(&self, _: &Network, _: &str, _: &[String]) -> Result<Membership> {
        Ok(Box::new(()))
    }

    fn dial(&self, _: &Network, _: u16, _: Duration) -> Result<TcpStream> {
        Err(Fault::environment("a toy network leads nowhere"))
    }

    fn clean_up(&self) -> Result<()> {
        Ok(())
    }
}

/// Gives a new token at every binding.
#[derive(Default)]
pub struct ToyScopes(AtomicU64);

impl Scopes for ToyScopes {
    fn bind(&self, _: &Scope, process: rondel_ops::ScopedProcess) -> Result<ScopeBinding> {
        let listener = process.listener;
        let token = self.0.fetch_add(1, Ordering::SeqCst);
        let port = listener.local_addr().unwrap().port();
        let env = vec![("SESSION_PORT".into(), port.to_string()), ("SESSION_TOKEN".into(), format!("token-{token}"))];
        Ok(ScopeBinding { env, guard: Box::new(listener) })
    }
}

/// Clients without sockets.
pub struct NoSockets;

impl Sockets for NoSockets {
    fn find<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(Fault::user("no such socket")) })
    }

    fn connect<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<Stream>> {
        Box::pin(async { Err(Fault::user("no such socket")) })
    }
}

#[derive(Default)]
pub struct ToySecrets(pub Mutex<HashMap<Digest, Vec<u8>>>);

impl ToySecrets {
    pub fn set(&self, secret: &SecretRef, plaintext: &[u8]) {
        self.0.lock().unwrap().insert(secret.key, plaintext.to_vec());
    }
}

impl Secrets for ToySecrets {
    fn plaintext<'a>(&'a self, secret: &'a SecretRef) -> BoxFuture<'a, Result<Arc<Plaintext>>> {
        let found = self.known(secret);
        Box::pin(async move { found.ok_or_else(|| Fault::user("secret not found")) })
    }

    fn known(&self, secret: &SecretRef) -> Option<Arc<Plaintext>> {
        self.0.lock().unwrap().get(&secret.key).cloned().map(|bytes| Arc::new(Plaintext::new(bytes)))
    }
}

#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<Event>>);

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    pub fn logged(&self) -> String {
        let all = self.0.lock().unwrap();
        all.iter().filter_map(|e| if let Event::Log { text, .. } = e { Some(text.as_str()) } else { None }).collect()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter_map(|e| if let Event::End { outcome, .. } = e { Some(outcome.clone()) } else { None })
            .collect()
    }
}

/// The reference, and configuration and layers of each image.
pub type Pushed = (String, Vec<Vec<u8>>, Vec<Vec<LayerBlob>>);

/// Images whose layers are files.
#[derive(Default)]
pub struct ToyImages {
    pub known: Mutex<HashMap<String, ResolvedImage>>,
    pub blobs: Mutex<HashMap<Sha256Digest, PathBuf>>,
    pub resolved: AtomicU64,
    pub fetched: AtomicU64,
    pub pushed: Mutex<Vec<Pushed>>,
}

impl Images for ToyImages {
    fn resolve<'a>(
        &'a self,
        reference: &'a ImageRef,
        _: &'a Platform,
        _: bool,
        _: Option<Credentials>,
    ) -> BoxFuture<'a, Result<ResolvedImage>> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        let found = self.known.lock().unwrap().get(&reference.name()).cloned();
        Box::pin(async move { found.ok_or_else(|| Fault::user(format!("`{reference}`: not found"))) })
    }

    fn head_digest<'a>(&'a self, _: &'a ImageRef, _: Option<Credentials>) -> BoxFuture<'a, Option<Sha256Digest>> {
        Box::pin(async { None })
    }

    fn fetch<'a>(
        &'a self,
        _: &'a ResolvedImage,
        layer: &'a LayerBlob,
        into: &'a Path,
        _: Option<Credentials>,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let from = self.blobs.lock().unwrap()[&layer.digest].clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            fs::copy(from, into).unwrap();
            Ok(())
        })
    }

    fn push<'a>(
        &'a self,
        reference: &'a ImageRef,
        images: Vec<OutgoingImage>,
        _: MediaTypes,
        _: Option<Credentials>,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<Sha256Digest>> {
        let configs: Vec<Vec<u8>> = images.iter().map(|i| i.config.clone()).collect();
        let layers = images.iter().map(|i| i.layers.iter().map(|(l, _)| l.clone()).collect()).collect();
        let digest = Sha256Digest::of_bytes(&configs.concat());
        self.pushed.lock().unwrap().push((reference.to_string(), configs, layers));
        Box::pin(async move { Ok(digest) })
    }

    fn via_host(&self, _: Host) -> Arc<dyn Images> {
        Arc::new(Self::default())
    }

    fn for_containers(&self) -> Arc<dyn Images> {
        Arc::new(Self::default())
    }

    fn archive(&self, images: Vec<OutgoingImage>, _: MediaTypes, into: &Path) -> Result<()> {
        fs::write(into, images.iter().flat_map(|i| i.config.clone()).collect::<Vec<u8>>()).unwrap();
        Ok(())
    }

    fn read_archive(&self, archive: &Path, tag: &str, _: &Platform, _: &Path) -> Result<(ResolvedImage, Vec<PathBuf>)> {
        let name = fs::read_to_string(archive).unwrap();
        let found = self.known.lock().unwrap().get(&name).cloned();
        let image = found.ok_or_else(|| Fault::user(format!("the archive has no image `{tag}`")))?;
        let blobs = self.blobs.lock().unwrap();
        let paths = image.layers.iter().map(|layer| blobs[&layer.digest].clone()).collect();
        Ok((image, paths))
    }
}

pub struct ToyHost;

impl HostFiles for ToyHost {
    fn import(&self, path: &Path, _: &Filter, _: &Emitter) -> Result<Snapshot> {
        Err(Fault::user(format!("{}: no such file or directory", path.display())))
    }

    fn import_file(&self, path: &Path, _: &Emitter) -> Result<Snapshot> {
        Err(Fault::user(format!("{}: no such file or directory", path.display())))
    }

    fn export(&self, from: BorrowedFd<'_>, to: &Path, _: bool, _: &Emitter) -> Result<()> {
        for entry in fs::read_dir(format!("/proc/self/fd/{}", from.as_raw_fd())).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        Ok(())
    }

    fn remove(&self, below: &Path, paths: &[PathBuf]) -> Result<()> {
        for path in paths {
            let _ = fs::remove_file(below.join(path)).or_else(|_| fs::remove_dir(below.join(path)));
        }
        Ok(())
    }

    fn export_file(&self, from: BorrowedFd<'_>, to: &Path, _: &Emitter) -> Result<()> {
        fs::copy(format!("/proc/self/fd/{}", from.as_raw_fd()), to).unwrap();
        Ok(())
    }

    fn open(&self, path: &Path) -> std::io::Result<fs::File> {
        fs::File::open(path)
    }

    fn real(&self, path: &Path) -> std::io::Result<PathBuf> {
        path.canonicalize()
    }

    fn find_up(&self, _: &Path, _: &str) -> Option<PathBuf> {
        None
    }
}

/// A web without servers.
pub struct NoWeb;

impl Http for NoWeb {
    fn fetch<'a>(&'a self, _: Request<'a>, _: &'a Path, _: &'a Emitter) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async { Err(Fault::environment("there is no web here")) })
    }
}

/// No repositories.
pub struct NoGit;

impl rondel_ports::git::Git for NoGit {
    fn references<'a>(
        &'a self,
        _: &'a rondel_ports::git::Repository,
    ) -> BoxFuture<'a, Result<rondel_ports::git::References>> {
        Box::pin(async { Err(Fault::user("no git here")) })
    }

    fn checkout<'a>(
        &'a self,
        _: &'a rondel_ports::git::Repository,
        what: &'a rondel_ports::git::Checkout,
        into: &'a Path,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            fs::write(into.join("commit"), &what.commit).unwrap();
            Ok(())
        })
    }

    fn common_ancestor<'a>(
        &'a self,
        _: (&'a rondel_ports::git::Repository, &'a str),
        _: (&'a rondel_ports::git::Repository, &'a str),
    ) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    fn keep(&self, _: &Digest, _: &mut dyn FnMut(&Path) -> Result<()>) -> Result<rondel_ports::git::Repository> {
        Err(Fault::user("no git here"))
    }

    fn committed<'a>(
        &'a self,
        _: &'a rondel_ports::git::Repository,
        _: &'a Path,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
