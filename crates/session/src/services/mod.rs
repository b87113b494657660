//! The services of a session: one instance of each, kept up as long as somebody uses it.
//!
//! *Invariants.* An instance is found by the digest of its service; there are never two that run. It has users: processes that
//! it is bound to, and whoever started it explicitly. Without users it is stopped, a while later so that the next user finds
//! it as it is; when the session is over, at once. Each instance is one task, which ends with it.

mod container;
mod health;
mod instance;
mod tunnel;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{select_all, try_join_all};
use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::service::{Forward, Service, ServiceBinding, label};
use rondel_ops::{BoundServices, JoinedNetwork, OpContext, Ops, RunningContainer, Services};
use rondel_ports::BoxFuture;
use rondel_ports::network::Network;
use rondel_ports::streams::Machine;
use tokio_util::sync::CancellationToken;

use instance::{Hold, Instance};

pub use tunnel::forwards;

/// The domain below which the names of all sessions are. Compatibility: users of the original rely on it.
const DOMAIN: &str = "dagger.local";

/// The exit code of a process that the kernel killed.
const KILLED: i32 = 137;
/// How long it may take until the end of a service is known, after that of its processes.
const END: Duration = Duration::from_secs(2);

/// The services of one session.
pub struct SessionServices {
    /// What the networks of its containers have in common.
    session: Arc<str>,
    domain: String,
    instances: Mutex<HashMap<Digest, Arc<Instance>>>,
    /// Machines of clients, by the names of the clients.
    machines: Mutex<HashMap<Arc<str>, Arc<dyn Machine>>>,
    closed: CancellationToken,
}

/// A service that is up.
#[derive(Clone)]
pub struct Up {
    /// Its network.
    pub network: Network,
    /// The inside of its container; none for what is no container.
    pub inside: Option<RunningContainer>,
    /// The ports that are open on the machine of a client, for a tunnel.
    pub forwards: Vec<Forward>,
}

/// A use of a service: it stays up until this is dropped.
pub struct Use {
    hold: Hold,
    /// What it is used as.
    pub up: Up,
}

impl Use {
    /// Waits for the end of the service: how it ended.
    pub async fn ended(&self) -> Fault {
        self.hold.instance().ended().await
    }

    /// How the service ended, if a process in its container that ended with `exit_code` was killed by that.
    pub async fn took_down(&self, exit_code: i32) -> Option<Fault> {
        match exit_code {
            KILLED => tokio::time::timeout(END, self.ended()).await.ok(),
            _ => None,
        }
    }
}

