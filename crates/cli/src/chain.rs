//! Chains of functions on the command line: each word selects a function of the previous result,
//! and takes flags.

use std::collections::HashMap;
use std::sync::Mutex;

use clap::{Arg, ArgMatches, Command};
use rondel_client::{Attached, ClientCallbacks};
use rondel_fault::{Fault, Result, lock};
use rondel_link::{Hello, ModuleRequest, Served, ServedModule};
use serde_json::{Value, json};

use crate::flags::{self, FlagKind, FlagValue};
use crate::introspection::{ArgInfo, FieldInfo, TYPE_FRAGMENT, TYPE_SELECTION, TypeInfo, kebab};
use crate::near_modules;
use crate::progress_output::ProgressOutput;
use crate::response::{self, Document};
use crate::settings::{Settings, workdir};

/// An attached client with its progress output and the types of the API that it fetched.
pub(crate) struct Session {
    attached: Attached,
    progress: ProgressOutput,
    /// The module as it was named. `None` if none was named.
    module: Option<String>,
    types: Mutex<HashMap<String, Option<TypeInfo>>>,
}

impl Session {
    /// Attaches a client and serves `module`, or the module of the working directory. If
    /// `optional`, a working directory without a module is not an error.
    pub(crate) async fn open(
        settings: &Settings,
        module: Option<String>,
        version: String,
        optional: bool,
    ) -> Result<Self> {
        Self::attach(settings, module, version, optional, false).await
    }

    /// Like [`Session::open`] with an optional module. The functions of its main object are fields
    /// of the root type.
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
        let reference = module.clone().unwrap_or_else(|| ".".into());
        let request = ModuleRequest { optional, reference, entrypoint };
        Self::serve(settings, module, vec![request], version).await
    }

    /// Attaches a client without a module, for a command that changes files of a module. Like that
    /// of a listing, its progress is shown only if something fails or takes long.
    pub(crate) async fn open_core(settings: &Settings) -> Result<Self> {
        Self::serve(&settings.for_listing(false), None, Vec::new(), String::new()).await
    }

    async fn serve(
        settings: &Settings,
        module: Option<String>,
        modules: Vec<ModuleRequest>,
        version: String,
    ) -> Result<Self> {
        let progress = ProgressOutput::new(settings.progress()?);
        let terminal = crate::terminal::terminal(&progress.handle());
        let interactive = settings.interactive(terminal.is_some())?;
        let hello = Hello { version, workdir: workdir()?, modules, interactive, ..Hello::default() };
        let callbacks = ClientCallbacks { on_event: progress.on_event(), terminal };
        let attached = settings.attach(hello, callbacks).await?;
        Ok(Self { attached, progress, module, types: Mutex::default() })
    }

    /// The command line up to the first function, for usage and help: the command, and the module
    /// as it was named.
    pub(crate) fn title(&self, command: &str) -> String {
        match &self.module {
            Some(module) => format!("rondel {command} -m {module}"),
            None => format!("rondel {command}"),
        }
    }

    /// The attached client.
    pub(crate) fn attached(&self) -> &Attached {
        &self.attached
    }

    /// Sends a request and returns the data of the response.
    pub(crate) async fn send(&self, body: &Value) -> Result<Value> {
        let answer = self.attached.query(body.to_string()).await?;
        response::data(&answer, None)
    }

    /// Adds names of modules to the error that there is none where one was looked for.
    pub(crate) fn with_near_modules(&self, fault: Fault) -> Fault {
        near_modules::add(fault, self.module.as_deref().unwrap_or("."))
    }

    /// Sends a document that the user wrote. An error of the user's names its place in it.
    pub(crate) async fn send_document(&self, body: &Value, document: &Document<'_>) -> Result<Value> {
        let answer = self.attached.query(body.to_string()).await?;
        response::data(&answer, Some(document))
    }

    /// The served module. `None` if no module is served.
    pub(crate) async fn module(&self) -> Result<Option<ServedModule>> {
        match self.attached.served().await? {
            Ok(body) => {
                let served: Served = serde_json::from_slice(&body)
                    .map_err(|e| Fault::environment("the engine's answer is not understood").caused_by(e))?;
                Ok(served.modules.into_iter().next())
            }
            Err(body) => response::data(&body, None).map(|_| None).map_err(|fault| self.with_near_modules(fault)),
        }
    }

    /// Ends progress output and returns the counts of the run.
    pub(crate) fn finish(&self) -> rondel_progress::Totals {
        self.attached.end_events();
        self.progress.finish()
    }

    /// Ends progress output of a run that has no result.
    pub(crate) fn abort(&self) {
        self.attached.end_events();
        self.progress.abort();
    }

    /// Fetches the types that are not cached yet, in one request.
    async fn fetch_types(&self, names: &[&str]) -> Result<()> {
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

    /// Returns a type by name.
    pub(crate) async fn type_info(&self, name: &str) -> Result<TypeInfo> {
        self.fetch_types(&[name]).await?;
        self.cached_type(name).ok_or_else(|| Fault::user(format!("the API has no type `{name}`")))
    }

    fn cached_type(&self, name: &str) -> Option<TypeInfo> {
        lock(&self.types).get(name).cloned().flatten()
    }

    /// The arguments of a function that have a flag, with the kind of the flag.
    pub(crate) async fn flags(&self, field: &FieldInfo) -> Result<Vec<(ArgInfo, FlagKind)>> {
        let enums: Vec<&str> =
            field.args.iter().filter(|a| a.ty.base().kind == "ENUM").map(|a| a.ty.base_name()).collect();
        self.fetch_types(&enums).await?;
        let with = field.args.iter().filter_map(|arg| {
            let enumeration = self.cached_type(arg.ty.base_name());
            Some((arg.clone(), flags::flag_kind(arg, enumeration.as_ref())?))
        });
        Ok(with.collect())
    }

    /// Replaces objects among `values` by the literals of their IDs.
    pub(crate) async fn resolve(&self, calls: &mut [SelectedFunction]) -> Result<()> {
        let values = calls.iter_mut().flat_map(|c| &mut c.args).flat_map(|a| &mut a.values);
        let objects: Vec<&mut FlagValue> = values.filter(|p| matches!(p, FlagValue::Object(_))).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let text = |piece: &FlagValue| match piece {
            FlagValue::Object(selection) | FlagValue::Literal(selection) => selection.clone(),
        };
        let each = objects.iter().enumerate().map(|(i, piece)| format!("o{i}:{} ", text(piece)));
        let found = self.send(&json!({ "query": format!("{{{}}}", each.collect::<String>()) })).await?;
        for (i, piece) in objects.into_iter().enumerate() {
            *piece = FlagValue::Literal(innermost(&found[format!("o{i}")]).to_string());
        }
        Ok(())
    }
}

