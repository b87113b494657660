//! `RUN`: a process, and what is mounted while it runs.

use std::sync::Arc;

use rondel_model::entitlement::Entitlement;
use rondel_model::exec::ExecOp;
use rondel_model::op::{Edit, ExecOutput, Filter, ISOLATED, TreePath};
use rondel_model::{AbsPath, Fs, FsOp, Mount, MountSource, Owner, SecretRef, SocketRef};

use crate::build::Builder;
use crate::command::{Run, Words};
use crate::error::Location;
use crate::lines;
use crate::mount::{MountKind, MountSpec};
use crate::request::{Secret, Stop};
use crate::stage_state::StageState;

/// Where scripts of here-documents are mounted.
const SCRIPTS: &str = "/run/rondel-scripts";

/// Keeps the volumes of Dockerfiles apart from those that have the same name in the API.
const VOLUMES: &str = "dockerfile\u{1f}";

/// Stands between a namespace and the name of a volume in it.
const SEPARATOR: &str = "\u{1f}";

/// Where sockets of agents are mounted, without their number, and the variable that programs look
/// in.
const AGENTS: &str = "/run/ssh-agent";
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// A process in the making.
#[derive(Default)]
struct ExecParts {
    mounts: Vec<Mount>,
    secret_env: Vec<(String, SecretRef)>,
    env: Vec<(String, String)>,
}

impl StageState {
    /// Does what `RUN` says.
    pub(crate) fn run(
        &mut self,
        builder: &mut Builder<'_>,
        at: usize,
        run: &Run,
        location: &Location,
    ) -> Result<(), Stop> {
        let wanted = [(run.host_network, Entitlement::NetworkHost), (run.insecure, Entitlement::SecurityInsecure)];
        for (_, entitlement) in wanted.into_iter().filter(|(asked, _)| *asked) {
            if !builder.request.entitlements.contains(&entitlement) {
                return Err(location.denied(entitlement).into());
            }
        }
        let mut parts = ExecParts::default();
        let escape = builder.dockerfile.escape;
        for options in &run.mounts {
            let spec = options.resolve(location, |text| self.expand(escape, text, location))?;
            self.mount(builder, at, &spec, location, &mut parts)?;
        }
        let args = self.run_line(run, &mut parts);
        let given: Vec<_> =
            parts.mounts.iter().filter_map(secret_of).chain(parts.secret_env.iter().map(|(_, s)| s)).cloned().collect();
        let exec = ExecOp {
            mounts: parts.mounts,
            env: self.environment().into_iter().chain(parts.env).collect(),
            secret_env: parts.secret_env,
            volatile_env: self.proxies(builder.request),
            workdir: self.container.workdir(),
            user: self.container.config.user.clone(),
            insecure: run.insecure,
            no_init: builder.request.no_init,
            offline: run.offline,
            host_network: run.host_network,
            redact: self.container.redact.clone(),
            ..ExecOp::new(self.container.rootfs.clone(), args, self.container.platform.clone())
        };
        for secret in given {
            if !self.container.redact.contains(&secret) {
                self.container.redact.push(secret);
            }
        }
        self.container.rootfs = Fs::new(FsOp::Exec { exec: Arc::new(exec), output: ExecOutput::Rootfs });
        Ok(())
    }

    /// The command line. The shell reads here-documents itself, unless one is all there is.
    fn run_line(&self, run: &Run, parts: &mut ExecParts) -> Vec<String> {
        let (Words::Shell(text), [first, ..]) = (&run.words, &run.documents[..]) else {
            return self.command_line(&run.words);
        };
        if lines::here_document(text).is_none() {
            let documents = run.documents.iter().map(|document| format!("\n{}{}", document.text, document.name));
            let whole = std::iter::once(text.clone()).chain(documents).collect();
            return self.command_line(&Words::Shell(whole));
        }
        let content = first.content();
        if !content.starts_with("#!") {
            return self.command_line(&Words::Shell(content));
        }
        let path = AbsPath::root().join(&first.name);
        let edit = Edit::WriteFile {
            path: path.clone(),
            contents: content.as_bytes().into(),
            permissions: 0o755,
            owner: None,
        };
        let fs = Fs::new(FsOp::Edit { base: Fs::scratch(), edit });
        let target = AbsPath::new(SCRIPTS);
        let script = target.join_inside(path.as_str()).to_string();
        parts.mounts.push(Mount { target, source: MountSource::Bind { fs, path: AbsPath::root(), read_only: true } });
        vec![script]
    }

