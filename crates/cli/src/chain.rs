//! A chain of functions: each word selects a function of what the one before returns, and takes flags.

use std::collections::HashMap;
use std::sync::Mutex;

use clap::{Arg, ArgMatches, Command};
use rondel_client::{Attached, ClientCallbacks};
use rondel_fault::{Code, Detail, ExecFailure, Fault, Result, lock};
use rondel_link::{Hello, ModuleRequest, Served, ServedModule};
use serde_json::{Value, json};

use crate::flags::{self, Meaning, Piece};
use crate::schema::{ArgInfo, FieldInfo, TYPE_FRAGMENT, TYPE_SELECTION, TypeInfo, kebab};
use crate::screen::Screen;
use crate::settings::{Settings, workdir};

/// An attached client, and what it learned about the API.
pub(crate) struct Session {
    attached: Attached,
    screen: Screen,
    types: Mutex<HashMap<String, Option<TypeInfo>>>,
}

impl Session {
    /// Attaches; `module` is served, else that of the working directory, if there is one or it is not `optional`.
    pub(crate) async fn open(
        settings: &Settings,
        module: Option<String>,
        version: String,
        optional: bool,
    ) -> Result<Self> {
        Self::attach(settings, module, version, optional, false).await
    }

    /// The same with the functions of the module's main object as fields of the root type.
    pub(crate) async fn open_entrypoint(settings: &Settings, module: Option<String>, version: String) -> Result<Self> {
        Self::attach(settings, module, version, true, true).await
    }

    async fn attach(
        settings: &Settings,
        module: Option<String>,
        version: String,
        optional: bool,
        entrypoint: bool,
    ) -> Result<Self> {
        let optional = optional && module.is_none();
        let request = ModuleRequest { optional, reference: module.unwrap_or_else(|| ".".into()), entrypoint };
        let screen = Screen::new(settings.progress()?);
        let terminal = crate::terminal::terminal(&screen);
        let interactive = settings.interactive(terminal.is_some())?;
        let hello = Hello { version, workdir: workdir()?, modules: vec![request], interactive, ..Hello::default() };
        let callbacks = ClientCallbacks { on_event: screen.on_event(), terminal };
        let attached = settings.attach(hello, callbacks).await?;
        Ok(Self { attached, screen, types: Mutex::default() })
    }

    /// The client.
    pub(crate) fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Sends a request and gives the data of the answer.
    pub(crate) async fn send(&self, body: &Value) -> Result<Value> {
        let answer = self.attached.query(body.to_string()).await?;
        data(&answer)
    }

    /// The module that was served, if one was.
    pub(crate) async fn module(&self) -> Result<Option<ServedModule>> {
        match self.attached.served().await? {
            Ok(body) => {
                let served: Served = serde_json::from_slice(&body)
                    .map_err(|e| Fault::environment("the engine's answer is not understood").caused_by(e))?;
                Ok(served.modules.into_iter().next())
            }
            Err(body) => data(&body).map(|_| None),
        }
    }

    /// Ends progress and gives the counts of the run.
    pub(crate) fn finish(&self) -> rondel_progress::run_state::Totals {
        self.screen.finish()
    }

    /// Types by name, in one request.
    async fn learn(&self, names: &[&str]) -> Result<()> {
        let missing: Vec<&str> = {
            let known = lock(&self.types);
            names.iter().copied().filter(|name| !known.contains_key(*name)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let each = missing.iter().enumerate().map(|(i, name)| format!("t{i}:__type(name:\"{name}\"){TYPE_SELECTION}"));
        let query = format!("{{{}}} {TYPE_FRAGMENT}", each.collect::<String>());
        let mut found = self.send(&json!({ "query": query })).await?;
        let mut known = lock(&self.types);
        for (i, name) in missing.iter().enumerate() {
            let info = serde_json::from_value(found[format!("t{i}")].take()).map_err(|e| {
                Fault::environment("the engine's description of its API is not understood").caused_by(e)
            })?;
            known.insert((*name).to_owned(), info);
        }
        Ok(())
    }

    /// A type by name.
    pub(crate) async fn type_info(&self, name: &str) -> Result<TypeInfo> {
        self.learn(&[name]).await?;
        self.known(name).ok_or_else(|| Fault::user(format!("the API has no type `{name}`")))
    }

    fn known(&self, name: &str) -> Option<TypeInfo> {
        lock(&self.types).get(name).cloned().flatten()
    }

    /// The flags of a function: arguments that have one, with their meaning.
    pub(crate) async fn flags(&self, field: &FieldInfo) -> Result<Vec<(ArgInfo, Meaning)>> {
        let enums: Vec<&str> =
            field.args.iter().filter(|a| a.ty.base().kind == "ENUM").map(|a| a.ty.base_name()).collect();
        self.learn(&enums).await?;
        let with = field.args.iter().filter_map(|arg| {
            let enumeration = self.known(arg.ty.base_name());
            Some((arg.clone(), flags::meaning(arg, enumeration.as_ref())?))
        });
        Ok(with.collect())
    }

    /// Replaces objects among `pieces` by the literals of their IDs.
    pub(crate) async fn resolve(&self, calls: &mut [Selected]) -> Result<()> {
        let pieces = calls.iter_mut().flat_map(|c| &mut c.args).flat_map(|a| &mut a.pieces);
        let objects: Vec<&mut Piece> = pieces.filter(|p| matches!(p, Piece::Object(_))).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let text = |piece: &Piece| match piece {
            Piece::Object(selection) | Piece::Literal(selection) => selection.clone(),
        };
        let each = objects.iter().enumerate().map(|(i, piece)| format!("o{i}:{} ", text(piece)));
        let found = self.send(&json!({ "query": format!("{{{}}}", each.collect::<String>()) })).await?;
        for (i, piece) in objects.into_iter().enumerate() {
            *piece = Piece::Literal(innermost(&found[format!("o{i}")]).to_string());
        }
        Ok(())
    }
}

/// A function selected by a chain, with the arguments that were given.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    pub(crate) field: FieldInfo,
    pub(crate) args: Vec<Given>,
}

/// An argument that was given.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    name: String,
    pieces: Vec<Piece>,
    list: bool,
}

