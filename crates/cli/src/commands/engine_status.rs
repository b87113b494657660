//! `rondel engine status` and `verify`: what the engine says about itself and its store.

use std::fmt::Write as _;
use std::process::ExitCode;

use http::Method;
use rondel_client::StateDir;
use rondel_fault::{Fault, Result};
use rondel_link::Status;
use rondel_ports::snapshots::Verification;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::output;
use crate::settings::Settings;

/// How many pieces of running work the text lists.
const MAX_RUNNING: usize = 20;

/// Prints the status.
pub(super) async fn status(settings: &Settings, json: bool) -> Result<ExitCode> {
    let (state, answer) = asked(settings, Method::GET, rondel_link::STATUS).await?;
    match json {
        true => output::write(&output::json(&answer))?,
        false => output::write(&render(&parsed(answer)?, &state))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Verifies the store and prints the outcome. Damage is a failure.
pub(super) async fn verify(settings: &Settings, json: bool) -> Result<ExitCode> {
    let (_, answer) = asked(settings, Method::POST, rondel_link::VERIFY).await?;
    let found: Verification = parsed(answer.clone())?;
    match json {
        true => output::write(&output::json(&answer))?,
        false => output::write(&outcome(&found))?,
    }
    Ok(if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn asked(settings: &Settings, method: Method, path: &str) -> Result<(StateDir, Value)> {
    let (state, _) = settings.controlled().await?;
    let body = rondel_client::link::control(&state, method, path).await?;
    Ok((state, serde_json::from_slice(&body).map_err(not_understood)?))
}

fn parsed<T: DeserializeOwned>(answer: Value) -> Result<T> {
    serde_json::from_value(answer).map_err(not_understood)
}

fn not_understood(error: serde_json::Error) -> Fault {
    Fault::environment("the engine answered with something unexpected").caused_by(error)
}

fn render(status: &Status, state: &StateDir) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| _ = writeln!(text, "{label:<9}  {value}");
    let commit = status.commit.as_deref().map_or(String::new(), |commit| format!(" (commit {commit})"));
    line("engine", &format!("rondel {}{commit}, API {}", status.version, status.api_version));
    let user = if status.rootless { ", as an ordinary user" } else { "" };
    line("process", &format!("{}, up {}{user}", status.pid, duration(status.uptime)));
    line("state", &state.path().display().to_string());
    line("log", &state.log().display().to_string());
    line("clients", &status.clients.to_string());
    line("results", &format!("{} in memory", status.results));
    line("processes", &format!("{} started in containers", status.execs));
    for (number, work) in status.running.iter().take(MAX_RUNNING).enumerate() {
        line(if number == 0 { "running" } else { "" }, work);
    }
    match status.running.len() {
        0 => line("running", "nothing"),
        all if all > MAX_RUNNING => line("", &format!("… and {} more", all - MAX_RUNNING)),
        _ => {}
    }
    for note in &status.notes {
        line("warning", note);
    }
    text
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

fn outcome(found: &Verification) -> String {
    let mut text = String::new();
    for problem in &found.problems {
        let _ = writeln!(text, "{problem}");
    }
    let (layers, blobs, results) = (found.layers, found.blobs, found.results);
    let problems = match found.problems.len() {
        0 => "no problems".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let _ = writeln!(text, "{layers} layers, {blobs} blobs and {results} results are as they were stored; {problems}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_status() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "version": "v0.1.0", "commit": "abc", "api_version": "v0.21.8", "pid": 7, "uptime": 75, "clients": 1,
            "results": 3, "running": ["exec a", "exec b"], "execs": 2, "rootless": true, "notes": ["no limits"],
        }))
        .unwrap_or_else(|e| panic!("{e}"));
        let state = StateDir::find(Some(std::path::Path::new("/s")), |_| None).unwrap_or_else(|e| panic!("{e}"));
        let want = "engine     rondel v0.1.0 (commit abc), API v0.21.8\n\
                    process    7, up 1 min 15 s, as an ordinary user\n\
                    state      /s\n\
                    log        /s/engine.log\n\
                    clients    1\n\
                    results    3 in memory\n\
                    processes  2 started in containers\n\
                    running    exec a\n           exec b\n\
                    warning    no limits\n";
        assert_eq!(render(&status, &state), want);
    }
}
