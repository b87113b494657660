//! What the last process printed and how it ended; evaluation on request.

use std::sync::Arc;

use rondel_fault::Result;
use rondel_model::exec::ExecOp;
use rondel_model::{Container, MountSource, Value};
use rondel_ops::ExecResult;
use rondel_query::{Args, Cx, Node, Outcome};
use rondel_session::{client, client::op_cx};
use rondel_version::View;

use super::exec::ExecRequest;
use super::{TYPE, of};
use crate::Surface;

/// Views before this one run the entrypoint along with the default arguments.
const PLAIN_DEFAULT_ARGS: View = View::new(0, 12, 0);

pub(super) fn register(surface: &mut Surface) {
    output(surface, "stdout", |result| Value::string(result.stdout.clone()));
    output(surface, "stderr", |result| Value::string(result.stderr.clone()));
    output(surface, "combinedOutput", |result| Value::string(result.combined.clone()));
    output(surface, "exitCode", |result| Value::Int(i64::from(result.exit_code)));
    surface.field(TYPE, "sync", sync);
}

fn output(surface: &mut Surface, field: &str, part: fn(&ExecResult) -> Value) {
    surface.field(TYPE, field, move |cx, node, _| async move { Ok(part(&*run(&cx, &node).await?).into()) });
}

async fn run(cx: &Cx, node: &Node) -> Result<Arc<ExecResult>> {
    let exec = last(of(node)?, cx.view)?;
    client(&cx.caller)?.services.ops.exec(&op_cx(cx)?, &exec).await
}

/// The process that ran last; when none did, the one that the default arguments describe.
fn last(container: &Container, view: View) -> Result<Arc<ExecOp>> {
    match &container.last_exec {
        Some(exec) => Ok(exec.clone()),
        None => {
            let request = ExecRequest::new(Vec::new(), view < PLAIN_DEFAULT_ARGS);
            request.in_container(container).map(Arc::new)
        }
    }
}

async fn sync(cx: Cx, node: Node, _: Args) -> Result<Outcome> {
    let container = of(&node)?;
    let (ops, op_cx) = (&client(&cx.caller)?.services.ops, op_cx(&cx)?);
    ops.tree(&op_cx, &container.rootfs).await?;
    for mount in &container.mounts {
        if let MountSource::Directory { fs, .. } | MountSource::File { fs, .. } = &mount.source {
            ops.tree(&op_cx, fs).await?;
        }
    }
    Ok(Value::string(node.id()?).into())
}

#[cfg(test)]
mod tests {
    use rondel_model::Platform;
    use rondel_version::ENGINE;

    use super::*;

    #[test]
    fn default_arguments_run_when_nothing_did() {
        let container = Container::scratch(Platform::native()).configure(|config| {
            config.entrypoint = Some(vec!["entry".into()]);
            config.cmd = Some(vec!["cmd".into()]);
        });
        assert_eq!(last(&container, ENGINE).expect("a process").args, ["cmd"]);
        assert_eq!(last(&container, View::new(0, 11, 9)).expect("a process").args, ["entry", "cmd"]);
        let empty = Container::scratch(Platform::native());
        assert_eq!(last(&empty, ENGINE).map(|_| ()).map_err(|e| e.to_string()), Err("no command has been set".into()));
    }
}
