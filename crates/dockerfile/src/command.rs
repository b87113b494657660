//! Instructions with their arguments, as they were written: variables are not expanded yet.

use crate::error::{Error, Location};
use crate::flags::{self, Flags};
use crate::lines::{self, HereDocument, Line};
use crate::mount::MountOptions;
use crate::values;
use crate::words::shell_words;

/// An instruction and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub(crate) location: Location,
    pub(crate) command: Command,
}

/// A name and a value.
pub(crate) type Pair = (String, String);

/// What an instruction asks for.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    From { platform: Option<String>, image: String, name: Option<String> },
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<Pair>),
    Label(Vec<Pair>),
    Run(Run),
    Copy(Copy),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    Shell(Vec<String>),
    Cmd(Words),
    Entrypoint(Words),
    Healthcheck(serde_json::Value),
    OnBuild(String),
    Maintainer,
}

/// A command line.
#[derive(Debug, Clone)]
pub(crate) enum Words {
    /// Written as a list.
    List(Vec<String>),
    /// Written for the shell.
    Shell(String),
}

/// `RUN`.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) words: Words,
    pub(crate) documents: Vec<HereDocument>,
    pub(crate) mounts: Vec<MountOptions>,
    pub(crate) offline: bool,
    pub(crate) host_network: bool,
    pub(crate) insecure: bool,
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    /// `ADD`.
    pub(crate) add: bool,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) parents: bool,
    pub(crate) unpack: Option<bool>,
    pub(crate) keep_git_dir: bool,
    pub(crate) sources: Vec<String>,
    pub(crate) documents: Vec<HereDocument>,
    pub(crate) target: String,
}

/// Reads one line.
pub(crate) fn read(line: &Line, location: Location, escape: char) -> Result<Instruction, Error> {
    let (flags, rest) = flags::take(&line.rest, escape);
    let parser = InstructionParser { line, location: &location, escape, rest: &rest };
    let command = parser.command(flags)?;
    Ok(Instruction { location, command })
}

struct InstructionParser<'a> {
    line: &'a Line,
    location: &'a Location,
    escape: char,
    rest: &'a str,
}

