//! Settings that every command shares: the global flags, and where the engine is.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use rondel_client::endpoint::SESSION_PORT;
use rondel_client::state::{CONFIG_VARIABLE, default_config, named_config};
use rondel_client::{Attached, ClientCallbacks, Endpoint, EngineCommand, OpenSession, StateDir};
use rondel_fault::{Attempt as _, Fault, Result};
use rondel_link::Hello;
use rondel_progress::Verbosity;

use crate::interrupt::Interruption;
use crate::progress_mode::{self, ErrorStream, ProgressMode};
use crate::progress_output::{self, ProgressSettings};
use crate::recorder;

/// The values of the global flags.
#[derive(Clone)]
pub(crate) struct Settings {
    state_dir: Option<PathBuf>,
    config: Option<PathBuf>,
    progress: String,
    silent: bool,
    verbosity: Verbosity,
    is_listing: bool,
    is_call: bool,
    shares_terminal: bool,
    command: String,
    began: u64,
    interruption: Interruption,
    interactive: bool,
    interactive_command: String,
    allow: Vec<String>,
    /// `-m` before the name of the command.
    module: Option<String>,
    /// `--explain` before the name of the command.
    explain: bool,
}

/// The flags that every command takes.
pub(crate) fn global_args() -> Vec<Arg> {
    let [progress, quiet, verbose] = progress_mode::args();
    vec![
        Arg::new("state-dir")
            .long("state-dir")
            .global(true)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help("The state directory: the cache, the log and the socket of the engine [env: RONDEL_STATE_DIR]"),
        Arg::new("config")
            .long("config")
            .global(true)
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("The configuration file of the engine [env: RONDEL_CONFIG]"),
        progress,
        quiet,
        verbose,
        Arg::new("interactive")
            .long("interactive")
            .short('i')
            .global(true)
            .action(ArgAction::SetTrue)
            .help("When a process in a container fails, open a terminal in its place, on the files that it left"),
        Arg::new("interactive-command")
            .long("interactive-command")
            .global(true)
            .value_name("COMMAND")
            .default_value("/bin/sh")
            .help("The program on that terminal"),
        Arg::new("allow").long("allow").global(true).action(ArgAction::Append).value_name("NAME[=MODULE]").help(
            "Grant the entitlement `security.insecure` or `network.host` to modules and processes in containers, \
                     or to one module alone",
        ),
    ]
}

impl Settings {
    pub(crate) fn new(matches: &ArgMatches) -> Self {
        Self {
            state_dir: matches.get_one("state-dir").cloned(),
            config: matches.get_one("config").cloned(),
            progress: matches.get_one::<String>("progress").cloned().unwrap_or_default(),
            silent: matches.get_flag("silent"),
            verbosity: progress_mode::verbosity(matches.get_count("verbose")),
            is_listing: false,
            is_call: false,
            shares_terminal: false,
            command: matches.subcommand_name().unwrap_or_default().to_owned(),
            began: progress_output::now(),
            interruption: Interruption::default(),
            interactive: matches.get_flag("interactive"),
            interactive_command: matches.get_one::<String>("interactive-command").cloned().unwrap_or_default(),
            allow: matches.get_many::<String>("allow").into_iter().flatten().cloned().collect(),
            module: matches.get_one("mod").cloned(),
            explain: matches.get_flag("explain"),
        }
    }

    /// The module of `-m`, behind or before the name of a command, else that of the environment.
    /// `matches` are those of the command.
    pub(crate) fn module(&self, matches: &ArgMatches) -> Option<String> {
        let own = matches.get_one::<String>("mod").cloned();
        match matches.value_source("mod") {
            Some(ValueSource::CommandLine) => own,
            _ => self.module.clone().or(own),
        }
    }

    /// `--explain`, behind or before the name of a command. `matches` are those of the command.
    pub(crate) fn explain(&self, matches: &ArgMatches) -> bool {
        self.explain || matches.get_flag("explain")
    }

    /// How much is shown.
    pub(crate) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Returns a copy for a command that lists something or changes files. Its progress is shown
    /// only if something fails or takes long. With `json`, nothing but the list and an error is
    /// printed, unless `--progress` asks for more.
    pub(crate) fn for_listing(&self, json: bool) -> Self {
        let silent = self.silent || (json && self.progress == "auto");
        Self { silent, is_listing: self.verbosity == Verbosity::Normal, ..self.clone() }
    }

    /// Returns a copy for a command that calls functions.
    pub(crate) fn for_call(&self) -> Self {
        Self { is_call: true, ..self.clone() }
    }

    /// Returns a copy for a command that may share the terminal of standard error with the program
    /// that started it.
    pub(crate) fn on_shared_terminal(&self) -> Self {
        Self { shares_terminal: true, ..self.clone() }
    }

    /// Returns a copy with `-i` added if `interactive`, and with `command` as
    /// `--interactive-command` if it is given.
    pub(crate) fn interactively(&self, interactive: bool, command: Option<String>) -> Self {
        Self {
            interactive: self.interactive || interactive,
            interactive_command: command.unwrap_or_else(|| self.interactive_command.clone()),
            ..self.clone()
        }
    }

    /// The words of `--interactive-command`, or none without `-i`.
    ///
    /// # Errors
    ///
    /// With `-i`, if `has_terminal` is false or the command cannot be split into words.
    pub(crate) fn interactive(&self, has_terminal: bool) -> Result<Vec<String>> {
        if !self.interactive {
            return Ok(Vec::new());
        }
        if !has_terminal {
            return Err(Fault::user("no tty available for `--interactive`")
                .with_hint("run the command on a terminal, or leave `--interactive` out"));
        }
        let command = &self.interactive_command;
        match shlex::split(command) {
            None => Err(Fault::user(format!("`--interactive-command {command}` has a quote without an end"))),
            Some(words) if words.is_empty() => Err(Fault::user("`--interactive-command` names no program")),
            Some(words) => Ok(words),
        }
    }

