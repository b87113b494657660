//! Processes: found by key, or run once and remembered when they end as expected.

use std::fs::{File, OpenOptions};
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_digest::Digest;
use rondel_events::{Emitter, Outcome, Work};
use rondel_fault::{Attempt, ExecFailure, Fault, Kind, Result};
use rondel_model::exec::{MountSource, Stdin};
use rondel_model::{ExecOp, SecretRef, Snapshot};
use rondel_ports::network::Network;
use rondel_ports::process::{ProcessMount, ProcessSpec, ProcessStdin};
use rondel_ports::secrets::Plaintext;
use rondel_ports::{BoxFuture, CancellationToken};

use crate::cx::{ExecResult, OpCx, ScopedProcess};
use crate::mounts::{self, Prepared, Trees};
use crate::options::{BUNDLE_TARGET, BUNDLE_VARIABLES, DEFAULT_PATH, HOSTNAME, Options};
use crate::output::{Capture, Written};
use crate::scrub::Secrets;
use crate::stats::count;
use crate::volumes::Claims;
use crate::{Ops, key};

/// What a process that failed may have lacked.
const ALONE: &str = "containers reach nothing outside; `rondel engine status` says why";

/// Names the version of the API that a process wants which speaks for no module. Clients know this name.
const VERSION_VARIABLE: &str = "_EXPERIMENTAL_DAGGER_VERSION";

/// The most characters of a command line in the name of a span.
const SHOWN: usize = 80;

impl Ops {
    /// What the process leaves behind. It runs at most once, whoever asks; a result that is not expected is not kept.
    ///
    /// # Errors
    /// When it cannot run, or its exit code is not expected (then with the detail of a process).
    pub async fn exec(self: &Arc<Self>, cx: &OpCx, exec: &Arc<ExecOp>) -> Result<Arc<ExecResult>> {
        let digest = exec.digest();
        if let Some(result) = self.execs.peek(&digest) {
            if self.complete(&result) {
                return Ok(result);
            }
            self.execs.retain(|other, _| *other != digest);
        }
        let (ops, cx, exec) = (self.clone(), cx.clone(), exec.clone());
        self.execs.evaluate(digest, move || ops.find_or_run(cx, exec)).await
    }

    fn complete(&self, result: &ExecResult) -> bool {
        snapshots(result).into_iter().all(|snapshot| self.ports.snapshots.has(snapshot))
    }

    /// Boxed: it leads back to [`Ops::exec`] by the trees it needs.
    fn find_or_run(self: Arc<Self>, cx: OpCx, exec: Arc<ExecOp>) -> BoxFuture<'static, Result<Arc<ExecResult>>> {
        Box::pin(async move {
            if exec.args.is_empty() {
                return Err(Fault::user("no command has been set"));
            }
            let inputs = try_join_all(exec.inputs().into_iter().map(|fs| self.tree(&cx, fs))).await?;
            let key = key::exec(&exec, &inputs);
            let stored = self.stored::<ExecResult>(&key, &self.stats.execs_cached, snapshots);
            if let Some(result) = stored.filter(|result| exec.expect.admits(result.exit_code)) {
                cx.events.span(Work::Exec, title(&exec.args)).end(Outcome::Cached);
                return Ok(Arc::new(result));
            }
            let flight = rondel_digest::of("run/v1", &(key, exec.expect));
            if self.runs.peek(&flight).is_some_and(|result| !self.complete(&result)) {
                self.runs.retain(|other, _| *other != flight);
            }
            let ops = self.clone();
            self.runs.evaluate(flight, move || ops.supervise(cx, exec, inputs, key)).await
        })
    }

    /// Runs the process in a task of its own, which cleans up even when nobody waits for it any more.
    async fn supervise(
        self: Arc<Self>,
        cx: OpCx,
        exec: Arc<ExecOp>,
        inputs: Vec<Snapshot>,
        key: Digest,
    ) -> Result<Arc<ExecResult>> {
        let cancel = CancellationToken::new();
        let stop = cancel.clone().drop_guard();
        let task = tokio::spawn(async move {
            let span = cx.events.span(Work::Exec, title(&exec.args));
            let run = Run { ops: &self, cx: &cx, exec: &exec, events: span.emitter(), cancel: &cancel };
            let result = run.run(inputs, key).await;
            match &result {
                Ok(_) => span.end(Outcome::Done),
                Err(fault) if fault.kind() == Kind::Cancelled => span.end(Outcome::Cancelled),
                Err(fault) => span.end(Outcome::Failed(fault.to_string())),
            }
            result.map(Arc::new)
        });
        let result = task.await.unwrap_or_else(|e| Err(Fault::bug(format!("running a process panicked: {e}"))));
        drop(stop.disarm());
        result
    }
}

fn snapshots(result: &ExecResult) -> Vec<&Snapshot> {
    std::iter::once(&result.rootfs).chain(result.mounts.values()).collect()
}

