//! A root file system of busybox, and a container described in one line.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rondel_fault::Result;
use rondel_ports::CancellationToken;
use rondel_ports::process::{OutputSink, ProcessMount, ProcessMountSource, ProcessSpec, ProcessStdin, Processes};
use rondel_sandbox::{Sandbox, SandboxOptions};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use tempfile::TempDir;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/home/web:/bin/sh\n";
const GROUP: &str = "root:x:0:\nweb:x:34:\nlog:x:4:web\nmail:x:8:web\n";
pub(crate) const PATH: &str = "/bin:/sbin";

/// A root: one lower layer, one upper.
pub(crate) struct Root {
    home: TempDir,
}

/// What a run gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(SandboxOptions::default()).unwrap()
}

fn busybox() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("busybox"))
        .chain([PathBuf::from("/bin/busybox")])
        .find(|file| file.exists());
    found.expect("these tests need a static `busybox` in `PATH`: on Debian, `apt-get install busybox-static`")
}

impl Root {
    /// A root with busybox, accounts, and the usual directories.
    pub(crate) fn new() -> Self {
        let root = Self::empty();
        let lower = root.lower();
        for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "home/web"] {
            fs::create_dir_all(lower.join(directory)).unwrap();
        }
        fs::copy(busybox(), lower.join("bin/busybox")).unwrap();
        let applets = "sh cat echo id ls ps mount umount unshare chroot sleep true false kill grep head wc touch mkdir rm stat readlink \
                       hostname env tr dd test find chmod chown setsid basename ln ip sort yes printf ifconfig sethostname trap tee";
        for applet in applets.split_whitespace() {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        fs::write(lower.join("etc/passwd"), PASSWD).unwrap();
        fs::write(lower.join("etc/group"), GROUP).unwrap();
        root
    }

    /// A root with nothing in it.
    pub(crate) fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["lower", "upper", "work"] {
            fs::create_dir(home.path().join(name)).unwrap();
        }
        Self { home }
    }

    pub(crate) fn lower(&self) -> PathBuf {
        self.home.path().join("lower")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.home.path().join("upper")
    }

    /// The detached mount of both layers.
    pub(crate) fn mount(&self) -> OwnedFd {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let set = |key: &str, value: &Path| fsconfig_set_string(context.as_fd(), key, value).unwrap();
        set("lowerdir", &self.lower());
        set("upperdir", &self.upper());
        set("workdir", &self.home.path().join("work"));
        if !is_root() {
            fsconfig_set_flag(context.as_fd(), "userxattr").unwrap();
        }
        fsconfig_create(context.as_fd()).unwrap();
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
    }

    /// The description of a shell script run here.
    pub(crate) fn script(&self, script: &str) -> ProcessSpec {
        self.spec(&["sh", "-c", script])
    }

    /// The description of a command run here, without output.
    pub(crate) fn spec(&self, args: &[&str]) -> ProcessSpec {
        ProcessSpec {
            root: self.mount(),
            mounts: Vec::new(),
            args: args.iter().map(|text| (*text).to_owned()).collect(),
            env: vec![("PATH".into(), PATH.into())],
            workdir: "/".into(),
            user: String::new(),
            hostname: "box".into(),
            insecure: false,
            no_init: false,
            network: None,
            resolv_conf: None,
            hosts: Vec::new(),
            stdin: ProcessStdin::Empty,
            control: None,
            stdout: Box::new(|_| {}),
            stderr: Box::new(|_| {}),
        }
    }

    /// What the run changed, as paths of the upper layer that differ from the lower one.
    pub(crate) fn changes(&self) -> Vec<String> {
        let (upper, lower) = (self.upper(), self.lower());
        let mut found = Vec::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(below) = pending.pop() {
            if !below.as_os_str().is_empty() && !same(&upper.join(&below), &lower.join(&below)) {
                found.push(below.display().to_string());
            }
            for entry in fs::read_dir(upper.join(&below)).into_iter().flatten() {
                pending.push(below.join(entry.unwrap().file_name()));
            }
        }
        found.sort();
        found
    }
}

fn same(upper: &Path, lower: &Path) -> bool {
    let (Ok(upper), Ok(lower)) = (fs::symlink_metadata(upper), fs::symlink_metadata(lower)) else { return false };
    upper.is_dir()
        && lower.is_dir()
        && upper.permissions() == lower.permissions()
        && upper.modified().unwrap() == lower.modified().unwrap()
}

/// Whether the tests run as root of the host, not of a user namespace.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().eq(["0", "0", "4294967295"])
}

/// A sink, and what it received.
pub(crate) fn sink() -> (OutputSink, Arc<Mutex<Vec<u8>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&received);
    (Box::new(move |bytes: &[u8]| copy.lock().unwrap().extend_from_slice(bytes)), received)
}

/// Runs to the end.
pub(crate) fn run(sandbox: &Sandbox, mut spec: ProcessSpec) -> Result<Outcome> {
    let ((out_sink, out), (err_sink, err)) = (sink(), sink());
    (spec.stdout, spec.stderr) = (out_sink, err_sink);
    let exit = block_on(sandbox.run(spec, CancellationToken::new()))?;
    let text = |bytes: &Mutex<Vec<u8>>| String::from_utf8_lossy(&bytes.lock().unwrap()).into_owned();
    Ok(Outcome { code: exit.code, stdout: text(&out), stderr: text(&err) })
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Runs a script in a new root, as changed by `change`; what it prints.
pub(crate) fn output_of(script: &str, change: impl FnOnce(&Root, &mut ProcessSpec)) -> String {
    let root = Root::new();
    let mut spec = root.script(script);
    change(&root, &mut spec);
    let outcome = run(&sandbox(), spec).unwrap();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{script}: {}", outcome.stdout);
    outcome.stdout
}

/// A mount.
pub(crate) fn mount(target: &str, source: ProcessMountSource) -> ProcessMount {
    ProcessMount { target: target.into(), source }
}

/// Numbers of the processes that have `marker` in their command line.
pub(crate) fn processes_with(marker: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker))
        })
        .collect()
}