impl InstructionParser<'_> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(self.location.error(message))
    }

    fn command(&self, mut flags: Flags) -> Result<Command, Error> {
        let keyword = &*self.line.keyword;
        if self.rest.is_empty() && self.line.documents.is_empty() && keyword != "CMD" {
            let known = KEYWORDS.contains(&keyword);
            return if known { self.fail("it needs an argument") } else { self.unknown() };
        }
        let command = match keyword {
            "FROM" => self.from(&mut flags)?,
            "ARG" => self.arg()?,
            "ENV" => Command::Env(self.pairs()?),
            "LABEL" => Command::Label(self.pairs()?),
            "RUN" => self.run(&mut flags)?,
            "COPY" => self.copy(false, &mut flags)?,
            "ADD" => self.copy(true, &mut flags)?,
            "WORKDIR" => Command::Workdir(self.rest.to_owned()),
            "USER" => Command::User(self.rest.to_owned()),
            "EXPOSE" => Command::Expose(self.list()),
            "VOLUME" => Command::Volume(self.list()),
            "STOPSIGNAL" => Command::StopSignal(self.rest.to_owned()),
            "SHELL" => match words(self.rest) {
                Words::List(words) if !words.is_empty() => Command::Shell(words),
                _ => return self.fail("it needs a list such as `[\"/bin/sh\", \"-c\"]`"),
            },
            "CMD" => Command::Cmd(words(self.rest)),
            "ENTRYPOINT" => Command::Entrypoint(words(self.rest)),
            "HEALTHCHECK" => self.healthcheck(&mut flags)?,
            "ONBUILD" => self.on_build()?,
            "MAINTAINER" => Command::Maintainer,
            _ => return self.unknown(),
        };
        match flags.rest() {
            Some(name) => self.fail(format!("it has no flag `--{name}`")),
            None => Ok(command),
        }
    }

    fn unknown<T>(&self) -> Result<T, Error> {
        // Users match on the first words.
        self.fail(format!("unknown instruction: {}", self.line.keyword))
    }

    fn from(&self, flags: &mut Flags) -> Result<Command, Error> {
        let words: Vec<&str> = self.rest.split_whitespace().collect();
        let (image, name) = match words[..] {
            [image] => (image, None),
            [image, word, name] if word.eq_ignore_ascii_case("as") => (image, Some(name.to_ascii_lowercase())),
            _ => return self.fail("it needs one image, or an image, `AS` and a name"),
        };
        if let Some(name) = &name {
            let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(letter) {
                return self.fail(format!("`{name}` cannot be the name of a stage"));
            }
        }
        Ok(Command::From { platform: flags.value("platform"), image: image.to_owned(), name })
    }

    fn arg(&self) -> Result<Command, Error> {
        let mut args = Vec::new();
        for word in shell_words(self.rest, self.escape) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word, None),
            };
            if name.is_empty() {
                return self.fail("an argument needs a name");
            }
            args.push((name, value));
        }
        Ok(Command::Arg(args))
    }

    /// `name=value …`, or `name` and the rest of the line.
    fn pairs(&self) -> Result<Vec<Pair>, Error> {
        let words = shell_words(self.rest, self.escape);
        if !words[0].contains('=') {
            let Some((name, value)) = self.rest.split_once(|c: char| c.is_whitespace()) else {
                return self.fail(format!("`{}` has no value", self.rest));
            };
            return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
        }
        let pair = |word: &String| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => self.fail(format!("`{word}` is not of the form `name=value`")),
        };
        words.iter().map(pair).collect()
    }

    /// A list, or words.
    fn list(&self) -> Vec<String> {
        match words(self.rest) {
            Words::List(words) => words,
            Words::Shell(text) => text.split_whitespace().map(ToOwned::to_owned).collect(),
        }
    }

    fn run(&self, flags: &mut Flags) -> Result<Command, Error> {
        let network = flags.value("network");
        let (offline, host_network) = match network.as_deref() {
            None | Some("default") => (false, false),
            Some("none") => (true, false),
            Some("host") => (false, true),
            Some(other) => return self.fail(format!("`{other}` is no network: expected `default`, `none` or `host`")),
        };
        let security = flags.value("security");
        let insecure = match security.as_deref() {
            None | Some("sandbox") => false,
            Some("insecure") => true,
            Some(other) => {
                return self.fail(format!("`{other}` is no security mode: expected `sandbox` or `insecure`"));
            }
        };
        let mounts = flags.values("mount");
        let mounts = mounts.iter().map(|text| MountOptions::split(text, self.location)).collect::<Result<_, _>>()?;
        let documents = self.line.documents.clone();
        Ok(Command::Run(Run { words: words(self.rest), documents, mounts, offline, host_network, insecure }))
    }

    fn copy(&self, add: bool, flags: &mut Flags) -> Result<Command, Error> {
        let mut sources: Vec<String> = match words(self.rest) {
            Words::List(words) => words,
            // The name of a here-document may have blanks between its quotes.
            Words::Shell(text) if !self.line.documents.is_empty() => shell_words(&text, self.escape),
            Words::Shell(text) => text.split_whitespace().map(ToOwned::to_owned).collect(),
        };
        let target = sources.pop().unwrap_or_default();
        let mut documents = self.line.documents.clone().into_iter();
        let mut inline = Vec::new();
        sources.retain(|source| match lines::here_document(source) {
            Some(_) => {
                inline.extend(documents.next());
                false
            }
            None => true,
        });
        if sources.is_empty() && inline.is_empty() {
            return self.fail("it needs at least one source and a destination");
        }
        let flag = |flags: &mut Flags, name| flags.truth(name).map_err(|message| self.location.error(message));
        let (parents, _link) = (flag(flags, "parents")?, flag(flags, "link")?);
        let (unpack, keep_git_dir) =
            if add { (flag(flags, "unpack")?, flag(flags, "keep-git-dir")?) } else { (None, None) };
        Ok(Command::Copy(Copy {
            add,
            from: if add { None } else { flags.value("from") },
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            checksum: if add { flags.value("checksum") } else { None },
            exclude: flags.values("exclude"),
            parents: parents.unwrap_or_default(),
            unpack,
            keep_git_dir: keep_git_dir.unwrap_or_default(),
            sources,
            documents: inline,
            target,
        }))
    }

    fn healthcheck(&self, flags: &mut Flags) -> Result<Command, Error> {
        let (kind, rest) = self.rest.split_once(|c: char| c.is_whitespace()).unwrap_or((self.rest, ""));
        if kind.eq_ignore_ascii_case("NONE") && rest.is_empty() {
            return Ok(Command::Healthcheck(serde_json::json!({"Test": ["NONE"]})));
        }
        if !kind.eq_ignore_ascii_case("CMD") || rest.trim().is_empty() {
            return self.fail("it needs `NONE`, or `CMD` and a command");
        }
        let test: Vec<String> = match words(rest.trim()) {
            Words::List(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            Words::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
        };
        let mut config = serde_json::json!({ "Test": test });
        let times = [
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
            ("start-interval", "StartInterval"),
        ];
        for (flag, field) in times {
            if let Some(text) = flags.value(flag) {
                let time = values::duration(&text).map_err(|message| self.location.error(message))?;
                if time > 0 {
                    config[field] = time.into();
                }
            }
        }
        if let Some(text) = flags.value("retries") {
            let Ok(retries) = text.parse::<u32>() else {
                return self.fail(format!("`{text}` is no number of retries"));
            };
            if retries > 0 {
                config["Retries"] = retries.into();
            }
        }
        Ok(Command::Healthcheck(config))
    }

    fn on_build(&self) -> Result<Command, Error> {
        let inner = self.line.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match &*inner {
            "ONBUILD" | "FROM" | "MAINTAINER" => self.fail(format!("`{inner}` cannot be a trigger")),
            known if KEYWORDS.contains(&known) => {
                let mut text = self.line.rest.clone();
                for document in &self.line.documents {
                    text = format!("{text}\n{}{}", document.text, document.name);
                }
                Ok(Command::OnBuild(text))
            }
            other => self.fail(format!("unknown instruction: {other}")),
        }
    }
}

const KEYWORDS: &[&str] = &[
    "FROM",
    "ARG",
    "ENV",
    "LABEL",
    "RUN",
    "COPY",
    "ADD",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "VOLUME",
    "STOPSIGNAL",
    "SHELL",
    "CMD",
    "ENTRYPOINT",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

/// A list of strings as JSON writes it; anything else is for the shell.
fn words(text: &str) -> Words {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) if text.starts_with('[') => Words::List(words),
        _ => Words::Shell(text.to_owned()),
    }
}
