//! The file systems of a container: its mounts as a list of steps.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::process::{ProcessMount, ProcessMountSource};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::MountAttrFlags;

use crate::host::Host;
use crate::mounts;
use crate::program::c_string;
use crate::steps::{Action, Step};
use crate::tree::{ContainerPaths, FileKind, ResolvedPath};
use crate::users::{self, Identity};

const NO_SUID: u64 = libc::MS_NOSUID;
const NO_DEV: u64 = libc::MS_NODEV;
const NO_EXEC: u64 = libc::MS_NOEXEC;
const ACCOUNT_FILE_LIMIT: u64 = 16 << 20;
const TERMINAL_GROUP: u32 = 5;

/// The symlinks in `/dev`.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
    ("pts/ptmx", "ptmx"),
];

/// The mounts of a container under construction.
pub(crate) struct Layout<'a> {
    host: &'a Host,
    insecure: bool,
    /// The paths of the container.
    pub(crate) tree: ContainerPaths,
    /// Descriptors that must stay open until the container has started.
    pub(crate) keep: Vec<OwnedFd>,
    steps: Vec<Step>,
    contents: Contents,
    /// The resolved paths of `/proc` and `/sys`, which may be symlinks in the root.
    kernel: [String; 2],
    /// A mount for `/dev/pts`, or `None` for a new `devpts`.
    pub(crate) terminals: Option<OwnedFd>,
}

/// Files with a given content. They are in one `tmpfs`, from which the new process takes each by
/// its path.
#[derive(Default)]
struct Contents {
    memory: Option<OwnedFd>,
    count: usize,
}

impl<'a> Layout<'a> {
    /// A container with nothing but its root.
    ///
    /// # Errors
    /// When the kernel refuses to make the root `nodev`.
    pub(crate) fn new(host: &'a Host, root: OwnedFd, insecure: bool) -> Result<Self> {
        if !insecure {
            mounts::forbid_devices(root.as_fd()).attempt(|| "close the devices of the container's root".into())?;
        }
        Ok(Self {
            host,
            insecure,
            tree: ContainerPaths::new(root),
            keep: Vec::new(),
            steps: Vec::new(),
            contents: Contents::default(),
            kernel: Default::default(),
            terminals: None,
        })
    }

    /// `/proc`, `/dev` and `/sys`.
    pub(crate) fn system(&mut self) -> Result<()> {
        self.kernel[0] = self.kernel_file_system("proc", "/proc", NO_SUID | NO_DEV | NO_EXEC, "", Step::required)?;
        self.devices()?;
        self.mount_sysfs()
    }

    /// Mounts the masked and read-only paths of the OCI runtime specification. Sources and targets
    /// are files of the kernel and of the engine, never files that a container could have placed
    /// there.
    pub(crate) fn masks(&mut self) -> Result<()> {
        if self.insecure {
            return Ok(());
        }
        let flags = NO_SUID | NO_DEV | NO_EXEC;
        // One empty directory serves all masks.
        let mut empty: Option<String> = None;
        for (path, is_directory) in &self.host.masked {
            // The container's `/proc` has the same paths as the host's, except for races.
            let is_certain = !path.starts_with("/sys");
            let path = self.kernel_path(path);
            let action = match (is_directory, &empty) {
                (false, _) => {
                    let nothing = read_only_device(Path::new("/dev/null"))?;
                    let action = Action::AttachMount {
                        mount: nothing.as_raw_fd(),
                        target: c_string(path.as_str(), "a target")?,
                    };
                    self.keep.push(nothing);
                    action
                }
                (true, Some(empty)) => mount(empty, &path, "", libc::MS_BIND, "")?,
                (true, None) => mount("tmpfs", &path, "tmpfs", flags | libc::MS_RDONLY, "size=0,nr_inodes=2")?,
            };
            if *is_directory && is_certain {
                empty = Some(path);
            }
            self.steps.push(if is_certain { Step::required(action) } else { Step::optional(action) });
        }
        for path in &self.host.read_only {
            let path = &self.kernel_path(path);
            self.steps.push(Step::required(mount(path, path, "", libc::MS_BIND | libc::MS_REC, "")?));
            self.steps.push(Step::required(mount(
                path,
                path,
                "",
                libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | flags,
                "",
            )?));
        }
        Ok(())
    }

