//! `rondel trace`: lists, replays and reads recorded runs.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_progress::recording::Recording;
use rondel_progress::replay::{TICK_MICROS, outputs, replay};
use rondel_progress::svg::picture;
use rondel_progress::units::elapsed;
use rondel_progress::{Line, RunState, Screen, Verbosity, final_frame, live};
use serde_json::json;

use crate::output;
use crate::progress_mode::uses_color;
use crate::recorder::{recordings, timestamp};
use crate::settings::Settings;

/// The largest recording that is read, in bytes. Those of this program are smaller.
const MAX_BYTES: u64 = 64 << 20;

pub(crate) fn command() -> Command {
    let run = |about: &'static str| Arg::new("run").value_name("RUN|FILE").help(about);
    let number = |name: &'static str, about: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u16).range(1..)).help(about)
    };
    Command::new("trace")
        .about("List, replay and read the recorded runs of this program")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("List the recorded runs, the newest first")
                .arg(Arg::new("json").short('j').long("json").action(ArgAction::SetTrue).help("Print JSON")),
        )
        .subcommand(
            Command::new("replay")
                .about("Show a run as the terminal showed it")
                .arg(run("The run, or a file; default: the newest run"))
                .arg(number("width", "The columns of the terminal; default: those of this one"))
                .arg(number("height", "The rows of the terminal; default: those of this one"))
                .arg(
                    Arg::new("speed")
                        .long("speed")
                        .value_name("X")
                        .value_parser(speed)
                        .default_value("1")
                        .help("How many times as fast as it was"),
                )
                .arg(
                    Arg::new("final")
                        .long("final")
                        .action(ArgAction::SetTrue)
                        .help("Print the last frame only, as without a terminal"),
                )
                .arg(
                    Arg::new("svg")
                        .long("svg")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Write a moving picture to a file"),
                )
                .arg(
                    Arg::new("before").long("before").value_name("TEXT").requires("svg").help("Text above the picture"),
                )
                .arg(
                    Arg::new("after")
                        .long("after")
                        .value_name("TEXT")
                        .requires("svg")
                        .help("Text below the last frame of the picture"),
                ),
        )
        .subcommand(
            Command::new("logs")
                .about("Print the whole output of the steps that failed, or of one step")
                .arg(run("The run, or a file; default: the newest run"))
                .arg(
                    Arg::new("step")
                        .long("step")
                        .value_name("TEXT")
                        .help("Print the output of the steps whose titles contain this text"),
                ),
        )
}

pub(crate) fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    match matches.subcommand() {
        Some(("list", m)) => list(settings, m),
        Some(("replay", m)) => show(settings, m),
        Some(("logs", m)) => logs(settings, m),
        _ => Err(Fault::bug("a command without an implementation")),
    }
}

