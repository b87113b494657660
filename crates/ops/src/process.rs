//! Runs one process: prepares secrets, services, network and mounts, starts it and captures its
//! output. The caller decides whether its trees are committed.

use std::any::Any;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rondel_events::{Attribute, Emitter, Span, Work};
use rondel_fault::{Attempt, Cause, ExecFailure, FailedProcess, Fault, Kind, Result};
use rondel_model::exec::{MountSource, Stdin};
use rondel_model::{ExecOp, Platform, SecretRef, Snapshot};
use rondel_ports::CancellationToken;
use rondel_ports::network::Network;
use rondel_ports::process::{
    CommandSpec, Entrance, Exit, Limit, ProcessControl, ProcessMount, ProcessSpec, ProcessStdin, ProcessTerminal,
};
use rondel_ports::secrets::Plaintext;
use tokio::sync::oneshot;

use crate::Ops;
use crate::context::{OpContext, ScopedProcess};
use crate::environment::{environment, variable};
use crate::mounts::{self, Prepared, Trees};
use crate::options::HOSTNAME;
use crate::output::{Capture, Written};
use crate::redact::Secrets;
use crate::resolv_conf::with_search;
use crate::stats::count;
use crate::volumes::{self, Claims};

/// The hint for a process that reached a limit.
const LIMITS_HINT: &str = "the section `[limits]` of the engine's configuration says how much a container may take";

/// The hint for a process that failed without a network uplink.
const NO_UPLINK_HINT: &str = "containers reach nothing outside; `rondel engine status` says why";

/// The variable with the API version that a process wants if it acts as no module. Clients know
/// this name.
const VERSION_VARIABLE: &str = "_EXPERIMENTAL_DAGGER_VERSION";

/// How long after the end of a process the end of a bound service still counts as its cause.
const EXIT_GRACE: Duration = Duration::from_millis(200);

/// The most characters of a command line in the title of a span.
const MAX_TITLE_CHARS: usize = 80;

/// One run of one process.
pub(crate) struct Process<'a> {
    pub(crate) ops: &'a Arc<Ops>,
    pub(crate) cx: &'a OpContext,
    pub(crate) exec: &'a Arc<ExecOp>,
    pub(crate) events: &'a Emitter,
    pub(crate) cancel: &'a CancellationToken,
}

/// How a service's process differs from others.
pub(crate) struct ServiceProcess {
    /// Its host name.
    pub(crate) hostname: String,
    /// The engine's handle of it.
    pub(crate) control: ProcessControl,
    /// Receives the service's network and API variables before the process starts.
    pub(crate) environment: oneshot::Sender<ServiceEnvironment>,
}

/// The network and API variables of a service's process.
#[derive(Clone)]
pub struct ServiceEnvironment {
    /// Its network.
    pub network: Network,
    /// The variables by which it finds the API. Empty without access.
    pub api_env: Vec<(String, String)>,
}

/// How a process runs if it is neither an ordinary exec.
pub(crate) enum ProcessMode {
    /// As a service.
    Service(ServiceProcess),
    /// On a terminal.
    Terminal(ProcessTerminal),
}

/// The trees and services of a process that ended.
pub(crate) struct ExitedMounts {
    pub(crate) trees: Trees,
    /// Keeps the bound services running.
    pub(crate) services: Box<dyn Any + Send + Sync>,
    /// Held until the trees are committed or discarded.
    _claims: Arc<Claims>,
}

/// A process that ended by itself.
pub(crate) struct Finished {
    pub(crate) exit_code: i32,
    /// The limit that it reached, if any.
    pub(crate) limit: Option<Limit>,
    pub(crate) written: Written,
    pub(crate) rest: ExitedMounts,
    secrets: Secrets,
    no_uplink: bool,
}

/// A process that did not start, or was ended by the engine.
pub(crate) struct Unfinished {
    pub(crate) fault: Fault,
    pub(crate) rest: ExitedMounts,
}

