//! Services that are processes in containers.

use rondel_fault::{Cause, ExecFailure, Fault, Result};
use rondel_model::service::ContainerService;
use rondel_ops::{RunningContainer, ServiceControl, ServiceEnvironment};
use rondel_ports::process::ProcessControl;
use tokio::sync::oneshot;

use super::health::StartedService;
use super::launch::{RunningService, ServiceLaunch};

/// Runs the service until it ends, and returns how it ended.
pub(super) async fn run(launch: ServiceLaunch, service: &ContainerService) -> Fault {
    let ServiceLaunch { ops, cx, hostname, title, names, group, signals, cancel, ready } = launch;
    let (tell_started, started) = oneshot::channel();
    let (tell_environment, environment) = oneshot::channel();
    let control = ServiceControl {
        hostname,
        title,
        process: ProcessControl { started: tell_started, signals },
        environment: tell_environment,
        cancel: cancel.clone(),
    };
    let mut serving = ops.serve(cx.clone(), service, control, &cx.events);
    let start = async {
        // The sender is dropped if the process ends before it starts; the run reports that end.
        let Ok(ServiceEnvironment { network, api_env }) = environment.await else {
            return std::future::pending().await;
        };
        let membership = ops.ports().networks.publish(&network, &group, &names)?;
        let Ok(entrance) = started.await else { return std::future::pending().await };
        let started = StartedService { ops: &ops, cx: &cx, service, network: &network, entrance: &entrance };
        started.ready().await?;
        let container = Some(RunningContainer { entrance, api_env });
        Ok((RunningService { network, container, forwards: Vec::new() }, membership))
    };
    let start: Result<_> = tokio::select! {
        ended = &mut serving => return end_of(ended),
        up = start => up,
    };
    match start {
        Ok((running, _membership)) => {
            // The users that waited may be gone. Then the instance is stopped as unused.
            let _ = ready.send(running);
            end_of(serving.await)
        }
        Err(fault) => {
            cancel.cancel();
            let _ = serving.await;
            fault
        }
    }
}

/// The end of a process as an error. Clients match on these words.
fn end_of(ended: Result<ExecFailure>) -> Fault {
    match ended {
        Ok(failure) => {
            let message = format!("exit code: {}", failure.exit_code);
            let cause = Cause::of_streams(message.as_str(), &failure);
            Fault::exec(message, failure).with_causes(vec![cause])
        }
        Err(fault) => fault,
    }
}