    fn mount(
        &self,
        builder: &mut Builder<'_>,
        at: usize,
        spec: &MountSpec,
        location: &Location,
        parts: &mut ExecParts,
    ) -> Result<(), Stop> {
        let target = spec.target.as_ref().map(|path| self.container.workdir().join(path));
        let source = spec.source.clone().unwrap_or_default();
        let at_target = target.clone().unwrap_or_else(AbsPath::root);
        let source = match spec.kind {
            MountKind::Bind => {
                let (fs, path) = self.bound(builder, at, spec, &source, location)?;
                MountSource::Bind { fs, path, read_only: spec.read_only.unwrap_or(true) }
            }
            MountKind::Cache => {
                let id = spec.id.clone().unwrap_or_else(|| at_target.to_string());
                let from = spec.from.as_ref().map(|from| builder.from(from, at, location)).transpose()?;
                let seed = from.map(|fs| TreePath { fs, path: AbsPath::new(&source) }.into_tree());
                let seed = seed.map(|fs| TreePath { fs, path: AbsPath::root() });
                let namespace = &builder.request.namespace;
                let separator = if namespace.is_empty() { "" } else { SEPARATOR };
                let volume = format!("{VOLUMES}{namespace}{separator}{id}");
                let owner = spec.owner().map(|owner| Owner(owner.into()));
                let source = seed.or_else(|| empty(spec.mode));
                let read_only = spec.read_only.unwrap_or(false);
                MountSource::Cache { volume, source, sharing: spec.sharing, owner, read_only }
            }
            MountKind::Temp => MountSource::Temp { size: spec.size },
            MountKind::Secret => {
                return self.secret(&builder.request.secrets, spec, target, location, parts);
            }
            MountKind::Ssh => {
                let id = spec.id.as_deref().unwrap_or("default");
                return agent(builder.request.ssh.as_ref(), spec, id, target, location, parts);
            }
        };
        parts.mounts.push(Mount { target: at_target, source });
        Ok(())
    }

    /// What a bind mount shows, as a tree that changes only when that does.
    fn bound(
        &self,
        builder: &mut Builder<'_>,
        at: usize,
        spec: &MountSpec,
        source: &str,
        location: &Location,
    ) -> Result<(Fs, AbsPath), Stop> {
        let path = AbsPath::new(source);
        let place = match &spec.from {
            Some(from) => TreePath { fs: builder.from(from, at, location)?, path },
            None => {
                let request = builder.request;
                if request.ignore.is_empty() {
                    let path = request.context.path.join_inside(path.as_str());
                    TreePath { fs: request.context.fs.clone(), path }
                } else {
                    let filter = Filter { exclude: request.ignore.clone(), ..Filter::default() };
                    let filtered = FsOp::Filter { source: request.context.clone(), filter: filter.into() };
                    TreePath { fs: Fs::new(filtered), path }
                }
            }
        };
        let place = place.isolated();
        Ok((place.fs, place.path))
    }

    fn secret(
        &self,
        secrets: &[Secret],
        spec: &MountSpec,
        target: Option<AbsPath>,
        location: &Location,
        parts: &mut ExecParts,
    ) -> Result<(), Stop> {
        let name = target.as_ref().and_then(|target| target.file_name().map(ToOwned::to_owned));
        let Some(id) = spec.source.clone().or_else(|| spec.id.clone()).or(name) else {
            return Err(location.error("a secret needs an `id` or a `target`").into());
        };
        let Some(found) = secrets.iter().find(|secret| secret.names.contains(&id)) else {
            // Users match on these words.
            let message = match (spec.required, secrets.is_empty()) {
                (false, _) => return Ok(()),
                (true, true) => format!("secret \"{id}\" is required but no secret mappings were provided"),
                (true, false) => format!("secret \"{id}\" is required but was not provided"),
            };
            return Err(location.error(message).into());
        };
        let file = id.rsplit('/').next().unwrap_or_default();
        if let Some(name) = &spec.env {
            let name = if name.is_empty() { file } else { name };
            parts.secret_env.push((name.to_owned(), found.secret.clone()));
        }
        if spec.env.is_none() || target.is_some() {
            let target = target.unwrap_or_else(|| AbsPath::new("/run/secrets").join_inside(file));
            let (owner, mode) = (spec.owner().map(|owner| Owner(owner.into())), spec.mode.unwrap_or(0o400));
            let source = MountSource::Secret { secret: found.secret.clone(), owner, mode };
            parts.mounts.push(Mount { target, source });
        }
        Ok(())
    }
}

/// The socket of an agent, and the variable by which programs find it.
fn agent(
    socket: Option<&SocketRef>,
    spec: &MountSpec,
    id: &str,
    target: Option<AbsPath>,
    location: &Location,
    parts: &mut ExecParts,
) -> Result<(), Stop> {
    let Some(socket) = socket else {
        return match spec.required {
            true => Err(location.error(format!("ssh \"{id}\" is required but no ssh mappings were provided")).into()),
            false => Ok(()),
        };
    };
    let before = parts.mounts.iter().filter(|mount| matches!(mount.source, MountSource::Socket { .. })).count();
    let target = target.unwrap_or_else(|| AbsPath::new(&format!("{AGENTS}.{before}")));
    if before == 0 {
        parts.env.push((AGENT_VARIABLE.to_owned(), target.to_string()));
    }
    let source = MountSource::Socket { socket: socket.clone(), owner: spec.owner().map(|owner| Owner(owner.into())) };
    parts.mounts.push(Mount { target, source });
    Ok(())
}

fn secret_of(mount: &Mount) -> Option<&SecretRef> {
    match &mount.source {
        MountSource::Secret { secret, .. } => Some(secret),
        _ => None,
    }
}

/// An empty directory with the given permission bits.
fn empty(mode: Option<u32>) -> Option<TreePath> {
    let path = AbsPath::new(ISOLATED);
    let edit = Edit::MakeDir { path: path.clone(), permissions: mode?, owner: None };
    Some(TreePath { fs: Fs::new(FsOp::Edit { base: Fs::scratch(), edit }), path })
}
