//! The uplink of an ordinary user's engine: a network namespace and a helper program (a user-mode
//! network stack) that forwards its packets.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rondel_fault::{Attempt, Fault, Result};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::interfaces::{self, Subnet};
use crate::namespace;
use crate::netlink::{Batch, Family, Socket};

const START: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A helper program that connects a namespace to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helper {
    /// `slirp4netns`.
    Slirp4netns,
    /// `pasta`, of the package `passt`.
    Pasta,
}

impl Helper {
    fn program(self) -> &'static str {
        match self {
            Self::Slirp4netns => "slirp4netns",
            Self::Pasta => "pasta",
        }
    }

    /// Finds an installed helper, the preferred one first. The error is a warning for the user.
    pub(crate) fn find(path: &std::ffi::OsStr) -> Result<(Self, PathBuf), String> {
        for helper in [Self::Slirp4netns, Self::Pasta] {
            let found =
                std::env::split_paths(path).map(|folder| folder.join(helper.program())).find(|file| is_program(file));
            let Some(found) = found else { continue };
            return match OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
                Ok(_) => Ok((helper, found)),
                Err(error) => Err(format!(
                    "containers have no network, because `/dev/net/tun` cannot be opened ({error}); give users access to it"
                )),
            };
        }
        Err("containers have no network; install `slirp4netns` or `passt`, then restart the engine".to_owned())
    }

    fn arguments(self, namespace: &str, mtu: u32, subnet: Subnet) -> Vec<String> {
        let fixed: &[&str] = match self {
            Self::Slirp4netns => &["--configure", "--disable-host-loopback", "--netns-type=path"],
            Self::Pasta => &[
                "--foreground",
                "--quiet",
                "--netns-only",
                "--config-net",
                "--no-map-gw",
                "--ipv4-only",
                "--ns-ifname",
                "tap0",
                "--tcp-ports",
                "none",
                "--udp-ports",
                "none",
                "--tcp-ns",
                "none",
                "--udp-ns",
                "none",
            ],
        };
        let mut arguments: Vec<String> = fixed.iter().map(|&word| word.to_owned()).collect();
        match self {
            Self::Slirp4netns => {
                arguments.push(format!("--mtu={mtu}"));
                arguments.push(format!("--cidr={subnet}"));
                arguments.extend([namespace.to_owned(), "tap0".to_owned()]);
            }
            Self::Pasta => {
                arguments.extend(["--mtu".to_owned(), mtu.to_string(), "--netns".to_owned(), namespace.to_owned()])
            }
        }
        arguments
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A namespace with an uplink. The helper ends when this is dropped.
pub(crate) struct Uplink {
    /// The namespace.
    pub(crate) namespace: OwnedFd,
    /// The addresses on the helper's side of the uplink.
    pub(crate) between: Subnet,
    /// The path at which the helper finds the namespace.
    _place: NamespaceFile,
    process: OwnedFd,
    record: PathBuf,
    keeper: Option<JoinHandle<()>>,
}

impl Uplink {
    /// Makes the namespace and starts the helper. The helper's process is written to `record` for
    /// [`end_recorded`].
    pub(crate) fn start(helper: (Helper, PathBuf), mtu: u32, subnet: Subnet, record: PathBuf) -> Result<Self> {
        let program = helper.0.program();
        let path = record.with_extension("namespace");
        let (namespace, place, mut socket) = namespace::on_thread(|| {
            let namespace = namespace::leave_for_new()?;
            let place = NamespaceFile::show(path)?;
            let mut socket = Socket::open(Family::Route)?;
            let mut batch = Batch::default();
            interfaces::bring_up(&mut batch, interfaces::LOOPBACK);
            socket.apply(batch)?;
            Ok((namespace, place, socket))
        })
        .attempt(|| "make a network namespace for the way out".to_owned())?;

        let mut command = Command::new(&helper.1);
        command
            .args(helper.0.arguments(&place.0.to_string_lossy(), mtu, subnet))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (report, started) = mpsc::channel();
        let keeper = std::thread::Builder::new()
            .name("rondel-uplink".into())
            .spawn(move || keep(command, &report))
            .attempt(|| format!("start a thread for `{program}`"))?;
        let process = match started.recv() {
            Ok(Ok((id, process))) => {
                record_helper(&record, id).attempt(|| format!("write `{}`", record.display()))?;
                process
            }
            Ok(Err(error)) => return Err(error).attempt(|| format!("start `{program}`")),
            Err(_) => return Err(Fault::environment(format!("cannot start `{program}`"))),
        };
        let uplink = Self { namespace, between: subnet, _place: place, process, record, keeper: Some(keeper) };
        uplink.wait(&mut socket, program, &started)?;
        Ok(uplink)
    }

    /// Waits for the default route, which the helpers set last.
    fn wait(
        &self,
        socket: &mut Socket,
        program: &str,
        ended: &mpsc::Receiver<io::Result<(u32, OwnedFd)>>,
    ) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < START {
            let routes = interfaces::routes(socket).attempt(|| "list routes".to_owned())?;
            if routes.iter().any(|route| route.destination.prefix == 0) {
                return Ok(());
            }
            match ended.recv_timeout(POLL_INTERVAL) {
                Ok(Err(error)) => return Err(error).attempt(|| format!("run `{program}`")),
                Ok(Ok(_)) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(Fault::environment(format!("`{program}` gave no way out within {} s", START.as_secs())))
    }
}

/// A file on which a namespace is mounted. The helpers cannot open it in `/proc`: the kernel hides
/// the files of a process with more capabilities.
struct NamespaceFile(PathBuf);

impl NamespaceFile {
    /// Mounts the namespace of the calling thread on a file.
    fn show(path: PathBuf) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, "")?;
        let place = Self(path);
        rustix::mount::mount_bind("/proc/thread-self/ns/net", &place.0)?;
        Ok(place)
    }
}

