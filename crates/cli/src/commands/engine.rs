//! `rondel engine serve|status|stop|verify|reset`: controls the engine.

use std::fs::File;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use rondel_engine::rotating_file::all_files;
use rondel_engine::{Config, LogFormat, LogOutput, ServeOptions};
use rondel_fault::{Attempt as _, Code, Fault, Result};
use rondel_link::{Ending, Refusal};

use super::engine_status;
use crate::json_output::json_flag;
use crate::settings::Settings;

/// The warning of an engine without subordinate ids.
const SINGLE_USER_WARNING: &str = "containers have root as their only user, because this user has no ranges in `/etc/subuid` and \
    `/etc/subgid` (or `newuidmap` is missing); programs that change to another user fail. An administrator can add ranges: \
    `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`; then restart the engine";

/// The variable with the filter of the engine's log, such as `info` or `rondel_registry=debug`.
const LOG_VARIABLE: &str = "RONDEL_LOG";
/// The variable with the format of the engine's log.
const LOG_FORMAT_VARIABLE: &str = "RONDEL_LOG_FORMAT";
/// What `rondel engine serve --help` says about the log.
const LOG_HELP: &str = "The engine logs to standard error and to `engine.log` in the state directory. \
    `RONDEL_LOG` selects levels, such as `info`, `debug` or `warn,rondel_registry=debug` [default: info]. \
    `RONDEL_LOG_FORMAT` is `human` or `json` [default: human].";
/// The filter of a log for which the environment has none.
const DEFAULT_LOG_FILTER: &str = "info";

/// How often `stop` checks whether the engine has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// When `stop` first prints what it is waiting for. It prints again after twice that time, and so
/// on.
const FIRST_NOTE_AFTER: Duration = Duration::from_secs(3);
/// How long `stop` waits for the end of the engine: the sum of the engine's own limits, doubled for
/// busy machines.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);

/// How long blocking work that cannot be cancelled may hold up the end of the engine.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn command() -> Command {
    let announce = Arg::new("announce")
        .long("announce")
        .action(ArgAction::SetTrue)
        .help("Print `ready` and close standard output as soon as clients can connect");
    let log = Arg::new("log")
        .long("log")
        .action(ArgAction::SetTrue)
        .hide(true)
        .help("Write to the log in the state directory alone, as soon as clients can connect");
    Command::new("engine")
        .about("Control the engine; other commands start it if it is not running")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("serve").about("Run the engine in the foreground").args([announce, log]).after_help(LOG_HELP),
        )
        .subcommand(
            Command::new("status")
                .about("Print whether an engine is running, its running work, and its warnings")
                .arg(json_flag()),
        )
        .subcommand(Command::new("stop").about("Stop the engine and everything that it runs"))
        .subcommand(
            Command::new("verify")
                .about("Check everything in the store and set damaged entries aside")
                .arg(json_flag()),
        )
        .subcommand(
            Command::new("reset").about("Stop the engine and remove everything in the store, including cache volumes"),
        )
}

pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("serve", m)) => {
            let announce = m.get_flag("announce");
            let served = serve(settings, announce, m.get_flag("log"));
            if let Err(fault) = &served
                && announce
            {
                announce_failure(fault);
            }
            served
        }
        Some(("status", m)) => {
            crate::interrupt::block_on(settings.interruption(), engine_status::status(settings, m.get_flag("json")))
        }
        Some(("verify", m)) => {
            crate::interrupt::block_on(settings.interruption(), engine_status::verify(settings, m.get_flag("json")))
        }
        Some(("stop", _)) => crate::interrupt::block_on(settings.interruption(), stop(settings)),
        Some(("reset", _)) => reset(settings),
        _ => Err(Fault::bug("an engine command without an implementation")),
    }
}

