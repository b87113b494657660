//! All wiring: the only place that names adapters.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rondel_api::Surface;
use rondel_api::types::cache_volume;
use rondel_call::SealKey;
use rondel_fault::{Attempt as _, Result};
use rondel_git::Git;
use rondel_hostlink::HostLink;
use rondel_modules::Modules;
use rondel_network::Bridge;
use rondel_ops::{BUNDLES, HostTrust, Ops, Ports};
use rondel_ports::egress::Egress;
use rondel_ports::index::{Index, Table};
use rondel_ports::network::Networks as _;
use rondel_ports::process::Processes as _;
use rondel_registry::{Mirror, MirrorLocation, Registry, RegistryConfig, RegistryEnvironment};
use rondel_sandbox::{Limits as ContainerLimits, Sandbox, SandboxOptions};
use rondel_session::{Client, Evaluator, Services};
use rondel_store::Store;
use rondel_web::{Limits, Web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use crate::client_registry::ClientRegistry;
use crate::config::{Config, LimitsConfig, Weight};
use crate::engine::Engine;
use crate::fields::AllFields;
use crate::gc::{CacheUsers, GarbageCollector};
use crate::instruments::Instruments;
use crate::log_output::LogOutput;
use crate::nested::NestedApi;
use crate::warnings::NetworksWithWarnings;
use crate::work_tracker::WorkTracker;

/// Directories in which administrators add certificate authorities. Images know the first one too.
const ADDED_AUTHORITIES: [&str; 2] = ["/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors"];
/// The directory of git repositories in the state directory.
const GIT_DIR: &str = "git";
/// The file of the key of MACs in the state directory.
const MAC_KEY_FILE: &str = "mac.key";
/// Variables that name the engine: Rondel's and Dagger's.
const NAME_VARIABLES: [&str; 2] = ["RONDEL_ENGINE_NAME", "_EXPERIMENTAL_DAGGER_ENGINE_NAME"];
/// Variables that name proxies.
const PROXY_VARIABLES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
/// Variables that builds of modules get.
const BUILD_VARIABLES: [&str; 2] = ["GODEBUG", "GOPROXY"];

/// How to run an engine.
pub struct ServeOptions {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The commit that the engine was built from, if its build says so.
    pub commit: Option<String>,
    /// The configuration.
    pub config: Config,
    /// Called as soon as clients can connect.
    pub ready: Option<Box<dyn FnOnce() + Send>>,
    /// The engine runs in a user namespace of its own.
    pub rootless: bool,
    /// Warnings about missing host features.
    pub warnings: Vec<String>,
    /// The log for operators.
    pub log: LogOutput,
}

/// Wires an engine on this machine, from the store up to the endpoint.
///
/// # Errors
/// When another engine has the state directory, or the machine refuses what is needed.
pub async fn wire(options: &ServeOptions) -> Result<Arc<Engine>> {
    let store = Store::open(&options.state_dir, rondel_store::Options::default())?;
    let open_files = raise_open_files();
    let sandbox = Arc::new(Sandbox::new(sandbox_options(&options.config.limits, open_files))?);
    let allowed = options.config.security.egress.clone();
    let egress = Egress::new(allowed.clone(), Arc::new(rondel_network::is_host_or_container_address));
    let bridge = Bridge::new(rondel_network::Options {
        allowed,
        ..rondel_network::Options::new(&options.state_dir, options.rootless)
    });
    let clients = Arc::new(ClientRegistry::default());
    let at_start = options.warnings.iter().cloned().chain(store.warnings()).collect();
    let networks = Arc::new(NetworksWithWarnings::new(bridge, at_start, sandbox.warnings(), Arc::downgrade(&clients)));
    sandbox.clean_up()?;
    networks.clean_up()?;
    let mut environment = RegistryEnvironment::from_variables(|name| std::env::var_os(name));
    environment.web.egress = egress.clone();
    let http = Arc::new(Web::new(environment.web.clone(), Limits::default())?);
    let images = Arc::new(Registry::new(registry_config(&options.config), environment)?);
    let host = Arc::new(HostLink::new(store.clone(), store.clone(), store.clone()));
    let ports = Ports {
        snapshots: store.clone(),
        blobs: store.clone(),
        volumes: store.clone(),
        temp_dirs: store.clone(),
        index: store.clone(),
        processes: sandbox,
        networks: networks.clone(),
        images,
        http,
        host: host.clone(),
        git: Arc::new(Git::new(&options.state_dir.join(GIT_DIR), git_variables(), open_files)?.with_egress(egress)),
    };
    let tracker = WorkTracker::new(store.clone());
    let ops_options = rondel_ops::Options { trust: host_trust(), proxies: proxies(), watch: Some(tracker.clone()) };
    let ops = Ops::new_with(ports, ops_options);
    let modules = Modules::new();
    let mut surface = Surface::new();
    rondel_api::register_core(&mut surface);
    rondel_modules::register_modules(&mut surface, &modules);
    surface.prepare("Query", "cacheVolume", cache_volume::namespaced(module_namespace));
    for (type_name, field) in [("Directory", "dockerBuild"), ("Container", "build")] {
        surface.prepare(type_name, field, cache_volume::namespaced_build(module_namespace));
    }
    let registry = Arc::new(rondel_api::registry(&surface)?);
    let mac_key = mac_key(&options.state_dir, &*store)?;
    let fields = Arc::new(AllFields::new(registry.clone(), modules.clone()));
    let evaluator = Evaluator::new(fields, options.config.remembered_results, SealKey::derived(&mac_key));
    let cache = CacheUsers {
        store: store.clone(),
        tracker: tracker.clone(),
        ops: ops.clone(),
        evaluator: evaluator.clone(),
        modules: modules.clone(),
        clients: Arc::downgrade(&clients),
    };
    let instruments = Arc::new(Instruments::default());
    let gc = GarbageCollector::new(cache, instruments.clone(), &engine_name(&options.config), &options.config.cache)?;
    let services = Arc::new(Services {
        ops,
        index: store.clone(),
        engine_info: Arc::new(gc.clone()),
        registry,
        mac_key,
        types_from_source: options.config.types_from_source,
        build_variables: set_variables(BUILD_VARIABLES.map(str::to_owned)),
    });
    let ending = CancellationToken::new();
    let api = Arc::new(NestedApi { services, evaluator, modules, host, networks, ending: ending.clone(), instruments });
    Ok(Arc::new(Engine {
        api,
        store,
        gc,
        tracker,
        commit: options.commit.clone(),
        clients,
        rootless: options.rootless,
        ending,
        tickets: Arc::default(),
        grants: options.config.grants.clone(),
        started: Instant::now(),
        log: options.log.clone(),
    }))
}

/// Removes everything that an engine stores in `state_dir`, and what a killed engine left in the
/// kernel.
///
/// # Errors
/// When `state_dir` is no state directory, an engine uses it, or something cannot be removed.
pub fn remove_state(state_dir: &Path, rootless: bool) -> Result<()> {
    // ORDER: the names of bridge and rules follow from the directory while it exists. They are
    // removed once no engine can use it.
    let networks = Bridge::new(rondel_network::Options::new(state_dir, rootless));
    Store::remove(state_dir)?;
    networks.clean_up()
}

/// Raises the limit of open files to the most that the machine permits, since each container and
/// client needs a few. Returns the limit before. Programs that the engine starts get that one: some
/// programs walk through all numbers below it.
fn raise_open_files() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    // If the kernel refuses, the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before });
    before
}