    /// The state directory, from `--state-dir`, the environment or the default.
    pub(crate) fn state(&self) -> Result<StateDir> {
        StateDir::find(self.state_dir.as_deref(), |name| std::env::var(name).ok())
    }

    /// Where the API is: the session that the environment names, else the engine of the state
    /// directory. `--state-dir` takes precedence over the session of the environment.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        match OpenSession::find(|name| std::env::var(name).ok()) {
            _ if self.state_dir.is_some() => self.state().map(Endpoint::Engine),
            Ok(Some(session)) => Ok(Endpoint::Session(session)),
            Ok(None) => self.state().map(Endpoint::Engine),
            Err(fault) => Err(fault),
        }
    }

    /// Attaches a client as `hello` says, with the entitlements of `--allow`. Starts an engine if
    /// none is running and the environment names no session.
    pub(crate) async fn attach(&self, hello: Hello, callbacks: impl Into<ClientCallbacks>) -> Result<Attached> {
        let hello = Hello { allow: self.allow.clone(), ..hello };
        match self.endpoint()? {
            Endpoint::Engine(state) => {
                let command = self.engine_command()?;
                rondel_client::attach(&Endpoint::Engine(state), Some(&command), &hello, callbacks).await
            }
            session => rondel_client::attach(&session, None, &hello, callbacks).await,
        }
    }

    /// The state directory of the engine to control, and the command that starts it.
    ///
    /// The command is `None` if this process belongs to a session: its engine is never started
    /// here.
    ///
    /// # Errors
    ///
    /// If this process belongs to a session whose engine cannot be reached by its socket.
    pub(crate) async fn controlled(&self) -> Result<(StateDir, Option<EngineCommand>)> {
        let state = self.state()?;
        if !self.endpoint()?.is_joined() {
            return Ok((state, Some(self.engine_command()?)));
        }
        // A process outside of containers may belong to a session and still reach the engine's
        // socket.
        match rondel_client::connect(&state, None).await {
            Ok(_) => Ok((state, None)),
            Err(_) => Err(Fault::user(format!(
                "there is no engine to control here: this process belongs to the session that `{SESSION_PORT}` names, \
                 whose engine runs elsewhere"
            ))
            .with_hint("run the command outside of the session, or name an engine with `--state-dir`")),
        }
    }

    /// The absolute path of the configuration file: the one that `--config` or the environment
    /// names, else that of the user. `None` if nothing is named and the user has none.
    ///
    /// # Errors
    ///
    /// If a named file does not exist.
    pub(crate) fn config(&self) -> Result<Option<PathBuf>> {
        let variable = |name: &str| std::env::var(name).ok();
        let (named, by) = match &self.config {
            Some(path) => (Some(path.clone()), "--config"),
            None => (named_config(variable), CONFIG_VARIABLE),
        };
        let is_missing = |path: &PathBuf| matches!(path.try_exists(), Ok(false));
        let Some(path) = named else { return Ok(default_config(variable).filter(|path| !is_missing(path))) };
        let path = std::path::absolute(&path).unwrap_or(path);
        match is_missing(&path) {
            false => Ok(Some(path)),
            true => Err(Fault::not_found(format!("the configuration `{}` does not exist", path.display()))
                .with_hint(format!("`{by}` names it; without that, `rondel/config.toml` in `~/.config` is read"))),
        }
    }

    /// The command that starts an engine: this program, with the same configuration.
    pub(crate) fn engine_command(&self) -> Result<EngineCommand> {
        let program = std::env::current_exe().attempt(|| "find the executable of this program".into())?;
        Ok(EngineCommand { program, config: self.config()? })
    }

    /// How progress is shown and recorded.
    ///
    /// # Errors
    ///
    /// If it cannot be shown as the flags say.
    pub(crate) fn progress(&self) -> Result<ProgressSettings> {
        let mode = match self.silent {
            true => ProgressMode::Quiet,
            false => ProgressMode::new(&self.progress, self.shares_terminal)?,
        };
        Ok(ProgressSettings {
            mode,
            verbosity: self.verbosity,
            stream: ErrorStream::new(),
            is_listing: self.is_listing,
            is_call: self.is_call,
            command: self.command.clone(),
            record_in: self.record_in(),
            interruption: self.interruption.clone(),
            began: self.began,
        })
    }

    /// The state directory in which runs are recorded. A process that was given a session has one
    /// only if that directory exists.
    fn record_in(&self) -> Option<PathBuf> {
        let is_engine = matches!(self.endpoint(), Ok(Endpoint::Engine(_)));
        let state = self.state().ok().map(|state| state.path().to_owned());
        state.filter(|path| is_engine || path.join("lock").is_file())
    }

    /// Whether the run of this command has been recorded, so that `rondel trace` shows it.
    pub(crate) fn is_recorded(&self) -> bool {
        let recording = self.record_in().map(|dir| recorder::recording_of_this_process(&dir, self.began));
        recording.is_some_and(|path| path.is_file())
    }

    /// Whether a signal has ended the command.
    pub(crate) fn interruption(&self) -> &Interruption {
        &self.interruption
    }
}

/// The working directory.
pub(crate) fn workdir() -> Result<PathBuf> {
    std::env::current_dir().attempt(|| "find the working directory".into())
}
