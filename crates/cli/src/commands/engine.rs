//! `rondel engine serve|status|stop|verify`.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::Method;
use rondel_engine::{Config, ServeOptions};
use rondel_fault::{Attempt as _, Fault, Result};

use crate::settings::Settings;

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
        .subcommand(Command::new("verify").about("Check everything the engine has stored"))
}

pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("serve", m)) => serve(settings, m.get_flag("announce")),
        Some(("status", _)) => super::block_on(show(settings, Method::GET, rondel_link::STATUS)),
        Some(("verify", _)) => super::block_on(verify(settings)),
        Some(("stop", _)) => super::block_on(stop(settings)),
        _ => Err(Fault::bug("an engine command without an implementation")),
    }
}

fn serve(settings: &Settings, announce: bool) -> Result<ExitCode> {
    let rootless = !rustix::process::geteuid().is_root();
    if rootless {
        rondel_network::rootless::enter_user_namespace()?;
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("RONDEL_LOG").unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let _ = log.try_init();
    let state = settings.state()?;
    std::fs::create_dir_all(state.path()).attempt(|| format!("make the state folder `{}`", state.path().display()))?;
    let config = Config::read(settings.config().as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().attempt(|| "start".into())?;
    let options = ServeOptions { state_dir: state.path().to_owned(), config, ready: announce.then(|| Box::new(announce_ready) as _), rootless };
    runtime.block_on(rondel_engine::serve(options))?;
    Ok(ExitCode::SUCCESS)
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
    rondel_client::link::control(&state, Method::POST, rondel_link::STOP).await?;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..2_000 {
        tick.tick().await;
        if rondel_client::connect(&state, None).await.is_err() && unlocked(&state) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Fault::environment("the engine was asked to end and is still there"))
}

/// Whether nobody holds the state folder.
fn unlocked(state: &rondel_client::StateDir) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let Ok(file) = std::fs::File::open(state.path().join("lock")) else { return true };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!("{}\n", serde_json::to_string_pretty(&value).unwrap_or_default())
}
