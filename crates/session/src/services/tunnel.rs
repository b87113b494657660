//! Services that are no processes: ports of a client's machine that lead to another service, and the other way round.
//!
//! *Invariants.* A port closes with its instance, and every connection that came through it ends. What one side does not read is
//! not read from the other.

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

use super::instance::ServiceLaunch;
use super::{SessionServices, Up, Use};

/// How many connections through one port may be open at a time; further ones wait.
const MAX_CONNECTIONS: usize = 1024;

/// Opens a stream to where a port leads.
type Dial = Arc<dyn Fn() -> BoxFuture<'static, Result<Stream>> + Send + Sync>;

/// Runs a tunnel to its end: how it ended.
pub(super) fn run<'a>(
    launch: ServiceLaunch,
    session: &'a Arc<SessionServices>,
    tunnel: &'a TunnelService,
) -> BoxFuture<'a, Fault> {
    Box::pin(async move {
        let ServiceLaunch { ops, cx, mut signals, cancel, ready, .. } = launch;
        let opened = async {
            let used = session.acquire(&ops, &cx, &tunnel.service).await;
            let used = used.map_err(|fault| fault.context(format!("start {}", tunnel.service.hostname())))?;
            let machine = session.machine(&tunnel.client)?;
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
        let mut carrying = Vec::new();
        for (forward, listener) in listeners {
            let (ops, network) = (ops.clone(), used.up.network.clone());
            let dial: Dial = Arc::new(move || Box::pin(dial(ops.clone(), network.clone(), forward)));
            carrying.push((carry(listener.connections, dial, cx.events.clone()), listener.guard));
        }
        let _ = ready.send(Up { network: used.up.network.clone(), inside: None, forwards });
        until_end(&used, &mut signals, &cancel).await
    })
}

async fn until_end(used: &Use, signals: &mut mpsc::UnboundedReceiver<i32>, cancel: &CancellationToken) -> Fault {
    tokio::select! {
        fault = used.ended() => fault.context("the service behind the tunnel exited"),
        _ = signals.recv() => stopped("tunnel"),
        () = cancel.cancelled() => stopped("tunnel"),
    }
}

fn stopped(what: &str) -> Fault {
    Fault::cancelled(format!("the {what} was stopped"))
}

/// The ports of a tunnel: every port of the service when it is native or none was asked for, then those that were asked for.
/// Clients take the first for the tunnel's endpoint.
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

/// Connects to a port of a service, from inside its network.
async fn dial(ops: Arc<Ops>, network: Network, forward: Forward) -> Result<Stream> {
    let protocol = transport(forward.protocol);
    let socket = ops.ports().networks.socket(network.namespace.as_fd(), protocol)?;
    let address = SocketAddr::from((network.address.unwrap_or(Ipv4Addr::LOCALHOST), forward.backend));
    let stream = inet::connect(socket, address, protocol).await;
    stream.attempt(|| format!("connect to port {}/{protocol} of the service", forward.backend))
}

/// Runs ports that lead to a client's machine to their end: how they ended.
pub(super) async fn run_host(launch: ServiceLaunch, session: &Arc<SessionServices>, host: &HostService) -> Fault {
    let ServiceLaunch { ops, cx, names, group, mut signals, cancel, ready, .. } = launch;
    let opened = async {
        let machine = session.machine(&host.client)?;
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
    // ORDER: dropped after the network: its address is known for a while, so no container is given it as long as there is a
    // handle of the namespace.
    let _spoilt = network.namespace.clone();
    let mut carrying = Vec::new();
    for (forward, listener) in listeners {
        let (machine, name) = (machine.clone(), host.host.clone());
        let dial: Dial = Arc::new(move || {
            let (machine, protocol) = (machine.clone(), transport(forward.protocol));
            let to = Address::Port { host: name.clone(), port: forward.backend, protocol };
            Box::pin(async move { machine.dial(to).await })
        });
        carrying.push((carry(listener.connections, dial, cx.events.clone()), listener.guard));
    }
    let _ = ready.send(Up { network, inside: None, forwards: Vec::new() });
    tokio::select! {
        _ = signals.recv() => stopped("service of the host"),
        () = cancel.cancelled() => stopped("service of the host"),
    }
}

/// Passes every connection on, until the port closes.
fn carry(connections: mpsc::Receiver<Stream>, dial: Dial, events: Emitter) -> Relay {
    Relay::start(connections, MAX_CONNECTIONS, move |near| pass_on(near, dial.clone(), events.clone()))
}

async fn pass_on(mut near: Stream, dial: Dial, events: Emitter) {
    match dial().await {
        Ok(mut far) => {
            // When one side breaks off, the connection ends on both sides, which both see.
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
