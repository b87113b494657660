//! `rondel session`: serves the API to a client library until standard input ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_fault::{Attempt as _, Result};
use rondel_link::Hello;
use tokio::signal::unix::{SignalKind, signal};

use super::query::{CLIENT_VERSION, client_version};
use crate::progress_output::ProgressOutput;
use crate::settings::{Settings, workdir};

/// The label that holds the version of the library.
const LIBRARY_VERSION: &str = "dagger.io/sdk.version";

pub(crate) fn command() -> Command {
    let text = |name: &'static str| Arg::new(name).long(name).hide(true);
    let flag = |name: &'static str| text(name).action(ArgAction::SetTrue);
    Command::new("session")
        .about("Serve the API to a client library: print port and token, end when standard input ends")
        .arg(
            Arg::new("workdir")
                .long("workdir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("The directory that relative paths start from"),
        )
        .arg(Arg::new("version").long("version").value_name("VERSION").help("The API version to serve"))
        .arg(Arg::new("label").long("label").action(ArgAction::Append).hide(true))
        // Accepted so that libraries of every version can start a session; they have no effect.
        .args([text("project"), text("workspace").short('W')])
        .args([flag("load-workspace-modules"), flag("skip-workspace-modules")])
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    // Standard streams belong to the library, so there is no terminal to show.
    settings.interactive(false)?;
    let here = workdir()?;
    let workdir = matches.get_one::<PathBuf>("workdir").map_or(here.clone(), |given| here.join(given));
    let hello = Hello { version: version(matches)?, workdir, ..Hello::default() };
    // The program that started this one may write to the same terminal.
    let progress = ProgressOutput::new(settings.on_shared_terminal().progress()?);
    let attached = settings.attach(hello, progress.on_event()).await?;
    let proxy = crate::proxy::open(attached).await?;
    // ORDER: signals are handled before the line is printed. Its reader may send one at once.
    let mut terminate = signal(SignalKind::terminate()).attempt(|| "listen for signals".into())?;
    let mut interrupt = signal(SignalKind::interrupt()).attempt(|| "listen for signals".into())?;
    // The libraries read exactly this line, with exactly these two keys in this order.
    crate::output::write(&format!("{{\"port\":{},\"session_token\":\"{}\"}}\n", proxy.port, proxy.token))?;
    tokio::select! {
        () = input_ends() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    proxy.end_events();
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

/// The version that a flag or the environment asks for. Without either, the version of the library
/// if that is older than the newest API version.
fn version(matches: &ArgMatches) -> Result<String> {
    let asked = matches.get_one::<String>("version").cloned();
    if let Some(version) = asked.or_else(|| std::env::var(CLIENT_VERSION).ok()) {
        return client_version(version);
    }
    let labels = matches.get_many::<String>("label").into_iter().flatten();
    let library = labels.filter_map(|label| label.split_once(':')).find(|(name, _)| *name == LIBRARY_VERSION);
    let library = library.map(|(_, version)| version.to_owned());
    let older = |v: &String| v.parse::<rondel_version::View>().is_ok_and(|v| v < rondel_version::ENGINE);
    client_version(library.filter(older).unwrap_or_default())
}

async fn input_ends() {
    let _ = crate::interrupt::on_thread(|| {
        let mut sink = [0; 1024];
        while std::io::Read::read(&mut std::io::stdin().lock(), &mut sink).is_ok_and(|n| n > 0) {}
    })
    .await;
}
