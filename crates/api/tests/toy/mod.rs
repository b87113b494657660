//! An engine of toys: ports that count and remember, no network, no processes; files in the real store when asked for.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rondel_api::providers::ClientSecrets;
use rondel_api::{Surface, register_core, registry};
use rondel_call::CallSpec;
use rondel_digest::{Digest, Sha256Digest};
use rondel_events::Emitter;
use rondel_fault::{Fault, Result};
use rondel_gql::types::FieldDef;
use rondel_gql::{Limits, Request};
use rondel_model::image::ImageRef;
use rondel_model::op::Filter;
use rondel_model::{LayerId, Platform, Snapshot, SocketRef};
use rondel_ops::{NoServices, OpContext, Ops, Ports, ScopeBinding, Scopes};
use rondel_ports::cache::{Cache, Policy, PruneRequest, Pruned, Record};
use rondel_ports::dirs::{TempDir, TempDirs, Volumes};
use rondel_ports::git::{Checkout, Git, References, Repository};
use rondel_ports::host::HostFiles;
use rondel_ports::http::{self, Http};
use rondel_ports::images::{Credentials, Images, MediaTypes, OutgoingImage, ResolvedImage};
use rondel_ports::index::{Index, Table};
use rondel_ports::network::{Host, Membership, Network, Networks};
use rondel_ports::process::{CommandSpec, Entrance, Exit, ProcessSpec, Processes};
use rondel_ports::snapshots::{Compression, LayerBlob, LayerBlobs, Layers, Snapshots, Tree, WorkTree};
use rondel_ports::streams::{Address, Listening, Machine, Protocol, Sockets, Stream};
use rondel_ports::{BoxFuture, CancellationToken};
use rondel_query::{Fields, execute};
use rondel_schema::Registry;
use rondel_session::{Caller, Client, ClientLink, EngineInfo, Evaluator, Grants, Services, Session};
use rondel_store::Store;
use rondel_version::{ENGINE, View};

/// What the toys counted.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) imports: AtomicUsize,
    pub(crate) resolved: AtomicUsize,
}

/// An engine with any number of sessions.
pub(crate) struct Toy {
    pub(crate) counters: Arc<Counters>,
    services: Arc<Services>,
    pub(crate) evaluator: Arc<Evaluator>,
    _dir: Option<tempfile::TempDir>,
}

impl Toy {
    /// An engine without disk.
    pub(crate) fn new() -> Self {
        Self::serving(&core())
    }

    /// An engine with the real store.
    pub(crate) fn on_disk() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("state"), rondel_store::Options::default()).expect("a store");
        Self::with(&core(), store.clone(), store, Some(dir))
    }

    /// An engine without disk that serves what `surface` has.
    pub(crate) fn serving(surface: &Surface) -> Self {
        Self::with(surface, Arc::new(Nothing), Arc::new(Memory::default()), None)
    }

    fn with(
        surface: &Surface,
        layers: Arc<impl Snapshots + LayerBlobs + Volumes + TempDirs + 'static>,
        index: Arc<dyn Index>,
        dir: Option<tempfile::TempDir>,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let registry = Arc::new(registry(surface).expect("a registry"));
        let ops = Ops::new(Ports {
            snapshots: layers.clone(),
            blobs: layers.clone(),
            volumes: layers.clone(),
            temp_dirs: layers,
            index: index.clone(),
            processes: Arc::new(Nothing),
            networks: Arc::new(Nothing),
            images: Arc::new(Registries(counters.clone())),
            http: Arc::new(Nothing),
            host: Arc::new(Files(counters.clone())),
            git: Arc::new(Nothing),
        });
        let services = Arc::new(Services {
            ops,
            index,
            engine_info: Arc::new(Nothing),
            registry: registry.clone(),
            mac_key: [7; 32],
            types_from_source: true,
            build_variables: Vec::new(),
        });
        let evaluator = Evaluator::new(Arc::new(Core(registry)), 10_000, rondel_call::SealKey::derived(&[7; 32]));
        Self { counters, services, evaluator, _dir: dir }
    }

    /// A client of a new session.
    pub(crate) fn session(&self, name: &str, view: &str) -> Connection {
        let session = Session::new(name.into(), Grants::default());
        let op_cx = |client: &Weak<Client>| OpContext {
            events: Emitter::nowhere(),
            secrets: ClientSecrets::new(session.clone(), client.clone()),
            scopes: Arc::new(Nothing),
            services: Arc::new(NoServices),
            sockets: Arc::new(Nothing),
            egress: rondel_ports::egress::EgressScope::Anywhere,
            failures: None,
        };
        let client = Arc::new_cyclic(|this| Client {
            id: "client".into(),
            session: session.clone(),
            services: self.services.clone(),
            workdir: "/home/me/project".into(),
            host_root: "/".into(),
            own_modules: true,
            link: Some(Arc::new(Nothing)),
            machine: Arc::new(Nothing),
            scope: None,
            origin: None,
            served: Mutex::default(),
            op_cx: op_cx(this),
            without_client_access: false,
        });
        let view = View::of_client(view);
        let schema = self.services.registry.project(view);
        let caller = Caller::new(name.into(), "client".into(), view, schema, Emitter::nowhere(), client);
        Connection { evaluator: self.evaluator.clone(), caller: Arc::new(caller) }
    }
}