    /// Writes `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`, unless the description mounts
    /// its own file there.
    pub(crate) fn names(
        &mut self,
        hostname: &str,
        hosts: &[(Ipv4Addr, String)],
        resolver: Option<&str>,
        mounts: &[ProcessMount],
    ) -> Result<()> {
        let files = [
            ("/etc/hostname", Some(format!("{hostname}\n"))),
            ("/etc/hosts", Some(hosts_file(hostname, hosts))),
            ("/etc/resolv.conf", resolver.map(str::to_owned)),
        ];
        for (path, text) in files {
            if let Some(text) = text
                && !mounts.iter().any(|mount| mount.target == path)
            {
                self.content(path, text.as_bytes(), 0o644, (0, 0))?;
            }
        }
        Ok(())
    }

    /// The path in the container of a path below `/proc` or `/sys`.
    fn kernel_path(&self, path: &str) -> String {
        let [processes, objects] = &self.kernel;
        match (path.strip_prefix("/proc"), path.strip_prefix("/sys")) {
            (Some(rest), _) => format!("{processes}{rest}"),
            (None, Some(rest)) => format!("{objects}{rest}"),
            (None, None) => path.to_owned(),
        }
    }

    /// A mount point for a mount of the description. Refuses paths inside `/proc`, whose magic
    /// links lead to files of processes.
    fn mount_point(&mut self, target: &str, want: FileKind) -> Result<ResolvedPath> {
        let place = self.tree.mount_point(target, want)?;
        if place.path.strip_prefix(self.kernel[0].as_str()).is_some_and(|rest| rest.starts_with('/')) {
            return Err(Fault::user(format!("cannot mount on `{target}`: it is inside of `/proc`")));
        }
        Ok(place)
    }

    /// Adds one mount of the description.
    pub(crate) fn described(&mut self, mount: ProcessMount) -> Result<()> {
        let ProcessMount { target, source } = mount;
        let what = format!("cannot mount `{target}` in the container");
        self.source(&target, source).map_err(|fault| fault.context(what))
    }

