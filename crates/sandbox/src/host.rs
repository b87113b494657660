//! The facts about the host that the sandbox needs, detected once.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Fault, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::enforced_limits::EnforcedLimits;
use crate::{mounts, seccomp};

/// The default capabilities of OCI container engines: chown, dac_override, fowner, fsetid, kill,
/// setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const DEFAULT_CAPABILITIES: &[u32] = &[0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];

/// Paths that a container sees empty.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that a container cannot write to.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Devices that every container has.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// The path in its file system of the device that is empty standard input.
const NULL: &str = "dev/null";

const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// The facts about the host.
pub(crate) struct Host {
    /// The engine's capabilities that a container keeps, as bits.
    pub(crate) capabilities: u64,
    /// The engine's capabilities, as bits.
    pub(crate) every_capability: u64,
    /// The user ids that are mapped.
    pub(crate) users: IdMap,
    /// The group ids that are mapped.
    pub(crate) groups: IdMap,
    /// Whether the kernel denies `setgroups`.
    pub(crate) groups_denied: bool,
    /// Masked paths that exist, and whether they are directories.
    pub(crate) masked: Vec<(&'static str, bool)>,
    /// Read-only paths that exist.
    pub(crate) read_only: Vec<&'static str>,
    /// Whether the kernel has namespaces of control groups.
    pub(crate) cgroup_namespaces: bool,
    /// Whether version 2 is the only version of control groups in use.
    pub(crate) unified_cgroups: bool,
    /// The engine's own pidfd.
    pub(crate) engine: OwnedFd,
    /// `/dev/null`, opened so that its owner and permissions cannot be changed.
    pub(crate) null: OwnedFd,
    /// How containers are limited.
    pub(crate) limits: EnforcedLimits,
    /// The system call filter.
    pub(crate) filter: Vec<libc::sock_filter>,
}

impl Host {
    /// Detects the facts. `limits` are those of containers.
    pub(crate) fn detect(limits: EnforcedLimits) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).attempt(|| format!("read `{path}`"));
        let status = read("/proc/self/status")?;
        let (permitted, bounding) = (capability_set(&status, "CapPrm")?, capability_set(&status, "CapBnd")?);
        let default = DEFAULT_CAPABILITIES.iter().fold(0, |set, capability| set | 1_u64 << capability);
        Ok(Self {
            capabilities: default & permitted & bounding,
            every_capability: permitted & bounding,
            users: IdMap::parse(&read("/proc/self/uid_map")?),
            groups: IdMap::parse(&read("/proc/self/gid_map")?),
            groups_denied: fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny"),
            masked: MASKED
                .iter()
                .filter_map(|path| fs::symlink_metadata(path).ok().map(|found| (*path, found.is_dir())))
                .collect(),
            read_only: READ_ONLY.iter().copied().filter(|path| Path::new(path).exists()).collect(),
            cgroup_namespaces: Path::new("/proc/self/ns/cgroup").exists(),
            unified_cgroups: rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2_MAGIC),
            engine: pidfd_open(getpid(), PidfdFlags::empty())
                .attempt(|| "get a handle of the engine's own process".into())?,
            null: null()?,
            limits,
            filter: seccomp::compile(),
        })
    }

    /// The devices of a container, as paths of the host.
    pub(crate) fn devices(&self, every: bool) -> Vec<PathBuf> {
        if every {
            all_devices(Path::new("/dev"))
        } else {
            DEVICES.iter().map(|name| Path::new("/dev").join(name)).collect()
        }
    }
}

/// Makes a `/dev/null` on a read-only file system. Root of a container could change the host's,
/// which it has as standard input. An ordinary user, who cannot make devices, gets the host's,
/// which containers cannot change then.
fn null() -> Result<OwnedFd> {
    let own = || -> Result<OwnedFd> {
        let what = || "make a `/dev/null`".to_owned();
        let host = rustix::fs::stat("/dev/null").attempt(what)?;
        let memory = mounts::memory(&[("mode", "755")], MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        rustix::fs::mkdirat(&memory, "dev", Mode::from_raw_mode(0o755)).attempt(what)?;
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&memory, NULL, FileType::CharacterDevice, mode, host.st_rdev).attempt(what)?;
        mounts::make_read_only(memory.as_fd()).attempt(what)?;
        rustix::fs::openat(&memory, NULL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).attempt(what)
    };
    own().or_else(|_| {
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .attempt(|| "open `/dev/null`".into())
    })
}

/// The device nodes below a directory, without the terminals, queues and shared memory that a
/// container has of its own.
fn all_devices(directory: &Path) -> Vec<PathBuf> {
    const OWN: &[&str] = &["pts", "shm", "mqueue", "hugepages", "ptmx", "console"];
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        if kind.is_dir() {
            found.extend(all_devices(&entry.path()));
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(entry.path());
        }
    }
    found
}

fn capability_set(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .ok_or_else(|| Fault::environment(format!("`/proc/self/status` has no capability set `{name}`")))
}

/// The ids of users or groups that are mapped in a user namespace.
#[derive(Debug)]
pub(crate) struct IdMap(Vec<(u64, u64)>);

impl IdMap {
    /// Parses `/proc/self/uid_map`: first id inside, first outside, count.
    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse::<u64>);
            let (inside, _, count) = (fields.next()?.ok()?, fields.next()?, fields.next()?.ok()?);
            Some((inside, count))
        });
        Self(lines.collect())
    }

    /// Whether the id is mapped.
    pub(crate) fn has(&self, id: u32) -> bool {
        let id = u64::from(id);
        self.0.iter().any(|(first, count)| id >= *first && id - first < *count)
    }

    /// Whether every id is mapped, as in the initial user namespace.
    pub(crate) fn is_full(&self) -> bool {
        self.has(0) && self.has(u32::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_know_their_numbers() {
        let host = IdMap::parse("         0          0 4294967295\n");
        assert!(host.is_full() && host.has(65534));
        let user = IdMap::parse("0 1000 1\n1 100000 65536\n");
        assert!(!user.is_full() && user.has(0) && user.has(65536) && !user.has(65537));
        assert!(!IdMap::parse("").has(0));
    }

    #[test]
    fn capability_sets_are_read_by_name() {
        let status = "Name:\tx\nCapPrm:\t00000000000000ff\nCapBnd:\t0000000000000001\n";
        assert_eq!(capability_set(status, "CapPrm").ok(), Some(255));
        assert!(capability_set(status, "CapAmb").is_err());
    }
}