impl Finished {
    /// The error for an unexpected exit code.
    pub(crate) fn failure(&self, exec: &ExecOp) -> Fault {
        let failure = self.detail(exec);
        // Clients match on these words.
        let mut message = format!(
            "process \"{}\" did not complete successfully: exit code: {}",
            failure.cmd.join(" "),
            self.exit_code
        );
        if let Some(limit) = self.limit {
            message += &format!(" ({})", reached(limit));
        }
        let output = self.written.combined_tail.clone();
        let process = FailedProcess { cmd: failure.cmd.clone(), exit_code: self.exit_code, output };
        let cause = Cause::process(message.as_str(), process);
        let mut fault = Fault::exec(message, failure).with_causes(vec![cause]);
        if matches!(self.limit, Some(Limit::Memory(_) | Limit::Processes(_))) {
            fault = fault.with_hint(LIMITS_HINT);
        }
        if self.no_uplink { fault.with_hint(NO_UPLINK_HINT) } else { fault }
    }

    /// The detail of an error: command, exit code and the ends of its output.
    pub(crate) fn detail(&self, exec: &ExecOp) -> ExecFailure {
        let [stdout, stderr] = self.written.tails.clone();
        let cmd = exec.args.iter().map(|arg| self.secrets.redact(arg)).collect();
        ExecFailure { cmd, exit_code: self.exit_code, stdout, stderr }
    }
}

/// Describes a reached limit.
fn reached(limit: Limit) -> String {
    match limit {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        Limit::Memory(bytes) => format!("out of memory: its limit is {:.1} GB", bytes as f64 / 1e9),
        Limit::Processes(most) => format!("out of processes: its limit is {most}"),
        Limit::MachineMemory => "the machine ran out of memory".to_owned(),
    }
}

/// Explains a failed start if the platform of the process needs an emulator.
fn not_started(fault: Fault, platform: &Platform) -> Fault {
    if *platform == Platform::native() || fault.kind() != Kind::User {
        return fault;
    }
    let message = format!("cannot run a program of `{platform}` on `{}` without an emulator", Platform::native());
    fault.context(message).with_hint(format!(
        "register an emulator for `{}` with the kernel (binfmt_misc, with the flag `F`), such as Debian's `qemu-user-static`",
        platform.architecture
    ))
}

