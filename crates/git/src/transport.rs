//! Runs `git` against a server: credentials, SSH known hosts, and the relay through which `git`
//! reaches a service of the session.
//!
//! A service is reached through a [`TcpRelay`]. SSH and git's own protocol connect to its port in
//! place of the address. They keep the original name for host keys and virtual hosts. HTTP uses it
//! as a proxy, so that names in certificates stay valid. Other servers that a repository refers to,
//! such as those of submodules, are reached directly, unless the work is for a process in a
//! container: see [`crate::egress_proxy`].

use std::path::{Path, PathBuf};

use rondel_fault::{Attempt as _, Fault, Result};
use rondel_ports::egress::EgressScope;
use rondel_ports::git::Credentials;
use rondel_ports::network::Dial;

use crate::command::{Run, Ssh};
use crate::context::GitContext;
use crate::egress::EgressConnector;
use crate::egress_proxy::confine;
use crate::git_error::GitError;
use crate::tcp_relay::{LOOPBACK, RelayProtocol, TcpRelay, accepts};

/// The host name of a service in the SSH configuration. No other host has it.
const SERVICE: &str = "rondel-service";
/// SSH configuration that refuses every other host.
const DENY_OTHER_HOSTS: &str = "Host * !rondel-service\n  ProxyCommand false\n";

/// Runs `run`, which uses the server of `address`, with `credentials`. Returns its output.
pub(crate) async fn run(
    git: &GitContext,
    mut run: Run<'_>,
    address: &str,
    credentials: &Credentials,
) -> Result<Vec<u8>, GitError> {
    let unprepared = |fault: Fault| GitError::Messages(fault.full_message());
    let server = ServerAddress::of(address);
    run.outside = true;
    if let (Some(value), Some(server)) = (&credentials.authorization, server.as_ref().filter(|server| server.is_web()))
    {
        // Limited to this server: other servers, which a redirect or a submodule leads to, do not
        // get it.
        run.settings.push((format!("http.{}.extraHeader", server.base()), format!("Authorization: {value}")));
    }
    if let Some(agent) = &credentials.agent {
        run.variables.push(("SSH_AUTH_SOCK", agent.path.clone().into()));
    }
    let known_hosts = TemporaryFile::known_hosts(git, credentials).map_err(unprepared)?;
    let known = known_hosts.as_ref().map(|file| &*file.0);
    let outside = (credentials.egress == EgressScope::Outside).then(|| EgressConnector::new(git.egress.clone()));
    let _confined = match &outside {
        Some(outside) => Some(confine(outside, &mut run, &git.runner.variables).await.map_err(unprepared)?),
        None => None,
    };
    let dial = match (&credentials.host, &outside, &server) {
        (Some(host), ..) => Some(host.dial.clone()),
        (None, Some(outside), Some(server)) if !server.is_web() => Some(outside.dial(server.host)),
        _ => None,
    };
    let refused =
        |failure| outside.as_ref().and_then(EgressConnector::refusal).map_or(failure, GitError::EgressRefused);
    let (Some(dial), Some(server)) = (dial, server) else {
        let alone =
            outside.as_ref().map(|_| TemporaryFile::write(git, DENY_OTHER_HOSTS)).transpose().map_err(unprepared)?;
        let ssh = alone.as_ref().map_or(Ssh::Known(known), |file| Ssh::Configured(&file.0));
        run.variables.push(("GIT_SSH_COMMAND", git.runner.ssh(&ssh).into()));
        return git.runner.run(run).await.map_err(refused);
    };
    accepts(&dial, server.port()).await.map_err(|fault| refused(GitError::Unreachable(fault.full_message())))?;
    let relay = configure_relay(&mut run, &dial, &server).await.map_err(unprepared)?;
    let mut config = server.ssh_config(relay.port, known, credentials, &git.runner.known_hosts);
    if outside.is_some() {
        config.push_str(DENY_OTHER_HOSTS);
    }
    let config = TemporaryFile::write(git, &config).map_err(unprepared)?;
    run.variables.push(("GIT_SSH_COMMAND", git.runner.ssh(&Ssh::Configured(&config.0)).into()));
    let done = git.runner.run(run).await;
    done.map_err(|failure| match failure {
        GitError::Messages(text) => refused(GitError::Messages(text.replace(LOOPBACK, server.host))),
        other => refused(other),
    })
}

/// Starts a relay to `server` and makes `run` use it in place of `server`.
async fn configure_relay(run: &mut Run<'_>, dial: &Dial, server: &ServerAddress<'_>) -> Result<TcpRelay> {
    let dial = dial.clone();
    let protocol = if server.is_web() {
        RelayProtocol::SocksToHost(server.host.to_owned(), dial)
    } else {
        RelayProtocol::Port(server.port(), dial)
    };
    let relay = TcpRelay::start(protocol).await?;
    let base = server.base();
    if server.is_web() {
        run.settings.push((format!("http.{base}.proxy"), format!("socks5h://{LOOPBACK}:{}", relay.port)));
        // `NO_PROXY` lists real hosts, and this name is not one of them.
        run.variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name, "".into())));
        return Ok(relay);
    }
    let mut instead = |new: String, old: String| run.settings.push((format!("url.{new}.insteadOf"), old));
    let user = server.user.unwrap_or("git");
    match server.scheme {
        Some("git") => {
            instead(format!("git://{LOOPBACK}:{}/", relay.port), base);
            run.variables.push(("GIT_OVERRIDE_VIRTUAL_HOST", server.authority.into()));
        }
        Some(_) => {
            instead(format!("ssh://{user}@{SERVICE}/"), format!("ssh://{user}@{}/", server.authority));
            // The form of submodules with a relative address.
            instead(format!("ssh://git@{SERVICE}/"), base);
        }
        None => instead(format!("{user}@{SERVICE}:"), format!("{user}@{}:", server.authority)),
    }
    Ok(relay)
}

