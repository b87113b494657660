//! Output and exit code of the last process, and `sync`.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::exec::ExecOp;
use rondel_model::{Container, MountSource, Value};
use rondel_ops::ExecResult;
use rondel_query::{Node, Outcome};
use rondel_session::{Args, ResolverContext, client, client::op_cx};
use rondel_version::View;

use super::exec::ExecRequest;
use super::value::{TYPE, of};
use crate::command;
use rondel_surface::Surface;

/// In views before this one, `stdout` and `stderr` of a container without a process run its
/// entrypoint and default arguments.
const NO_DEFAULT_RUN: View = View::new(0, 12, 0);

pub(super) fn register(surface: &mut Surface) {
    output(surface, "stdout", NO_DEFAULT_RUN, |result| Value::string(result.stdout.clone()));
    output(surface, "stderr", NO_DEFAULT_RUN, |result| Value::string(result.stderr.clone()));
    output(surface, "combinedOutput", View::new(0, 0, 0), |result| Value::string(result.combined.clone()));
    output(surface, "exitCode", View::new(0, 0, 0), |result| Value::Int(i64::from(result.exit_code)));
    surface.field(TYPE, "sync", sync);
}

/// Registers a field that returns a part of the last result. In views before `no_default_run` it
/// runs the default arguments if there was no process.
fn output(surface: &mut Surface, field: &str, no_default_run: View, part: fn(&ExecResult) -> Value) {
    surface.field(TYPE, field, move |cx, node, _| async move {
        let exec = last(of(&node)?, cx.view < no_default_run)?;
        let result = client(&cx.caller).services.ops.exec(&op_cx(&cx), &exec).await?;
        Ok(part(&result).into())
    });
}

/// The last process. If there was none and `default_run` is set, the process of the default
/// arguments.
fn last(container: &Container, default_run: bool) -> Result<Arc<ExecOp>> {
    match &container.last_exec {
        Some(exec) => Ok(exec.clone()),
        None if default_run => ExecRequest::new(Vec::new(), true).in_container(container).map(Arc::new),
        None => Err(command::none()),
    }
}

async fn sync(cx: ResolverContext, node: Node, _: Args) -> Result<Outcome> {
    let container = of(&node)?;
    let (ops, op_cx) = (&client(&cx.caller).services.ops, op_cx(&cx));
    ops.tree(&op_cx, &container.rootfs).await?;
    for mount in container.mounts.iter() {
        if let MountSource::Directory { fs, .. } | MountSource::File { fs, .. } = &mount.source {
            ops.tree(&op_cx, fs).await?;
        }
    }
    Ok(Value::string(cx.evaluator.id_of(&node)?).into())
}

#[cfg(test)]
mod tests {
    use rondel_model::Platform;

    use super::*;

    #[test]
    fn default_arguments_run_in_old_views_only() {
        let container = Container::scratch(Platform::native()).configure(|config| {
            config.entrypoint = Some(vec!["entry".into()]);
            config.cmd = Some(vec!["cmd".into()]);
        });
        let refused = |container, default_run| last(container, default_run).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(last(&container, true).expect("a process").args, ["entry", "cmd"]);
        assert_eq!(refused(&container, false), Err("no command has been set".into()));
        assert_eq!(refused(&Container::scratch(Platform::native()), true), Err("no command has been set".into()));
    }
}
