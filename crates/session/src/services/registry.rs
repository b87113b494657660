//! The services of one session: one instance of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rondel_digest::Digest;
use rondel_fault::{Fault, Result, lock};
use rondel_model::service::{Forward, Service, ServiceKind, TunnelService, label};
use rondel_ops::{OpContext, Ops};
use rondel_ports::BoxFuture;
use rondel_ports::streams::Machine;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::instance::{Instance, InstanceUse, ServiceUse};
use super::launch::{RunningService, ServiceLaunch};
use super::{container, tunnel};

/// The domain of all host names of services. Compatibility: users of Dagger rely on it.
const DOMAIN: &str = "dagger.local";

/// The services of one session.
pub struct SessionServices {
    /// The session's name, which is also the group of its containers' networks.
    pub(super) session: Arc<str>,
    domain: String,
    instances: Mutex<HashMap<Digest, Arc<Instance>>>,
    /// Machines of clients, by the names of the clients.
    machines: Mutex<HashMap<Arc<str>, Arc<dyn Machine>>>,
    closed: CancellationToken,
}

impl SessionServices {
    /// The services of the session `session`, of which none runs yet.
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

    /// Uses a service, which is started on behalf of `cx` if it does not run. Waits until it is
    /// ready.
    ///
    /// # Errors
    /// When the service ends before it is ready, with the detail of its process.
    pub async fn acquire(self: &Arc<Self>, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> Result<ServiceUse> {
        self.acquire_as(service.hostname(), ops, cx, service).await
    }

    /// As [`SessionServices::acquire`]. People are shown the name `title` if the service starts.
    pub(super) async fn acquire_as(
        self: &Arc<Self>,
        title: &str,
        ops: &Arc<Ops>,
        cx: &OpContext,
        service: &Service,
    ) -> Result<ServiceUse> {
        loop {
            let (instance, used) = self.instance(title, ops, cx, service);
            let Some(used) = used else {
                // This instance is being stopped. The next one starts when it has ended.
                instance.ended().await;
                continue;
            };
            let running = instance.wait_running().await?;
            return Ok(ServiceUse { instance: used, running });
        }
    }

    /// Starts a service that stays up until the session ends.
    ///
    /// # Errors
    /// As for [`SessionServices::acquire`].
    pub async fn start(self: &Arc<Self>, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> Result<()> {
        let used = self.acquire(ops, cx, service).await;
        let used = used.map_err(|fault| fault.context(format!("start {}", service.hostname())))?;
        used.instance.instance().keep_for_session(&self.closed);
        Ok(())
    }

    /// Registers the machine of a client for tunnels and services of the host.
    pub fn register_machine(&self, client: Arc<str>, machine: Arc<dyn Machine>) {
        lock(&self.machines).insert(client, machine);
    }

    fn machine(&self, client: &str) -> Result<Arc<dyn Machine>> {
        let found = lock(&self.machines).get(client).cloned();
        found.ok_or_else(|| Fault::user("the service belongs to the machine of another session's client"))
    }

    /// The open ports of a tunnel, or `None` if it does not run.
    pub fn open_ports(&self, service: &Service) -> Option<Vec<Forward>> {
        let instance = self.lock().get(&service.digest()).cloned()?;
        instance.running().map(|running| running.forwards)
    }

    /// The running service that a process which acts as `module` finds under the name `host`.
    pub fn named(&self, host: &str, module: Option<&Digest>) -> Option<Service> {
        let names = [module, None].map(|module| format!("{host}.{}", self.domain(module)));
        let instances = self.lock();
        let up =
            || instances.values().filter(|instance| instance.running().is_some()).map(|instance| &instance.service);
        let is = |service: &Service, name: &str| self.full_name(service).eq_ignore_ascii_case(name);
        [host, &names[0], &names[1]].into_iter().find_map(|name| up().find(|service| is(service, name)).cloned())
    }

    /// Stops a service and waits until it has ended. Does nothing if it does not run.
    pub async fn stop(&self, service: &Service, kill: bool) {
        let Some(instance) = self.lock().get(&service.digest()).cloned() else { return };
        instance.stop(kill);
        instance.ended().await;
    }

    /// Ends the session: services without users are stopped.
    pub fn close(&self) {
        self.closed.cancel();
        let instances: Vec<_> = self.lock().values().cloned().collect();
        instances.iter().for_each(|instance| instance.release_for_session());
    }

    /// The number of services that run.
    pub fn running(&self) -> usize {
        self.lock().len()
    }

    /// The domain of the names that the code of `module` gives. `None` means the session's own
    /// domain.
    pub(super) fn domain(&self, module: Option<&Digest>) -> String {
        match module {
            Some(module) => format!("{}.{}", label(module), self.domain),
            None => self.domain.clone(),
        }
    }

    /// The fully qualified host name of a service.
    fn full_name(&self, service: &Service) -> String {
        let module = service.given_name().and_then(|given| given.module.as_ref());
        format!("{}.{}", service.hostname(), self.domain(module))
    }

    /// The instance of a service, started if there is none. The use is `None` if the instance is
    /// being stopped.
    fn instance(
        self: &Arc<Self>,
        title: &str,
        ops: &Arc<Ops>,
        cx: &OpContext,
        service: &Service,
    ) -> (Arc<Instance>, Option<InstanceUse>) {
        let mut instances = self.lock();
        if let Some(instance) = instances.get(&service.digest()) {
            return (instance.clone(), instance.acquire());
        }
        let first_use = self.launch(title, ops, cx, service);
        let instance = first_use.instance().clone();
        instances.insert(service.digest(), instance.clone());
        (instance, Some(first_use))
    }

    /// Starts a service on behalf of `cx`, which is its first user.
    fn launch(self: &Arc<Self>, title: &str, ops: &Arc<Ops>, cx: &OpContext, service: &Service) -> InstanceUse {
        let (first_use, signals, cancel) = Instance::starting(service);
        let (ready, is_ready) = oneshot::channel();
        let launch = ServiceLaunch {
            ops: ops.clone(),
            cx: cx.clone(),
            hostname: service.hostname().to_owned(),
            title: title.to_owned(),
            names: vec![self.full_name(service)],
            group: self.session.clone(),
            signals,
            cancel,
            ready,
        };
        tokio::spawn(self.clone().live(first_use.instance().clone(), launch, is_ready));
        first_use
    }

    /// The task of an instance: runs the service, stops it when it has no users, and removes the
    /// instance when the run has ended.
    async fn live(
        self: Arc<Self>,
        instance: Arc<Instance>,
        launch: ServiceLaunch,
        is_ready: oneshot::Receiver<RunningService>,
    ) {
        let (service, session) = (instance.service.clone(), self.clone());
        let run = async move {
            match service.kind() {
                ServiceKind::Container(container) => container::run(launch, container).await,
                ServiceKind::Tunnel(tunnel) => {
                    let target = session.tunnel_target(launch.ops.clone(), launch.cx.clone(), tunnel);
                    tunnel::run(launch, target, tunnel).await
                }
                ServiceKind::Host(host) => tunnel::run_host(launch, session.machine(&host.client), host).await,
            }
        };
        let watch = async {
            if let Ok(running) = is_ready.await {
                instance.set_running(running);
            }
            instance.wait_unused(&self.closed).await;
            instance.terminate().await;
            // The run ends now.
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = run => ended,
            () = watch => Fault::bug("a service was watched beyond its end"),
        };
        self.forget(&instance);
        instance.set_ended(ended);
    }

    /// The service behind a tunnel, started if it does not run, and the machine of the tunnel's
    /// client.
    fn tunnel_target<'a>(
        self: &'a Arc<Self>,
        ops: Arc<Ops>,
        cx: OpContext,
        tunnel: &'a TunnelService,
    ) -> BoxFuture<'a, Result<(ServiceUse, Arc<dyn Machine>)>> {
        Box::pin(async move {
            let used = self.acquire(&ops, &cx, &tunnel.service).await;
            let used = used.map_err(|fault| fault.context(format!("start {}", tunnel.service.hostname())))?;
            Ok((used, self.machine(&tunnel.client)?))
        })
    }

    /// Removes an instance that has ended.
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
