//! Services without a process: tunnels, which open ports on a client's machine that lead to a
//! service, and services of the host, which lead the other way round.
//!
//! *Invariants.* A port closes with its instance, and every connection through it ends. A
//! connection is paced: bytes that one side does not read are not read from the other side.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rondel_events::{Emitter, Stream as Log};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_model::service::{Forward, HostService, Protocol, TunnelService};
use rondel_ops::Ops;
use rondel_ports::BoxFuture;
use rondel_ports::network::Network;
use rondel_ports::streams::{self, Address, Listening, Machine, Stream};
use rondel_streams::inet;
use rondel_streams::relay::{self, Relay};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::instance::ServiceUse;
use super::launch::{RunningService, ServiceLaunch};

/// How many connections through one port may be open at a time. Further connections wait.
const MAX_CONNECTIONS: usize = 1024;

/// Opens a stream to the target of a port.
type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Stream>> + Send + Sync>;

/// Runs a tunnel until it ends, and returns how it ended. `target` gives the service behind the
/// tunnel and the machine on which ports are opened.
pub(super) async fn run(
    launch: ServiceLaunch,
    target: impl Future<Output = Result<(ServiceUse, Arc<dyn Machine>)>>,
    tunnel: &TunnelService,
) -> Fault {
    let ServiceLaunch { ops, cx, mut signals, cancel, ready, .. } = launch;
    let opened = async {
        let (used, machine) = target.await?;
        Ok::<_, Fault>((open(machine, tunnel).await?, used))
    };
    let opened = tokio::select! {
        opened = opened => opened,
        () = cancel.cancelled() => Err(stopped("tunnel")),
    };
    let (listeners, used) = match opened {
        Ok(opened) => opened,
        Err(fault) => return fault,
    };
    let forwards = listeners.iter().map(|(forward, _)| *forward).collect();
    let mut relays = Vec::new();
    for (forward, listener) in listeners {
        let (ops, network) = (ops.clone(), used.running.network.clone());
        let dial: Dial = Arc::new(move || Box::pin(dial(ops.clone(), network.clone(), forward)));
        relays.push((relay_all(listener.connections, dial, cx.events.clone()), listener.guard));
    }
    let _ = ready.send(RunningService { network: used.running.network.clone(), container: None, forwards });
    until_end(&used, &mut signals, &cancel).await
}

async fn until_end(used: &ServiceUse, signals: &mut mpsc::UnboundedReceiver<i32>, cancel: &CancellationToken) -> Fault {
    tokio::select! {
        fault = used.ended() => fault.context("the service behind the tunnel exited"),
        _ = signals.recv() => stopped("tunnel"),
        () = cancel.cancelled() => stopped("tunnel"),
    }
}

fn stopped(what: &str) -> Fault {
    Fault::cancelled(format!("the {what} was stopped"))
}

/// The ports of a tunnel: every port of the service if the tunnel is native or names no ports, then
/// the ports that the tunnel names. Clients take the first port as the tunnel's endpoint.
///
/// # Errors
/// When there are none.
pub fn forwards(tunnel: &TunnelService) -> Result<Vec<Forward>> {
    let of_service = tunnel.native || tunnel.ports.is_empty();
    let frontend = |number| tunnel.native.then_some(number);
    let own = tunnel.service.ports().into_iter().filter(|_| of_service).map(|port| Forward {
        frontend: frontend(port.number),
        backend: port.number,
        protocol: port.protocol,
    });
    let mut all: Vec<Forward> = own.collect();
    for forward in &tunnel.ports {
        if !all.contains(forward) {
            all.push(*forward);
        }
    }
    match all.is_empty() {
        true => Err(Fault::user(format!("no ports to forward to {}", tunnel.service.hostname()))
            .with_hint("name ports, or expose some with `withExposedPort`")),
        false => Ok(all),
    }
}

