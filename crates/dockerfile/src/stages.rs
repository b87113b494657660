//! Parses a Dockerfile into stages.

use std::collections::BTreeSet;

use crate::command::{self, Command, Instruction};
use crate::error::{Error, Location, Source};
use crate::lines;

/// The most stages of a Dockerfile.
const MAX_STAGES: usize = 1000;

/// The images of front ends that do what we do.
const FRONT_ENDS: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// A Dockerfile that was read.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    pub(crate) source: Source,
    pub(crate) escape: char,
    /// `ARG` before the first stage.
    pub(crate) global: Vec<Instruction>,
    pub(crate) stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) location: Location,
    pub(crate) platform: Option<String>,
    /// The image or stage it starts from, variables not expanded.
    pub(crate) image: String,
    pub(crate) name: Option<String>,
    pub(crate) instructions: Vec<Instruction>,
}

/// What `--from` means.
pub(crate) enum StageRef {
    Stage(usize),
    Image(String),
}

/// Reads the Dockerfile `text`, which is called `file` in errors.
///
/// # Errors
/// When it is malformed.
pub fn parse(file: &str, text: &str) -> Result<Dockerfile, Error> {
    let source = Source::new(file);
    let lines = lines::split(&source, text)?;
    if let Some(syntax) = &lines.syntax {
        let name = syntax.split(['@', ' ']).next().unwrap_or_default();
        let name = name.strip_prefix("docker.io/").unwrap_or(name).split(':').next().unwrap_or_default();
        if !FRONT_ENDS.contains(&name) {
            // Users match on these words.
            let message = format!("syntax frontend \"{syntax}\" is unsupported: only `docker/dockerfile` is built in");
            return Err(source.at(1, "").error(message));
        }
    }
    let mut dockerfile =
        Dockerfile { source: source.clone(), escape: lines.escape, global: Vec::new(), stages: Vec::new() };
    for line in &lines.all {
        let location = source.at(line.number, &line.keyword);
        let instruction = command::read(line, location.clone(), lines.escape)?;
        dockerfile.add(instruction, location)?;
    }
    match dockerfile.stages.is_empty() {
        true => Err(source.at(1, "").error("it has no stage: the first instruction has to be `FROM`")),
        false => Ok(dockerfile),
    }
}

/// Reads instructions that a base image left for those who build on it.
pub(crate) fn triggers(
    dockerfile: &Dockerfile,
    location: &Location,
    texts: &[String],
) -> Result<Vec<Instruction>, Error> {
    let mut all = Vec::new();
    for text in texts {
        for line in lines::split(&dockerfile.source, text)?.all {
            let instruction = command::read(&line, location.clone(), '\\')?;
            if matches!(instruction.command, Command::From { .. } | Command::OnBuild(_)) {
                return Err(location.error(format!("the base image has the trigger `{text}`, which cannot be one")));
            }
            all.push(instruction);
        }
    }
    Ok(all)
}

impl Dockerfile {
    fn add(&mut self, instruction: Instruction, location: Location) -> Result<(), Error> {
        match instruction.command {
            Command::From { platform, image, name } => {
                if self.stages.len() == MAX_STAGES {
                    return Err(location.error(format!("it has more than {MAX_STAGES} stages")));
                }
                self.stages.push(Stage { location, platform, image, name, instructions: Vec::new() });
            }
            _ => match self.stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None if matches!(instruction.command, Command::Arg(_)) => self.global.push(instruction),
                None => {
                    return Err(location.error("no build stage in current context: only `ARG` can be before `FROM`"));
                }
            },
        }
        Ok(())
    }

    /// The target stage, by name or number. An empty text means the last stage.
    pub(crate) fn target(&self, target: &str) -> Result<usize, Error> {
        let last = self.stages.len() - 1;
        if target.is_empty() {
            return Ok(last);
        }
        let name = target.to_ascii_lowercase();
        self.named(&name, self.stages.len()).or_else(|| name.parse().ok().filter(|number| *number <= last)).ok_or_else(
            || {
                // Users match on these words.
                self.source.at(1, "").error(format!("target stage \"{target}\" could not be found"))
            },
        )
    }

    /// The stage called `name` among those before `end`: of several the last one, which hides the
    /// others.
    pub(crate) fn named(&self, name: &str, end: usize) -> Option<usize> {
        self.stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(name))
    }

    /// What `--from=text` in the stage `current` means.
    pub(crate) fn from(&self, text: &str, current: usize, location: &Location) -> Result<StageRef, Error> {
        let name = text.to_ascii_lowercase();
        if let Some(at) = self.named(&name, current) {
            return Ok(StageRef::Stage(at));
        }
        if self.named(&name, self.stages.len()).is_some() {
            return Err(location.error(format!("the stage `{text}` is not before this one")));
        }
        match name.parse::<usize>() {
            Ok(at) if at < current => Ok(StageRef::Stage(at)),
            Ok(at) => Err(location.error(format!("there is no stage {at} before this one"))),
            Err(_) if text.contains('$') => Err(location.error(format!(
                "`{text}`: variables are not expanded in `from`; name a stage after it with `FROM {text} AS …`"
            ))),
            Err(_) => Ok(StageRef::Image(text.to_owned())),
        }
    }

    /// The stages that `target` needs, itself included.
    pub(crate) fn needed(&self, target: usize, bases: &[Option<usize>]) -> Result<BTreeSet<usize>, Error> {
        let mut needed = BTreeSet::new();
        let mut pending = vec![target];
        while let Some(at) = pending.pop() {
            if !needed.insert(at) {
                continue;
            }
            pending.extend(bases[at]);
            for instruction in &self.stages[at].instructions {
                for text in froms(&instruction.command) {
                    if let StageRef::Stage(other) = self.from(text, at, &instruction.location)? {
                        pending.push(other);
                    }
                }
            }
        }
        Ok(needed)
    }
}