fn sandbox_options(limits: &LimitsConfig, open_files: Rlimit) -> SandboxOptions {
    let limits = ContainerLimits {
        memory: limits.memory,
        processes: limits.processes.map(NonZeroU64::get),
        cpu_weight: limits.cpu_weight.map(Weight::get),
        io_weight: limits.io_weight.map(Weight::get),
    };
    SandboxOptions { limits, open_files: Some(open_files), ..SandboxOptions::default() }
}

/// The namespace of cache volumes of the calling module. Volumes of a module's code belong to the
/// module, and keep their name across its versions. Modules of one name are distinguished by their
/// path in the repository. The address of the repository does not count, because it may change.
fn module_namespace(client: &Client) -> Option<String> {
    let module = &client.scope.as_ref()?.acting_module.as_ref()?.module;
    Some(format!("{}\u{1f}{}", module.source.name(), module.source.root))
}

fn registry_config(config: &Config) -> RegistryConfig {
    let location = |mirror: &crate::config::Mirror| match (&mirror.layout, &mirror.url) {
        (Some(layout), _) => Some(MirrorLocation::Layout(layout.clone())),
        (None, Some(url)) => Some(MirrorLocation::Url(url.clone())),
        (None, None) => None,
    };
    let mirrors = config
        .mirrors
        .iter()
        .filter_map(|mirror| Some(Mirror { registry: mirror.registry.clone(), location: location(mirror)? }));
    RegistryConfig { mirrors: mirrors.collect(), insecure: config.insecure_registries.clone(), offline: config.offline }
}