async fn open(machine: Arc<dyn Machine>, tunnel: &TunnelService) -> Result<Vec<(Forward, Listening)>> {
    let mut listeners = Vec::new();
    for forward in forwards(tunnel)? {
        let listener = machine.listen(forward.frontend.unwrap_or(0), transport(forward.protocol)).await?;
        listeners.push((Forward { frontend: Some(listener.port), ..forward }, listener));
    }
    Ok(listeners)
}

/// Connects to a port of a service from inside its network.
async fn dial(ops: Arc<Ops>, network: Network, forward: Forward) -> Result<Stream> {
    let protocol = transport(forward.protocol);
    let socket = ops.ports().networks.socket(network.namespace.as_fd(), protocol)?;
    let address = SocketAddr::from((network.address.unwrap_or(Ipv4Addr::LOCALHOST), forward.backend));
    let stream = inet::connect(socket, address, protocol).await;
    stream.attempt(|| format!("connect to port {}/{protocol} of the service", forward.backend))
}

/// Runs a service whose ports lead to `machine` of a client until it ends, and returns how it
/// ended.
pub(super) async fn run_host(launch: ServiceLaunch, machine: Result<Arc<dyn Machine>>, host: &HostService) -> Fault {
    let ServiceLaunch { ops, cx, names, group, mut signals, cancel, ready, .. } = launch;
    let opened = async {
        let machine = machine?;
        let network = ops.ports().networks.connect().await?;
        let membership = ops.ports().networks.publish(&network, &group, &names)?;
        let mut listeners = Vec::new();
        for forward in &host.ports {
            let (port, protocol) = (forward.frontend.unwrap_or(forward.backend), transport(forward.protocol));
            let socket = ops.ports().networks.socket(network.namespace.as_fd(), protocol)?;
            let listener =
                inet::listen(socket, port, protocol).attempt(|| format!("listen on port {port}/{protocol}"))?;
            listeners.push((*forward, listener));
        }
        Ok::<_, Fault>((machine, network, membership, listeners))
    };
    let (machine, network, _membership, listeners) = match opened.await {
        Ok(opened) => opened,
        Err(fault) => return fault,
    };
    // ORDER: this handle of the namespace is dropped after the network. Containers may know the
    // address for a while, and a network whose namespace has a handle is given to no other
    // container.
    let _not_reusable = network.namespace.clone();
    let mut relays = Vec::new();
    for (forward, listener) in listeners {
        let (machine, name) = (machine.clone(), host.host.clone());
        let dial: Dial = Arc::new(move || {
            let (machine, protocol) = (machine.clone(), transport(forward.protocol));
            let to = Address::Port { host: name.clone(), port: forward.backend, protocol };
            Box::pin(async move { machine.dial(to).await })
        });
        relays.push((relay_all(listener.connections, dial, cx.events.clone()), listener.guard));
    }
    let _ = ready.send(RunningService { network, container: None, forwards: Vec::new() });
    tokio::select! {
        _ = signals.recv() => stopped("service of the host"),
        () = cancel.cancelled() => stopped("service of the host"),
    }
}

/// Relays every connection until the port closes.
fn relay_all(connections: mpsc::Receiver<Stream>, dial: Dial, events: Emitter) -> Relay {
    Relay::start(connections, MAX_CONNECTIONS, move |near| relay_one(near, dial.clone(), events.clone()))
}

async fn relay_one(mut near: Stream, dial: Dial, events: Emitter) {
    match dial().await {
        Ok(mut far) => {
            // A reset on one side ends the connection on both sides, where both see it.
            let _ = relay::copy(&mut near, &mut far).await;
        }
        Err(fault) => events.log(Log::Note, format!("a connection failed: {}\n", fault.full_message())),
    }
}

fn transport(protocol: Protocol) -> streams::Protocol {
    match protocol {
        Protocol::Tcp => streams::Protocol::Tcp,
        Protocol::Udp => streams::Protocol::Udp,
    }
}