/// One run of one process.
struct Run<'a> {
    ops: &'a Arc<Ops>,
    cx: &'a OpCx,
    exec: &'a Arc<ExecOp>,
    events: &'a Emitter,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    async fn run(&self, inputs: Vec<Snapshot>, key: Digest) -> Result<ExecResult> {
        let (secret_env, secret_files) = self.plaintexts().await?;
        let secrets = Secrets::new(secret_env.iter().chain(&secret_files).map(Plaintext::bytes));
        let claims = tokio::select! {
            claims = self.ops.volumes.claim(self.exec) => Arc::new(claims),
            () = self.cancel.cancelled() => return Err(Fault::cancelled("nobody waits for the process any more")),
        };
        let (_scratch, redirects) = self.redirects().await?;
        let capture = Capture::new(self.events.clone(), &secrets, redirects);
        let network = self.connect().await?;
        let alone = network.address.is_none();
        // ORDER: dropped after the network: a process with every capability may have changed the namespace, which no other
        // process is given as long as there is a handle of it.
        let _spoilt = self.exec.insecure.then(|| network.namespace.clone());
        let resolver = network.resolv_conf.is_some();
        let Prepared { trees, root, mounts } = self.prepare(inputs, claims.clone(), secret_files, resolver).await?;
        let exit_code = match self.start(root, mounts, network, &secret_env, &capture).await {
            Ok(code) => code,
            Err(fault) => return self.discard(trees, clean(fault, &secrets)).await,
        };
        let written = capture.finish();
        let settled = match written {
            Ok(written) if self.exec.expect.admits(exit_code) => self.keep(trees, written, exit_code).await,
            Ok(written) => {
                let fault = failure(&self.exec.args, exit_code, written, &secrets);
                self.discard(trees, if alone { fault.with_hint(ALONE) } else { fault }).await
            }
            Err(fault) => self.discard(trees, fault).await,
        };
        drop(claims);
        let result = settled?;
        self.ops.store(&key, &result)?;
        Ok(result)
    }

    async fn plaintexts(&self) -> Result<(Vec<Plaintext>, Vec<Plaintext>)> {
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

    /// Files that receive what is redirected, and the folder that holds them.
    async fn redirects(&self) -> Result<(Option<Scratch>, [Option<File>; 2])> {
        let wanted = [self.exec.redirect_stdout.is_some(), self.exec.redirect_stderr.is_some()];
        if wanted == [false, false] {
            return Ok((None, [None, None]));
        }
        let scratch = Scratch::new(self.ops).await?;
        let open = |wanted: bool, name: &str| wanted.then(|| scratch.file(name)).transpose();
        let files = [open(wanted[0], "stdout")?, open(wanted[1], "stderr")?];
        Ok((Some(scratch), files))
    }

    async fn prepare(
        &self,
        inputs: Vec<Snapshot>,
        claims: Arc<Claims>,
        secrets: Vec<Plaintext>,
        resolver: bool,
    ) -> Result<Prepared> {
        let exec = self.exec.clone();
        self.ops.blocking(move |ops| mounts::prepare(ops, &exec, &inputs, &claims, secrets, resolver)).await
    }

    async fn connect(&self) -> Result<Network> {
        tokio::select! {
            network = self.ops.ports().networks.connect() => network,
            () = self.cancel.cancelled() => Err(Fault::cancelled("nobody waits for the process any more")),
        }
    }

    /// Runs the process on what is prepared; its exit code.
    async fn start(
        &self,
        root: OwnedFd,
        mounts: Vec<ProcessMount>,
        network: Network,
        secret_env: &[Plaintext],
        capture: &Capture,
    ) -> Result<i32> {
        let ports = self.ops.ports();
        let binding = match &self.exec.scope {
            Some(scope) => {
                let process = ScopedProcess {
                    listener: ports.networks.listen(&network)?,
                    events: self.events.clone(),
                    root: root.try_clone().attempt(|| "hold the root of a container".into())?,
                    workdir: self.exec.workdir.clone(),
                    version: variable(&self.exec.env, VERSION_VARIABLE).map(ToOwned::to_owned),
                };
                Some(self.cx.scopes.bind(scope, process)?)
            }
            None => None,
        };
        let granted = binding.as_ref().map_or(&[][..], |binding| &binding.env);
        let spec = ProcessSpec {
            root,
            mounts,
            args: self.exec.args.clone(),
            env: environment(self.exec, secret_env, granted, &self.ops.options)?,
            workdir: self.exec.workdir.as_str().to_owned(),
            user: self.exec.user.clone(),
            hostname: HOSTNAME.to_owned(),
            insecure: self.exec.insecure,
            no_init: self.exec.no_init,
            network: Some(network.namespace.clone()),
            resolv_conf: network.resolv_conf.clone(),
            hosts: Vec::new(),
            stdin: match &self.exec.stdin {
                Stdin::Empty => ProcessStdin::Empty,
                Stdin::Text(text) => ProcessStdin::Bytes(text.as_bytes().to_vec()),
                Stdin::File(path) => ProcessStdin::Path(path.as_str().to_owned()),
            },
            stdout: capture.sink(0),
            stderr: capture.sink(1),
        };
        count(&self.ops.stats.execs_run);
        let exit = ports.processes.run(spec, self.cancel.clone()).await?;
        drop((binding, network));
        Ok(exit.code)
    }

    async fn keep(&self, trees: Trees, written: Written, exit_code: i32) -> Result<ExecResult> {
        let exec = self.exec.clone();
        self.ops
            .blocking(move |ops| {
                let store = &*ops.ports().snapshots;
                let Written { stdout, stderr, combined, redirects, .. } = written;
                let paths = [&exec.redirect_stdout, &exec.redirect_stderr];
                let redirected = paths.into_iter().zip(redirects).try_for_each(|(path, file)| match (path, file) {
                    (Some(path), Some(mut file)) => {
                        file.rewind().attempt(|| format!("read what goes to `{path}`"))?;
                        trees.write(path, file)
                    }
                    _ => Ok(()),
                });
                if let Err(fault) = redirected {
                    trees.discard(store);
                    return Err(fault);
                }
                let (rootfs, mounts) = trees.commit(store)?;
                Ok(ExecResult { exit_code, stdout, stderr, combined, rootfs, mounts })
            })
            .await
    }

    async fn discard<T>(&self, trees: Trees, fault: Fault) -> Result<T> {
        self.ops
            .blocking(move |ops| {
                trees.discard(&*ops.ports().snapshots);
                Ok(())
            })
            .await?;
        Err(fault)
    }
}

