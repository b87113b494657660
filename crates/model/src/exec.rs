//! A process to run: everything that determines its result, and nothing else.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use rondel_digest::Digest;
use rondel_version::View;
use serde::{Serialize, Serializer};

use crate::op::{Fs, Owner};
use crate::path::AbsPath;
use crate::platform::Platform;
use crate::secret::SecretRef;
use crate::service::ServiceBinding;
use crate::socket::SocketRef;

/// A process to run in a container.
#[derive(Clone, Debug, Serialize)]
pub struct ExecOp {
    /// Its root.
    pub rootfs: Fs,
    /// The mounts, in the order in which they were added.
    pub mounts: Vec<Mount>,
    /// The command line, entrypoint included, never empty.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Environment variables whose values are secrets.
    pub secret_env: Vec<(String, SecretRef)>,
    /// Environment variables of which only the names are part of cache keys.
    #[serde(serialize_with = "names")]
    // IDENTITY: the values are volatile by contract. A process without the variable never shares a
    // result with a process that has it.
    pub volatile_env: Vec<(String, String)>,
    /// The working directory; made when missing.
    pub workdir: AbsPath,
    /// The user, as written: `name`, `name:group`, `uid`, `uid:gid`; empty is root.
    pub user: String,
    /// Its standard input.
    pub stdin: Stdin,
    /// A path in the container that receives standard output.
    pub redirect_stdout: Option<AbsPath>,
    /// A path in the container that receives standard error.
    pub redirect_stderr: Option<AbsPath>,
    /// Which exit codes are no error.
    pub expect: Expect,
    /// API access for the process, and the module it acts as.
    pub scope: Option<Scope>,
    /// All capabilities of the engine, no seccomp profile.
    pub insecure: bool,
    /// The process is pid 1 itself.
    pub no_init: bool,
    /// It has no network but loopback.
    pub offline: bool,
    /// It is in the network of the engine's machine.
    pub host_network: bool,
    /// Secrets that it does not get, and whose plaintext is still redacted from its output.
    // IDENTITY: hashed under its old name, so that recipe digests stay what they were.
    #[serde(rename = "scrub")]
    pub redact: Vec<SecretRef>,
    /// The platform of the root.
    pub platform: Platform,
    /// Services that run as long as it does, in the order in which they were bound.
    pub services: Vec<ServiceBinding>,
    /// Makes this process different from an otherwise equal one: a session id or a random number.
    pub salt: Option<String>,
    /// What people are shown instead of the command line.
    #[serde(skip)]
    // IDENTITY: for people only. Equal processes share a result, whatever they are called.
    pub title: Option<ExecTitle>,
}

/// What people are shown of a process that they did not write themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecTitle {
    /// The title, such as `install Python dependencies of module ci`.
    pub text: Arc<str>,
    /// The process is of no interest unless it fails.
    pub internal: bool,
}

/// Where standard input comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Stdin {
    /// Nothing.
    Empty,
    /// This text.
    Text(Arc<str>),
    /// A file in the container.
    File(AbsPath),
}

/// Which exit codes are no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Expect {
    /// Zero.
    Success,
    /// 1 to 127 and 192 to 255.
    Failure,
    /// 0 to 127 and 192 to 255.
    Any,
}

impl Expect {
    /// Whether `code` is no error.
    pub fn admits(self, code: i32) -> bool {
        let signal = (128..192).contains(&code);
        match self {
            Expect::Success => code == 0,
            Expect::Failure => code != 0 && !signal,
            Expect::Any => !signal,
        }
    }
}

/// The exec scope: the module that a process with API access acts as. Private to the engine: no
/// API, header or variable reaches it.
#[derive(Clone, Debug, Serialize)]
pub struct Scope {
    /// The view of the schema that it gets.
    // IDENTITY: the schema that the process sees influences its result.
    pub view: View,
    /// The implementation digest of the module it acts for.
    pub module: Option<Digest>,
    /// The engine's record of the scope.
    #[serde(skip)]
    // IDENTITY: the record exists only in this run of the engine and must never count.
    pub record: Option<ScopeRecord>,
}

/// The engine's record of an exec scope: `session::ExecScope`. Opaque here, because it refers to
/// modules, which are made of the values of this crate.
#[derive(Clone)]
pub struct ScopeRecord(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for ScopeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeRecord")
    }
}

/// The command of a terminal.
#[derive(Clone, Debug)]
pub struct TerminalCommand {
    /// The command line; empty: a shell.
    pub args: Vec<String>,
    /// The exec scope, with access to the API: of the client that set the command, not of the one
    /// that opens the terminal. `None`: without access.
    pub scope: Option<Scope>,
    /// All capabilities.
    pub insecure: bool,
}