    /// Looks up a user of the container.
    pub(crate) fn identity(&mut self, written: &str) -> Result<Identity> {
        let mut text = |path| -> Result<String> {
            Ok(self
                .tree
                .read(path, ACCOUNT_FILE_LIMIT)?
                .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        let (passwd, group) = (text("/etc/passwd")?, text("/etc/group")?);
        let mut identity = users::find(written, &passwd, &group)?;
        let unmapped = |what: &str, id: u32| {
            Fault::environment(format!(
                "cannot run as `{written}`: {what} {id} is not mapped in the user namespace of the engine"
            ))
            .with_hint("give the user who runs the engine a larger range in `/etc/subuid` and `/etc/subgid`")
        };
        if !self.host.users.has(identity.user) {
            return Err(unmapped("user", identity.user));
        }
        if !self.host.groups.has(identity.group) {
            return Err(unmapped("group", identity.group));
        }
        identity.groups.retain(|group| self.host.groups.has(*group));
        Ok(identity)
    }

    /// Adds steps that make a missing working directory.
    pub(crate) fn working_directory(&mut self, path: &str, owner: &Identity) -> Result<()> {
        match self.tree.find(path)?.map(|place| place.kind) {
            Some(FileKind::Directory) => return Ok(()),
            Some(FileKind::File) => {
                return Err(Fault::user(format!("cannot use `{path}` as working directory: it is a file")));
            }
            None => {}
        }
        let mut prefix = String::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let what = "the working directory";
            let parent = c_string(if prefix.is_empty() { "/" } else { prefix.as_str() }, what)?;
            let (name_here, owner) = (c_string(name, what)?, (owner.user, owner.group));
            self.steps.push(Step::required(Action::MakeDirectory { parent, name: name_here, owner }));
            let _ = write!(prefix, "/{name}");
        }
        Ok(())
    }

    /// The paths, the descriptors to keep open, the steps in their order, and the number of slots
    /// that the steps use.
    pub(crate) fn finish(mut self) -> Result<(ContainerPaths, Vec<OwnedFd>, Vec<Step>, usize)> {
        let mut steps = Vec::new();
        if let Some(memory) = self.contents.memory.take() {
            // ORDER: the `tmpfs` of the contents is mounted on `/dev` for a moment, before the
            // container's `/dev` is. Each file keeps its file system alive.
            let place = self.tree.find("/dev")?.map_or_else(|| "/dev".to_owned(), |place| place.path);
            let target = c_string(place.as_str(), "`/dev`")?;
            steps.push(Step::required(Action::AttachMount { mount: memory.as_raw_fd(), target: target.clone() }));
            for slot in 0..self.contents.count {
                steps.push(Step::required(Action::OpenTree {
                    path: c_string(format!("{place}/{slot}"), "`/dev`")?,
                    slot,
                }));
            }
            steps.push(Step::required(Action::Unmount(target)));
            self.keep.push(memory);
        }
        steps.append(&mut self.steps);
        Ok((self.tree, self.keep, steps, self.contents.count))
    }

    fn source(&mut self, target: &str, source: ProcessMountSource) -> Result<()> {
        match source {
            ProcessMountSource::Detached { mount, read_only } => self.given_mount(target, mount, read_only),
            ProcessMountSource::Bind { path, read_only } => {
                self.given_mount(target, mounts::copy_of(&path)?, read_only)
            }
            ProcessMountSource::Temp { size } => {
                let size = size.map(|bytes| bytes.to_string());
                let mut options = vec![("mode", "1777")];
                options.extend(size.as_deref().map(|size| ("size", size)));
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                let memory = mounts::memory(&options, attributes)?;
                self.tree_mount(target, memory, false)
            }
            ProcessMountSource::Content { bytes, mode, owner } => {
                let identity = self.identity(&owner)?;
                self.content(target, &bytes, mode, (identity.user, identity.group))
            }
        }
    }

    fn given_mount(&mut self, target: &str, mount: OwnedFd, read_only: bool) -> Result<()> {
        if !self.insecure {
            mounts::forbid_devices(mount.as_fd()).attempt(|| "close the devices of the mount".into())?;
        }
        self.tree_mount(target, mount, read_only)
    }

    fn tree_mount(&mut self, target: &str, mount: OwnedFd, read_only: bool) -> Result<()> {
        let stat = rustix::fs::fstat(&mount).attempt(|| "look at the source of the mount".into())?;
        let want = if FileType::from_raw_mode(stat.st_mode).is_dir() { FileKind::Directory } else { FileKind::File };
        if read_only {
            mounts::make_read_only(mount.as_fd()).attempt(|| "make the mount read-only".into())?;
        }
        let place = self.mount_point(target, want)?;
        self.steps.push(Step::required(Action::AttachMount {
            mount: mount.as_raw_fd(),
            target: c_string(place.path.as_str(), "the target")?,
        }));
        self.tree.add(&place.path, Some(mount), want);
        Ok(())
    }

    fn content(&mut self, target: &str, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
        let what = || format!("keep the content of `{target}` in memory");
        let memory = match &self.contents.memory {
            Some(memory) => memory,
            None => {
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                self.contents.memory.insert(mounts::memory(&[("mode", "700")], attributes)?)
            }
        };
        let slot = self.contents.count;
        let name = slot.to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(memory, &name, flags, Mode::from_raw_mode(0o600)).attempt(what)?);
        file.write_all(bytes).attempt(what)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1))).attempt(what)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).attempt(what)?;
        let seen = rustix::fs::openat(memory, &name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).attempt(what)?;
        self.contents.count += 1;
        let place = self.mount_point(target, FileKind::File)?;
        self.steps
            .push(Step::required(Action::MoveMount { slot, target: c_string(place.path.as_str(), "the target")? }));
        self.tree.add(&place.path, Some(seen), FileKind::File);
        Ok(())
    }

    fn kernel_file_system(
        &mut self,
        kind: &str,
        target: &str,
        flags: u64,
        data: &str,
        step: fn(Action) -> Step,
    ) -> Result<String> {
        let place = self.tree.mount_point(target, FileKind::Directory)?;
        self.steps.push(step(mount(kind, &place.path, kind, flags, data)?));
        self.tree.add(&place.path, None, FileKind::Directory);
        Ok(place.path)
    }

    fn devices(&mut self) -> Result<()> {
        let memory = mounts::memory(&[("mode", "755"), ("size", "64m")], MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        if !self.insecure {
            // The devices of a container are mounts of their own.
            mounts::forbid_devices(memory.as_fd()).attempt(|| "close `/dev` of the container".into())?;
        }
        let what = || "fill `/dev` of the container".to_owned();
        for (target, name) in LINKS {
            rustix::fs::symlinkat(*target, &memory, *name).attempt(what)?;
        }
        for name in ["pts", "shm", "mqueue"] {
            rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o755)).attempt(what)?;
        }
        let place = self.tree.mount_point("/dev", FileKind::Directory)?;
        self.steps.push(Step::required(Action::AttachMount {
            mount: memory.as_raw_fd(),
            target: c_string(place.path.as_str(), "`/dev`")?,
        }));
        self.tree.add_ephemeral(&place.path, memory);
        for device in self.host.devices(self.insecure) {
            self.device(&device)?;
        }
        match self.terminals.take() {
            Some(mount) => self.tree_mount("/dev/pts", mount, false)?,
            None => {
                let group = terminal_group(self.host).map_or_else(String::new, |group| format!(",gid={group}"));
                let terminals = format!("newinstance,ptmxmode=0666,mode=0620{group}");
                self.kernel_file_system("devpts", "/dev/pts", NO_SUID | NO_EXEC, &terminals, Step::required)?;
            }
        }
        self.kernel_file_system("mqueue", "/dev/mqueue", NO_SUID | NO_DEV | NO_EXEC, "", Step::optional)?;
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let shared = mounts::memory(&[("mode", "1777"), ("size", "64m")], attributes)?;
        self.tree_mount("/dev/shm", shared, false)
    }

    /// Mounts a device of the host. An ordinary user could not make the device node.
    fn device(&mut self, path: &Path) -> Result<()> {
        let Some(target) = path.to_str() else { return Ok(()) };
        match read_only_device(path) {
            Ok(device) => self.tree_mount(target, device, false),
            Err(_) if self.insecure => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    fn mount_sysfs(&mut self) -> Result<()> {
        let place = self.tree.mount_point("/sys", FileKind::Directory)?;
        let read_only = if self.insecure { 0 } else { libc::MS_RDONLY };
        let flags = NO_SUID | NO_DEV | NO_EXEC | read_only;
        let is_root = self.host.users.is_full();
        // An ordinary user may not mount it for a network namespace of another user namespace.
        let instead = if is_root { None } else { mounts::copy_of(Path::new("/sys")).ok() };
        if let (Some(copy), false) = (&instead, self.insecure) {
            mounts::make_read_only(copy.as_fd())
                .attempt(|| "make `/sys` of the host read-only for the container".into())?;
        }
        let action = Action::MountSysfs {
            target: c_string(place.path.as_str(), "`/sys`")?,
            flags,
            instead: instead.as_ref().map(AsRawFd::as_raw_fd),
        };
        self.steps.push(if is_root { Step::required(action) } else { Step::optional(action) });
        self.keep.extend(instead);
        self.tree.add(&place.path, None, FileKind::Directory);
        if self.host.unified_cgroups {
            let target = format!("{}/fs/cgroup", place.path);
            self.steps.push(Step::optional(mount("cgroup2", &target, "cgroup2", flags, "")?));
        }
        self.kernel[1] = place.path;
        Ok(())
    }
}

fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Result<Action> {
    let (source, target) = (c_string(source, "a source")?, c_string(target, "a target")?);
    Ok(Action::Mount {
        source,
        target,
        kind: c_string(kind, "a file system")?,
        flags,
        data: c_string(data, "an option")?,
    })
}

/// A mount of a device of the host, through which its owner and permissions cannot be changed.
fn read_only_device(path: &Path) -> Result<OwnedFd> {
    let device = mounts::copy_of(path)?;
    mounts::make_read_only(device.as_fd()).attempt(|| format!("make `{}` unchangeable", path.display()))?;
    Ok(device)
}

/// The group that may write to terminals, where it exists.
pub(crate) fn terminal_group(host: &Host) -> Option<u32> {
    host.groups.has(TERMINAL_GROUP).then_some(TERMINAL_GROUP)
}

fn hosts_file(hostname: &str, hosts: &[(Ipv4Addr, String)]) -> String {
    let own = if hosts.iter().any(|(_, name)| name == hostname) { String::new() } else { format!(" {hostname}") };
    let mut text = format!("127.0.0.1\tlocalhost{own}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (address, name) in hosts {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}