fn list(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let runs = recordings(settings.state()?.path()).into_iter().map(|(name, path)| (name, read(&path)));
    if matches.get_flag("json") {
        let items: Vec<_> = runs
            .map(|(name, recording)| match recording {
                Ok(recording) => json!({
                    "run": name,
                    "command": recording.header.command,
                    "began": recording.header.began,
                    "ended": recording.ended(),
                    "result": result(&recording),
                }),
                Err(fault) => json!({"run": name, "error": fault.full_message()}),
            })
            .collect();
        output::write(&output::json(&items.into()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = format!("{:24}  {:19}  {:10}  {:>7}  {}\n", "RUN", "STARTED (UTC)", "COMMAND", "TIME", "RESULT");
    for (name, recording) in runs {
        match recording {
            Ok(recording) => {
                let (header, took) = (&recording.header, recording.ended().saturating_sub(recording.header.began));
                let (began, took) = (timestamp(header.began), elapsed(took));
                let command = printable(&header.command);
                table.push_str(&format!("{name:24}  {began}  {command:10}  {took:>7}  {}\n", result(&recording)));
            }
            Err(fault) => table.push_str(&format!("{name:24}  {}\n", fault.full_message())),
        }
    }
    output::write(&table)?;
    Ok(ExitCode::SUCCESS)
}

/// The last line of the last frame.
fn result(recording: &Recording) -> String {
    let state = end_of(recording, Verbosity::Normal);
    final_frame::summary(&state, recording.ended(), recording.ending(), false).text()
}

fn end_of(recording: &Recording, verbosity: Verbosity) -> RunState {
    replay(recording, verbosity, TICK_MICROS, |_, _| false)
}

fn show(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let recording = find(settings, matches)?;
    let verbosity = settings.verbosity();
    let is_terminal = std::io::stdout().is_terminal();
    let number = |name: &str| matches.get_one::<u16>(name).copied().map(usize::from);
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|size| size.ws_col > 0);
    let size = size.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    let (width, height) = (number("width").unwrap_or(size.0), number("height").unwrap_or(size.1));
    let color = uses_color(is_terminal, |name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let last = |state: &RunState| {
        let is_call = recording.header.command == "call";
        final_frame::draw(state, width, height, recording.ended(), recording.ending(), is_call)
    };
    if let Some(path) = matches.get_one::<PathBuf>("svg") {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
        let picture = picture(&recording, (width, height), text("before"), text("after"));
        std::fs::write(path, picture).attempt(|| format!("write `{}`", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_flag("final") || !is_terminal {
        let lines = last(&end_of(&recording, verbosity));
        output::write(&lines.iter().map(|line| line.ansi(color) + "\n").collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let speed = matches.get_one::<f64>("speed").copied().unwrap_or(1.0);
    let mut screen = Screen::new(color, false);
    let mut written = Ok(());
    let state = replay(&recording, verbosity, TICK_MICROS, |state, now| {
        written = output::write(&screen.draw(&live::draw(state, width, height, now), width, height));
        std::thread::sleep(Duration::from_micros(TICK_MICROS).div_f64(speed));
        written.is_ok()
    });
    written?;
    output::write(&screen.finish(&last(&state), width, height))?;
    Ok(ExitCode::SUCCESS)
}

fn logs(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let recording = find(settings, matches)?;
    let color = uses_color(std::io::stdout().is_terminal(), |name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let wanted = matches.get_one::<String>("step");
    let all = outputs(&recording, settings.verbosity());
    let found: Vec<_> = match wanted {
        Some(text) => all.iter().filter(|step| step.name.contains(text.as_str())).collect(),
        None => all.iter().filter(|step| step.is_failed).collect(),
    };
    if found.is_empty() {
        let names: Vec<String> = all.iter().map(|step| printable(&step.name)).collect();
        let fault = match wanted {
            Some(text) => Fault::not_found(format!("no step with `{text}` in its title printed anything")),
            None => Fault::not_found("no step of the run failed"),
        };
        return Err(match names.as_slice() {
            [] => fault,
            names => {
                fault.with_hint(format!("`--step TEXT` names a step; these printed something: {}", names.join(", ")))
            }
        });
    }
    for step in &found {
        if found.len() > 1 {
            output::write(&format!("==> {} <==\n", printable(&step.name)))?;
        }
        let text: String = step.lines.iter().map(|line| line.ansi(color) + "\n").collect();
        output::write(&text)?;
    }
    if recording.is_cut {
        output::note("the output is not complete: there was too much of it to record");
    }
    Ok(ExitCode::SUCCESS)
}

/// A text of a recording without what controls a terminal. The file may come from someone else.
fn printable(text: &str) -> String {
    Line::plain(text).text()
}

/// The recording that the arguments name: a run, a file, or the newest run.
fn find(settings: &Settings, matches: &ArgMatches) -> Result<Recording> {
    let name = matches.get_one::<String>("run");
    if let Some(path) = name.map(Path::new).filter(|path| path.is_file()) {
        return read(path);
    }
    let runs = recordings(settings.state()?.path());
    let found = match name {
        Some(name) => runs.into_iter().find(|(run, _)| run == name),
        None => runs.into_iter().next(),
    };
    match (found, name) {
        (Some((_, path)), _) => read(&path),
        (None, Some(name)) => Err(Fault::not_found(format!("there is no recorded run or file `{name}`"))
            .with_hint("`rondel trace list` lists the runs")),
        (None, None) => Err(Fault::not_found("no run is recorded")),
    }
}

fn read(path: &Path) -> Result<Recording> {
    let attempted = || format!("read the recording `{}`", path.display());
    let size = std::fs::metadata(path).attempt(attempted)?.len();
    if size > MAX_BYTES {
        return Err(Fault::user(format!("`{}` is too large for a recording", path.display())));
    }
    let bytes = std::fs::read(path).attempt(attempted)?;
    Recording::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|bad| Fault::user(format!("`{}` is no whole recording: {bad}", path.display())))
}

fn speed(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.01..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.01 to 1000 is expected".into()),
    }
}