impl Process<'_> {
    /// Runs the process to its end. `redirects` receive what it writes to its standard streams.
    pub(crate) async fn run(
        &self,
        inputs: Vec<Snapshot>,
        redirects: [Option<File>; 2],
        mode: Option<ProcessMode>,
    ) -> Result<Finished> {
        match self.attempt(inputs, redirects, mode).await? {
            Ok(finished) => Ok(finished),
            Err(Unfinished { fault, rest }) => self.discard(rest.trees, fault).await,
        }
    }

    /// Runs the process to its end. Also returns its trees if it did not end by itself.
    pub(crate) async fn attempt(
        &self,
        inputs: Vec<Snapshot>,
        redirects: [Option<File>; 2],
        mode: Option<ProcessMode>,
    ) -> Result<Result<Finished, Unfinished>> {
        let platform = &self.exec.platform;
        if platform.os != Platform::native().os {
            return Err(Fault::user(format!("cannot run programs of `{platform}` on `{}`", Platform::native())));
        }
        let (secret_env, secret_files) = self.plaintexts().await?;
        self.find_sockets().await?;
        let others = try_join_all(self.exec.redact.iter().map(|secret| self.cx.secrets.plaintext(secret))).await?;
        let plaintexts = secret_env.iter().chain(&secret_files).chain(&others);
        let secrets = Secrets::new(plaintexts.map(|plaintext| plaintext.bytes()));
        volumes::check(self.exec)?;
        let claims = self.unless_cancelled(self.claim(&inputs)).await?;
        let services = &self.exec.services;
        let waiting = &self.cx.reporting(self.events);
        let mut bound = self.unless_cancelled(self.cx.services.bind(waiting, services)).await?;
        let capture = Capture::new(self.events.clone(), &secrets, redirects);
        let mut network = self.network().await?;
        let no_uplink = network.address.is_none() && !self.exec.offline && !self.exec.host_network;
        // ORDER: dropped after the network. An insecure process may have changed the namespace, and
        // the address of a service stays known for a while. A namespace with an open handle is not
        // reused.
        let is_service = matches!(mode, Some(ProcessMode::Service(_)));
        let _not_reusable = (self.exec.insecure || is_service).then(|| network.namespace.clone());
        let joined = self.cx.services.join(&network, services)?;
        let resolver = network.resolv_conf.take().filter(|_| !self.exec.offline);
        network.resolv_conf = resolver.map(|text| with_search(&text, &joined.search));
        let Prepared { trees, root, mounts, sockets, bundle } =
            self.prepare(inputs, claims.clone(), secret_files, &network).await?;
        let sockets = match sockets.map(|sockets| sockets.serve(&self.cx.sockets, self.events)).transpose() {
            Ok(sockets) => sockets,
            Err(fault) => return self.discard(trees, fault).await,
        };
        let stop = self.cancel.child_token();
        let ended = {
            let started = self.start(root, mounts, bundle, network, &secret_env, &bound.hosts, &capture, mode, &stop);
            let mut started = std::pin::pin!(started);
            tokio::select! {
                ended = &mut started => ended,
                fault = &mut bound.ended => {
                    stop.cancel();
                    let _ = started.await;
                    Err(fault)
                }
            }
        };
        drop((joined, sockets));
        let ended = match ended {
            Ok(exit) if !services.is_empty() && (is_service || !self.exec.expect.admits(exit.code)) => {
                let cause = tokio::time::timeout(EXIT_GRACE, &mut bound.ended).await;
                cause.map_or(Ok(exit), Err)
            }
            ended => ended.map_err(|fault| not_started(fault, platform)),
        };
        let finished = ended.and_then(|exit| Ok((exit, capture.finish()?)));
        let rest = ExitedMounts { trees, services: bound.guard, _claims: claims };
        Ok(match finished {
            Ok((Exit { code, limit }, written)) => {
                self.events.attribute(&Attribute::ExitCode(code));
                Ok(Finished { exit_code: code, limit, written, rest, secrets, no_uplink })
            }
            Err(fault) => Err(Unfinished { fault: clean(fault, &secrets), rest }),
        })
    }

    /// Runs a further command in the container of the process, with the variables `api_env` in
    /// addition, and returns how it ended.
    pub(crate) async fn enter(
        &self,
        entrance: &Entrance,
        args: Vec<String>,
        api_env: &[(String, String)],
        stdin: ProcessStdin,
    ) -> Result<ExecFailure> {
        let (secret_env, secret_files) = self.plaintexts().await?;
        let secrets = Secrets::new(secret_env.iter().chain(&secret_files).map(|plaintext| plaintext.bytes()));
        let capture = Capture::new(Emitter::nowhere(), &secrets, [None, None]);
        let spec = CommandSpec {
            args: args.clone(),
            // Whether a running process got the bundle because its image has none is not known.
            env: environment(
                self.exec,
                &secret_env,
                api_env,
                &self.ops.options,
                self.ops.options.trust.is_always_given(),
            )?,
            workdir: self.exec.workdir.as_str().to_owned(),
            user: self.exec.user.clone(),
            insecure: self.exec.insecure,
            stdin,
            stdout: capture.sink(0),
            stderr: capture.sink(1),
        };
        let exit = self.ops.ports().processes.enter(entrance.clone(), spec, self.cancel.clone()).await?;
        let [stdout, stderr] = capture.finish()?.tails;
        let cmd = args.iter().map(|arg| secrets.redact(arg)).collect();
        Ok(ExecFailure { cmd, exit_code: exit.code, stdout, stderr })
    }

    /// Connects a network for the process, or uses the machine's if the process has that
    /// entitlement.
    async fn network(&self) -> Result<Network> {
        let networks = &self.ops.ports().networks;
        if !self.exec.host_network {
            return self.unless_cancelled(networks.connect()).await;
        }
        if self.exec.scope.is_some() {
            return Err(Fault::bug("the API would be served on the loopback of the machine"));
        }
        networks.of_machine()
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.cancel.cancelled() => Err(Fault::cancelled("the process is not needed any more")),
        }
    }

    async fn claim(&self, inputs: &[Snapshot]) -> Result<Arc<Claims>> {
        let exec = self.exec.clone();
        if !exec.mounts.iter().any(|mount| matches!(mount.source, MountSource::Cache { .. })) {
            return Ok(Arc::default());
        }
        let inputs = inputs.to_vec();
        let identify = move |ops: &Arc<Ops>| volumes::identify(&*ops.ports().snapshots, &exec, &inputs);
        let volumes = self.ops.blocking(identify).await?;
        Ok(Arc::new(self.ops.volumes.claim(self.exec, volumes, self.events).await))
    }

    async fn plaintexts(&self) -> Result<(Vec<Arc<Plaintext>>, Vec<Arc<Plaintext>>)> {
        let plaintext = |secret: &SecretRef| {
            let (provider, secret) = (self.cx.secrets.clone(), secret.clone());
            async move { provider.plaintext(&secret).await }
        };
        let env = try_join_all(self.exec.secret_env.iter().map(|(_, secret)| plaintext(secret))).await?;
        let files = self.exec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Secret { secret, .. } => Some(plaintext(secret)),
            _ => None,
        });
        Ok((env, try_join_all(files).await?))
    }

    /// Fails if a socket of a mount does not exist.
    async fn find_sockets(&self) -> Result<()> {
        let found = self.exec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Socket { socket, .. } => Some(async move {
                let found = self.cx.sockets.find(socket).await;
                found.map_err(|fault| fault.context(format!("cannot mount `{}`", mount.target)))
            }),
            _ => None,
        });
        try_join_all(found).await.map(drop)
    }

    async fn prepare(
        &self,
        inputs: Vec<Snapshot>,
        claims: Arc<Claims>,
        secrets: Vec<Arc<Plaintext>>,
        network: &Network,
    ) -> Result<Prepared> {
        let (exec, resolver) = (self.exec.clone(), network.resolv_conf.is_some());
        self.ops.blocking(move |ops| mounts::prepare(ops, &exec, &inputs, &claims, secrets, resolver)).await
    }

    /// Runs the process with everything prepared, and returns how it ended.
    #[expect(clippy::too_many_arguments, reason = "each is prepared by another step of `run`")]
    async fn start(
        &self,
        root: OwnedFd,
        mounts: Vec<ProcessMount>,
        bundle: bool,
        network: Network,
        secret_env: &[Arc<Plaintext>],
        hosts: &[(Ipv4Addr, String)],
        capture: &Capture,
        mode: Option<ProcessMode>,
        stop: &CancellationToken,
    ) -> Result<Exit> {
        let ports = self.ops.ports();
        let binding = match &self.exec.scope {
            Some(scope) => {
                let process = ScopedProcess {
                    listener: ports.networks.listen(&network)?,
                    events: self.events.clone(),
                    root: root.try_clone().attempt(|| "hold the root of a container".into())?,
                    workdir: self.exec.workdir.clone(),
                    env: environment(self.exec, secret_env, &[], &self.ops.options, bundle)?,
                    namespace: Arc::downgrade(&network.namespace),
                    version: variable(&self.exec.env, VERSION_VARIABLE).map(ToOwned::to_owned),
                };
                Some(self.cx.scopes.bind(scope, process)?)
            }
            None => None,
        };
        let api_env = binding.as_ref().map_or(&[][..], |binding| &binding.env);
        let mut stdin = match &self.exec.stdin {
            Stdin::Empty => ProcessStdin::Empty,
            Stdin::Text(text) => ProcessStdin::Bytes(text.as_bytes().to_vec()),
            Stdin::File(path) => ProcessStdin::Path(path.as_str().to_owned()),
        };
        let (hostname, control) = match mode {
            None => (HOSTNAME.to_owned(), None),
            Some(ProcessMode::Terminal(terminal)) => {
                stdin = ProcessStdin::Terminal(terminal);
                (HOSTNAME.to_owned(), None)
            }
            Some(ProcessMode::Service(ServiceProcess { hostname, control, environment })) => {
                // The receiver may be dropped.
                let _ = environment.send(ServiceEnvironment { network: network.clone(), api_env: api_env.to_vec() });
                (hostname, Some(control))
            }
        };
        let spec = ProcessSpec {
            root,
            mounts,
            args: self.exec.args.clone(),
            env: environment(self.exec, secret_env, api_env, &self.ops.options, bundle)?,
            workdir: self.exec.workdir.as_str().to_owned(),
            user: self.exec.user.clone(),
            hostname,
            insecure: self.exec.insecure,
            no_init: self.exec.no_init,
            network: Some(network.namespace.clone()).filter(|_| !self.exec.offline),
            resolv_conf: network.resolv_conf.clone(),
            hosts: hosts.to_vec(),
            stdin,
            control,
            stdout: capture.sink(0),
            stderr: capture.sink(1),
        };
        count(&self.ops.stats.execs_run);
        let exit = ports.processes.run(spec, stop.clone()).await?;
        drop((binding, network));
        Ok(exit)
    }

    /// Discards the trees and fails.
    pub(crate) async fn discard<T>(&self, trees: Trees, fault: Fault) -> Result<T> {
        self.ops
            .blocking(move |ops| {
                trees.discard(&*ops.ports().snapshots);
                Ok(())
            })
            .await?;
        Err(fault)
    }
}