impl Selected {
    /// The selection as GraphQL text, without what is selected on its result.
    pub(crate) fn text(&self) -> String {
        let value = |given: &Given| {
            let each: Vec<&str> = given
                .pieces
                .iter()
                .map(|p| match p {
                    Piece::Literal(text) | Piece::Object(text) => text.as_str(),
                })
                .collect();
            if given.list { format!("[{}]", each.join(",")) } else { each.concat() }
        };
        let args: Vec<String> = self.args.iter().map(|given| format!("{}:{}", given.name, value(given))).collect();
        if args.is_empty() { self.field.name.clone() } else { format!("{}({})", self.field.name, args.join(",")) }
    }
}

/// What a chain of words comes to.
pub(crate) struct Chain {
    /// The functions, the first one on the root of the API.
    pub(crate) calls: Vec<Selected>,
    /// The type whose functions could follow; none after a leaf.
    pub(crate) last: Option<TypeInfo>,
}

impl Chain {
    /// Whether it ends with `up`, which lasts until it is interrupted.
    pub(crate) fn stays_up(&self) -> bool {
        let ends = |call: &Selected| call.field.name == "up" && call.field.ty.base_name() == "Void";
        self.last.is_none() && self.calls.last().is_some_and(ends)
    }
}

/// Walks `words` from `first`, a field of the root: its flags come first, then each word is a function with its own flags.
pub(crate) async fn walk(
    session: &Session,
    title: &str,
    first: FieldInfo,
    words: Vec<String>,
    lenient: bool,
) -> Result<Walked> {
    let mut chain = Chain { calls: Vec::new(), last: None };
    let (mut field, mut words, mut title) = (first, words, title.to_owned());
    loop {
        let flags = session.flags(&field).await?;
        let next = match field.ty.is_composite() {
            true => Some(session.type_info(field.ty.base_name()).await?),
            false => None,
        };
        let command = command(&title, &field, &flags, next.as_ref(), lenient);
        let normal: Vec<String> = words.iter().map(|word| normal_flag(word)).collect();
        let parsed = command.try_get_matches_from(std::iter::once(title.clone()).chain(normal));
        let matches = match parsed {
            Ok(matches) => matches,
            Err(e) => return Ok(Walked::Said(e)),
        };
        chain.calls.push(Selected { field: field.clone(), args: given(&flags, &matches)? });
        chain.last.clone_from(&next);
        let Some((word, rest)) = matches.subcommand() else { return Ok(Walked::Chain(chain)) };
        let functions = next.as_ref().and_then(|t| t.fields.as_ref());
        let found = functions.and_then(|fields| fields.iter().find(|f| kebab(&f.name) == word));
        field = found.cloned().ok_or_else(|| Fault::user(format!("unknown command \"{word}\" for \"{title}\"")))?;
        words = rest.get_many::<String>("rest").into_iter().flatten().cloned().collect();
        title = format!("{title} {word}");
    }
}

/// A chain, or what the command line has to say instead: help or a usage error.
pub(crate) enum Walked {
    /// The chain.
    Chain(Chain),
    /// Help or a usage error.
    Said(clap::Error),
}

fn command(
    title: &str,
    field: &FieldInfo,
    flags: &[(ArgInfo, Meaning)],
    next: Option<&TypeInfo>,
    lenient: bool,
) -> Command {
    let about = field.description.clone().or_else(|| next.and_then(|t| t.description.clone())).unwrap_or_default();
    let mut command = Command::new(title.to_owned()).bin_name(title.to_owned()).about(about).no_binary_name(false);
    for (arg, meaning) in flags {
        let flag = flags::flag(arg, meaning);
        command = command.arg(if lenient { flag.required(false) } else { flag });
    }
    for function in callable(next) {
        let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        let short = function.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        let sub = Command::new(kebab(&function.name)).about(short.to_owned()).disable_help_flag(true).arg(rest);
        command = command.subcommand(sub);
    }
    command.disable_help_subcommand(true).subcommand_help_heading("Functions")
}

