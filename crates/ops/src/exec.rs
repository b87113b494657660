//! Evaluates processes: looks the result up by key, or runs the process once and stores an expected
//! result.

use std::fs::{File, OpenOptions};
use std::io::Seek;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use futures_util::future::try_join_all;
use rondel_digest::Digest;
use rondel_events::{Attribute, Outcome, Work};
use rondel_fault::{Attempt, Fault, Kind, Result};
use rondel_model::explain::Ended;
use rondel_model::{ExecOp, Snapshot};
use rondel_ports::dirs::TempDir;
use rondel_ports::outcome::outcome;
use rondel_ports::snapshots::Label;
use rondel_ports::{BoxFuture, CancellationToken};

use crate::context::{ExecResult, OpContext, end_wait};
use crate::output::Written;
use crate::process::{ExitedMounts, Finished, Process, Unfinished, span, title};
use crate::{Ops, key};

impl Ops {
    /// Evaluates a process. Concurrent and repeated calls share one run. An unexpected result is
    /// not stored.
    ///
    /// # Errors
    /// When it cannot run, or its exit code is not expected, then with the exec failure as detail.
    pub async fn exec(self: &Arc<Self>, cx: &OpContext, exec: &Arc<ExecOp>) -> Result<Arc<ExecResult>> {
        let digest = exec.digest();
        if let Some(result) = self.execs.get(&digest) {
            if self.complete(&result) {
                return Ok(result);
            }
            self.execs.remove(&[digest]);
        }
        let label = || title(cx, exec).into();
        let joined = |label: &str| cx.wait_for_other(Work::Exec, label);
        let (ops, own, op) = (self.clone(), cx.clone(), exec.clone());
        let work = move || ops.find_or_run(own, op);
        let (result, waited) = self.execs.evaluate_for(cx.scopes.session(), digest, joined, label, work).await;
        end_wait(waited, &result);
        result
    }

    fn complete(&self, result: &ExecResult) -> bool {
        snapshots(result).into_iter().all(|snapshot| self.ports.snapshots.touch_if_present(snapshot))
    }

    /// Boxed, because the trees it needs may call [`Ops::exec`] recursively.
    fn find_or_run(self: Arc<Self>, cx: OpContext, exec: Arc<ExecOp>) -> BoxFuture<'static, Result<Arc<ExecResult>>> {
        Box::pin(async move {
            let _in_use = self.mark_in_use();
            if exec.args.is_empty() {
                return Err(no_command());
            }
            let inputs = try_join_all(exec.inputs().into_iter().map(|fs| self.tree(&cx, fs))).await?;
            let key = key::exec(&exec, &inputs);
            let stored = self.stored::<ExecResult>(&key, &self.stats.execs_cached, snapshots);
            if let Some(result) = stored.filter(|result| exec.expect.admits(result.exit_code)) {
                let span = span(&cx, &exec);
                span.emitter().attribute(&Attribute::ExecId(key.short()));
                self.explain_exec(&cx, span.emitter(), &exec, &inputs, Ended::Cached);
                span.end(Outcome::Cached);
                return Ok(Arc::new(result));
            }
            let flight = rondel_digest::of("run/v1", &(key, exec.expect));
            if self.runs.get(&flight).is_some_and(|result| !self.complete(&result)) {
                self.runs.remove(&[flight]);
            }
            let (ops, own, label) = (self.clone(), cx.clone(), title(&cx, &exec));
            let joined = |label: &str| own.wait_for_other(Work::Exec, label);
            let work = move || ops.supervise(cx, exec, inputs, key);
            let session = own.scopes.session();
            let (result, waited) = self.runs.evaluate_for(session, flight, joined, || label.into(), work).await;
            end_wait(waited, &result);
            result
        })
    }

    /// Runs the process in its own task, which cleans up even when the caller is dropped.
    async fn supervise(
        self: Arc<Self>,
        cx: OpContext,
        exec: Arc<ExecOp>,
        inputs: Vec<Snapshot>,
        key: Digest,
    ) -> Result<Arc<ExecResult>> {
        let cancel = CancellationToken::new();
        let stop = cancel.clone().drop_guard();
        let in_use = self.mark_in_use();
        let task = tokio::spawn(rondel_graph::inherit(async move {
            let span = span(&cx, &exec);
            span.emitter().attribute(&Attribute::ExecId(key.short()));
            let run = Run(Process { ops: &self, cx: &cx, exec: &exec, events: span.emitter(), cancel: &cancel });
            let result = run.run(inputs, key).await;
            let _in_use = in_use;
            span.end(outcome(&result));
            result.map(Arc::new)
        }));
        let result = task.await.unwrap_or_else(|e| Err(Fault::bug(format!("running a process panicked: {e}"))));
        drop(stop.disarm());
        result
    }
}

