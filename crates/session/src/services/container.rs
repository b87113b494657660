//! A service that is a process in a container.

use rondel_fault::{Fault, Result};
use rondel_model::service::ContainerService;
use rondel_ops::{RunningContainer, ServiceControl, ServiceEnvironment};
use rondel_ports::process::ProcessControl;
use tokio::sync::oneshot;

use super::Up;
use super::health::Started;
use super::instance::ServiceLaunch;

/// Runs a service to its end: how it ended.
pub(super) async fn run(launch: ServiceLaunch, service: &ContainerService) -> Fault {
    let ServiceLaunch { ops, cx, hostname, names, group, signals, cancel, ready } = launch;
    let (tell_started, started) = oneshot::channel();
    let (tell_surroundings, environment) = oneshot::channel();
    let control = ServiceControl {
        hostname,
        process: ProcessControl { started: tell_started, signals },
        environment: tell_surroundings,
        cancel: cancel.clone(),
    };
    let mut serving = ops.serve(cx.clone(), service, control, &cx.events);
    let come_up = async {
        // Who would tell ends early when it does not.
        let Ok(ServiceEnvironment { network, api_env }) = environment.await else {
            return std::future::pending().await;
        };
        let membership = ops.ports().networks.publish(&network, &group, &names)?;
        let Ok(entrance) = started.await else { return std::future::pending().await };
        let started = Started { ops: &ops, cx: &cx, service, network: &network, entrance: &entrance };
        started.ready().await?;
        let inside = Some(RunningContainer { entrance, api_env });
        Ok((Up { network, inside, forwards: Vec::new() }, membership))
    };
    let come_up: Result<_> = tokio::select! {
        ended = &mut serving => return told(ended),
        up = come_up => up,
    };
    match come_up {
        Ok((up, _membership)) => {
            // Whoever waited may be gone; then nobody uses it and it is stopped.
            let _ = ready.send(up);
            told(serving.await)
        }
        Err(fault) => {
            cancel.cancel();
            let _ = serving.await;
            fault
        }
    }
}

/// The end of a process as an error. Clients match on these words.
fn told(ended: Result<rondel_fault::ExecFailure>) -> Fault {
    match ended {
        Ok(failure) => Fault::exec(format!("exit code: {}", failure.exit_code), failure),
        Err(fault) => fault,
    }
}
