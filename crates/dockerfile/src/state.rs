//! A stage as its instructions change it.

use rondel_model::op::{Edit, TreePath};
use rondel_model::table::entries;
use rondel_model::{AbsPath, Container, Fs, FsOp, ImageConfig, Owner, Platform};
use serde_json::{Value, json};

use crate::build::{Base, Builder, Stop, given};
use crate::command::{Command, Instruction, Pair, Words};
use crate::error::{Error, Spot};
use crate::values;
use crate::words::Expander;

/// Where programs are when an image does not say it.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Build arguments that need no declaration and count for nothing.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// A stage up to some instruction.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) container: Container,
    /// Declared build arguments, the last declaration of a name counts.
    args: Vec<(String, String)>,
    /// The stage has a `CMD`.
    has_cmd: bool,
}

impl State {
    /// The state after `FROM scratch`.
    pub(crate) fn scratch(platform: Platform) -> Self {
        let config = ImageConfig {
            env: Some(entries::table([DEFAULT_PATH])),
            working_dir: "/".into(),
            ..ImageConfig::default()
        };
        let place = TreePath { fs: Fs::scratch(), path: AbsPath::root() };
        Self::image(Base { place, config, history: None, platform })
    }

    /// The state after `FROM image`.
    pub(crate) fn image(base: Base) -> Self {
        let Base { place, config, history, platform } = base;
        let scratch = Container::scratch(platform);
        let container = Container { rootfs: place.fs, config: config.into(), history, ..scratch };
        Self { container, args: Vec::new(), has_cmd: false }
    }

    /// The state after `FROM stage`.
    pub(crate) fn on(base: Self) -> Self {
        Self { has_cmd: false, ..base }
    }

    /// The instructions that the base left for this stage.
    pub(crate) fn take_triggers(&mut self) -> Vec<String> {
        let mut triggers = Value::Null;
        self.configure(|config| triggers = config.other.shift_remove("OnBuild").unwrap_or_default());
        serde_json::from_value(triggers).unwrap_or_default()
    }

    /// Does what one instruction of the stage `at` says.
    pub(crate) fn apply(&mut self, builder: &mut Builder<'_>, at: usize, step: &Instruction) -> Result<(), Stop> {
        let spot = &step.spot;
        let escape = builder.dockerfile.escape;
        let word = |state: &Self, text: &str| state.expand(escape, text, spot);
        match &step.command {
            Command::Run(run) => return self.run(builder, at, run, spot),
            Command::Copy(copy) => return self.copy(builder, at, copy, spot),
            Command::Arg(args) => self.declare(builder, args, spot)?,
            Command::Env(pairs) => {
                let pairs = self.pairs(pairs, escape, spot)?;
                self.configure(|config| pairs.into_iter().for_each(|(name, value)| config.set_env(&name, &value)));
            }
            Command::Label(pairs) => {
                let pairs = self.pairs(pairs, escape, spot)?;
                let pairs = pairs.into_iter().map(|(name, value)| (name, json!(value)));
                self.configure(|config| config.labels.get_or_insert_default().extend(pairs));
            }
            Command::Workdir(path) => self.workdir(&word(self, path)?),
            Command::User(user) => {
                let user = word(self, user)?;
                self.configure(|config| config.user = user);
            }
            Command::Expose(words) => {
                for text in words {
                    for text in word(self, text)?.split_whitespace() {
                        let ports = values::ports(text).map_err(|message| spot.error(message))?;
                        let ports = ports.into_iter().map(|port| (port, json!({})));
                        self.configure(|config| config.exposed_ports.get_or_insert_default().extend(ports));
                    }
                }
            }
            Command::Volume(paths) => {
                for path in paths {
                    let path = word(self, path)?;
                    if path.is_empty() {
                        return Err(spot.error("the path of a volume is empty").into());
                    }
                    self.configure(|config| {
                        let volumes = config.other.entry("Volumes").or_insert_with(|| json!({}));
                        volumes[path] = json!({});
                    });
                }
            }
            Command::StopSignal(signal) => {
                let signal = word(self, signal)?;
                values::signal(&signal).map_err(|message| spot.error(message))?;
                self.other("StopSignal", json!(signal));
            }
            Command::Shell(words) => self.other("Shell", json!(words)),
            Command::Healthcheck(check) => self.other("Healthcheck", check.clone()),
            Command::OnBuild(text) => self.configure(|config| {
                let triggers = config.other.entry("OnBuild").or_insert_with(|| json!([]));
                if let Some(triggers) = triggers.as_array_mut() {
                    triggers.push(json!(text));
                }
            }),
            Command::Cmd(words) => {
                let words = self.command_line(words);
                self.configure(|config| config.cmd = Some(words));
                self.has_cmd = true;
            }
            Command::Entrypoint(words) => {
                let words = self.command_line(words);
                let keep = self.has_cmd;
                self.configure(|config| {
                    config.entrypoint = Some(words).filter(|words| !words.is_empty());
                    if !keep {
                        config.cmd = None;
                    }
                });
            }
            Command::From { .. } | Command::Maintainer => {}
        }
        Ok(())
    }