fn core() -> Surface {
    let mut surface = Surface::new();
    register_core(&mut surface);
    surface
}

/// One client.
pub(crate) struct Connection {
    evaluator: Arc<Evaluator>,
    caller: Arc<Caller>,
}

impl Connection {
    /// The whole body that answers `query`.
    pub(crate) async fn body(&self, query: &str) -> serde_json::Value {
        let request = Request { query, operation_name: None, variables: None };
        let operation = rondel_gql::prepare(&self.caller.schema(), &request, &Limits::default());
        let operation = operation.unwrap_or_else(|error| panic!("{query}: {}", error.message));
        let body = execute(&self.evaluator, &self.caller, Arc::new(operation)).await.body();
        serde_json::from_str(&body).expect("the body is JSON")
    }

    /// The innermost value that answers a query of single selections.
    pub(crate) async fn value(&self, query: &str) -> serde_json::Value {
        let body = self.body(query).await;
        assert!(body.get("errors").is_none(), "{query}: {body}");
        innermost(body["data"].clone())
    }

    /// The same as text.
    pub(crate) async fn text(&self, query: &str) -> String {
        self.value(query).await.as_str().expect("a text").to_owned()
    }

    /// The message of the error that answers `query`.
    pub(crate) async fn error(&self, query: &str) -> String {
        let body = self.body(query).await;
        body["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("{query}: {body}")).to_owned()
    }
}

fn innermost(value: serde_json::Value) -> serde_json::Value {
    match value.as_object() {
        Some(object) if object.len() == 1 => innermost(object.values().next().expect("one value").clone()),
        _ => value,
    }
}

struct Core(Arc<Registry>);

impl Fields<Client> for Core {
    fn find<'a>(
        &'a self,
        _: &'a Arc<Caller>,
        parent: &'a str,
        spec: &'a CallSpec,
    ) -> BoxFuture<'a, Result<Option<Arc<FieldDef>>>> {
        let view = spec.view.as_deref().map_or(ENGINE, View::of_client);
        Box::pin(std::future::ready(Ok(self.0.lookup(parent, &spec.field, view))))
    }
}

/// Has nothing and does nothing.
struct Nothing;

fn absent<T>() -> Result<T> {
    Err(Fault::environment("the toy engine has none"))
}

impl ClientLink for Nothing {
    fn variable<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<String>>> {
        let value = match name {
            "HOME" => Some("/home/me".to_owned()),
            "TOKEN" => Some("plain-token".to_owned()),
            _ => None,
        };
        Box::pin(std::future::ready(Ok(value)))
    }

    fn command<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            match command.strip_prefix("echo ") {
                Some(text) => Ok(text.as_bytes().to_vec()),
                None => Err(Fault::user("exit status 1")),
            }
        })
    }

    fn secret<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(std::future::ready(absent()))
    }
}

impl Scopes for Nothing {
    fn bind(&self, _: &rondel_model::exec::Scope, _: rondel_ops::ScopedProcess) -> Result<ScopeBinding> {
        absent()
    }
}

impl Http for Nothing {
    fn fetch<'a>(&'a self, _: http::Request<'a>, _: &'a Path, _: &'a Emitter) -> BoxFuture<'a, Result<http::Answer>> {
        Box::pin(async { Err(Fault::environment("there is no web here")) })
    }
}

impl Sockets for Nothing {
    fn find<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(absent()))
    }
    fn connect<'a>(&'a self, _: &'a SocketRef) -> BoxFuture<'a, Result<Stream>> {
        Box::pin(std::future::ready(absent()))
    }
}