/// The certificate authorities that the host trusts. A bundle that the user chose is the first
/// choice.
fn host_trust() -> HostTrust {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let has_content = |path: &str| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let added = chosen.is_some() || ADDED_AUTHORITIES.into_iter().any(has_content);
    let bundle = chosen.into_iter().chain(BUNDLES.iter().map(PathBuf::from)).find(|path| path.is_file());
    let extra = Path::new(ADDED_AUTHORITIES[0]);
    HostTrust { bundle, added, extra_dir: extra.is_dir().then(|| extra.to_owned()) }
}

/// The variables that give `git` proxies and certificate authorities.
fn git_variables() -> Vec<(String, String)> {
    let mut variables = proxies();
    if let Some(bundle) = host_trust().bundle {
        variables.push(("GIT_SSL_CAINFO".to_owned(), bundle.to_string_lossy().into_owned()));
    }
    variables
}

fn proxies() -> Vec<(String, String)> {
    set_variables(PROXY_VARIABLES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]))
}

/// Those of the variables that are set, by name.
fn set_variables(names: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    let set: BTreeMap<String, String> =
        names.into_iter().filter_map(|name| Some((name.clone(), std::env::var(&name).ok()?))).collect();
    set.into_iter().collect()
}

/// The engine's name: from the configuration, the environment, or the machine, in this order.
fn engine_name(config: &Config) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let chosen = config.name.clone().or_else(|| NAME_VARIABLES.iter().find_map(|name| set(name)));
    chosen.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// The key of MACs over plaintext, made once per state directory. The key of sealed IDs is derived
/// from it.
///
/// It is in a file of its own: the index is only a cache, and IDs hold after a damaged one was set
/// aside. Engines before kept the key in the index, from where it is taken.
fn mac_key(state_dir: &Path, index: &dyn Index) -> Result<[u8; 32]> {
    let file = state_dir.join(MAC_KEY_FILE);
    if let Some(key) = fs::read(&file).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(key);
    }
    let indexed = index.get(Table::Facts, &rondel_digest::of("fact", "mac-key"));
    let key: [u8; 32] = indexed.and_then(|bytes| bytes.try_into().ok()).unwrap_or_else(rand::random);
    let attempted = || format!("write `{}`", file.display());
    let new = file.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut written = fs::File::options().write(true).create_new(true).mode(0o600).open(&new).attempt(attempted)?;
    written.write_all(&key).and_then(|()| written.sync_all()).attempt(attempted)?;
    fs::rename(&new, &file).attempt(attempted)?;
    Ok(key)
}
