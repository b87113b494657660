//! One instance of a service, from its start to its end.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rondel_fault::{Fault, Result, lock};
use rondel_model::service::{Service, ServiceKind};
use rondel_ops::{OpContext, Ops};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{SessionServices, Up, container, tunnel};

/// How long a service without users stays up: the next process may use it.
const LINGER: Duration = Duration::from_secs(10);
/// How long a service that is stopped because nobody uses it may take.
const GRACE: Duration = Duration::from_secs(10);
/// The signal that asks a process to end.
const TERMINATE: i32 = 15;

/// One instance of a service.
pub(crate) struct Instance {
    pub(crate) service: Service,
    state: watch::Sender<State>,
    users: Mutex<Users>,
    /// How many users there are, for the task of the instance.
    count: watch::Sender<usize>,
    signals: mpsc::UnboundedSender<i32>,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Users {
    count: usize,
    /// The session itself is a user.
    kept: bool,
    /// Nobody can become a user any more.
    stopping: bool,
}

/// Where an instance is in its life.
#[derive(Clone)]
pub(crate) enum State {
    Starting,
    Up(Up),
    Ended(Fault),
}

/// What the run of a service is given.
pub(crate) struct ServiceLaunch {
    pub(crate) ops: Arc<Ops>,
    /// For whom it is started.
    pub(crate) cx: OpContext,
    /// What it is called.
    pub(crate) hostname: String,
    /// The complete names under which containers find it.
    pub(crate) names: Vec<String>,
    /// Who finds it.
    pub(crate) group: Arc<str>,
    /// Signals for it.
    pub(crate) signals: mpsc::UnboundedReceiver<i32>,
    /// Ends it at once.
    pub(crate) cancel: CancellationToken,
    /// Is told when it is ready.
    pub(crate) ready: oneshot::Sender<Up>,
}

/// A user of an instance, until it is dropped.
pub(crate) struct Hold(Arc<Instance>);

impl Hold {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut users = self.0.users();
        users.count -= 1;
        self.0.count.send_replace(users.count);
    }
}

impl Instance {
    /// Starts a service on behalf of `cx`, who is its first user.
    pub(crate) fn launch(
        session: &Arc<SessionServices>,
        ops: &Arc<Ops>,
        cx: &OpContext,
        service: &Service,
    ) -> (Arc<Self>, Hold) {
        let (signals, received) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let instance = Arc::new(Self {
            service: service.clone(),
            state: watch::Sender::new(State::Starting),
            users: Mutex::new(Users { count: 1, ..Users::default() }),
            count: watch::Sender::new(1),
            signals,
            cancel: CancellationToken::new(),
        });
        let launch = ServiceLaunch {
            ops: ops.clone(),
            cx: cx.clone(),
            hostname: service.hostname().to_owned(),
            names: vec![session.full_name(service)],
            group: session.session.clone(),
            signals: received,
            cancel: instance.cancel.clone(),
            ready,
        };
        tokio::spawn(instance.clone().live(session.clone(), launch, is_ready));
        (instance.clone(), Hold(instance))
    }

    /// The whole life of an instance.
    async fn live(
        self: Arc<Self>,
        session: Arc<SessionServices>,
        launch: ServiceLaunch,
        is_ready: oneshot::Receiver<Up>,
    ) {
        let (service, owner) = (self.service.clone(), session.clone());
        let run = async move {
            match service.kind() {
                ServiceKind::Container(container) => container::run(launch, container).await,
                ServiceKind::Tunnel(tunnel) => tunnel::run(launch, &owner, tunnel).await,
                ServiceKind::Host(host) => tunnel::run_host(launch, &owner, host).await,
            }
        };
        let watch = async {
            if let Ok(up) = is_ready.await {
                self.state.send_replace(State::Up(up));
            }
            self.unused(&session.closed).await;
            self.end_gently().await;
            // The run ends now.
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = run => ended,
            () = watch => Fault::bug("a service was watched beyond its end"),
        };
        session.forget(&self);
        self.state.send_replace(State::Ended(ended));
    }

    /// Waits until nobody uses it, for long enough; from then on nobody can.
    async fn unused(&self, closed: &CancellationToken) {
        let mut count = self.count.subscribe();
        loop {
            // The sender lives in the instance.
            let _ = count.wait_for(|count| *count == 0).await;
            if matches!(*self.state.borrow(), State::Up(_)) {
                tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = closed.cancelled() => {}
                    _ = count.changed() => continue,
                }
            }
            let mut users = self.users();
            if users.count == 0 {
                users.stopping = true;
                return;
            }
        }
    }

    async fn end_gently(&self) {
        if matches!(*self.state.borrow(), State::Up(_)) {
            let _ = self.signals.send(TERMINATE);
            tokio::time::sleep(GRACE).await;
        }
        self.cancel.cancel();
    }

    /// A hold on it, unless it is being stopped.
    pub(crate) fn hold(self: &Arc<Self>) -> Option<Hold> {
        let mut users = self.users();
        if users.stopping {
            return None;
        }
        users.count += 1;
        self.count.send_replace(users.count);
        Some(Hold(self.clone()))
    }

    /// Makes the session a user, unless it is over.
    pub(crate) fn keep(&self, closed: &CancellationToken) {
        let mut users = self.users();
        if !users.kept && !users.stopping && !closed.is_cancelled() {
            users.kept = true;
            users.count += 1;
            self.count.send_replace(users.count);
        }
    }

    /// The session is a user no more.
    pub(crate) fn let_go(&self) {
        let mut users = self.users();
        if std::mem::take(&mut users.kept) {
            users.count -= 1;
            self.count.send_replace(users.count);
        }
    }

    /// Asks it to end, whoever uses it; it takes its time unless it is killed.
    pub(crate) fn stop(&self, kill: bool) {
        self.users().stopping = true;
        if kill || !matches!(*self.state.borrow(), State::Up(_)) {
            self.cancel.cancel();
        } else {
            let _ = self.signals.send(TERMINATE);
        }
    }

    /// What it is used as, when it is ready.
    pub(crate) fn is_up(&self) -> Option<Up> {
        match &*self.state.borrow() {
            State::Up(up) => Some(up.clone()),
            _ => None,
        }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// How it ended, when it does before.
    pub(crate) async fn up(&self) -> Result<Up> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Up(up) => return Ok(up.clone()),
                State::Ended(fault) => return Err(fault.clone()),
                State::Starting => {}
            }
            // The sender lives in the instance.
            let _ = state.changed().await;
        }
    }

    /// Waits for its end: how it ended.
    pub(crate) async fn ended(&self) -> Fault {
        let mut state = self.state.subscribe();
        loop {
            if let State::Ended(fault) = &*state.borrow_and_update() {
                return fault.clone();
            }
            let _ = state.changed().await;
        }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        lock(&self.users)
    }
}
