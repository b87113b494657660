//! Runs services in containers: processes that run until they are stopped and whose files are
//! discarded.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_events::{Emitter, Outcome, Work};
use rondel_fault::{ExecFailure, Fault, Kind, Result};
use rondel_model::service::ContainerService;
use rondel_ports::process::{Entrance, ProcessControl, ProcessStdin};
use rondel_ports::{BoxFuture, CancellationToken};
use tokio::sync::oneshot;

use crate::Ops;
use crate::context::OpContext;
use crate::process::{Process, ProcessMode, ServiceEnvironment, ServiceProcess, title};

/// The engine's handle of a service.
pub struct ServiceControl {
    /// Its host name.
    pub hostname: String,
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
        let span = events.span(Work::Exec, format!("service {} {}", control.hostname, title(&cx, &exec)));
        Box::pin(async move {
            let ServiceControl { hostname, process, environment, cancel } = control;
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
                Ok(_) => Outcome::Done,
                Err(fault) if fault.kind() == Kind::Cancelled => Outcome::Done,
                Err(fault) => Outcome::Failed(fault.to_string()),
            });
            ended
        })
    }
}
