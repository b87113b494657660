//! Builds stages into containers.

use rondel_model::{Fs, Platform};

use crate::error::{Error, Location};
use crate::request::{Base, Known, Need, Outcome, Request, Stop, given};
use crate::stage_state::StageState;
use crate::stages::{Dockerfile, StageRef};
use crate::words::Expander;

/// Builds `request` of `dockerfile` with the answers in `known`.
///
/// # Errors
/// When the Dockerfile, seen with the request, is wrong.
pub fn build(dockerfile: &Dockerfile, request: &Request, known: &Known) -> Result<Outcome, Error> {
    let target = dockerfile.target(&request.target)?;
    let mut builder = Builder::new(dockerfile, request, known)?;
    let needed = dockerfile.needed(target, &builder.bases)?;
    let mut needs: Vec<(Need, Error)> = Vec::new();
    for at in needed {
        match builder.stage(at) {
            Ok(_) => {}
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Need(need)) => {
                let (need, location) = *need;
                if !needs.iter().any(|(other, _)| *other == need) {
                    needs.push((need, location.error("it cannot be had")));
                }
            }
        }
    }
    if !needs.is_empty() {
        return Ok(Outcome::Needs(needs));
    }
    match builder.stage(target) {
        Ok(state) => Ok(Outcome::Done(Box::new(state.container))),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Need(need)) => Ok(Outcome::Needs(vec![(need.0, need.1.error("it cannot be had"))])),
    }
}

/// Stages in the making.
pub(crate) struct Builder<'a> {
    pub(crate) dockerfile: &'a Dockerfile,
    pub(crate) request: &'a Request,
    known: &'a Known,
    /// `ARG` before the first stage, and what platforms are called.
    pub(crate) global: Vec<(String, String)>,
    /// The stage that each stage starts from.
    bases: Vec<Option<usize>>,
    /// The images of the others, and their platforms.
    images: Vec<(String, Platform)>,
    done: Vec<Option<StageState>>,
}

impl<'a> Builder<'a> {
    fn new(dockerfile: &'a Dockerfile, request: &'a Request, known: &'a Known) -> Result<Self, Error> {
        let mut global = platform_args(request);
        for instruction in &dockerfile.global {
            let crate::command::Command::Arg(args) = &instruction.command else { continue };
            for (name, default) in args {
                let given = given(request, name);
                let value = match (given, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => {
                        expand(dockerfile, &global, default).map_err(|message| instruction.location.error(message))?
                    }
                    (None, None) => continue,
                };
                global.retain(|(known, _)| known != name);
                global.push((name.clone(), value));
            }
        }
        let mut builder = Self {
            dockerfile,
            request,
            known,
            global,
            bases: Vec::new(),
            images: Vec::new(),
            done: vec![None; dockerfile.stages.len()],
        };
        for at in 0..dockerfile.stages.len() {
            builder.find_base(at)?;
        }
        Ok(builder)
    }

    fn find_base(&mut self, at: usize) -> Result<(), Error> {
        let stage = &self.dockerfile.stages[at];
        let expanded =
            |text: &str| expand(self.dockerfile, &self.global, text).map_err(|message| stage.location.error(message));
        let image = expanded(&stage.image)?;
        let platform = match &stage.platform {
            None => self.request.platform.clone(),
            Some(text) => {
                let text = expanded(text)?;
                text.parse().map_err(|e| stage.location.error(format!("{e}")))?
            }
        };
        let name = image.to_ascii_lowercase();
        self.bases.push(self.dockerfile.named(&name, at));
        self.images.push((image, platform));
        Ok(())
    }

    /// The state after the stage `at`.
    pub(crate) fn stage(&mut self, at: usize) -> Result<StageState, Stop> {
        if let Some(state) = &self.done[at] {
            return Ok(state.clone());
        }
        let dockerfile = self.dockerfile;
        let stage = &dockerfile.stages[at];
        let (image, platform) = self.images[at].clone();
        let state = match self.bases[at] {
            Some(base) => StageState::on(self.stage(base)?),
            None if image.is_empty() => return Err(stage.location.error("the name of the image is empty").into()),
            None if image == "scratch" => StageState::scratch(platform),
            None => {
                let found = self.image(&image, platform, &stage.location)?;
                StageState::image(found)
            }
        };
        let mut state = state;
        let triggers = crate::stages::triggers(dockerfile, &stage.location, &state.take_triggers())?;
        for instruction in triggers.iter().chain(&stage.instructions) {
            state.apply(self, at, instruction)?;
        }
        self.done[at] = Some(state.clone());
        Ok(state)
    }

    /// The root that `--from=text` means.
    pub(crate) fn from(&mut self, text: &str, current: usize, location: &Location) -> Result<Fs, Stop> {
        match self.dockerfile.from(text, current, location)? {
            StageRef::Stage(at) => Ok(self.stage(at)?.container.rootfs),
            StageRef::Image(image) if image == "scratch" => Ok(Fs::scratch()),
            StageRef::Image(image) => Ok(self.image(&image, self.request.platform.clone(), location)?.place.fs),
        }
    }

    fn image(&self, reference: &str, platform: Platform, location: &Location) -> Result<Base, Stop> {
        self.need(Need::Image { reference: reference.to_owned(), platform }, location)
    }

    /// What answers `need`.
    pub(crate) fn need(&self, need: Need, location: &Location) -> Result<Base, Stop> {
        self.known.get(&need).cloned().ok_or_else(|| Stop::Need(Box::new((need, location.clone()))))
    }
}

fn expand(dockerfile: &Dockerfile, values: &[(String, String)], text: &str) -> Result<String, String> {
    let lookup = |name: &str| values.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    Expander { escape: dockerfile.escape, lookup: &lookup }.word(text)
}

/// The build arguments about platforms, which need no declaration.
fn platform_args(request: &Request) -> Vec<(String, String)> {
    let mut args = Vec::new();
    for (prefix, platform) in [("BUILD", &Platform::native()), ("TARGET", &request.platform)] {
        let parts = [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone()),
        ];
        args.extend(parts.into_iter().map(|(part, value)| (format!("{prefix}{part}"), value)));
    }
    let stage = if request.target.is_empty() { "default" } else { &request.target };
    args.push(("TARGETSTAGE".to_owned(), stage.to_owned()));
    for (name, value) in &mut args {
        if let Some(given) = given(request, name) {
            *value = given;
        }
    }
    args
}