/// The functions that can be called: a required argument for which there is no flag hides its function.
pub(crate) fn callable(ty: Option<&TypeInfo>) -> Vec<&FieldInfo> {
    let fields = ty.and_then(|t| t.fields.as_ref()).into_iter().flatten();
    let has_flag =
        |arg: &ArgInfo| arg.ty.base().kind == "ENUM" && arg.ty.lists() < 2 || flags::meaning(arg, None).is_some();
    fields.filter(|f| f.name != "id" && f.args.iter().all(|arg| !arg.is_required() || has_flag(arg))).collect()
}

fn given(flags: &[(ArgInfo, Meaning)], matches: &ArgMatches) -> Result<Vec<Given>> {
    let mut all = Vec::new();
    for (arg, meaning) in flags {
        if let Some((pieces, list)) = flags::pieces(arg, meaning, matches)? {
            all.push(Given { name: arg.name.clone(), pieces, list });
        }
    }
    Ok(all)
}

/// Flags are accepted in any casing: `--dockerConfig` is `--docker-config`.
fn normal_flag(word: &str) -> String {
    match word.strip_prefix("--") {
        None | Some("") => word.to_owned(),
        Some(rest) => match rest.split_once('=') {
            Some((name, value)) => format!("--{}={value}", kebab(name)),
            None => format!("--{}", kebab(rest)),
        },
    }
}

fn innermost(value: &Value) -> &Value {
    match value.as_object().and_then(|fields| fields.values().next()) {
        Some(inner) => innermost(inner),
        None => value,
    }
}

/// The deepest answer that is taken.
const MAX_DEPTH: usize = 100_000;

fn parse(answer: &[u8]) -> Result<Value> {
    let wrong = |e| Fault::environment("the engine's answer is not understood").caused_by(e);
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in answer {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_DEPTH {
        return Err(Fault::user(format!("the answer is nested more than {MAX_DEPTH} deep")));
    }
    let mut reader = serde_json::Deserializer::from_slice(answer);
    reader.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut reader).map_err(wrong)
}

/// The data of an answer, or its first error as ours.
fn data(answer: &[u8]) -> Result<Value> {
    let mut answer = parse(answer)?;
    let Some(error) = answer["errors"].as_array().and_then(|errors| errors.first()) else {
        return Ok(answer["data"].take());
    };
    let message = error["message"].as_str().unwrap_or("the engine gave an error without a message");
    let extensions = &error["extensions"];
    let mut fault = match extensions["_type"].as_str() {
        Some("ENVIRONMENT_ERROR") => Fault::environment(message),
        Some("DENIED_ERROR") => Fault::denied(message),
        Some("CANCELLED_ERROR") => Fault::cancelled(message),
        Some("BUG_ERROR") => Fault::bug(message),
        _ => Fault::user(message),
    };
    if let Some(code) = extensions["code"].as_str().and_then(Code::from_name) {
        fault = fault.with_code(code);
    }
    if extensions["_type"] == "EXEC_ERROR" {
        let text = |name: &str| extensions[name].as_str().unwrap_or_default().to_owned();
        let cmd = extensions["cmd"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(ToOwned::to_owned));
        fault = fault.with_detail(Detail::Exec(ExecFailure {
            cmd: cmd.collect(),
            exit_code: extensions["exitCode"].as_i64().and_then(|c| i32::try_from(c).ok()).unwrap_or(1),
            stdout: text("stdout"),
            stderr: text("stderr"),
        }));
    }
    for hint in extensions["hints"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        fault = fault.with_hint(hint);
    }
    Err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_in_any_casing() {
        for (word, want) in
            [("--dockerConfig", "--docker-config"), ("--aB=--cD", "--a-b=--cD"), ("x", "x"), ("--", "--")]
        {
            assert_eq!(normal_flag(word), want);
        }
    }

    #[test]
    fn a_deep_answer_is_read() {
        let read = |depth: usize| {
            let text = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
            let check = move || parse(text.as_bytes()).map(drop).is_ok();
            std::thread::Builder::new()
                .stack_size(crate::STACK)
                .spawn(check)
                .expect("a thread")
                .join()
                .expect("no overflow")
        };
        assert!(read(50_000));
        assert!(!read(MAX_DEPTH + 1));
    }

    #[test]
    fn errors_of_an_answer() {
        let answer = br#"{"data":null,"errors":[{"message":"no","extensions":{"_type":"EXEC_ERROR","cmd":["sh"],"exitCode":42,"stdout":"o","stderr":"e"}}]}"#;
        let fault = data(answer).expect_err("an error");
        assert!(matches!(fault.detail(), Some(Detail::Exec(f)) if f.exit_code == 42 && f.stderr == "e"));
        assert_eq!(data(br#"{"data":{"a":1}}"#).ok(), Some(json!({"a": 1})));
    }
}