/// A folder for the time of one run.
struct Scratch(std::path::PathBuf);

impl Scratch {
    async fn new(ops: &Arc<Ops>) -> Result<Self> {
        ops.blocking(|ops| ops.ports().snapshots.temp_dir()).await.map(Self)
    }

    fn file(&self, name: &str) -> Result<File> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).attempt(|| format!("make `{}`", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_folder(&self.0);
    }
}

/// Removes a temporary folder; what is left of it goes at the next start.
pub(crate) fn remove_folder(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
}

/// The environment of the process. What the user set stands; what the engine adds counts for no key.
fn environment(
    exec: &ExecOp,
    secrets: &[Plaintext],
    granted: &[(String, String)],
    options: &Options,
) -> Result<Vec<(String, String)>> {
    let mut env = Environment(exec.env.clone());
    for (name, value) in &exec.volatile_env {
        env.set(name, value);
    }
    for ((name, _), plaintext) in exec.secret_env.iter().zip(secrets) {
        let text = std::str::from_utf8(plaintext.bytes())
            .map_err(|_| Fault::user(format!("the secret for the variable `{name}` is no UTF-8 text")))?;
        env.set(name, text);
    }
    env.set_unless_set("PATH", DEFAULT_PATH);
    for (name, value) in &options.proxies {
        env.set_unless_set(name, value);
    }
    if options.trust.bundle.is_some() {
        for name in BUNDLE_VARIABLES {
            env.set_unless_set(name, BUNDLE_TARGET);
        }
    }
    for (name, value) in granted {
        env.set(name, value);
    }
    Ok(env.0)
}

fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn set_unless_set(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(other, _)| other == name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }
}

fn failure(args: &[String], exit_code: i32, written: Written, secrets: &Secrets) -> Fault {
    let cmd: Vec<String> = args.iter().map(|arg| secrets.scrub(arg)).collect();
    let [stdout, stderr] = written.tails;
    // Clients match on these words.
    let message = format!("process \"{}\" did not complete successfully: exit code: {exit_code}", cmd.join(" "));
    Fault::exec(message, ExecFailure { cmd, exit_code, stdout, stderr })
}

/// `fault` without secrets.
fn clean(fault: Fault, secrets: &Secrets) -> Fault {
    let text = fault.to_string();
    let scrubbed = secrets.scrub(&text);
    if text == scrubbed {
        return fault;
    }
    fault.hints().iter().fold(Fault::new(fault.kind(), scrubbed), |clean, hint| clean.with_hint(secrets.scrub(hint)))
}

/// The name of a span: the command line in one line, shortened.
fn title(args: &[String]) -> String {
    let line = args.join(" ");
    let mut words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > SHOWN {
        words = words.chars().take(SHOWN - 1).chain(['…']).collect();
    }
    format!("exec {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles() {
        let check = |args: &[&str], want: &str| {
            assert_eq!(title(&args.iter().map(|&a| a.to_owned()).collect::<Vec<_>>()), want);
        };
        check(&["sh", "-c", "a\n  b"], "exec sh -c a b");
        check(&["x".repeat(100).as_str()], &format!("exec {}…", "x".repeat(79)));
    }
}