    fn configure(&mut self, change: impl FnOnce(&mut ImageConfig)) {
        let config = std::sync::Arc::make_mut(&mut self.container.config);
        change(config);
    }

    fn other(&mut self, name: &str, value: Value) {
        self.configure(|config| {
            config.other.insert(name.to_owned(), value);
        });
    }

    fn declare(&mut self, builder: &Builder<'_>, args: &[(String, Option<String>)], spot: &Spot) -> Result<(), Error> {
        for (name, default) in args {
            let escape = builder.dockerfile.escape;
            let name = self.expand(escape, name, spot)?;
            let inherited = || builder.global.iter().rev().find(|(known, _)| *known == name).map(|(_, v)| v.clone());
            let value = match (given(builder.request, &name), default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(escape, default, spot)?),
                (None, None) => inherited(),
            };
            if let Some(value) = value {
                self.args.retain(|(known, _)| *known != name);
                self.args.push((name, value));
            }
        }
        Ok(())
    }

    fn pairs(&self, pairs: &[Pair], escape: char, spot: &Spot) -> Result<Vec<Pair>, Error> {
        let one = |(name, value): &Pair| Ok((self.expand(escape, name, spot)?, self.expand(escape, value, spot)?));
        pairs.iter().map(one).collect()
    }

    fn workdir(&mut self, path: &str) {
        let path = self.container.workdir().join(path);
        self.configure(|config| config.working_dir = path.to_string());
        if path.is_root() {
            return;
        }
        let user = &self.container.config.user;
        let owner = Some(user).filter(|user| !user.is_empty()).map(|user| Owner(user.as_str().into()));
        let edit = Edit::MakeDir { path, permissions: 0o755, owner };
        self.container.rootfs = Fs::new(FsOp::Edit { base: self.container.rootfs.clone(), edit });
    }

    /// The command line that words mean: what is written for the shell goes after it.
    pub(crate) fn command_line(&self, words: &Words) -> Vec<String> {
        match words {
            Words::List(words) => words.clone(),
            Words::Shell(text) if text.is_empty() => Vec::new(),
            Words::Shell(text) => self.shell().into_iter().chain([text.clone()]).collect(),
        }
    }

    fn shell(&self) -> Vec<String> {
        let own = self.container.config.other.get("Shell").cloned().unwrap_or_default();
        serde_json::from_value(own).unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into()])
    }

    /// `text` with variables expanded and quotes removed. What `ENV` says goes before what `ARG`
    /// says.
    pub(crate) fn expand(&self, escape: char, text: &str, spot: &Spot) -> Result<String, Error> {
        let lookup = |name: &str| self.variable(name);
        Expander { escape, lookup: &lookup }.word(text).map_err(|message| spot.error(message))
    }

    /// The text of a here-document with variables expanded.
    pub(crate) fn expand_document(&self, escape: char, text: &str, spot: &Spot) -> Result<String, Error> {
        let lookup = |name: &str| self.variable(name);
        Expander { escape, lookup: &lookup }.document(text).map_err(|message| spot.error(message))
    }

    fn variable(&self, name: &str) -> Option<String> {
        let own = self.container.variable(name).map(ToOwned::to_owned);
        own.or_else(|| self.args.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
    }

    /// The environment of processes: that of the image, then declared build arguments.
    pub(crate) fn environment(&self) -> Vec<Pair> {
        let mut env: Vec<Pair> = self.container.environment();
        for (name, value) in &self.args {
            if !env.iter().any(|(known, _)| known == name) {
                env.push((name.clone(), value.clone()));
            }
        }
        env
    }

    /// Proxies that were given and not declared.
    pub(crate) fn proxies(&self, builder: &Builder<'_>) -> Vec<Pair> {
        let undeclared = PROXIES.iter().filter(|name| !self.args.iter().any(|(known, _)| known == *name));
        undeclared.filter_map(|name| Some(((*name).to_owned(), given(builder.request, name)?))).collect()
    }
}