impl Machine for Nothing {
    fn find_socket<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(absent()))
    }
    fn dial(&self, _: Address) -> BoxFuture<'_, Result<Stream>> {
        Box::pin(std::future::ready(absent()))
    }
    fn listen(&self, _: u16, _: Protocol) -> BoxFuture<'_, Result<Listening>> {
        Box::pin(std::future::ready(absent()))
    }
    fn terminal(&self) -> BoxFuture<'_, Result<Stream>> {
        Box::pin(std::future::ready(absent()))
    }
}

impl Processes for Nothing {
    fn run(&self, _: ProcessSpec, _: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(std::future::ready(absent()))
    }
    fn enter(&self, _: Entrance, _: CommandSpec, _: CancellationToken) -> BoxFuture<'_, Result<Exit>> {
        Box::pin(std::future::ready(absent()))
    }
    fn clean_up(&self) -> Result<()> {
        Ok(())
    }
}

impl Git for Nothing {
    fn references<'a>(&'a self, _: &'a Repository) -> BoxFuture<'a, Result<References>> {
        Box::pin(std::future::ready(absent()))
    }
    fn checkout<'a>(
        &'a self,
        _: &'a Repository,
        _: &'a Checkout,
        _: &'a Path,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(absent()))
    }
    fn common_ancestor<'a>(
        &'a self,
        _: (&'a Repository, &'a str),
        _: (&'a Repository, &'a str),
    ) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(std::future::ready(absent()))
    }
    fn keep(&self, _: &Digest, _: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Repository> {
        absent()
    }
    fn committed<'a>(&'a self, _: &'a Repository, _: &'a Path, _: &'a Path) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(absent()))
    }
}

impl EngineInfo for Nothing {
    fn name(&self) -> String {
        "toy".to_owned()
    }

    fn clients(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Cache for Nothing {
    fn policy(&self) -> Policy {
        Policy::default()
    }

    fn disk(&self) -> u64 {
        0
    }

    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn prune(&self, _: PruneRequest) -> BoxFuture<'_, Result<Pruned>> {
        Box::pin(std::future::ready(Ok(Pruned::default())))
    }
}

impl Networks for Nothing {
    fn connect(&self) -> BoxFuture<'_, Result<Network>> {
        Box::pin(std::future::ready(absent()))
    }
    fn of_machine(&self) -> Result<Network> {
        absent()
    }
    fn listen(&self, _: &Network) -> Result<TcpListener> {
        absent()
    }
    fn socket(&self, _: BorrowedFd<'_>, _: Protocol) -> Result<OwnedFd> {
        absent()
    }
    fn join(&self, _: &Network, _: &str) -> Result<Membership> {
        absent()
    }
    fn publish(&self, _: &Network, _: &str, _: &[String]) -> Result<Membership> {
        absent()
    }
    fn dial(&self, _: &Network, _: u16, _: Duration) -> Result<TcpStream> {
        absent()
    }
    fn clean_up(&self) -> Result<()> {
        Ok(())
    }
}

impl Snapshots for Nothing {
    fn view(&self, _: &Snapshot) -> Result<Tree> {
        absent()
    }
    fn prepare(&self, _: &Snapshot) -> Result<WorkTree> {
        absent()
    }
    fn commit(&self, _: WorkTree) -> Result<Snapshot> {
        absent()
    }
    fn abort(&self, _: WorkTree) {}
    fn touch_if_present(&self, _: &Snapshot) -> bool {
        true
    }
    fn contains(&self, _: &Snapshot) -> bool {
        true
    }
}

impl Layers for Nothing {}

impl LayerBlobs for Nothing {
    fn unpack(&self, _: &Path, _: Compression, _: &LayerBlob) -> Result<LayerId> {
        absent()
    }
    fn layer_of_diff(&self, _: &Sha256Digest) -> Option<LayerId> {
        None
    }
    fn pack(&self, _: &LayerId, _: Compression) -> Result<(LayerBlob, PathBuf)> {
        absent()
    }
    fn blob(&self, _: &Sha256Digest) -> Option<PathBuf> {
        None
    }
    fn put_blob(&self, _: &Sha256Digest, _: &mut dyn Read) -> Result<PathBuf> {
        absent()
    }
}

impl Volumes for Nothing {
    fn volume(&self, _: &str) -> Result<PathBuf> {
        absent()
    }
}

impl TempDirs for Nothing {
    fn temp_dir(&self) -> Result<TempDir> {
        absent()
    }
}

#[derive(Default)]
struct Memory(Mutex<HashMap<(Table, Digest), Vec<u8>>>);