fn serve(settings: &Settings, announce: bool, log_to_state: bool) -> Result<ExitCode> {
    let rootless = !rustix::process::geteuid().is_root();
    let mut warnings = Vec::new();
    if rootless && !rondel_network::rootless::enter_user_namespace()?.mapped_range {
        warnings.push(SINGLE_USER_WARNING.to_owned());
    }
    let log = install_log()?;
    let state = settings.state()?;
    state.make()?;
    let config = Config::read(settings.config()?.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().attempt(|| "start".into())?;
    let (at_ready, at_end) = (log.clone(), log.clone());
    let options = ServeOptions {
        state_dir: state.path().to_owned(),
        commit: crate::build_info::COMMIT.map(str::to_owned),
        config,
        ready: Some(Box::new(move || {
            if log_to_state {
                at_ready.leave_stderr(Box::new(redirect_stderr));
            }
            if announce {
                announce_ready();
            }
        })),
        rootless,
        warnings,
        log,
    };
    let outcome = runtime.block_on(rondel_engine::serve(options));
    // Work in the middle of a large file is abandoned. Its partial files need no repair.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    at_end.finish();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Starts the engine's log with the format and filter of the environment.
fn install_log() -> Result<LogOutput> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let format = match set(LOG_FORMAT_VARIABLE) {
        Some(format) => {
            format.parse().map_err(|fault: Fault| fault.context(format!("read `{LOG_FORMAT_VARIABLE}`")))?
        }
        None => LogFormat::default(),
    };
    let log = LogOutput::default();
    let filter = set(LOG_VARIABLE).unwrap_or_else(|| DEFAULT_LOG_FILTER.to_owned());
    log.install(format, &filter).map_err(|fault| fault.context(format!("read `{LOG_VARIABLE}`")))?;
    Ok(log)
}

/// Replaces the standard error of this process, a file in memory that a client gave, by `log`.
fn redirect_stderr(log: &File) {
    let _ = rustix::stdio::dup2_stderr(log);
}

/// Prints why the engine did not start, for the process that started it. After
/// [`announce_ready`], standard output is closed to it.
fn announce_failure(fault: &Fault) {
    let code = fault.code().as_str().to_owned();
    let mut hints = fault.hints().to_vec();
    hints.extend((fault.code() == Code::ResourceExhausted).then(|| crate::response::FREE_SPACE_HINT.to_owned()));
    let refusal = Refusal { message: fault.full_message(), hints, code };
    if let Ok(line) = serde_json::to_string(&refusal) {
        let _ = crate::output::write(&format!("{line}\n"));
    }
}

/// Prints `ready` for the process that started this engine, and closes standard output.
fn announce_ready() {
    if crate::output::write("ready\n").is_ok()
        && let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

async fn stop(settings: &Settings) -> Result<ExitCode> {
    let (state, _) = settings.controlled().await?;
    let processes = processes(&rondel_client::link::control(&state, Method::GET, rondel_link::STATUS).await?);
    let answer = rondel_client::link::control(&state, Method::POST, rondel_link::STOP).await?;
    // An engine of an older version returns an empty body.
    let ending: Ending = serde_json::from_slice(&answer).unwrap_or_default();
    let started = Instant::now();
    let mut next_note = FIRST_NOTE_AFTER;
    let mut tick = tokio::time::interval(POLL_INTERVAL);
    loop {
        tick.tick().await;
        let left: Vec<u32> = processes.iter().copied().filter(|id| !ended(*id)).collect();
        if left.is_empty() && !state.is_held() {
            return Ok(ExitCode::SUCCESS);
        }
        let waits = blockers(&left, &ending);
        if started.elapsed() >= STOP_TIMEOUT {
            let limit = STOP_TIMEOUT.as_secs();
            return Err(Fault::environment(format!(
                "the engine was asked to end and has not ended within {limit} s: {waits}"
            ))
            .with_hint("`kill -KILL` ends it at once; what it has stored stays valid"));
        }
        if started.elapsed() >= next_note {
            crate::output::note(&format!("waiting for the engine to end: {waits}"));
            next_note *= 2;
        }
    }
}

/// Describes the processes and the work that hold up the end of an engine.
fn blockers(left: &[u32], ending: &Ending) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let work = format!("{}, {}", count(ending.clients, "client"), count(ending.evaluations, "evaluation"));
    let state = |id: &u32| match stat(*id).and_then(|mut fields| fields.next()).as_deref() {
        Some("T" | "t") => format!("process {id} is stopped; `kill -CONT {id}` lets it go on"),
        Some("D") => format!("process {id} waits for a disk"),
        _ => format!("process {id} cancels the work that was under way ({work})"),
    };
    match left {
        [] => "another process holds the state directory".to_owned(),
        left => left.iter().map(state).collect::<Vec<_>>().join("; "),
    }
}

/// Removes the state directory. Without root, it has files of subordinate ids, which only the root
/// user of a user namespace can remove.
fn reset(settings: &Settings) -> Result<ExitCode> {
    let state = settings.state()?;
    crate::interrupt::block_on(settings.interruption(), async {
        settings.controlled().await?;
        match rondel_client::connect(&state, None).await {
            Ok(_) => stop(settings).await,
            Err(_) => Ok(ExitCode::SUCCESS),
        }
    })?;
    if !state.path().exists() {
        return Ok(ExitCode::SUCCESS);
    }
    let rootless = !rustix::process::geteuid().is_root();
    if rootless {
        rondel_network::rootless::enter_user_namespace()?;
    }
    rondel_engine::remove_state(state.path(), rootless)?;
    for file in all_files(&state.log()).into_iter().chain([state.socket()]) {
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir(state.path());
    Ok(ExitCode::SUCCESS)
}

/// The process ids of the engine and, for a rootless engine, of the process that waits for it.
fn processes(status: &[u8]) -> Vec<u32> {
    let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    let engine = status["pid"].as_u64().and_then(|id| u32::try_from(id).ok());
    let waits = engine.filter(|_| status["rootless"] == true).and_then(|id| stat(id)?.nth(1)?.parse().ok());
    engine.into_iter().chain(waits).collect()
}

fn ended(process: u32) -> bool {
    stat(process).and_then(|mut fields| fields.next()).is_none_or(|state| state == "Z" || state == "X")
}

/// The fields of `/proc/PID/stat` from the process state on. `None` if there is no such process.
fn stat(process: u32) -> Option<std::vec::IntoIter<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<String> = text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
    Some(fields.into_iter())
}
