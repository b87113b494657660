//! HTTP clients for work of a process in a container: they do not connect to this machine or its
//! link.
//!
//! A name is looked up once, and connections are made to the addresses that were checked. So a name
//! that resolves differently a moment later gains nothing. A URL whose host is an IP address is
//! checked before the first request and before each redirect. The host's proxy may be at any
//! address, and decides itself what it connects to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Url, redirect};
use rondel_fault::{Fault, Result};
use rondel_ports::egress::Egress;

use crate::connection::{Limits, client_with};
use crate::proxy_env::ProxyEnvironment;

/// A [`crate::client`] for work of a process in a container. Call [`check`] before each request.
///
/// # Errors
/// As for [`crate::client`].
pub fn egress_checked_client(
    proxy_env: &ProxyEnvironment,
    limits: Limits,
    follow: fn(redirect::Attempt<'_>) -> redirect::Action,
) -> Result<reqwest::Client> {
    let egress = proxy_env.egress.clone();
    let policy = redirect::Policy::custom(move |attempt| match check(&egress, attempt.url()) {
        Ok(()) => follow(attempt),
        Err(fault) => attempt.error(fault),
    });
    let proxies = [&proxy_env.http_proxy, &proxy_env.https_proxy].into_iter().flatten();
    let proxies = proxies.filter_map(|url| Some(Url::parse(url).ok()?.host_str()?.to_owned())).collect();
    let resolver = CheckedResolver { egress: proxy_env.egress.clone(), proxies };
    client_with(proxy_env, limits, policy, |builder| builder.dns_resolver(Arc::new(resolver)))
}

/// Checks a URL whose host is an IP address. Other URLs pass: the client checks their addresses.
///
/// # Errors
/// When the address is refused.
pub fn check(egress: &Egress, url: &Url) -> Result<()> {
    let host = url.host_str().unwrap_or_default();
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => egress.check(host, address),
        Err(_) => Ok(()),
    }
}

/// A resolver that returns only addresses which the egress rules allow.
struct CheckedResolver {
    egress: Egress,
    /// The hosts of the proxies, which may have any address.
    proxies: Arc<[String]>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, proxies) = (self.egress.clone(), self.proxies.clone());
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(name.as_str())) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let mut refused: Option<Fault> = None;
            let mut passed = Vec::new();
            for address in found {
                match egress.check(name.as_str(), address.ip()) {
                    Ok(()) => passed.push(address),
                    Err(fault) => refused = Some(fault),
                }
            }
            match refused.filter(|_| passed.is_empty()) {
                Some(fault) => Err(fault.into()),
                None => Ok(Box::new(passed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use rondel_events::Emitter;
    use rondel_ports::egress::EgressScope;
    use rondel_ports::http::{Http, Request, Validators};

    use super::*;
    use crate::Web;

    /// Answers every request on `address` with `answer`. Returns its port.
    fn server(address: &str, answer: String) -> u16 {
        let listener = TcpListener::bind((address, 0)).expect("listens");
        let port = listener.local_addr().expect("has a port").port();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        port
    }

    #[tokio::test]
    async fn a_container_is_led_outside_alone() {
        let here = server("127.0.0.1", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhere".into());
        let redirect = |to: &str| {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        };
        let by_address = server("127.0.0.2", redirect(&format!("http://127.0.0.1:{here}/")));
        let by_name = server("127.0.0.2", redirect(&format!("http://localhost:{here}/")));
        let egress = Egress::new(["127.0.0.2".parse().expect("an address")], Arc::new(|_| false));
        let web =
            Web::new(ProxyEnvironment { egress, ..ProxyEnvironment::default() }, Limits::default()).expect("a client");
        let ask = async |url: String, egress: EgressScope| {
            let folder = tempfile::tempdir().expect("a folder");
            let request = Request { url: &url, authorization: None, known: &Validators::default(), dial: None, egress };
            web.fetch(request, &folder.path().join("content"), &Emitter::nowhere()).await
        };
        for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:7f00:1]"] {
            let refused = ask(format!("http://{host}:{here}/"), EgressScope::Outside).await.expect_err(host);
            assert!(refused.full_message().contains("a container does not reach"), "{refused}");
            assert!(!refused.hints().is_empty(), "{refused}");
        }
        for port in [by_address, by_name] {
            let url = format!("http://127.0.0.2:{port}/");
            let refused = ask(url.clone(), EgressScope::Outside).await.expect_err("is refused");
            assert!(refused.full_message().contains("a container does not reach"), "{}", refused.full_message());
            ask(url, EgressScope::Anywhere).await.expect("the user may");
        }
        ask(format!("http://localhost:{here}/"), EgressScope::Anywhere).await.expect("the user may");
    }
}
