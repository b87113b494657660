//! The state of a stage between two instructions.

use rondel_model::op::TreePath;
use rondel_model::table::entries;
use rondel_model::{AbsPath, Container, Fs, ImageConfig, Platform};
use serde_json::Value;

use crate::command::{Pair, Words};
use crate::error::{Error, Location};
use crate::request::{Base, Request, given};
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
pub(crate) struct StageState {
    pub(crate) container: Container,
    /// Declared build arguments, the last declaration of a name counts.
    pub(crate) args: Vec<(String, String)>,
    /// The stage has a `CMD`.
    pub(crate) has_cmd: bool,
}

impl StageState {
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

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut ImageConfig)) {
        let config = std::sync::Arc::make_mut(&mut self.container.config);
        change(config);
    }

    pub(crate) fn other(&mut self, name: &str, value: Value) {
        self.configure(|config| {
            config.other.insert(name.to_owned(), value);
        });
    }

    /// The command line of an instruction. Text in shell form is appended to the shell.
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
    pub(crate) fn expand(&self, escape: char, text: &str, location: &Location) -> Result<String, Error> {
        let lookup = |name: &str| self.variable(name);
        Expander { escape, lookup: &lookup }.word(text).map_err(|message| location.error(message))
    }

    /// The text of a here-document with variables expanded.
    pub(crate) fn expand_document(&self, escape: char, text: &str, location: &Location) -> Result<String, Error> {
        let lookup = |name: &str| self.variable(name);
        Expander { escape, lookup: &lookup }.document(text).map_err(|message| location.error(message))
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
    pub(crate) fn proxies(&self, request: &Request) -> Vec<Pair> {
        let undeclared = PROXIES.iter().filter(|name| !self.args.iter().any(|(known, _)| known == *name));
        undeclared.filter_map(|name| Some(((*name).to_owned(), given(request, name)?))).collect()
    }
}