/// Something mounted in a container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mount {
    /// Where.
    pub target: AbsPath,
    /// What.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum MountSource {
    /// A directory. The process works on its own copy.
    Directory {
        /// The tree.
        fs: Fs,
        /// The directory in it.
        path: AbsPath,
        /// Writes fail.
        read_only: bool,
        /// The owner of everything in it. `None` keeps the owners.
        owner: Option<Owner>,
    },
    /// A file.
    File {
        /// The tree.
        fs: Fs,
        /// The file in it.
        path: AbsPath,
        /// The owner. `None` keeps it.
        owner: Option<Owner>,
    },
    /// A directory or a file. Changes of the process are discarded with it.
    Bind {
        /// The tree.
        fs: Fs,
        /// The directory or file in it.
        path: AbsPath,
        /// Writes fail.
        read_only: bool,
    },
    /// A cache volume. It outlives containers, and its content is part of no cache key.
    Cache {
        /// The name of the volume, including its namespace. Name, source and owner identify the
        /// volume.
        volume: String,
        /// Its initial content.
        source: Option<crate::op::TreePath>,
        /// How concurrent users share it.
        sharing: Sharing,
        /// The initial owner of everything in it. `None` keeps the owners of the source.
        owner: Option<Owner>,
        /// Writes fail.
        read_only: bool,
    },
    /// A file system in memory.
    Temp {
        /// Its size in bytes. `None` is the kernel's default.
        size: Option<u64>,
    },
    /// A file with the plaintext of a secret.
    Secret {
        /// The secret.
        secret: SecretRef,
        /// The owner. `None` is root.
        owner: Option<Owner>,
        /// The permission bits.
        mode: u32,
    },
    /// A unix socket that is forwarded to a socket of a client.
    Socket {
        /// The client's socket.
        socket: SocketRef,
        /// The owner. `None` is root.
        owner: Option<Owner>,
    },
}

/// How concurrent users share a cache volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// Each has its own copy.
    Private,
    /// One after the other.
    Locked,
}

impl MountSource {
    /// The tree that is mounted, or that a new volume is filled from.
    pub fn fs(&self) -> Option<&Fs> {
        match self {
            Self::Directory { fs, .. }
            | Self::File { fs, .. }
            | Self::Bind { fs, .. }
            | Self::Cache { source: Some(crate::op::TreePath { fs, .. }), .. } => Some(fs),
            Self::Cache { source: None, .. } | Self::Temp { .. } | Self::Secret { .. } | Self::Socket { .. } => None,
        }
    }
}

impl ExecOp {
    /// A process as root in `/` of `rootfs`: no mounts, variables, input or API access, and zero as
    /// the one exit code that is no error.
    pub fn new(rootfs: Fs, args: Vec<String>, platform: Platform) -> Self {
        Self {
            rootfs,
            mounts: Vec::new(),
            args,
            env: Vec::new(),
            secret_env: Vec::new(),
            volatile_env: Vec::new(),
            workdir: AbsPath::root(),
            user: String::new(),
            stdin: Stdin::Empty,
            redirect_stdout: None,
            redirect_stderr: None,
            expect: Expect::Success,
            scope: None,
            insecure: false,
            no_init: false,
            offline: false,
            host_network: false,
            redact: Vec::new(),
            platform,
            services: Vec::new(),
            salt: None,
            title: None,
        }
    }

    /// Its input trees in a fixed order: the root first, then the mounts.
    pub fn inputs(&self) -> Vec<&Fs> {
        std::iter::once(&self.rootfs).chain(self.mounts.iter().filter_map(|mount| mount.source.fs())).collect()
    }

    /// The recipe digest.
    pub fn digest(&self) -> Digest {
        rondel_digest::of("exec/v2", self)
    }
}

fn names<S: Serializer>(variables: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(variables.iter().map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_no_part_of_the_identity() {
        let plain = ExecOp::new(Fs::scratch(), vec!["make".into()], Platform::native());
        let title = Some(ExecTitle { text: "build it".into(), internal: true });
        assert_eq!(ExecOp { title, ..plain.clone() }.digest(), plain.digest());
    }

    #[test]
    fn expectations() {
        let check = |expect: Expect, ok: &[i32], bad: &[i32]| {
            assert!(ok.iter().all(|&c| expect.admits(c)), "{expect:?}");
            assert!(!bad.iter().any(|&c| expect.admits(c)), "{expect:?}");
        };
        check(Expect::Success, &[0], &[1, 127, 137, 254]);
        check(Expect::Failure, &[1, 127, 192, 254, 255], &[0, 128, 137, 191]);
        check(Expect::Any, &[0, 1, 127, 192, 255], &[128, 137]);
    }
}
