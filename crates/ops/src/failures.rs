//! Opens a terminal in the state that a failed process left (`--interactive`).
//!
//! *Invariants.* A failure is returned to every waiter at once, and the terminal opens afterwards.
//! No evaluation waits for a person. Nothing here is stored as a result.

use std::sync::Arc;

use rondel_fault::{Detail, Fault, Result};
use rondel_model::exec::{Expect, MountSource, Stdin};
use rondel_model::{ExecOp, Fs};
use rondel_ports::snapshots::Label;
use rondel_ports::streams::Stream;

use crate::Ops;
use crate::context::{FailedExec, Failures, OpContext};
use crate::process::{ExitedMounts, Process, title};
use crate::terminal::with_term;

/// The last lines of output that are shown with a failure.
const MAX_OUTPUT_LINES: usize = 20;

impl Process<'_> {
    /// Fails with `fault`. Keeps the trees of the process if the client wants to inspect failures,
    /// otherwise discards them.
    pub(crate) async fn fail<T>(&self, fault: Fault, rest: ExitedMounts) -> Result<T> {
        let wanted =
            self.cx.failures.as_ref().filter(|failures| !self.cancel.is_cancelled() && failures.wants(self.exec));
        let Some(failures) = wanted else { return self.discard(rest.trees, fault).await };
        let ExitedMounts { trees, services, .. } = rest;
        let label = Label::new("regular", "Container.withExec", title(self.cx, self.exec));
        let committed = self.ops.blocking(move |ops| trees.commit(&*ops.ports().snapshots, &label)).await;
        match committed {
            Ok((rootfs, mounts)) => {
                let mut exec = ExecOp { rootfs: Fs::known(rootfs), ..(**self.exec).clone() };
                for mount in &mut exec.mounts {
                    let Some(left) = mounts.get(&mount.target) else { continue };
                    match &mut mount.source {
                        MountSource::Directory { fs, owner, .. } | MountSource::File { fs, owner, .. } => {
                            // The owner was applied before the process ran, and the process may
                            // have changed it.
                            (*fs, *owner) = (Fs::known(left.clone()), None);
                        }
                        MountSource::Bind { fs, .. } => *fs = Fs::known(left.clone()),
                        _ => {}
                    }
                }
                let cx = OpContext { failures: None, ..self.cx.clone() };
                let left = FailedExec { of: self.exec.digest(), exec, fault: fault.clone(), cx, services };
                failures.push(left);
                Err(fault)
            }
            Err(why) => Err(fault.with_hint(format!("what it left cannot be shown: {}", why.full_message()))),
        }
    }
}

impl Ops {
    /// Runs the command of `failures` in place of a failed process on `terminal`, until the command
    /// or the client ends.
    ///
    /// # Errors
    /// When the command cannot be started, or the client disconnected.
    pub async fn show_failed_exec(
        self: &Arc<Self>,
        failures: &Failures,
        left: FailedExec,
        terminal: Stream,
    ) -> Result<()> {
        let FailedExec { exec, fault, cx, services: _services, .. } = left;
        let exec = ExecOp {
            args: failures.command().to_vec(),
            env: with_term(exec.env),
            stdin: Stdin::Empty,
            redirect_stdout: None,
            redirect_stderr: None,
            expect: Expect::Any,
            ..exec
        };
        self.interact_after(&cx, exec, terminal, intro(&fault)).await.map(drop)
    }
}

/// The text above the terminal.
fn intro(fault: &Fault) -> String {
    let mut lines = vec![String::new()];
    lines.extend(fault.to_string().lines().map(ToOwned::to_owned));
    if let Some(Detail::Exec(failure)) = fault.detail() {
        let said = [&failure.stderr, &failure.stdout].into_iter().find(|text| !text.trim().is_empty());
        let said: Vec<&str> = said.map_or("", |text| text.trim_end()).lines().collect();
        lines.extend(said.iter().skip(said.len().saturating_sub(MAX_OUTPUT_LINES)).map(|line| (*line).to_owned()));
    }
    lines.push("This terminal shows what it left; when you leave it, the error is told.".to_owned());
    lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use rondel_fault::ExecFailure;

    use super::*;

    #[test]
    fn what_stands_above_the_terminal() {
        let check = |stdout: &str, stderr: &str, want: &[&str]| {
            let failure =
                ExecFailure { cmd: vec!["x".into()], exit_code: 3, stdout: stdout.into(), stderr: stderr.into() };
            let text = intro(&Fault::exec("it\nfailed", failure));
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            assert_eq!(lines.first_chunk(), Some(&["", "it", "failed"]));
            assert_eq!(lines.get(3..lines.len() - 1), Some(want));
        };
        check("", "", &[]);
        check("out\n", "", &["out"]);
        check("out\n", "a\nb\n\n", &["a", "b"]);
        let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let last: Vec<&str> = many.iter().skip(30).map(String::as_str).collect();
        check(&many.join("\n"), " \n", &last);
    }
}
