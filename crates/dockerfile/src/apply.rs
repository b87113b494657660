//! Applies instructions to the state of a stage. `RUN` and `COPY` have files of their own.

use rondel_model::op::Edit;
use rondel_model::{Fs, FsOp, Owner};
use serde_json::json;

use crate::build::Builder;
use crate::command::{Command, Instruction, Pair};
use crate::error::{Error, Location};
use crate::request::{Stop, given};
use crate::stage_state::StageState;
use crate::values;

impl StageState {
    /// Does what one instruction of the stage `at` says.
    pub(crate) fn apply(&mut self, builder: &mut Builder<'_>, at: usize, step: &Instruction) -> Result<(), Stop> {
        let location = &step.location;
        let escape = builder.dockerfile.escape;
        let word = |state: &Self, text: &str| state.expand(escape, text, location);
        match &step.command {
            Command::Run(run) => return self.run(builder, at, run, location),
            Command::Copy(copy) => return self.copy(builder, at, copy, location),
            Command::Arg(args) => self.declare(builder, args, location)?,
            Command::Env(pairs) => {
                let pairs = self.pairs(pairs, escape, location)?;
                self.configure(|config| pairs.into_iter().for_each(|(name, value)| config.set_env(&name, &value)));
            }
            Command::Label(pairs) => {
                let pairs = self.pairs(pairs, escape, location)?;
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
                        let ports = values::ports(text).map_err(|message| location.error(message))?;
                        let ports = ports.into_iter().map(|port| (port, json!({})));
                        self.configure(|config| config.exposed_ports.get_or_insert_default().extend(ports));
                    }
                }
            }
            Command::Volume(paths) => {
                for path in paths {
                    let path = word(self, path)?;
                    if path.is_empty() {
                        return Err(location.error("the path of a volume is empty").into());
                    }
                    self.configure(|config| {
                        let volumes = config.other.entry("Volumes").or_insert_with(|| json!({}));
                        volumes[path] = json!({});
                    });
                }
            }
            Command::StopSignal(signal) => {
                let signal = word(self, signal)?;
                values::signal(&signal).map_err(|message| location.error(message))?;
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

    fn declare(
        &mut self,
        builder: &Builder<'_>,
        args: &[(String, Option<String>)],
        location: &Location,
    ) -> Result<(), Error> {
        for (name, default) in args {
            let escape = builder.dockerfile.escape;
            let name = self.expand(escape, name, location)?;
            let inherited = || builder.global.iter().rev().find(|(known, _)| *known == name).map(|(_, v)| v.clone());
            let value = match (given(builder.request, &name), default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => Some(self.expand(escape, default, location)?),
                (None, None) => inherited(),
            };
            if let Some(value) = value {
                self.args.retain(|(known, _)| *known != name);
                self.args.push((name, value));
            }
        }
        Ok(())
    }

    fn pairs(&self, pairs: &[Pair], escape: char, location: &Location) -> Result<Vec<Pair>, Error> {
        let one =
            |(name, value): &Pair| Ok((self.expand(escape, name, location)?, self.expand(escape, value, location)?));
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
}
