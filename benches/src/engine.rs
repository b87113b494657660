//! One engine under measurement, with its state in a folder of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;

use serde_json::Value;

use crate::Options;
use crate::http::Connection;

/// The binary, its state directory, and what it works on.
pub(crate) struct Engine {
    binary: PathBuf,
    folder: PathBuf,
    pub(crate) images: PathBuf,
    pub(crate) module: PathBuf,
    quick: bool,
}

impl Engine {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let engine = Self {
            binary: options.binary.clone(),
            folder: PathBuf::from(format!("/var/tmp/rondel-bench-{}", std::process::id())),
            images: options.images.clone(),
            module: options.module.clone(),
            quick: options.quick,
        };
        engine.prepared()
    }

    /// An engine of its own for the row `row`, in which nothing happened yet.
    pub(crate) fn apart(&self, row: &str) -> Result<Self, String> {
        self.beside(row).prepared()
    }

    /// The same, which has no image and no network.
    pub(crate) fn without_images(&self, row: &str) -> Result<Self, String> {
        self.beside(row).configured("offline = true\n")
    }

    fn beside(&self, row: &str) -> Self {
        let mut folder = self.folder.clone().into_os_string();
        folder.push(format!("-{row}"));
        Self {
            binary: self.binary.clone(),
            folder: folder.into(),
            images: self.images.clone(),
            module: self.module.clone(),
            quick: self.quick,
        }
    }

    fn prepared(self) -> Result<Self, String> {
        let config = format!("[[mirrors]]\nlayout = {:?}\n", self.images);
        self.configured(&config)
    }

    fn configured(self, config: &str) -> Result<Self, String> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make `{}`: {e}", folder.display()))?;
        std::fs::write(folder.join("config.toml"), config)
            .map_err(|e| format!("cannot write the configuration: {e}"))?;
        Ok(self)
    }

    /// A scratch folder beside the state.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How often something that is usually run `full` times is run.
    pub(crate) fn runs(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(3) } else { full }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .env("RONDEL_STATE_DIR", self.folder.join("s"))
            .env("RONDEL_CONFIG", self.folder.join("config.toml"))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end and gives its output.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, String> {
        let output =
            self.command(words).output().map_err(|e| format!("cannot run `{}`: {e}", self.binary.display()))?;
        finished(words, output)
    }

    /// Runs a command, and tells how long the work took whose title starts with `title`.
    pub(crate) fn time_of_work(&self, words: &[&str], title: &str) -> Result<Duration, String> {
        let words: Vec<&str> = ["--progress", "json"].iter().chain(words).copied().collect();
        let output =
            self.command(&words).output().map_err(|e| format!("cannot run `{}`: {e}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        finished(&words, output)?;
        let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_start = |event: &&Value| event["name"].as_str().is_some_and(|name| name.starts_with(title));
        let start = events.iter().find(is_start).ok_or_else(|| format!("no work is called `{title}`"))?;
        let end = events.iter().find(|event| event["event"] == "end" && event["span"] == start["span"]);
        let at = |event: &Value| event["at"].as_u64();
        let both = at(start).zip(end.and_then(at)).ok_or_else(|| format!("the work `{title}` has no end"))?;
        Ok(Duration::from_micros(both.1.saturating_sub(both.0)))
    }

    /// `rondel query` with a document.
    pub(crate) fn query(&self, document: &str) -> Result<String, String> {
        self.query_into(document, Stdio::piped())
    }

    /// As [`Engine::query`], with standard output that goes nowhere.
    pub(crate) fn query_into_nothing(&self, document: &str) -> Result<(), String> {
        self.query_into(document, Stdio::null()).map(drop)
    }

    fn query_into(&self, document: &str, stdout: Stdio) -> Result<String, String> {
        let wrong = |e: std::io::Error| format!("cannot run `rondel query`: {e}");
        let mut command = self.command(&["-s", "query"]);
        let piped = command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = piped.spawn().map_err(wrong)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(document.as_bytes()).map_err(wrong)?;
        }
        finished(&["query"], child.wait_with_output().map_err(wrong)?)
    }

    /// As [`Engine::query_into_nothing`], with standard error on a terminal of 120 columns, on
    /// which the progress is drawn. Returns how many bytes were drawn.
    pub(crate) fn query_on_terminal(&self, document: &str) -> Result<usize, String> {
        let wrong = |e: std::io::Error| format!("cannot run `rondel query` on a terminal: {e}");
        let (terminal, drawing) = terminal().map_err(wrong)?;
        let mut command = self.command(&["--progress", "tty", "query"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(drawing).spawn().map_err(wrong)?;
        // The command holds the other end of the terminal, without which reading does not end.
        drop(command);
        let reading = std::thread::spawn(move || {
            let (mut terminal, mut text, mut buffer) = (terminal, Vec::new(), [0; 1 << 16]);
            // The kernel reports the end of a terminal as an error.
            while let Ok(read @ 1..) = terminal.read(&mut buffer) {
                text.extend_from_slice(&buffer[..read]);
            }
            text
        });
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(document.as_bytes()).map_err(wrong)?;
        }
        let status = child.wait().map_err(wrong)?;
        let drawn = reading.join().map_err(|_| "the reader of the terminal panicked".to_owned())?;
        match status.success() {
            true => Ok(drawn.len()),
            false => Err(format!("`rondel query` failed: {}", String::from_utf8_lossy(&drawn))),
        }
    }

    pub(crate) fn stop(&self) {
        let _ = self.run(&["engine", "stop"]);
    }

    /// The process of the engine.
    pub(crate) fn pid(&self) -> Result<u64, String> {
        let status: Value = serde_json::from_str(&self.run(&["engine", "status", "--json"])?).unwrap_or_default();
        status["pid"].as_u64().ok_or_else(|| "`engine status` tells no process".to_owned())
    }

    /// The memory that the engine holds, in bytes.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.pid()?);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read `{path}`: {e}"))?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("the kernel tells no `VmRSS`")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().map_err(|_| "`VmRSS` is no number")?;
        Ok(kilobytes * 1024)
    }

    /// A session with a kept connection.
    pub(crate) fn session(&self) -> Result<Session, String> {
        let wrong = |e: std::io::Error| format!("cannot run `rondel session`: {e}");
        let mut command = self.command(&["-s", "session"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(wrong)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(wrong)?;
        }
        let hello: Value = serde_json::from_str(&line).map_err(|_| format!("`rondel session` said `{line}`"))?;
        let port = hello["port"].as_u64().and_then(|p| u16::try_from(p).ok()).ok_or("`rondel session` told no port")?;
        let connection = Connection::open(port, hello["session_token"].as_str().unwrap_or_default())?;
        Ok(Session { child, connection })
    }
}

/// A new terminal: the end of who looks at it, and the end of who draws.
fn terminal() -> std::io::Result<(File, OwnedFd)> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let path = ptsname(&terminal, Vec::new())?;
    let drawing = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&drawing, size)?;
    Ok((File::from(terminal), drawing))
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn finished(words: &[&str], output: Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`rondel {}` failed: {}", words.join(" "), said.trim()))
}

/// A running `rondel session`.
pub(crate) struct Session {
    child: Child,
    pub(crate) connection: Connection,
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
