//! The HTTP proxy of a `git` that runs for a process in a container.
//!
//! HTTP goes through a SOCKS relay on loopback, also after redirects and for submodules, or through
//! the host's own proxy, which decides itself what it connects to. SSH and git's own protocol reach
//! only the host of the repository's address, so submodules on other hosts are not fetched by them.

use rondel_fault::Result;

use crate::command::Run;
use crate::egress::EgressConnector;
use crate::tcp_relay::{LOOPBACK, RelayProtocol, TcpRelay};

/// Protocols by which submodules are fetched.
const SUBMODULE_PROTOCOLS: &str = "http:https:ssh";
/// Proxy variables of `curl`, for one scheme and for all.
const PROXIES: [(&str, &str); 2] = [("http_proxy", "HTTP_PROXY"), ("https_proxy", "HTTPS_PROXY")];
const EVERY_PROXY: [&str; 2] = ["all_proxy", "ALL_PROXY"];

/// Makes `run` use HTTP through a relay that connects by `connector`, until the relay is dropped.
///
/// `variables` are the proxy variables that every `git` gets. A proxy set there is kept.
pub(crate) async fn confine(
    connector: &EgressConnector,
    run: &mut Run<'_>,
    variables: &[(String, String)],
) -> Result<TcpRelay> {
    let relay = TcpRelay::start(RelayProtocol::SocksToEgress(connector.clone())).await?;
    let set = |name: &str| variables.iter().any(|(known, value)| known == name && !value.is_empty());
    let proxy = format!("socks5h://{LOOPBACK}:{}", relay.port);
    for (lower, upper) in PROXIES {
        if ![lower, upper].iter().chain(&EVERY_PROXY).any(|name| set(name)) {
            run.variables.push((lower, proxy.clone().into()));
        }
    }
    // Nothing is reached without a proxy.
    run.variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, "".into())));
    if run.args.iter().any(|arg| arg == "submodule") {
        run.variables.push(("GIT_ALLOW_PROTOCOL", SUBMODULE_PROTOCOLS.into()));
    }
    Ok(relay)
}