/// A function of a chain with its given arguments.
#[derive(Debug, Clone)]
pub(crate) struct SelectedFunction {
    pub(crate) field: FieldInfo,
    pub(crate) args: Vec<GivenArg>,
}

/// An argument with its given values.
#[derive(Debug, Clone)]
pub(crate) struct GivenArg {
    name: String,
    values: Vec<FlagValue>,
    list: bool,
}

impl SelectedFunction {
    /// The selection as GraphQL text, without the selection on its result.
    pub(crate) fn text(&self) -> String {
        let value = |given: &GivenArg| {
            let each: Vec<&str> = given
                .values
                .iter()
                .map(|p| match p {
                    FlagValue::Literal(text) | FlagValue::Object(text) => text.as_str(),
                })
                .collect();
            if given.list { format!("[{}]", each.join(",")) } else { each.concat() }
        };
        let args: Vec<String> = self.args.iter().map(|given| format!("{}:{}", given.name, value(given))).collect();
        if args.is_empty() { self.field.name.clone() } else { format!("{}({})", self.field.name, args.join(",")) }
    }
}

/// A parsed chain of functions.
pub(crate) struct Chain {
    /// The functions. The first one is a field of the root type.
    pub(crate) calls: Vec<SelectedFunction>,
    /// The type of the last result, whose functions could follow. `None` after a leaf.
    pub(crate) last: Option<TypeInfo>,
}

impl Chain {
    /// Returns whether the chain ends with `up`, which runs until it is interrupted.
    pub(crate) fn stays_up(&self) -> bool {
        let ends = |call: &SelectedFunction| call.field.name == "up" && call.field.ty.base_name() == "Void";
        self.last.is_none() && self.calls.last().is_some_and(ends)
    }
}