/// Every `from` of an instruction.
fn froms(command: &Command) -> Vec<&str> {
    match command {
        Command::Copy(copy) => copy.from.iter().map(String::as_str).collect(),
        Command::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(text: &str, want: &str) {
        let error = parse("Dockerfile", text).expect_err(text).to_string();
        assert!(error.contains(want), "{text}: {error}");
    }

    #[test]
    fn mistakes_are_located() {
        check_error("", "`Dockerfile` line 1: it has no stage");
        check_error("RUN x", "line 1, `RUN`: no build stage");
        check_error("FROM a\nFOO x", "line 2, `FOO`: unknown instruction: FOO");
        check_error("FROM a\n\nCOPY x", "line 3, `COPY`: it needs at least one source");
        check_error("FROM a b", "`FROM`");
        check_error("FROM a\nRUN --network=other x", "`other` is no network");
        check_error("FROM a\nRUN --odd x", "it has no flag `--odd`");
        check_error("FROM a\nUSER", "it needs an argument");
        check_error("FROM a\nENV x", "`x` has no value");
        check_error("FROM a\nSHELL sh -c", "it needs a list");
        check_error("FROM a\nONBUILD FROM x", "cannot be a trigger");
        check_error("FROM a\nHEALTHCHECK --interval=5 CMD x", "`5` is no duration");
        check_error(
            "# syntax=example.com/frontend:1\nFROM a",
            "syntax frontend \"example.com/frontend:1\" is unsupported",
        );
        assert!(parse("Dockerfile", "# syntax = docker.io/docker/dockerfile:1.7-labs\nFROM a").is_ok());
    }

    #[test]
    fn stages_are_found() {
        let text =
            "FROM a AS one\nFROM b AS two\nCOPY --from=one / /\nFROM c\nRUN --mount=target=/x,from=0 y\nFROM two";
        let dockerfile = parse("Dockerfile", text).expect("is read");
        let needed = |target: &str| {
            let target = dockerfile.target(target).expect("is there");
            dockerfile.needed(target, &[None, None, None, Some(1)]).expect("is fine").into_iter().collect::<Vec<_>>()
        };
        assert_eq!(needed(""), [0, 1, 3]);
        assert_eq!(needed("2"), [0, 2]);
        assert_eq!(needed("ONE"), [0]);
        assert!(dockerfile.target("three").is_err());
        assert!(dockerfile.target("4").is_err());
    }

    #[test]
    fn of_stages_with_one_name_the_last_before_counts() {
        let text = "FROM a AS x\nFROM b AS X\nCOPY --from=x / /\nFROM c\nCOPY --from=x / /\nFROM d AS x";
        let dockerfile = parse("Dockerfile", text).expect("is read");
        let needed = |target: &str| {
            let target = dockerfile.target(target).expect("is there");
            dockerfile.needed(target, &[None; 4]).expect("is fine").into_iter().collect::<Vec<_>>()
        };
        assert_eq!(needed("x"), [3]);
        assert_eq!(needed("1"), [0, 1]);
        assert_eq!(needed("2"), [0, 1, 2]);
    }
}