/// The server of a repository address, in its parts.
struct ServerAddress<'a> {
    /// `None` for an SSH address of the form `user@host:path`.
    scheme: Option<&'a str>,
    user: Option<&'a str>,
    /// Host and port, as they were written.
    authority: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> ServerAddress<'a> {
    fn of(address: &'a str) -> Option<Self> {
        let (scheme, server) = match address.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest.split(['/', '?', '#']).next()?),
            None => (None, address.split_once(':')?.0),
        };
        let (user, authority) = server.rsplit_once('@').map_or((None, server), |(user, rest)| (Some(user), rest));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, ""),
        };
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(Self { scheme, user, authority, host, port })
    }

    fn is_web(&self) -> bool {
        matches!(self.scheme, Some("http" | "https"))
    }

    /// The prefix of all addresses on the server.
    fn base(&self) -> String {
        format!("{}://{}/", self.scheme.unwrap_or("ssh"), self.authority)
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Some("http") => 80,
            Some("https") => 443,
            Some("git") => 9418,
            _ => 22,
        })
    }

    /// The SSH configuration that leads to the port `relay`. `known` is the file with the known
    /// hosts of `credentials`. Without it, keys that servers show are stored in `seen`. The key of
    /// a service is not stored: the relay leads only to that service, and each session may have a
    /// new one.
    fn ssh_config(&self, relay: u16, known: Option<&Path>, credentials: &Credentials, seen: &Path) -> String {
        let given = &credentials.known_hosts;
        let (name, port) = (self.host, self.port());
        let with_port = format!("[{name}]:{port}");
        // A key may be listed for all ports of a host.
        let lists = |name: &str| given.split([' ', ',', '\t', '\n']).any(|word| word.eq_ignore_ascii_case(name));
        let key = if port == 22 || (lists(name) && !lists(&with_port)) { name } else { &with_port };
        let trust = |file: &Path, check: &str| {
            let check = if known.is_some() { "yes" } else { check };
            let file = known.unwrap_or(file).display();
            format!("  UserKnownHostsFile \"{file}\"\n  StrictHostKeyChecking {check}\n")
        };
        let others = trust(seen, "accept-new");
        let service = if credentials.host.is_some() { trust(Path::new("/dev/null"), "no") } else { others.clone() };
        format!(
            "Host {SERVICE}\n  HostName {LOOPBACK}\n  Port {relay}\n  HostKeyAlias {key}\n  CheckHostIP no\n{service}\
             Host *\n{others}"
        )
    }
}

/// A temporary file, which is removed on drop.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn write(git: &GitContext, text: &str) -> Result<Self> {
        let made = Self(git.fresh());
        std::fs::write(&made.0, text).attempt(|| "write the SSH configuration".into())?;
        Ok(made)
    }

    /// Writes the known hosts of `credentials` to a file. `None` if there are none.
    fn known_hosts(git: &GitContext, credentials: &Credentials) -> Result<Option<Self>> {
        match credentials.known_hosts.trim_end() {
            "" => Ok(None),
            known => Self::write(git, &format!("{known}\n")).map(Some),
        }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rondel_ports::network::Host;

    use super::*;

    #[test]
    fn places_of_addresses() {
        let check = |address: &str, want: Option<(&str, &str, u16)>| {
            let server = ServerAddress::of(address);
            let got = server.as_ref().map(|server| (server.base(), server.host, server.port()));
            assert_eq!(got.as_ref().map(|(base, host, port)| (&**base, *host, *port)), want, "{address}");
        };
        check("https://me:pw@h:1/r.git", Some(("https://h:1/", "h", 1)));
        check("http://h/r", Some(("http://h/", "h", 80)));
        check("git://h", Some(("git://h/", "h", 9418)));
        check("ssh://git@h:2222/r", Some(("ssh://h:2222/", "h", 2222)));
        check("git@h:a/b", Some(("ssh://h/", "h", 22)));
        check("ssh://[::1]/r", Some(("ssh://[::1]/", "[::1]", 22)));
        check("ssh://[::1]:2/r", Some(("ssh://[::1]:2/", "[::1]", 2)));
        check("http://h:x/r", None);
        check("folder", None);
    }

    #[test]
    fn ssh_is_told_which_key_a_service_has() {
        let check = |address: &str, given: &str, want: &str| {
            let server = ServerAddress::of(address).expect("an address");
            let known = (!given.is_empty()).then_some(Path::new("/k"));
            let nowhere: Dial = Arc::new(|_| Err(Fault::bug("is not called")));
            let key = rondel_digest::Digest::of_bytes(b"");
            let host = Host { key, dial: nowhere, folder: PathBuf::new(), guard: Arc::new(()) };
            let credentials = Credentials { known_hosts: given.into(), host: Some(host), ..Credentials::default() };
            let text = server.ssh_config(99, known, &credentials, Path::new("/seen"));
            let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().last().unwrap_or_default()).collect();
            assert_eq!(lines.join(" "), format!("{SERVICE} {LOOPBACK} 99 {want}"), "{text}");
        };
        check("ssh://git@h:2222/r", "", r#"[h]:2222 no "/dev/null" no * "/seen" accept-new"#);
        check("ssh://git@h:2222/r", "[h]:2222 ssh-ed25519 x", r#"[h]:2222 no "/k" yes * "/k" yes"#);
        check("ssh://git@h:2222/r", "a,h ssh-ed25519 x", r#"h no "/k" yes * "/k" yes"#);
        check("git@h:r", "|1|x|y ssh-ed25519 x", r#"h no "/k" yes * "/k" yes"#);
    }
}