fn snapshots(result: &ExecResult) -> Vec<&Snapshot> {
    std::iter::once(&result.rootfs).chain(result.mounts.values()).collect()
}

/// One run of a process whose result is stored.
struct Run<'a>(Process<'a>);

impl Run<'_> {
    async fn run(&self, inputs: Vec<Snapshot>, key: Digest) -> Result<ExecResult> {
        let (_scratch, redirects) = self.redirects().await?;
        let decided = inputs.clone();
        let finished = match self.0.attempt(inputs, redirects, None).await? {
            Ok(finished) => finished,
            // After an error of the kernel, a terminal would fail as well, so only user errors are
            // shown.
            Err(Unfinished { fault, rest }) if fault.kind() == Kind::User => return self.0.fail(fault, rest).await,
            Err(Unfinished { fault, rest }) => return self.0.discard(rest.trees, fault).await,
        };
        let exec = self.0.exec;
        let admitted = exec.expect.admits(finished.exit_code);
        let ended = if admitted { Ended::Ran } else { Ended::Failed };
        self.0.ops.explain_exec(self.0.cx, self.0.events, exec, &decided, ended);
        if !admitted {
            let fault = finished.failure(exec);
            return self.0.fail(fault, finished.rest).await;
        }
        let limited = finished.limit.is_some();
        let result = self.keep(finished).await?;
        // A process that reached a limit may end differently the next time.
        if !limited {
            self.0.ops.store(&key, &result)?;
        }
        Ok(result)
    }

    /// Opens the files that receive redirected streams, and the directory that holds them.
    async fn redirects(&self) -> Result<(Option<TempDir>, [Option<File>; 2])> {
        let wanted = [self.0.exec.redirect_stdout.is_some(), self.0.exec.redirect_stderr.is_some()];
        if wanted == [false, false] {
            return Ok((None, [None, None]));
        }
        let dir = self.0.ops.temp_dir().await?;
        let open = |wanted: bool, name: &str| wanted.then(|| redirect_file(&dir, name)).transpose();
        let files = [open(wanted[0], "stdout")?, open(wanted[1], "stderr")?];
        Ok((Some(dir), files))
    }

    async fn keep(&self, finished: Finished) -> Result<ExecResult> {
        let exec = self.0.exec.clone();
        let command = title(self.0.cx, &exec);
        let label = Label::new("regular", "Container.withExec", command.clone());
        self.0
            .ops
            .blocking(move |ops| {
                let store = &*ops.ports().snapshots;
                let Finished { exit_code, written, rest: ExitedMounts { trees, .. }, .. } = finished;
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
                let committed = trees.commit(store, &label);
                let keeping = || format!("cannot keep the files that `{command}` wrote");
                let (rootfs, mounts) = committed.map_err(|e| e.context(keeping()))?;
                Ok(ExecResult { exit_code, stdout, stderr, combined, rootfs, mounts })
            })
            .await
    }
}

/// The error for a process without a command.
pub(crate) fn no_command() -> Fault {
    // Clients match on this text; see behaviour EXEC-003.
    Fault::user("no command has been set")
        .with_hint("name it in `args`, or set one with `withDefaultArgs` or `withEntrypoint`")
}

/// Opens a new file `name` in `dir` that receives a redirected stream.
fn redirect_file(dir: &TempDir, name: &str) -> Result<File> {
    let path = dir.path().join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    options.open(&path).attempt(|| format!("make `{}`", path.display()))
}