/// Parses `words` from `first`, a field of the root type: first the flags of `first`, then
/// functions, each with its own flags. If `lenient`, required flags may be missing.
pub(crate) async fn parse_chain(
    session: &Session,
    title: &str,
    first: FieldInfo,
    words: Vec<String>,
    lenient: bool,
) -> Result<Parsed> {
    let mut chain = Chain { calls: Vec::new(), last: None };
    let (mut field, mut words, mut title) = (first, words, title.to_owned());
    loop {
        let flags = session.flags(&field).await?;
        let next = match field.ty.is_composite() {
            true => Some(session.type_info(field.ty.base_name()).await?),
            false => None,
        };
        let command = command(&title, &field, &flags, next.as_ref(), lenient);
        let normal: Vec<String> = words.iter().map(|word| normalize_flag(word)).collect();
        let parsed = command.try_get_matches_from(std::iter::once(title.clone()).chain(normal));
        let matches = match parsed {
            Ok(matches) => matches,
            Err(e) => return Ok(Parsed::Help(e)),
        };
        let args = match given(&flags, &matches) {
            Ok(args) => args,
            Err(fault) => return Ok(Parsed::Wrong(fault)),
        };
        chain.calls.push(SelectedFunction { field: field.clone(), args });
        chain.last.clone_from(&next);
        let Some((word, rest)) = matches.subcommand() else { return Ok(Parsed::Chain(chain)) };
        let functions = next.as_ref().and_then(|t| t.fields.as_ref());
        let found = functions.and_then(|fields| fields.iter().find(|f| kebab(&f.name) == word));
        field = found.cloned().ok_or_else(|| Fault::user(format!("unknown command \"{word}\" for \"{title}\"")))?;
        words = rest.get_many::<String>("rest").into_iter().flatten().cloned().collect();
        title = format!("{title} {word}");
    }
}

/// The outcome of parsing a chain.
pub(crate) enum Parsed {
    /// The chain.
    Chain(Chain),
    /// Help that was asked for, or a usage error. To be printed in place of a result.
    Help(clap::Error),
    /// A value that does not fit its flag.
    Wrong(Fault),
}

fn command(
    title: &str,
    field: &FieldInfo,
    flags: &[(ArgInfo, FlagKind)],
    next: Option<&TypeInfo>,
    lenient: bool,
) -> Command {
    let about = field.description.clone().or_else(|| next.and_then(|t| t.description.clone())).unwrap_or_default();
    let mut command = Command::new(title.to_owned()).bin_name(title.to_owned()).about(about).no_binary_name(false);
    for (arg, kind) in flags {
        let flag = flags::flag_arg(arg, kind);
        command = command.arg(if lenient { flag.required(false) } else { flag });
    }
    for function in callable(next) {
        let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        let short = function.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        let sub = Command::new(kebab(&function.name)).about(short.to_owned()).disable_help_flag(true).arg(rest);
        command = command.subcommand(sub);
    }
    command.disable_help_subcommand(true).subcommand_help_heading("Functions").subcommand_value_name("FUNCTION")
}

/// The functions that can be called. A function with a required argument that has no flag is left
/// out.
pub(crate) fn callable(ty: Option<&TypeInfo>) -> Vec<&FieldInfo> {
    let fields = ty.and_then(|t| t.fields.as_ref()).into_iter().flatten();
    let has_flag =
        |arg: &ArgInfo| arg.ty.base().kind == "ENUM" && arg.ty.lists() < 2 || flags::flag_kind(arg, None).is_some();
    fields.filter(|f| f.name != "id" && f.args.iter().all(|arg| !arg.is_required() || has_flag(arg))).collect()
}

fn given(flags: &[(ArgInfo, FlagKind)], matches: &ArgMatches) -> Result<Vec<GivenArg>> {
    let mut all = Vec::new();
    for (arg, kind) in flags {
        if let Some((values, list)) = flags::flag_values(arg, kind, matches)? {
            all.push(GivenArg { name: arg.name.clone(), values, list });
        }
    }
    Ok(all)
}

/// Converts the name of a flag to kebab-case: `--dockerConfig` is accepted as `--docker-config`.
fn normalize_flag(word: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_in_any_casing() {
        for (word, want) in
            [("--dockerConfig", "--docker-config"), ("--aB=--cD", "--a-b=--cD"), ("x", "x"), ("--", "--")]
        {
            assert_eq!(normalize_flag(word), want);
        }
    }
}
