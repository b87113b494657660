//! Runs `git` with a fixed environment and configuration, and waits for its end.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rondel_events::Emitter;
use rondel_fault::{Attempt as _, Fault, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::git_error::GitError;

/// The protocols that `git` may use to the outside.
const OUTSIDE: &str = "http:https:ssh:git";
/// The most output of `git` that is read, in bytes.
const MAX_OUTPUT: usize = 256 << 20;
/// The most of its messages that is kept, in bytes.
const MAX_MESSAGES: usize = 16 << 10;

/// The most bytes of a line of progress.
const MAX_PROGRESS_LINE: usize = 512;

/// The configuration of every `git`.
const SETTINGS: [(&str, &str); 17] = [
    ("advice.detachedHead", "false"),
    ("core.askPass", ""),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.protectNTFS", "false"),
    ("credential.helper", ""),
    ("diff.ignoreSubmodules", "all"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "120"),
    ("init.defaultBranch", "main"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.version", "2"),
    ("safe.directory", "*"),
    ("submodule.recurse", "false"),
];

/// Runs `git`.
pub(crate) struct Runner {
    home: PathBuf,
    /// The file with the keys that SSH servers showed first.
    pub(crate) known_hosts: PathBuf,
    /// Proxy and certificate variables of `git`.
    pub(crate) variables: Vec<(String, String)>,
    /// The limit of open files of `git`, which is lower than the engine's.
    open_files: Rlimit,
}

/// How SSH verifies the keys of servers.
pub(crate) enum Ssh<'a> {
    /// By the keys in this file. With `None`, a server's first key is trusted and stored.
    Known(Option<&'a Path>),
    /// By this SSH configuration file.
    Configured(&'a Path),
}

/// One run of `git`.
pub(crate) struct Run<'a> {
    /// The arguments.
    pub(crate) args: Vec<OsString>,
    /// Further configuration.
    pub(crate) settings: Vec<(String, String)>,
    /// Further environment variables.
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Whether it may connect to the outside. Else it may use local directories only.
    pub(crate) outside: bool,
    /// How long it may run without any output.
    pub(crate) timeout: Duration,
    /// The file that records its process, for the next engine in case this one is killed.
    pub(crate) record: Option<&'a Path>,
    /// Receives the bytes that its messages say it received.
    pub(crate) progress: Option<&'a Emitter>,
}

impl<'a> Run<'a> {
    /// A run on local directories.
    pub(crate) fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self {
            args: args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(),
            settings: Vec::new(),
            variables: Vec::new(),
            outside: false,
            timeout: Duration::from_secs(600),
            record: None,
            progress: None,
        }
    }

    /// A run on the repository `folder`.
    pub(crate) fn on<A: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = A>) -> Self {
        let mut run = Self::new(args);
        let mut option = OsString::from("--git-dir=");
        option.push(folder);
        run.args.insert(0, option);
        run
    }

    /// Adds an environment variable.
    pub(crate) fn variable(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name, value.as_ref().to_owned()));
        self
    }
}

impl Runner {
    pub(crate) fn new(folder: &Path, variables: Vec<(String, String)>, open_files: Rlimit) -> Self {
        Self { home: folder.join("home"), known_hosts: folder.join("known_hosts"), variables, open_files }
    }

    /// Runs `git` and returns its output.
    pub(crate) async fn run(&self, run: Run<'_>) -> Result<Vec<u8>, GitError> {
        let mut command = self.command(&run);
        let mut child = command.spawn().map_err(|e| GitError::NotStarted(e.kind()))?;
        let mut group = ProcessGroup { id: child.id().and_then(|id| Pid::from_raw(id.cast_signed())) };
        if let Some(id) = group.id {
            // Fails if it has ended already.
            let _ = rustix::process::prlimit(Some(id), Resource::Nofile, self.open_files);
        }
        if let Some(record) = run.record {
            record_process(record, &child);
        }
        let listened = listen(&mut child, run.timeout, run.progress).await;
        let status = match &listened {
            Ok(_) => child.wait().await.ok(),
            Err(_) => None,
        };
        if status.is_some() {
            group.id = None;
        }
        drop(group);
        if let Some(record) = run.record {
            let _ = std::fs::remove_file(record);
        }
        let (output, messages) = listened?;
        match status {
            Some(status) if status.success() => Ok(output),
            _ => Err(GitError::Messages(messages)),
        }
    }

    /// Runs `git` on local directories and returns its output as text.
    pub(crate) async fn text(&self, run: Run<'_>) -> Result<String> {
        let doing = run.args.iter().find(|arg| !arg.as_encoded_bytes().starts_with(b"-")).cloned();
        let output = self.run(run).await.map_err(|failure| failure.on_folder(&doing.unwrap_or_default()))?;
        Ok(String::from_utf8_lossy(&output).trim_end().to_owned())
    }

    fn command(&self, run: &Run<'_>) -> Command {
        let mut command = Command::new("git");
        command.args(&run.args).env_clear().current_dir(&self.home).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, value) in [
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_SSH_VARIANT", "ssh"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("LC_ALL", "C"),
        ] {
            command.env(name, value);
        }
        command.env("HOME", &self.home).env("XDG_CONFIG_HOME", &self.home);
        command.env("GIT_ALLOW_PROTOCOL", if run.outside { OUTSIDE } else { "file" });
        let given = run.settings.iter().map(|(key, value)| (&**key, &**value));
        let mut count = 0;
        for (at, (key, value)) in SETTINGS.into_iter().chain(given).enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key).env(format!("GIT_CONFIG_VALUE_{at}"), value);
            count = at + 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        command.envs(run.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The SSH command: authenticates with the keys of an agent, and verifies the server's key.
    pub(crate) fn ssh(&self, how: &Ssh<'_>) -> String {
        let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
        let known = |file: &Path, check: &str| {
            format!("/dev/null -o UserKnownHostsFile={} -o StrictHostKeyChecking={check}", quoted(file))
        };
        let how = match how {
            Ssh::Known(Some(file)) => known(file, "yes"),
            Ssh::Known(None) => known(&self.known_hosts, "accept-new"),
            Ssh::Configured(file) => quoted(file),
        };
        format!(
            "ssh -F {how} -o BatchMode=yes -o ConnectTimeout=30 -o IdentityFile=none -o GlobalKnownHostsFile=/dev/null \
             -o ForwardAgent=no -o PermitLocalCommand=no"
        )
    }
}