impl Index for Memory {
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>> {
        self.0.lock().expect("a lock").get(&(table, *key)).cloned()
    }
    fn put(&self, table: Table, key: &Digest, value: &[u8], _: Option<Duration>) -> Result<()> {
        self.0.lock().expect("a lock").insert((table, *key), value.to_vec());
        Ok(())
    }
    fn remove(&self, table: Table, key: &Digest) -> Result<()> {
        self.0.lock().expect("a lock").remove(&(table, *key));
        Ok(())
    }
    fn each(&self, _: Table, _: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        Ok(())
    }
}

/// A host on which every path holds the same.
struct Files(Arc<Counters>);

impl HostFiles for Files {
    fn import(&self, path: &Path, filter: &Filter, _: &Emitter) -> Result<Snapshot> {
        self.0.imports.fetch_add(1, Ordering::Relaxed);
        match path.to_str() {
            Some("/home/me/project/missing") => Err(Fault::user("missing: no such file or directory")),
            _ => Ok(Snapshot::new(vec![LayerId(rondel_digest::of("toy", filter))])),
        }
    }
    fn import_file(&self, path: &Path, _: &Emitter) -> Result<Snapshot> {
        self.0.imports.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(Snapshot::new(vec![LayerId(rondel_digest::of("toy", &name))]))
    }
    fn export(&self, _: BorrowedFd<'_>, _: &Path, _: bool, _: &Emitter) -> Result<()> {
        absent()
    }
    fn remove(&self, _: &Path, _: &[PathBuf]) -> Result<()> {
        absent()
    }
    fn export_file(&self, _: BorrowedFd<'_>, _: &Path, _: &Emitter) -> Result<()> {
        absent()
    }
    fn open(&self, path: &Path) -> std::io::Result<std::fs::File> {
        std::fs::File::open(path)
    }
    fn real(&self, path: &Path) -> std::io::Result<PathBuf> {
        Ok(path.to_owned())
    }
    fn find_up(&self, start: &Path, name: &str) -> Option<PathBuf> {
        (name == "found").then(|| start.parent().unwrap_or(start).join(name))
    }
}

/// A registry with one image, `alpine:3`.
struct Registries(Arc<Counters>);

impl Images for Registries {
    fn resolve<'a>(
        &'a self,
        reference: &'a ImageRef,
        platform: &'a Platform,
        _: bool,
        _: Option<Credentials>,
    ) -> BoxFuture<'a, Result<ResolvedImage>> {
        self.0.resolved.fetch_add(1, Ordering::Relaxed);
        let config = r#"{"config":{"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"Labels":{"made":"here"}}}"#;
        let digest = Sha256Digest::of_bytes(config.as_bytes());
        Box::pin(async move {
            if !reference.repository.ends_with("alpine") {
                return Err(Fault::user(format!("{reference}: not found")));
            }
            Ok(ResolvedImage {
                reference: reference.pinned(digest),
                origin: "toy".into(),
                manifest: digest,
                config: serde_json::value::RawValue::from_string(config.into()).expect("JSON"),
                platform: platform.clone(),
                layers: Vec::new(),
            })
        })
    }
    fn head_digest<'a>(&'a self, _: &'a ImageRef, _: Option<Credentials>) -> BoxFuture<'a, Option<Sha256Digest>> {
        Box::pin(async { None })
    }

    fn fetch<'a>(
        &'a self,
        _: &'a ResolvedImage,
        _: &'a LayerBlob,
        _: &'a Path,
        _: Option<Credentials>,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(absent()))
    }
    fn push<'a>(
        &'a self,
        _: &'a ImageRef,
        _: Vec<OutgoingImage>,
        _: MediaTypes,
        _: Option<Credentials>,
        _: &'a Emitter,
    ) -> BoxFuture<'a, Result<Sha256Digest>> {
        Box::pin(std::future::ready(absent()))
    }
    fn via_host(&self, _: Host) -> Arc<dyn Images> {
        Arc::new(Self(self.0.clone()))
    }
    fn for_containers(&self) -> Arc<dyn Images> {
        Arc::new(Self(self.0.clone()))
    }
    fn archive(&self, _: Vec<OutgoingImage>, _: MediaTypes, _: &Path) -> Result<()> {
        absent()
    }
    fn read_archive(&self, _: &Path, _: &str, _: &Platform, _: &Path) -> Result<(ResolvedImage, Vec<PathBuf>)> {
        absent()
    }
}
