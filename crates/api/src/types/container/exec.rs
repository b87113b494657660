//! `withExec`: runs a process and takes over the files that it leaves.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::exec::{ExecOp, Expect, Scope, Stdin};
use rondel_model::op::ExecOutput;
use rondel_model::{AbsPath, Container, Fs, FsOp, Mount, MountSource};
use rondel_session::{Args, ExecScope, client};

use super::value::change;
use crate::expand::expand;
use crate::{command, entitlement_seal, inputs};
use rondel_surface::Surface;

/// The options of a process, beside its container.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The command line. Empty means the default arguments.
    pub args: Vec<String>,
    /// Whether the entrypoint goes before the command line.
    pub use_entrypoint: bool,
    /// Standard input.
    pub stdin: Stdin,
    /// A file that receives standard output.
    pub redirect_stdout: Option<AbsPath>,
    /// A file that receives standard error.
    pub redirect_stderr: Option<AbsPath>,
    /// The exit codes that are no error.
    pub expect: Expect,
    /// The exec scope. `None` for a process without API access.
    pub scope: Option<Scope>,
    /// Whether it has all capabilities.
    pub insecure: bool,
    /// Whether it runs as pid 1, without an init process.
    pub no_init: bool,
    /// Distinguishes it from an otherwise equal process.
    pub salt: Option<String>,
}

impl ExecRequest {
    /// A process with default options.
    pub fn new(args: Vec<String>, use_entrypoint: bool) -> Self {
        Self {
            args,
            use_entrypoint,
            stdin: Stdin::Empty,
            redirect_stdout: None,
            redirect_stderr: None,
            expect: Expect::Success,
            scope: None,
            insecure: false,
            no_init: false,
            salt: None,
        }
    }

    /// The exec op of the process in `container`.
    ///
    /// # Errors
    /// When there is no command.
    pub fn in_container(self, container: &Container) -> Result<ExecOp> {
        let args = command::resolve(&container.config, &self.args, self.use_entrypoint)?;
        Ok(ExecOp {
            stdin: self.stdin,
            redirect_stdout: self.redirect_stdout,
            redirect_stderr: self.redirect_stderr,
            expect: self.expect,
            scope: self.scope,
            insecure: self.insecure,
            no_init: self.no_init,
            salt: self.salt,
            ..container.exec(args)
        })
    }
}

/// The container after `exec` ran in `container`.
pub fn after(container: &Container, exec: ExecOp) -> Container {
    let exec = Arc::new(exec);
    let tree = |output| Fs::new(FsOp::Exec { exec: exec.clone(), output });
    let mut next = container.clone();
    next.rootfs = tree(ExecOutput::Rootfs);
    next.image_ref = None;
    let is_left = |mount: &&Mount| {
        matches!(mount.source, MountSource::Directory { read_only: false, .. } | MountSource::File { .. })
    };
    if container.mounts.iter().any(|mount| is_left(&mount)) {
        let left = |mount: &Mount| {
            let mut mount = mount.clone();
            if let MountSource::Directory { fs, read_only: false, owner, .. } | MountSource::File { fs, owner, .. } =
                &mut mount.source
            {
                // The owner is set already, and the process may have changed it.
                (*fs, *owner) = (tree(ExecOutput::Mount(mount.target.clone())), None);
            }
            mount
        };
        next.mounts = container.mounts.iter().map(left).collect();
    }
    next.last_exec = Some(exec.clone());
    next
}

pub(super) fn register(surface: &mut Surface) {
    change(surface, "withExec", with_exec);
    entitlement_seal::guard(surface, super::value::TYPE, "withExec");
}

fn with_exec(container: &Container, args: &Args) -> Result<Container> {
    Ok(after(container, request(container, args)?.in_container(container)?))
}

