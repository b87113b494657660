//! Runs services in containers: processes that run until they are stopped and whose files are
//! discarded.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_events::{Emitter, Outcome, Work};
use rondel_fault::{ExecFailure, Fault, Kind, Result};
use rondel_model::service::ContainerService;
use rondel_ports::outcome::outcome;
use rondel_ports::process::{Entrance, ProcessControl, ProcessStdin};
use rondel_ports::{BoxFuture, CancellationToken};
use tokio::sync::oneshot;

use crate::Ops;
use crate::context::OpContext;
use crate::process::{Process, ProcessMode, ServiceEnvironment, ServiceProcess};

/// A process that a signal ended has this exit code plus the number of the signal.
const SIGNAL_EXIT_CODES: i32 = 128;

/// The engine's handle of a service.
pub struct ServiceControl {
    /// Its host name.
    pub hostname: String,
    /// The name that people are shown.
    pub title: String,
    /// Its process.
    pub process: ProcessControl,
    /// Receives the service's network and API variables before the process starts.
    pub environment: oneshot::Sender<ServiceEnvironment>,
    /// Kills it.
    pub cancel: CancellationToken,
}

/// A running service container, for further commands in it.
#[derive(Clone)]
pub struct RunningContainer {
    /// How to enter its namespaces.
    pub entrance: Entrance,
    /// The variables by which its process finds the API. Empty without access.
    pub api_env: Vec<(String, String)>,
}

impl Ops {
    /// Runs a further command in a service's container and returns how it ended. It is killed when
    /// the future is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn enter(
        self: &Arc<Self>,
        cx: &OpContext,
        service: &ContainerService,
        entrance: &Entrance,
        args: Vec<String>,
    ) -> Result<ExecFailure> {
        let (exec, cancel) = (Arc::new(service.exec.clone()), CancellationToken::new());
        let process = Process { ops: self, cx, exec: &exec, events: &cx.events, cancel: &cancel };
        process.enter(entrance, args, &[], ProcessStdin::Empty).await
    }

    /// Runs a service to its end and returns how it ended. Its files are discarded. Logs go to a
    /// span of `events`.
    ///
    /// Boxed, because a service may need services.
    ///
    /// # Errors
    /// When it cannot be started, is cancelled, or a service that it needs ends.
    pub fn serve(
        self: &Arc<Self>,
        cx: OpContext,
        service: &ContainerService,
        control: ServiceControl,
        events: &Emitter,
    ) -> BoxFuture<'static, Result<ExecFailure>> {
        let (ops, exec) = (self.clone(), Arc::new(service.exec.clone()));
        let ServiceControl { hostname, title, process, environment, cancel } = control;
        // A service may be used beyond the work that starts it.
        let span = events.root().span(Work::Service, format!("service {title}"));
        let cx = cx.reporting(span.emitter());
        Box::pin(async move {
            let service = ServiceProcess { hostname, control: process, environment };
            let process = Process { ops: &ops, cx: &cx, exec: &exec, events: span.emitter(), cancel: &cancel };
            let ended = async {
                if exec.args.is_empty() {
                    return Err(Fault::user("no service command has been set"));
                }
                let inputs = try_join_all(exec.inputs().into_iter().map(|fs| ops.tree(&cx, fs))).await?;
                let finished = process.run(inputs, [None, None], Some(ProcessMode::Service(service))).await?;
                let detail = finished.detail(&exec);
                ops.blocking(move |ops| {
                    finished.rest.trees.discard(&*ops.ports().snapshots);
                    Ok(detail)
                })
                .await
            };
            let ended = ended.await;
            span.end(match &ended {
                // Killed by a signal, as the engine stops services.
                Ok(ended) if ended.exit_code == 0 || ended.exit_code > SIGNAL_EXIT_CODES => Outcome::Done,
                Ok(ended) => Outcome::Failed(format!("exit code: {}", ended.exit_code)),
                Err(fault) if fault.kind() == Kind::Cancelled => Outcome::Done,
                failed => outcome(failed),
            });
            ended
        })
    }
}
