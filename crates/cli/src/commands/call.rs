//! `rondel call`: calls a chain of functions and prints the result.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_fault::Result;
use serde_json::{Value, json};

use super::functions::{constructor, explain_flag, module_flag};
use crate::chain::{Chain, Parsed, Session, parse_chain};
use crate::changeset::{self, ApplyOptions, Changeset};
use crate::flags::quote;
use crate::output;
use crate::settings::Settings;
use crate::usage_error::{self, Noun};

pub(crate) fn command() -> Command {
    Command::new("call")
        .about("Call functions of a module, each on the result of the one before")
        .disable_help_flag(true)
        .arg(module_flag())
        .arg(explain_flag())
        .arg(Arg::new("json").short('j').long("json").action(ArgAction::SetTrue).help("Print the result as JSON"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Save the result to a file or directory; apply a changeset to a directory"),
        )
        .arg(
            Arg::new("auto-apply")
                .short('y')
                .long("auto-apply")
                .action(ArgAction::SetTrue)
                .help("Apply a resulting changeset to the working directory without asking"),
        )
        .arg(
            Arg::new("chain")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_name("FUNCTION [FLAGS]")
                .help("Flags of the constructor, then functions, each with its flags"),
        )
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let (options, words) = split_options(matches.get_many::<String>("chain").into_iter().flatten().cloned().collect());
    let settings = &settings.interactively(options.interactive, options.interactive_command.clone());
    let help = matches!(words.first().map(String::as_str), Some("-h" | "--help"));
    let module = settings.module(matches);
    let lists = words.iter().any(|word| word == "-h" || word == "--help");
    let settings = &if lists { settings.for_listing(false) } else { settings.for_call() };
    let session = Session::open(settings, module.clone(), String::new(), help && module.is_none()).await?;
    if help && session.module().await?.is_none() {
        session.finish();
        output::write(&command().render_long_help().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (first, _) = constructor(&session, settings.explain(matches)).await?;
    let saved = options.output.or_else(|| matches.get_one::<PathBuf>("output").cloned());
    let chain = match parse_chain(&session, &session.title("call"), first, words, false).await? {
        Parsed::Chain(chain) => chain,
        Parsed::Help(help) => {
            // Errors of the command line are printed like help.
            if help.use_stderr() {
                session.abort();
            } else {
                session.finish();
            }
            return Ok(usage_error::exit(&help, Noun::Function, false));
        }
        Parsed::Wrong(fault) => {
            session.abort();
            return Ok(usage_error::report(&fault, false));
        }
    };
    let json = options.json || matches.get_flag("json");
    let apply = options.apply || matches.get_flag("auto-apply");
    let result_kind = ResultKind::of(&session, &chain, ApplyOptions { to: saved, apply, json }).await?;
    let stays = chain.stays_up();
    let evaluated = evaluate(&session, chain, &result_kind);
    let value = if stays { crate::interrupt::until_interrupted(evaluated).await? } else { Some(evaluated.await?) };
    let Some(value) = value else {
        session.finish();
        return Ok(ExitCode::SUCCESS);
    };
    let changes = match (&result_kind, &value) {
        (ResultKind::Changeset(_), Value::String(_)) => Some(Changeset::of(&session, &value).await?),
        _ => None,
    };
    session.finish();
    match (&result_kind, changes) {
        (ResultKind::Changeset(options), Some(changes)) => changes.show_or_apply(&session, options).await?,
        _ => result_kind.print(value, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Flags of `rondel call` that were written after the first function.
#[derive(Default)]
struct CallOptions {
    json: bool,
    apply: bool,
    output: Option<PathBuf>,
    interactive: bool,
    interactive_command: Option<String>,
}

/// Splits the flags of `rondel call`, which may stand anywhere in the chain, from the words of the
/// chain.
fn split_options(words: Vec<String>) -> (CallOptions, Vec<String>) {
    let mut options = CallOptions::default();
    let mut rest = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-j" | "--json" => options.json = true,
            "-y" | "--auto-apply" => options.apply = true,
            "-o" | "--output" => options.output = words.next().map(PathBuf::from),
            "-i" | "--interactive" => options.interactive = true,
            "--interactive-command" => options.interactive_command = words.next(),
            text => {
                if let Some(path) = text.strip_prefix("--output=").or_else(|| text.strip_prefix("-o=")) {
                    options.output = Some(path.into());
                } else if let Some(command) = text.strip_prefix("--interactive-command=") {
                    options.interactive_command = Some(command.to_owned());
                } else {
                    rest.push(word);
                }
            }
        }
    }
    (options, rest)
}

/// The kind of a chain's result, which decides what is selected on it and how it is printed.
enum ResultKind {
    /// A scalar. Printed, and saved if a path is given.
    Leaf { save: Option<PathBuf> },
    /// An object. Printed as a name made from its ID.
    Object { selection: String, type_name: String },
    /// An object that is exported to a path.
    Export { selection: String },
    /// A changeset. Shown, and applied if the options say so.
    Changeset(ApplyOptions),
}

impl ResultKind {
    async fn of(session: &Session, chain: &Chain, options: ApplyOptions) -> Result<Self> {
        let Some(last) = &chain.last else { return Ok(ResultKind::Leaf { save: options.to }) };
        if last.name == changeset::TYPE_NAME {
            return Ok(ResultKind::Changeset(options));
        }
        let save = options.to;
        let info = session.type_info(&last.name).await?;
        let find = |name: &str| info.fields.iter().flatten().find(|f| f.name == name);
        if let (Some(path), Some(export)) = (&save, find("export")) {
            let allow = export.args.iter().any(|a| a.name == "allowParentDirPath");
            let path = quote(&path.to_string_lossy());
            let selection = format!("export(path:{path}{})", if allow { ",allowParentDirPath:true" } else { "" });
            return Ok(ResultKind::Export { selection });
        }
        let sync = find("sync").is_some_and(|f| f.args.is_empty());
        let selection = if sync { "id:sync" } else { "id" };
        Ok(ResultKind::Object { selection: selection.into(), type_name: info.name })
    }

    fn selection(&self) -> &str {
        match self {
            ResultKind::Leaf { .. } => "",
            ResultKind::Changeset(_) => "id:sync",
            ResultKind::Object { selection, .. } | ResultKind::Export { selection } => selection,
        }
    }

    fn print(&self, value: Value, as_json: bool) -> Result<()> {
        match self {
            ResultKind::Leaf { save } => {
                let text = if as_json { output::json(&value) } else { output::plain(&value) };
                if let Some(path) = save {
                    output::save(&text, path)?;
                }
                output::result(&text)
            }
            ResultKind::Export { .. } => {
                output::note(&format!("Saved to \"{}\".", value.as_str().unwrap_or_default()));
                Ok(())
            }
            ResultKind::Changeset(_) => print_object_names(changeset::TYPE_NAME, &value),
            ResultKind::Object { type_name, .. } => print_object_names(type_name, &value),
        }
    }
}

/// Prints the name of an object, or of each object of a list.
fn print_object_names(type_name: &str, value: &Value) -> Result<()> {
    let name = |id: &Value| {
        let digest = rondel_digest::Digest::of_bytes(id.as_str().unwrap_or_default().as_bytes());
        format!("{type_name}@blake3:{digest}")
    };
    match value {
        Value::Array(ids) => output::write(&ids.iter().map(|id| format!("- {}\n", name(id))).collect::<String>()),
        id => output::result(&name(id)),
    }
}

async fn evaluate(session: &Session, mut chain: Chain, result_kind: &ResultKind) -> Result<Value> {
    session.resolve(&mut chain.calls).await?;
    let mut query = result_kind.selection().to_owned();
    for call in chain.calls.iter().rev() {
        query = if query.is_empty() { call.text() } else { format!("{}{{{query}}}", call.text()) };
    }
    let data = session.send(&json!({"query": format!("{{{query}}}")})).await?;
    let depth = chain.calls.len() + usize::from(!result_kind.selection().is_empty());
    Ok(descend(data, depth))
}

/// The value `depth` selections down. Lists on the way are flattened into one.
fn descend(value: Value, depth: usize) -> Value {
    match value {
        Value::Array(items) if depth > 0 => {
            let parts = items.into_iter().map(|item| descend(item, depth));
            Value::Array(
                parts
                    .flat_map(|part| match part {
                        Value::Array(inner) => inner,
                        other => vec![other],
                    })
                    .collect(),
            )
        }
        Value::Object(fields) if depth > 0 => {
            let inner = fields.into_iter().next().map(|(_, inner)| inner);
            descend(inner.unwrap_or_default(), depth - 1)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_through_lists() {
        let data = json!({"mod": {"items": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(descend(data, 3), json!(["a", "b"]));
        assert_eq!(descend(json!({"mod": {"x": {"k": 1}}}), 2), json!({"k": 1}));
        assert_eq!(descend(json!({"mod": null}), 2), json!(null));
    }

    #[test]
    fn own_flags_may_stand_anywhere() {
        let words = ["hello", "--name", "x", "-o", "out", "--json", "--interactive-command=a b", "-i"];
        let (options, rest) = split_options(words.map(String::from).into());
        assert!(options.json && options.output == Some("out".into()));
        assert!(options.interactive && options.interactive_command.as_deref() == Some("a b"));
        assert_eq!(rest, ["hello", "--name", "x"]);
    }
}