fn request(container: &Container, args: &Args) -> Result<ExecRequest> {
    let words = args.strings("args")?;
    let words = match args.bool("expand")? {
        true => words.iter().map(|word| expand(container, word)).collect::<Result<_>>()?,
        false => words,
    };
    let mut request = ExecRequest::new(words, use_entrypoint(args)?);
    request.stdin = stdin(container, args)?;
    request.redirect_stdout = redirect(container, args, "redirectStdout")?;
    request.redirect_stderr = redirect(container, args, "redirectStderr")?;
    request.expect = inputs::expect(args)?;
    request.insecure = entitlement_seal::insecure(args)?;
    request.no_init = args.bool("noInit")?;
    if args.bool("experimentalPrivilegedNesting")? {
        let me = client(args.caller());
        request.scope = Some(ExecScope::of_child(me.scope.as_deref()).into_op_scope());
    }
    Ok(request)
}

/// In views with `skipEntrypoint` that argument alone decides. Its default is false.
fn use_entrypoint(args: &Args) -> Result<bool> {
    match args.field().arg("skipEntrypoint") {
        Some(_) => args.bool("skipEntrypoint").map(|skip| !skip),
        None => args.bool("useEntrypoint"),
    }
}

fn stdin(container: &Container, args: &Args) -> Result<Stdin> {
    let text = args.opt_str("stdin")?.filter(|text| !text.is_empty());
    match (text, redirect(container, args, "redirectStdin")?) {
        (Some(_), Some(_)) => Err(Fault::user("cannot set both `stdin` and `redirectStdin`")),
        (Some(text), None) => Ok(Stdin::Text(text)),
        (None, Some(path)) => Ok(Stdin::File(path)),
        (None, None) => Ok(Stdin::Empty),
    }
}

fn redirect(container: &Container, args: &Args, name: &str) -> Result<Option<AbsPath>> {
    match args.opt_str(name)?.filter(|path| !path.is_empty()) {
        Some(_) => inputs::path(container, args, name).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use rondel_model::{Mount, Platform};

    use super::*;

    fn container() -> Container {
        let mut c = Container::scratch(Platform::native()).configure(|config| {
            config.entrypoint = Some(vec!["sh".into()]);
            config.set_env("A", "1");
            config.working_dir = "/w".into();
        });
        let directory = |read_only| MountSource::Directory {
            fs: Fs::scratch(),
            path: AbsPath::new("/sub"),
            read_only,
            owner: None,
        };
        c.mounts.push(Mount { target: AbsPath::new("/rw"), source: directory(false) });
        c.mounts.push(Mount { target: AbsPath::new("/ro"), source: directory(true) });
        let file = MountSource::File { fs: Fs::scratch(), path: AbsPath::new("/f"), owner: None };
        c.mounts.push(Mount { target: AbsPath::new("/file"), source: file });
        c
    }

    #[test]
    fn a_process_takes_the_container_along() {
        let exec =
            ExecRequest::new(vec!["-c".into(), "true".into()], true).in_container(&container()).expect("has a command");
        assert_eq!(exec.args, ["sh", "-c", "true"]);
        assert_eq!(exec.env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(exec.workdir.as_str(), "/w");
        assert!(ExecRequest::new(vec![], false).in_container(&container()).is_err());
    }

    #[test]
    fn writable_mounts_become_what_the_process_left() {
        let before = container();
        let exec = ExecRequest::new(vec!["x".into()], false).in_container(&before).expect("has a command");
        let next = after(&before, exec);
        assert!(matches!(next.rootfs.op(), FsOp::Exec { output: ExecOutput::Rootfs, .. }));
        let source = |at: usize| match &next.mounts.get(at).expect("is there").source {
            MountSource::Directory { fs, path, .. } | MountSource::File { fs, path, .. } => {
                (fs.clone(), path.to_string())
            }
            other => panic!("{other:?}"),
        };
        for (at, inside, mounted) in [(0, "/sub", "/rw"), (2, "/f", "/file")] {
            let (fs, path) = source(at);
            assert_eq!(path, inside);
            assert!(
                matches!(fs.op(), FsOp::Exec { output: ExecOutput::Mount(target), .. } if target.as_str() == mounted)
            );
        }
        assert!(matches!(source(1).0.op(), FsOp::Known(_)));
        assert!(next.last_exec.is_some());
    }
}
