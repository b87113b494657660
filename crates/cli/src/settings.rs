//! The command line, and what of it holds for every command.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_client::endpoint::SESSION_PORT;
use rondel_client::{Attached, ClientCallbacks, Endpoint, EngineCommand, OpenSession, StateDir};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::Hello;

use crate::commands;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Lines.
    Plain,
    /// A block at the bottom of the terminal.
    Tty,
    /// Not at all.
    Silent,
}

/// What holds for every command.
#[derive(Clone)]
pub(crate) struct Settings {
    state_dir: Option<PathBuf>,
    config: Option<PathBuf>,
    progress: String,
    silent: bool,
    interactive: bool,
    interactive_command: String,
    allow: Vec<String>,
}

/// The whole command line.
pub(crate) fn command_line() -> Command {
    Command::new("rondel")
        .about("Runs typed functions in containers and serves them as one GraphQL API")
        .version(concat!("v", env!("CARGO_PKG_VERSION")))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args([
            Arg::new("state-dir")
                .long("state-dir")
                .global(true)
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the engine keeps its state and its socket [env: RONDEL_STATE_DIR]"),
            Arg::new("config")
                .long("config")
                .global(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The engine's configuration [env: RONDEL_CONFIG]"),
            Arg::new("progress")
                .long("progress")
                .global(true)
                .value_name("HOW")
                .value_parser(["auto", "plain", "tty"])
                .default_value("auto")
                .help("How progress is shown on standard error"),
            Arg::new("silent")
                .long("silent")
                .short('s')
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Show no progress"),
            Arg::new("interactive")
                .long("interactive")
                .short('i')
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Where a process in a container fails, open a terminal on what it left"),
            Arg::new("interactive-command")
                .long("interactive-command")
                .global(true)
                .value_name("COMMAND")
                .default_value("/bin/sh")
                .help("What runs on that terminal"),
            Arg::new("allow").long("allow").global(true).action(ArgAction::Append).value_name("NAME[=MODULE]").help(
                "Let modules and processes in containers, or one module alone, ask for `security.insecure` or \
                     `network.host`",
            ),
        ])
        .subcommands(commands::all())
}

impl Settings {
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        Self {
            state_dir: matches.get_one("state-dir").cloned(),
            config: matches.get_one("config").cloned(),
            progress: matches.get_one::<String>("progress").cloned().unwrap_or_default(),
            silent: matches.get_flag("silent"),
            interactive: matches.get_flag("interactive"),
            interactive_command: matches.get_one::<String>("interactive-command").cloned().unwrap_or_default(),
            allow: matches.get_many::<String>("allow").into_iter().flatten().cloned().collect(),
        }
    }

    /// The same with `-i`, and with another `--interactive-command` if one is given.
    pub(crate) fn interactively(&self, interactive: bool, command: Option<String>) -> Self {
        Self {
            interactive: self.interactive || interactive,
            interactive_command: command.unwrap_or_else(|| self.interactive_command.clone()),
            ..self.clone()
        }
    }

    /// What runs on a terminal where a process fails; nothing when nobody asked. `able`: there is a terminal to show it on.
    pub(crate) fn interactive(&self, able: bool) -> Result<Vec<String>> {
        if !self.interactive {
            return Ok(Vec::new());
        }
        if !able {
            return Err(Fault::user("no tty available for `--interactive`")
                .with_hint("Run it on a terminal, or leave `--interactive` out"));
        }
        let command = &self.interactive_command;
        match shlex::split(command) {
            None => Err(Fault::user(format!("`--interactive-command {command}` has a quote without an end"))),
            Some(words) if words.is_empty() => Err(Fault::user("`--interactive-command` names no program")),
            Some(words) => Ok(words),
        }
    }

    /// The state folder.
    pub(crate) fn state(&self) -> Result<StateDir> {
        StateDir::find(self.state_dir.as_deref(), |name| std::env::var(name).ok())
    }

    /// Where the API is: the session that the environment names, else the engine of the state
    /// folder. A state folder that was given by flag is meant.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        match OpenSession::find(|name| std::env::var(name).ok()) {
            _ if self.state_dir.is_some() => self.state().map(Endpoint::Engine),
            Ok(Some(session)) => Ok(Endpoint::Session(session)),
            Ok(None) => self.state().map(Endpoint::Engine),
            Err(fault) => Err(fault),
        }
    }

    /// Attaches a client as `hello` says, with what was allowed by flag. An engine is started when
    /// there is none, and no session to join.
    pub(crate) async fn attach(&self, hello: Hello, callbacks: impl Into<ClientCallbacks>) -> Result<Attached> {
        let hello = Hello { allow: self.allow.clone(), ..hello };
        match self.endpoint()? {
            Endpoint::Engine(state) => {
                let launch = self.launch()?;
                rondel_client::attach(&Endpoint::Engine(state), Some(&launch), &hello, callbacks).await
            }
            session => rondel_client::attach(&session, None, &hello, callbacks).await,
        }
    }

    /// The state folder whose engine is controlled, and how to start one, unless this process
    /// belongs to a session of another engine.
    pub(crate) async fn controlled(&self) -> Result<(StateDir, Option<EngineCommand>)> {
        let state = self.state()?;
        if !self.endpoint()?.is_joined() {
            return Ok((state, Some(self.launch()?)));
        }
        // A process outside of containers may belong to a session and yet see the engine.
        match rondel_client::connect(&state, None).await {
            Ok(_) => Ok((state, None)),
            Err(_) => Err(Fault::user(format!(
                "there is no engine to control here: this process belongs to the session that `{SESSION_PORT}` names, \
                 whose engine runs elsewhere"
            ))
            .with_hint("run the command outside of the session, or name an engine with `--state-dir`")),
        }
    }

    /// The configuration file, absolute.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let found = self.config.clone().or_else(|| rondel_client::state::config_file(|name| std::env::var(name).ok()));
        found.map(|path| std::path::absolute(&path).unwrap_or(path))
    }

    /// How to start an engine: this very program.
    pub(crate) fn launch(&self) -> Result<EngineCommand> {
        let program = std::env::current_exe().attempt(|| "find this program's own file".into())?;
        Ok(EngineCommand { program, config: self.config() })
    }

    /// How progress is shown.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let terminal = std::io::stderr().is_terminal();
        match self.progress.as_str() {
            _ if self.silent => Ok(Progress::Silent),
            "plain" => Ok(Progress::Plain),
            "tty" if !terminal => Err(Fault::user("no tty available for progress \"tty\"")),
            "tty" => Ok(Progress::Tty),
            _ if terminal => Ok(Progress::Tty),
            _ => Ok(Progress::Plain),
        }
    }
}

/// The working directory.
pub(crate) fn workdir() -> Result<PathBuf> {
    std::env::current_dir().attempt(|| "find the working directory".into())
}
