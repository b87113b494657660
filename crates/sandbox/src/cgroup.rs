//! Control groups of version 2: one for each container, below one for all containers of the engine.
//!
//! The engine's group is made in the group that the engine runs in or in one above it: the nearest
//! one whose children can limit memory or processes. Its directory is locked as long as the engine
//! lives, so that the next engine recognises groups that a killed one left behind.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rondel_fault::{Attempt, Result, lock};
use rondel_ports::process::Limit;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::child;
use crate::limits::LimitValues;

const MEMORY: &str = "memory";
const PIDS: &str = "pids";
/// The controllers that are used. At least one of the first two must be available.
const CONTROLLERS: [&str; 4] = [MEMORY, PIDS, "cpu", "io"];
const PREFIX: &str = "rondel-";
/// The name of the group into which an engine moves itself, when it had to leave the group in which
/// it makes others.
const OF_ENGINE: &str = "rondel-engine-";

/// Control groups for containers.
pub(crate) struct Cgroups {
    folder: PathBuf,
    values: LimitValues,
    controllers: Vec<&'static str>,
    next: AtomicU64,
    /// Groups that could not be removed yet.
    left: Mutex<Vec<PathBuf>>,
    /// The lock on the directory.
    _lock: OwnedFd,
}

/// The control group of one container. It is removed with this value.
pub(crate) struct Cgroup<'a> {
    of: &'a Cgroups,
    path: PathBuf,
    handle: OwnedFd,
}

impl Cgroups {
    /// Makes the engine's group. The error is a reason for a warning.
    pub(crate) fn find(values: LimitValues) -> Result<Self, String> {
        let unreadable = |error: io::Error| format!("control groups cannot be looked at: {error}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(unreadable)?;
        let own = fs::read_to_string("/proc/self/cgroup").map_err(unreadable)?;
        let place = place(&mounts, &own).ok_or("this machine has no control groups of version 2")?;
        if !child::starts_in_cgroups() {
            return Err("the kernel does not start processes in control groups here".to_owned());
        }
        Self::below(&place.0, &place.1, values)
    }

    /// Makes the engine's group in `own` or in a group above it, up to `top`, where the hierarchy
    /// is mounted.
    fn below(top: &Path, own: &Path, values: LimitValues) -> Result<Self, String> {
        let mut reason = None;
        for place in own.ancestors().take_while(|place| place.starts_with(top)) {
            match Self::in_place(place, values) {
                Ok(found) => return Ok(found),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        Err(reason.unwrap_or_else(|| "the engine's control group is not below the mounted ones".to_owned()))
    }

    fn in_place(place: &Path, values: LimitValues) -> Result<Self, String> {
        let at = |error: io::Error| format!("control groups cannot be made in `{}`: {error}", place.display());
        let available = words(&place.join("cgroup.controllers")).map_err(at)?;
        let wanted: Vec<&'static str> =
            CONTROLLERS.into_iter().filter(|name| available.iter().any(|word| word == name)).collect();
        if !is_enough(&wanted) {
            return Err("control groups of version 2 limit neither memory nor processes here".to_owned());
        }
        let controllers = enable(place, &wanted).map_err(at)?;
        if !is_enough(&controllers) {
            return Err(format!(
                "control groups in `{}` limit neither memory nor processes; start the engine with `systemd-run --user --scope -p Delegate=yes`",
                place.display()
            ));
        }
        remove_left(place);
        let (folder, lock) = own_folder(place).map_err(at)?;
        let mut groups = Self {
            folder,
            values,
            controllers: Vec::new(),
            next: AtomicU64::new(0),
            left: Mutex::default(),
            _lock: lock,
        };
        groups.controllers = enable(&groups.folder, &controllers).map_err(at)?;
        groups.limit_all().map_err(at)?;
        Ok(groups)
    }

    fn limit_all(&self) -> io::Result<()> {
        if self.has(MEMORY) {
            fs::write(self.folder.join("memory.max"), self.values.total_memory.to_string())?;
        }
        if self.has(PIDS) {
            fs::write(self.folder.join("pids.max"), self.values.total_processes.to_string())?;
        }
        Ok(())
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// Whether memory is limited, and whether processes are.
    pub(crate) fn limits(&self) -> (bool, bool) {
        (self.has(MEMORY), self.has(PIDS))
    }

    /// Makes a group with the limits of a container.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn container(&self) -> Result<Cgroup<'_>> {
        lock(&self.left).retain(|path| remove(path).is_err());
        let path = self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path).attempt(|| format!("make the control group `{}`", path.display()))?;
        let handle = open(&path);
        let group = match handle.attempt(|| format!("open the control group `{}`", path.display())) {
            Ok(handle) => Cgroup { of: self, path, handle },
            Err(fault) => {
                let _ = fs::remove_dir(&path);
                return Err(fault);
            }
        };
        for (file, text) in self.settings() {
            let path = group.path.join(file);
            fs::write(&path, text).attempt(|| format!("set the limit `{}`", path.display()))?;
        }
        Ok(group)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if self.has(MEMORY) {
            settings.push(("memory.max", self.values.memory.to_string()));
            settings.push(("memory.oom.group", "1".to_owned()));
        }
        if self.has(PIDS) {
            settings.push(("pids.max", self.values.processes.to_string()));
        }
        for (controller, file, weight) in
            [("cpu", "cpu.weight", self.values.cpu_weight), ("io", "io.weight", self.values.io_weight)]
        {
            if let Some(weight) = weight.filter(|_| self.has(controller)) {
                settings.push((file, weight.to_string()));
            }
        }
        settings
    }

    /// Opens the group of a running container of this engine. `membership` is `/proc/PID/cgroup` of
    /// its first process.
    pub(crate) fn of_process(&self, membership: &str) -> Option<OwnedFd> {
        let path = Path::new(membership.lines().find_map(|line| line.strip_prefix("0::"))?);
        // Groups that the container made inside of its own belong to it.
        let mut components = path.components().skip_while(|part| Some(part.as_os_str()) != self.folder.file_name());
        components.next()?;
        open(&self.folder.join(components.next()?)).ok()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = remove(&self.folder);
    }
}

impl Cgroup<'_> {
    /// The group's directory, open.
    pub(crate) fn handle(&self) -> RawFd {
        self.handle.as_raw_fd()
    }

    /// The limit that the container reached, or `None`. Called after its end.
    pub(crate) fn reached(&self) -> Option<Limit> {
        let count = |file: &str, name: &str| {
            let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
            let found = text.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == name);
            found.and_then(|(_, number)| number.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        if count("memory.events", "oom_kill") > 0 {
            return Some(Limit::Memory(self.of.values.memory));
        }
        (count("pids.events", "max") > 0).then_some(Limit::Processes(self.of.values.processes))
    }
}

impl Drop for Cgroup<'_> {
    fn drop(&mut self) {
        if remove(&self.path).is_err() {
            lock(&self.of.left).push(self.path.clone());
        }
    }
}

/// The mount point of the hierarchy, and the directory of the engine's own group.
fn place(mounts: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, top) = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let found = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then_some(found)
    })?;
    let inside = Path::new(own).strip_prefix(root).ok()?;
    Some((PathBuf::from(top), Path::new(top).join(inside)))
}

