//! A process to run: everything that decides what it does, and nothing else.

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
    /// What is mounted, in the order in which it was mounted.
    pub mounts: Vec<Mount>,
    /// The command line, entrypoint included, never empty.
    pub args: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Environment variables whose values are secrets.
    pub secret_env: Vec<(String, SecretRef)>,
    /// Environment variables of which only the names count for a key.
    #[serde(serialize_with = "names")]
    // IDENTITY: the values are volatile by contract. A process without the variable never shares a result with one that has it.
    pub volatile_env: Vec<(String, String)>,
    /// The working directory; made when missing.
    pub workdir: AbsPath,
    /// The user, as written: `name`, `name:group`, `uid`, `uid:gid`; empty is root.
    pub user: String,
    /// What it reads from standard input.
    pub stdin: Stdin,
    /// A path in the container that receives standard output.
    pub redirect_stdout: Option<AbsPath>,
    /// A path in the container that receives standard error.
    pub redirect_stderr: Option<AbsPath>,
    /// Which exit codes are no error.
    pub expect: Expect,
    /// API access for the process, and for whom it speaks.
    pub scope: Option<Scope>,
    /// All capabilities of the engine, no seccomp profile.
    pub insecure: bool,
    /// The process is pid 1 itself.
    pub no_init: bool,
    /// It has no network but loopback.
    pub offline: bool,
    /// It is in the network of the engine's machine.
    pub host_network: bool,
    /// Secrets that it is not given, and whose plaintext is scrubbed from its output nevertheless.
    pub scrub: Vec<SecretRef>,
    /// The platform of the root.
    pub platform: Platform,
    /// Services that are up as long as it runs, in the order in which they were bound.
    pub services: Vec<ServiceBinding>,
    /// Makes this process different from an otherwise equal one: a session, a random number.
    pub salt: Option<String>,
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

/// For whom a process with API access speaks. Private to the engine: no API, header or variable reaches it.
#[derive(Clone, Debug, Serialize)]
pub struct Scope {
    /// The schema it is served.
    // IDENTITY: what the process sees decides what it does.
    pub view: View,
    /// The implementation digest of the module it acts for.
    pub module: Option<Digest>,
    /// What the engine knows of it.
    #[serde(skip)]
    // IDENTITY: it lives in this run of the engine only; it must never count.
    pub record: Option<ScopeRecord>,
}

/// What the engine knows of an exec scope; opaque here.
#[derive(Clone)]
pub struct ScopeRecord(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for ScopeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopeRecord")
    }
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
    /// A directory; the process works on a copy of its own.
    Directory {
        /// The tree.
        fs: Fs,
        /// The directory in it.
        path: AbsPath,
        /// Writes fail.
        read_only: bool,
        /// The owner of everything in it; none keeps it.
        owner: Option<Owner>,
    },
    /// A file.
    File {
        /// The tree.
        fs: Fs,
        /// The file in it.
        path: AbsPath,
        /// The owner; none keeps it.
        owner: Option<Owner>,
    },
    /// A directory or a file, whichever is there. What the process writes there is gone with it.
    Bind {
        /// The tree.
        fs: Fs,
        /// The directory or file in it.
        path: AbsPath,
        /// Writes fail.
        read_only: bool,
    },
    /// A cache volume: it outlives containers, and its content counts for no key.
    Cache {
        /// The name of the volume, its namespace included. Name, source and owner together say which volume it is.
        volume: String,
        /// What it holds when it is made.
        source: Option<crate::op::TreePath>,
        /// How simultaneous users share it.
        sharing: Sharing,
        /// The owner of everything in it when it is made. `None` keeps that of the source.
        owner: Option<Owner>,
        /// Writes fail.
        read_only: bool,
    },
    /// A file system in memory.
    Temp {
        /// Its size in bytes; none: the kernel's default.
        size: Option<u64>,
    },
    /// A file with the plaintext of a secret.
    Secret {
        /// The secret.
        secret: SecretRef,
        /// The owner; none is root.
        owner: Option<Owner>,
        /// The permission bits.
        mode: u32,
    },
    /// A unix socket that leads to one of a client.
    Socket {
        /// The client's socket.
        socket: SocketRef,
        /// The owner; none is root.
        owner: Option<Owner>,
    },
}

/// How simultaneous users share a cache volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// Each has one of its own.
    Private,
    /// One after the other.
    Locked,
}

impl MountSource {
    /// The tree that it shows, or that a new volume starts from.
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
    /// Every tree it needs, in a fixed order: root first, then mounts.
    pub fn inputs(&self) -> Vec<&Fs> {
        std::iter::once(&self.rootfs).chain(self.mounts.iter().filter_map(|mount| mount.source.fs())).collect()
    }

    pub(crate) fn into_inputs(self, into: &mut Vec<Fs>) {
        into.push(self.rootfs);
        for mount in self.mounts {
            match mount.source {
                MountSource::Directory { fs, .. } | MountSource::File { fs, .. } | MountSource::Bind { fs, .. } => {
                    into.push(fs);
                }
                MountSource::Cache { source: Some(place), .. } => into.push(place.fs),
                _ => {}
            }
        }
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