/// Redacts the secrets in `fault`.
fn clean(fault: Fault, secrets: &Secrets) -> Fault {
    fault.map_texts(&|text| secrets.redact(text))
}

/// The title of a process: the one that it was given, or its command line with the secrets redacted
/// that are known by now.
pub(crate) fn title(cx: &OpContext, exec: &ExecOp) -> String {
    if let Some(title) = &exec.title {
        return title.text.to_string();
    }
    short(&known_secrets(cx, exec).redact(&exec.args.join(" ")))
}

/// Opens the span of a process.
pub(crate) fn span(cx: &OpContext, exec: &ExecOp) -> Span {
    let title = title(cx, exec);
    match exec.title.as_ref().is_some_and(|title| title.internal) {
        true => cx.events.internal_span(Work::Exec, title),
        false => cx.events.span(Work::Exec, title),
    }
}

/// The secrets of the process whose plaintext is known already.
pub(crate) fn known_secrets(cx: &OpContext, exec: &ExecOp) -> Secrets {
    let files = exec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Secret { secret, .. } => Some(secret),
        _ => None,
    });
    let all = exec.secret_env.iter().map(|(_, secret)| secret).chain(files);
    let known: Vec<Arc<Plaintext>> = all.filter_map(|secret| cx.secrets.known(secret)).collect();
    Secrets::new(known.iter().map(|plaintext| plaintext.bytes()))
}

/// Shortens a command line to one line.
fn short(line: &str) -> String {
    let mut words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > MAX_TITLE_CHARS {
        words = words.chars().take(MAX_TITLE_CHARS - 1).chain(['…']).collect();
    }
    format!("exec {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles() {
        let check = |args: &[&str], want: &str| {
            assert_eq!(short(&args.join(" ")), want);
        };
        check(&["sh", "-c", "a\n  b"], "exec sh -c a b");
        check(&["x".repeat(100).as_str()], &format!("exec {}…", "x".repeat(79)));
    }
}