impl Drop for NamespaceFile {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        let _ = fs::remove_file(&self.record);
    }
}

/// Runs the helper to its end. The thread must live as long as the helper: the kernel ends a child
/// with the thread that started it.
fn keep(mut command: Command, report: &mpsc::Sender<io::Result<(u32, OwnedFd)>>) {
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)) };
    let begun = command.spawn().and_then(|child| Ok((child.id(), handle_of(&child)?, child)));
    match begun {
        Ok((id, process, child)) => {
            let _ = report.send(Ok((id, process)));
            let output = child.wait_with_output();
            let said =
                output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()).unwrap_or_default();
            let _ = report.send(Err(io::Error::other(format!("it ended: {said}"))));
        }
        Err(error) => {
            let _ = report.send(Err(error));
        }
    }
}

fn handle_of(child: &Child) -> io::Result<OwnedFd> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no process id"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn record_helper(record: &Path, id: u32) -> io::Result<()> {
    let born = birth(id).unwrap_or_default();
    fs::write(record, format!("{id} {born}\n"))
}

/// The start time of a process, in clock ticks since boot. With the process id it identifies one
/// process for good.
fn birth(id: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Ends the helper that is recorded in `record`, which a killed engine left behind.
pub(crate) fn end_recorded(record: &Path) -> Result<()> {
    let _ = fs::remove_file(record.with_extension("namespace"));
    let Ok(text) = fs::read_to_string(record) else { return Ok(()) };
    let mut words = text.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok()).and_then(Pid::from_raw);
    if let (Some(pid), Some(born)) = (pid, words.next())
        && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
        && birth(pid.as_raw_nonzero().get().unsigned_abs()).as_deref() == Some(born)
    {
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                return Err(io::Error::from(error)).attempt(|| format!("end process {}", pid.as_raw_nonzero()));
            }
        }
    }
    fs::remove_file(record).attempt(|| format!("remove `{}`", record.display()))
}

/// The candidates for the subnet between helper and namespace, the customary one first.
pub(crate) fn candidates() -> impl Iterator<Item = Subnet> {
    let customary = Subnet::new(Ipv4Addr::new(10, 0, 2, 0), 24);
    std::iter::once(customary).chain((0..=255).map(|third| Subnet::new(Ipv4Addr::new(10, 86, third, 0), 24)))
}