fn is_enough(controllers: &[&str]) -> bool {
    controllers.contains(&MEMORY) || controllers.contains(&PIDS)
}

/// Enables controllers for the groups in `place`. Returns those that are enabled.
fn enable(place: &Path, wanted: &[&'static str]) -> io::Result<Vec<&'static str>> {
    let control = place.join("cgroup.subtree_control");
    let mut moved = false;
    let mut enabled = words(&control)?;
    for name in wanted {
        if enabled.iter().any(|word| word == name) {
            continue;
        }
        let ask = || fs::write(&control, format!("+{name}"));
        let mut asked = ask();
        // A group with processes cannot enable controllers for its children.
        if asked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy) && !moved {
            moved = leave(place)?;
            asked = if moved { ask() } else { asked };
        }
        if asked.is_ok() {
            enabled.push((*name).to_owned());
        }
    }
    Ok(wanted.iter().copied().filter(|name| enabled.iter().any(|word| word == name)).collect())
}

/// Moves the engine into a child group if it is the only process in `place`. Returns whether it
/// did.
fn leave(place: &Path) -> io::Result<bool> {
    let own = std::process::id().to_string();
    if words(&place.join("cgroup.procs"))? != [own.clone()] {
        return Ok(false);
    }
    let group = place.join(format!("{OF_ENGINE}{own}"));
    match fs::create_dir(&group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(group.join("cgroup.procs"), own)?;
    Ok(true)
}

/// Makes and locks a directory that no other engine uses.
fn own_folder(place: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let mut number = u64::from(std::process::id());
    loop {
        let folder = place.join(format!("{PREFIX}{number}"));
        match fs::create_dir(&folder) {
            // Engines in several PID namespaces may have the same PID.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1 << 32,
            Err(error) => return Err(error),
            Ok(()) => {
                let lock = open(&folder)?;
                flock(&lock, FlockOperation::NonBlockingLockShared)?;
                return Ok((folder, lock));
            }
        }
    }
}

/// Removes groups that killed engines left in `place`.
fn remove_left(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if let Ok(folder) = open(&entry.path())
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = remove(&entry.path());
        }
    }
}

/// Removes a group and its children. A group with processes stays.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

fn open(group: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(group, flags, Mode::empty())?)
}

fn words(file: &Path) -> io::Result<Vec<String>> {
    Ok(File::open(file).and_then(io::read_to_string)?.split_whitespace().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
