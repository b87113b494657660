//! `rondel engine serve|status|stop|verify|reset`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use rondel_engine::{Config, ServeOptions};
use rondel_fault::{Attempt as _, Fault, Result};

use crate::settings::Settings;

/// What an engine without further ids says.
const ONE_USER: &str = "containers have root as their only user, because this user has no ranges in `/etc/subuid` and \
    `/etc/subgid` (or `newuidmap` is missing); programs that change to another user fail. An administrator can add ranges: \
    `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`; then restart the engine";

/// How long work that cannot be cancelled may hold up the end of the engine.
const LAST_WORK: Duration = Duration::from_secs(5);

pub(crate) fn command() -> Command {
    let announce = Arg::new("announce")
        .long("announce")
        .action(ArgAction::SetTrue)
        .help("Print `ready` and close standard output as soon as clients can connect");
    Command::new("engine")
        .about("Control the engine; other commands start it when they need it")
        .subcommand_required(true)
        .subcommand(Command::new("serve").about("Run the engine in the foreground").arg(announce))
        .subcommand(Command::new("status").about("Say whether an engine runs, and how it is"))
        .subcommand(Command::new("stop").about("End the engine, and everything it runs"))
        .subcommand(
            Command::new("verify").about("Check everything the engine has stored, and set aside what is damaged"),
        )
        .subcommand(
            Command::new("reset").about("End the engine and remove everything it has stored, cache volumes included"),
        )
}

pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("serve", m)) => serve(settings, m.get_flag("announce")),
        Some(("status", _)) => super::block_on(show(settings, Method::GET, rondel_link::STATUS)),
        Some(("verify", _)) => super::block_on(verify(settings)),
        Some(("stop", _)) => super::block_on(stop(settings)),
        Some(("reset", _)) => reset(settings),
        _ => Err(Fault::bug("an engine command without an implementation")),
    }
}

fn serve(settings: &Settings, announce: bool) -> Result<ExitCode> {
    let rootless = !rustix::process::geteuid().is_root();
    let mut notes = Vec::new();
    if rootless && !rondel_network::rootless::enter_user_namespace()?.mapped_range {
        notes.push(ONE_USER.to_owned());
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("RONDEL_LOG").unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = log.try_init();
    let state = settings.state()?;
    state.make()?;
    let config = Config::read(settings.config().as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().attempt(|| "start".into())?;
    let options = ServeOptions {
        state_dir: state.path().to_owned(),
        config,
        ready: announce.then(|| Box::new(announce_ready) as _),
        rootless,
        notes,
    };
    let outcome = runtime.block_on(rondel_engine::serve(options));
    // What is in the middle of a large file is not waited for: nothing that it leaves has to be repaired.
    runtime.shutdown_timeout(LAST_WORK);
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Tells whoever started this engine that it listens, and lets go of standard output.
fn announce_ready() {
    if crate::output::write("ready\n").is_ok()
        && let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

async fn show(settings: &Settings, method: Method, path: &str) -> Result<ExitCode> {
    let body = rondel_client::link::control(&settings.state()?, method, path).await?;
    crate::output::write(&pretty(&body))?;
    Ok(ExitCode::SUCCESS)
}

async fn verify(settings: &Settings) -> Result<ExitCode> {
    let body = rondel_client::link::control(&settings.state()?, Method::POST, rondel_link::VERIFY).await?;
    crate::output::write(&pretty(&body))?;
    let found: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let clean = found["problems"].as_array().is_some_and(Vec::is_empty);
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn stop(settings: &Settings) -> Result<ExitCode> {
    let state = settings.state()?;
    let processes = processes(&rondel_client::link::control(&state, Method::GET, rondel_link::STATUS).await?);
    rondel_client::link::control(&state, Method::POST, rondel_link::STOP).await?;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..2_000 {
        tick.tick().await;
        if rondel_client::connect(&state, None).await.is_err()
            && !state.is_held()
            && processes.iter().all(|id| ended(*id))
        {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Fault::environment("the engine was asked to end and is still there"))
}

/// Removes the state. An ordinary user's has files of further ids, which only root of a user namespace can remove.
fn reset(settings: &Settings) -> Result<ExitCode> {
    let state = settings.state()?;
    super::block_on(async {
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
    for file in [state.socket(), state.log()] {
        let _ = std::fs::remove_file(file);
    }
    let _ = std::fs::remove_dir(state.path());
    Ok(ExitCode::SUCCESS)
}

/// The engine's process and, when an ordinary user's, the one that waits for it.
fn processes(status: &[u8]) -> Vec<u32> {
    let status: serde_json::Value = serde_json::from_slice(status).unwrap_or_default();
    let engine = status["pid"].as_u64().and_then(|id| u32::try_from(id).ok());
    let waits = engine.filter(|_| status["rootless"] == true).and_then(|id| stat(id)?.nth(1)?.parse().ok());
    engine.into_iter().chain(waits).collect()
}

fn ended(process: u32) -> bool {
    stat(process).and_then(|mut fields| fields.next()).is_none_or(|state| state == "Z" || state == "X")
}

/// What the kernel says of a process, from its state on.
fn stat(process: u32) -> Option<std::vec::IntoIter<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<String> = text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
    Some(fields.into_iter())
}

/// Whether nobody holds the state folder.
fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap_or_default())
}