/// A process group, which is killed on drop.
struct ProcessGroup {
    id: Option<Pid>,
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _ = rustix::process::kill_process_group(id, Signal::KILL);
        }
    }
}

/// Reads output and messages up to the end of both.
async fn listen(
    child: &mut Child,
    timeout: Duration,
    progress: Option<&Emitter>,
) -> Result<(Vec<u8>, String), GitError> {
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(GitError::Messages("it has no output".into()));
    };
    let (mut output, mut messages) = (Vec::new(), Vec::new());
    let (mut more_out, mut more_err) = (true, true);
    let mut deadline = Instant::now() + timeout;
    while more_out || more_err {
        tokio::select! {
            n = take(&mut out, &mut output), if more_out => more_out = n > 0,
            n = take(&mut err, &mut messages), if more_err => more_err = n > 0,
            () = tokio::time::sleep_until(deadline) => return Err(GitError::Timeout(timeout)),
        }
        deadline = Instant::now() + timeout;
        if let Some(progress) = progress
            && let Some(bytes) = received_bytes(&messages)
        {
            progress.bytes(bytes, 0);
        }
        if output.len() > MAX_OUTPUT {
            return Err(GitError::Messages("it prints too much".into()));
        }
        if messages.len() > 2 * MAX_MESSAGES {
            messages.drain(..messages.len() - MAX_MESSAGES);
        }
    }
    Ok((output, String::from_utf8_lossy(&messages).into_owned()))
}

/// How many bytes `git` has received, by the last line of its progress in `messages`.
fn received_bytes(messages: &[u8]) -> Option<u64> {
    let tail = String::from_utf8_lossy(&messages[messages.len().saturating_sub(MAX_PROGRESS_LINE)..]);
    let (_, line) = tail.rsplit_once("Receiving objects:")?;
    let line = line.split(['\r', '\n']).next().unwrap_or(line);
    let size = line.split(", ").nth(1)?.split('|').next()?.trim();
    let (number, unit) = size.split_once(' ')?;
    let scale = match unit {
        "bytes" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a figure for people")]
    Some((number.parse::<f64>().ok()? * scale) as u64)
}

async fn take(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> usize {
    from.read_buf(into).await.unwrap_or(0)
}

/// Records the process with its start time.
fn record_process(record: &Path, child: &Child) {
    if let Some(id) = child.id()
        && let Some(started) = started(id)
    {
        let _ = std::fs::write(record, format!("{id} {started}"));
    }
}

/// Kills the process in `record` if it still runs, which a killed engine left behind.
pub(crate) fn end_recorded(record: &Path) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(record) else { return Ok(()) };
    if let Some((id, since)) = text.split_once(' ')
        && let Ok(id) = id.parse::<u32>()
        && started(id).as_deref() == Some(since)
        && let Some(id) = Pid::from_raw(id.cast_signed())
    {
        rustix::process::kill_process_group(id, Signal::KILL)
            .map_err(|e| Fault::environment("cannot end a `git` of an earlier engine").caused_by(e))?;
    }
    std::fs::remove_file(record).attempt(|| format!("remove `{}`", record.display()))
}

/// The start time of a process, in clock ticks since boot.
fn started(id: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(19).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_process_is_ended_unless_it_is_another_one() {
        use std::os::unix::process::CommandExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let record = folder.path().join("running");
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().expect("starts");
        std::fs::write(&record, format!("{} 1", child.id())).expect("writes");
        end_recorded(&record).expect("nothing to do");
        assert!(child.try_wait().expect("is there").is_none() && !record.exists());
        std::fs::write(&record, format!("{} {}", child.id(), started(child.id()).expect("runs"))).expect("writes");
        end_recorded(&record).expect("ends it");
        assert!(!child.wait().expect("ended").success());
    }

    #[test]
    fn received_bytes_are_read_from_messages() {
        let check = |messages: &str, want: Option<u64>| assert_eq!(received_bytes(messages.as_bytes()), want);
        check("Receiving objects:  45% (450/1000), 1.50 MiB | 1.00 MiB/s\r", Some(1_572_864));
        check("Receiving objects: 1% (1/99), 12.00 KiB | 9 KiB/s\rReceiving objects: 2% (2/99), 1 GiB", Some(1 << 30));
        check("Receiving objects: 100% (3/3), 2.00 KiB | 2.00 MiB/s, done.\nResolving deltas: 100% (1/1)", Some(2048));
        check("Receiving objects: 100% (3/3), done.\n", None);
        check("Receiving objects:  45% (450/1000)\r", None);
        check("remote: Counting objects: 5, done.\n", None);
    }

    #[tokio::test]
    async fn a_silent_process_is_given_up() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; sleep 60"]).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let heard = listen(&mut child, Duration::from_millis(200), None).await;
        assert!(matches!(heard, Err(GitError::Timeout(_))));
    }
}
