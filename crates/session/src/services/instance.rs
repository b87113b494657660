//! One instance of a service: its state and its users.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rondel_fault::{Fault, Result, lock};
use rondel_model::service::Service;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::launch::RunningService;

/// How long a service without users stays up, so that the next process may use it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a service without users may take to end after `SIGTERM`, before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
const SIGTERM: i32 = 15;
/// The exit code of a process that the kernel killed with `SIGKILL`.
const SIGKILL_EXIT_CODE: i32 = 137;
/// How long the end of a service may become known after the end of its processes.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// One instance of a service, shared by its users.
pub(super) struct Instance {
    pub(super) service: Service,
    state: watch::Sender<InstanceState>,
    users: Mutex<Users>,
    /// The number of users, as the task of the instance watches it.
    count: watch::Sender<usize>,
    signals: mpsc::UnboundedSender<i32>,
    cancel: CancellationToken,
}

#[derive(Default)]
struct Users {
    count: usize,
    /// The session itself is a user, because a client started the service explicitly.
    kept_by_session: bool,
    /// The instance is being stopped and takes no new users.
    stopping: bool,
}

/// The state of an instance.
#[derive(Clone)]
pub(super) enum InstanceState {
    Starting,
    Running(RunningService),
    Ended(Fault),
}

/// One use of an instance. The instance stays up until this is dropped.
pub(super) struct InstanceUse(Arc<Instance>);

impl InstanceUse {
    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for InstanceUse {
    fn drop(&mut self) {
        let mut users = self.0.users();
        users.count -= 1;
        self.0.count.send_replace(users.count);
    }
}

/// A use of a service. The service stays up until this is dropped.
pub struct ServiceUse {
    pub(super) instance: InstanceUse,
    /// The service, as it is reached.
    pub running: RunningService,
}

impl ServiceUse {
    /// Waits for the end of the service, and returns how it ended.
    pub async fn ended(&self) -> Fault {
        self.instance.instance().ended().await
    }

    /// Returns how the service ended, if its end killed a process in its container that ended with
    /// `exit_code`.
    pub async fn killed_with_service(&self, exit_code: i32) -> Option<Fault> {
        match exit_code {
            SIGKILL_EXIT_CODE => tokio::time::timeout(END_TIMEOUT, self.ended()).await.ok(),
            _ => None,
        }
    }
}

impl Instance {
    /// An instance that is starting and has one user, with what its run receives from it.
    pub(super) fn starting(service: &Service) -> (InstanceUse, mpsc::UnboundedReceiver<i32>, CancellationToken) {
        let (signals, received) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let instance = Self {
            service: service.clone(),
            state: watch::Sender::new(InstanceState::Starting),
            users: Mutex::new(Users { count: 1, ..Users::default() }),
            count: watch::Sender::new(1),
            signals,
            cancel: cancel.clone(),
        };
        (InstanceUse(Arc::new(instance)), received, cancel)
    }

    /// Makes the instance ready for its users.
    pub(super) fn set_running(&self, running: RunningService) {
        self.state.send_replace(InstanceState::Running(running));
    }

    /// Reports the end of the run to all who wait for it.
    pub(super) fn set_ended(&self, fault: Fault) {
        self.state.send_replace(InstanceState::Ended(fault));
    }

    /// Waits until the instance had no users for [`IDLE_TIMEOUT`]. From then on it takes no users.
    pub(super) async fn wait_unused(&self, closed: &CancellationToken) {
        let mut count = self.count.subscribe();
        loop {
            // The sender lives in the instance.
            let _ = count.wait_for(|count| *count == 0).await;
            if matches!(*self.state.borrow(), InstanceState::Running(_)) {
                tokio::select! {
                    () = tokio::time::sleep(IDLE_TIMEOUT) => {}
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

    pub(super) async fn terminate(&self) {
        if matches!(*self.state.borrow(), InstanceState::Running(_)) {
            let _ = self.signals.send(SIGTERM);
            tokio::time::sleep(STOP_GRACE).await;
        }
        self.cancel.cancel();
    }

    /// Adds a user, or returns `None` if the instance is being stopped.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<InstanceUse> {
        let mut users = self.users();
        if users.stopping {
            return None;
        }
        users.count += 1;
        self.count.send_replace(users.count);
        Some(InstanceUse(self.clone()))
    }

    /// Adds the session as a user, unless the session has ended.
    pub(super) fn keep_for_session(&self, closed: &CancellationToken) {
        let mut users = self.users();
        if !users.kept_by_session && !users.stopping && !closed.is_cancelled() {
            users.kept_by_session = true;
            users.count += 1;
            self.count.send_replace(users.count);
        }
    }

    /// Removes the session as a user.
    pub(super) fn release_for_session(&self) {
        let mut users = self.users();
        if std::mem::take(&mut users.kept_by_session) {
            users.count -= 1;
            self.count.send_replace(users.count);
        }
    }

    /// Stops the instance even if it has users: with `SIGTERM`, or at once with `kill`.
    pub(super) fn stop(&self, kill: bool) {
        self.users().stopping = true;
        if kill || !matches!(*self.state.borrow(), InstanceState::Running(_)) {
            self.cancel.cancel();
        } else {
            let _ = self.signals.send(SIGTERM);
        }
    }

    /// The running service, or `None` if it is not ready or has ended.
    pub(super) fn running(&self) -> Option<RunningService> {
        match &*self.state.borrow() {
            InstanceState::Running(running) => Some(running.clone()),
            _ => None,
        }
    }

    /// Waits until the service is ready.
    ///
    /// # Errors
    /// How it ended, if it ends before it is ready.
    pub(super) async fn wait_running(&self) -> Result<RunningService> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                InstanceState::Running(running) => return Ok(running.clone()),
                InstanceState::Ended(fault) => return Err(fault.clone()),
                InstanceState::Starting => {}
            }
            // The sender lives in the instance.
            let _ = state.changed().await;
        }
    }

    /// Waits for the end of the service, and returns how it ended.
    pub(super) async fn ended(&self) -> Fault {
        let mut state = self.state.subscribe();
        loop {
            if let InstanceState::Ended(fault) = &*state.borrow_and_update() {
                return fault.clone();
            }
            let _ = state.changed().await;
        }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        lock(&self.users)
    }
}