impl SessionServices {
    /// No service yet.
    pub fn new(session: Arc<str>) -> Arc<Self> {
        let domain = format!("{}.{DOMAIN}", label(&Digest::of_bytes(session.as_bytes())));
        Arc::new(Self {
            session,
            domain,
            instances: Mutex::default(),
            machines: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    /// Starts a service on behalf of `cx`, unless it is up, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up; the detail is that of its process.
    pub async fn acquire(self: &Arc<Self>, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> Result<Use> {
        loop {
            let (instance, hold) = self.instance(ops, cx, service);
            let Some(hold) = hold else {
                // It is being stopped: the next one starts when it is gone.
                instance.ended().await;
                continue;
            };
            let up = instance.up().await?;
            return Ok(Use { hold, up });
        }
    }

    /// Starts a service for the whole session.
    ///
    /// # Errors
    /// As those of [`SessionServices::acquire`].
    pub async fn start(self: &Arc<Self>, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> Result<()> {
        let used = self.acquire(ops, cx, service).await;
        let used = used.map_err(|fault| fault.context(format!("start {}", service.hostname())))?;
        used.hold.instance().keep(&self.closed);
        Ok(())
    }

    /// Makes the machine of a client usable for tunnels and services of the host.
    pub fn lend(&self, client: Arc<str>, machine: Arc<dyn Machine>) {
        lock(&self.machines).insert(client, machine);
    }

    fn machine(&self, client: &str) -> Result<Arc<dyn Machine>> {
        let found = lock(&self.machines).get(client).cloned();
        found.ok_or_else(|| Fault::user("the service belongs to the machine of another session's client"))
    }

    /// The open ports of a tunnel; none when it is not up.
    pub fn opened(&self, service: &Service) -> Option<Vec<Forward>> {
        let instance = self.lock().get(&service.digest()).cloned()?;
        instance.is_up().map(|up| up.forwards)
    }

    /// The service that is up and that a process which speaks for `module` finds under a name.
    pub fn named(&self, host: &str, module: Option<&Digest>) -> Option<Service> {
        let names = [module, None].map(|module| format!("{host}.{}", self.domain(module)));
        let instances = self.lock();
        let up = || instances.values().filter(|instance| instance.is_up().is_some()).map(|instance| &instance.service);
        let is = |service: &Service, name: &str| self.full_name(service).eq_ignore_ascii_case(name);
        [host, &names[0], &names[1]].into_iter().find_map(|name| up().find(|service| is(service, name)).cloned())
    }

    /// Stops a service and waits until it has ended. One that does not run is none.
    pub async fn stop(&self, service: &Service, kill: bool) {
        let Some(instance) = self.lock().get(&service.digest()).cloned() else { return };
        instance.stop(kill);
        instance.ended().await;
    }

    /// The session is over: what nobody uses is stopped.
    pub fn close(&self) {
        self.closed.cancel();
        let instances: Vec<_> = self.lock().values().cloned().collect();
        instances.iter().for_each(|instance| instance.let_go());
    }

    /// How many services run.
    pub fn running(&self) -> usize {
        self.lock().len()
    }

    /// The domain of the names that the code of `module` gives; that of the session when there is none.
    fn domain(&self, module: Option<&Digest>) -> String {
        match module {
            Some(module) => format!("{}.{}", label(module), self.domain),
            None => self.domain.clone(),
        }
    }

    /// The complete name of a service.
    fn full_name(&self, service: &Service) -> String {
        let module = service.given_name().and_then(|given| given.module.as_ref());
        format!("{}.{}", service.hostname(), self.domain(module))
    }

    /// The instance of a service, with a hold on it unless it is being stopped.
    fn instance(self: &Arc<Self>, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> (Arc<Instance>, Option<Hold>) {
        let mut instances = self.lock();
        if let Some(instance) = instances.get(&service.digest()) {
            return (instance.clone(), instance.hold());
        }
        let (instance, hold) = Instance::launch(self, ops, cx, service);
        instances.insert(service.digest(), instance.clone());
        (instance, Some(hold))
    }

    /// Forgets an instance that has ended.
    fn forget(&self, instance: &Arc<Instance>) {
        let mut instances = self.lock();
        if instances.get(&instance.service.digest()).is_some_and(|known| Arc::ptr_eq(known, instance)) {
            instances.remove(&instance.service.digest());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Instance>>> {
        lock(&self.instances)
    }
}

/// The services of a session as one of its clients uses them.
pub struct ClientServices {
    ops: Arc<Ops>,
    session: Arc<SessionServices>,
    /// The module for which the client speaks: it knows the names that its code gave.
    module: Option<Digest>,
}

impl ClientServices {
    /// For a client that speaks for `module`.
    pub fn new(ops: Arc<Ops>, session: Arc<SessionServices>, module: Option<Digest>) -> Arc<Self> {
        Arc::new(Self { ops, session, module })
    }

    async fn bound(&self, cx: &OpContext, binding: &ServiceBinding) -> Result<Use> {
        let used = self.session.acquire(&self.ops, cx, &binding.service).await;
        used.map_err(|fault| fault.context(format!("start {}", shown(binding))))
    }
}

/// A bound service in messages. Clients match on these words.
fn shown(binding: &ServiceBinding) -> String {
    format!("{} (aliased as {})", binding.service.hostname(), binding.alias)
}

impl Services for ClientServices {
    fn bind<'a>(&'a self, cx: &'a OpContext, bindings: &'a [ServiceBinding]) -> BoxFuture<'a, Result<BoundServices>> {
        Box::pin(async move {
            if bindings.is_empty() {
                return Ok(BoundServices::none());
            }
            let used = try_join_all(bindings.iter().map(|binding| self.bound(cx, binding))).await?;
            let mut bound = BoundServices::none();
            let mut ends: Vec<BoxFuture<'static, Fault>> = Vec::new();
            for (binding, used) in bindings.iter().zip(&used) {
                let address = address(&used.up.network, binding)?;
                for name in [binding.alias.as_str(), binding.service.hostname()] {
                    if !bound.hosts.iter().any(|(_, known)| known == name) {
                        bound.hosts.push((address, name.to_owned()));
                    }
                }
                bound.networks.push((binding.alias.clone(), used.up.network.clone()));
                let (instance, message) =
                    (used.hold.instance().clone(), format!("bound service {} exited", shown(binding)));
                ends.push(Box::pin(async move { instance.ended().await.context(message) }));
            }
            bound.ended = Box::pin(async move { select_all(ends).await.0 });
            bound.guard = Box::new(used);
            Ok(bound)
        })
    }

    fn join(&self, network: &Network, bindings: &[ServiceBinding]) -> Result<JoinedNetwork> {
        let session = &self.session;
        let given = bindings.iter().filter_map(|binding| binding.service.given_name()?.module.as_ref());
        let mut search: Vec<String> = Vec::with_capacity(2);
        for module in self.module.iter().chain(given) {
            let domain = session.domain(Some(module));
            if !search.contains(&domain) {
                search.push(domain);
            }
        }
        search.push(session.domain(None));
        let membership = self.ops.ports().networks.join(network, &session.session)?;
        Ok(JoinedNetwork { search, membership })
    }
}

fn address(network: &Network, binding: &ServiceBinding) -> Result<Ipv4Addr> {
    network.address.ok_or_else(|| {
        Fault::environment(format!("containers cannot reach the service {}: they have no network", shown(binding)))
            .with_hint("`rondel engine status` says why")
    })
}
