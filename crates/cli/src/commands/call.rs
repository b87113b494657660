//! `rondel call`: calls a chain of functions and prints what comes out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_fault::Result;
use serde_json::{Value, json};

use super::functions::{constructor, explain_flag, module_flag};
use crate::chain::{Chain, Session, Walked, walk};
use crate::changes::{self, Changes, Wish};
use crate::flags::quote;
use crate::output;
use crate::settings::{Progress, Settings};

pub(crate) fn command() -> Command {
    Command::new("call")
        .about("Call functions of a module, one on the result of the other")
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
                .help("Save the result to a file or folder; apply changes to a folder"),
        )
        .arg(
            Arg::new("auto-apply")
                .short('y')
                .long("auto-apply")
                .action(ArgAction::SetTrue)
                .help("Apply changes that come out to the working directory, without asking"),
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
    let started = Instant::now();
    let (own, words) = split(matches.get_many::<String>("chain").into_iter().flatten().cloned().collect());
    let settings = &settings.interactively(own.interactive, own.interactive_command.clone());
    let help = matches!(words.first().map(String::as_str), Some("-h" | "--help"));
    let module = matches.get_one::<String>("mod").cloned();
    let session = Session::open(settings, module.clone(), String::new(), help && module.is_none()).await?;
    if help && session.module().await?.is_none() {
        session.finish();
        output::write(&command().render_long_help().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (first, title) = constructor(&session, matches.get_flag("explain")).await?;
    let saved = own.output.or_else(|| matches.get_one::<PathBuf>("output").cloned());
    let chain = match walk(&session, &title, first, words, false).await? {
        Walked::Chain(chain) => chain,
        Walked::Said(said) => {
            session.finish();
            let _ = said.print();
            return Ok(if said.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    let json = own.json || matches.get_flag("json");
    let apply = own.apply || matches.get_flag("auto-apply");
    let ending = Ending::of(&session, &chain, Wish { to: saved, apply, json }).await?;
    let stays = chain.stays_up();
    let evaluated = evaluate(&session, chain, &ending);
    let value = if stays { super::until_interrupted(evaluated).await? } else { Some(evaluated.await?) };
    let Some(value) = value else {
        session.finish();
        return Ok(ExitCode::SUCCESS);
    };
    let changes = match (&ending, &value) {
        (Ending::Changes(_), Value::String(_)) => Some(Changes::of(&session, &value).await?),
        _ => None,
    };
    let totals = session.finish();
    let said = (settings.progress()? != Progress::Silent).then(|| summary(started.elapsed(), totals.execs));
    // A result without a line end is not followed by anything.
    if let Some(said) = said.as_ref().filter(|_| !output::ends_lines()) {
        output::note(said);
    }
    match (&ending, changes) {
        (Ending::Changes(wish), Some(changes)) => changes.settle(&session, wish).await?,
        _ => ending.print(value, json)?,
    }
    if let Some(said) = said.filter(|_| output::ends_lines()) {
        output::note(&said);
    }
    Ok(ExitCode::SUCCESS)
}

/// What a call took.
fn summary(took: Duration, execs: usize) -> String {
    let took = rondel_progress::plain::duration(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    let ran = match execs {
        0 => "no process was started".to_owned(),
        1 => "1 process was started".to_owned(),
        n => format!("{n} processes were started"),
    };
    format!("{took}, {ran}")
}

/// Flags of the command itself that were written after the first function.
#[derive(Default)]
struct Own {
    json: bool,
    apply: bool,
    output: Option<PathBuf>,
    interactive: bool,
    interactive_command: Option<String>,
}

/// `-j`, `-y`, `-o`, `-i` and `--interactive-command` may stand anywhere in the chain.
fn split(words: Vec<String>) -> (Own, Vec<String>) {
    let mut own = Own::default();
    let mut rest = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-j" | "--json" => own.json = true,
            "-y" | "--auto-apply" => own.apply = true,
            "-o" | "--output" => own.output = words.next().map(PathBuf::from),
            "-i" | "--interactive" => own.interactive = true,
            "--interactive-command" => own.interactive_command = words.next(),
            text => {
                if let Some(path) = text.strip_prefix("--output=").or_else(|| text.strip_prefix("-o=")) {
                    own.output = Some(path.into());
                } else if let Some(command) = text.strip_prefix("--interactive-command=") {
                    own.interactive_command = Some(command.to_owned());
                } else {
                    rest.push(word);
                }
            }
        }
    }
    (own, rest)
}

/// How the last result is taken.
enum Ending {
    /// A leaf, printed, and perhaps saved.
    Leaf { save: Option<PathBuf> },
    /// An object, named by its ID.
    Object { selection: String, type_name: String },
    /// An object, exported.
    Export { selection: String },
    /// Changes, shown and perhaps applied.
    Changes(Wish),
}

impl Ending {
    async fn of(session: &Session, chain: &Chain, wish: Wish) -> Result<Self> {
        let Some(last) = &chain.last else { return Ok(Ending::Leaf { save: wish.to }) };
        if last.name == changes::TYPE {
            return Ok(Ending::Changes(wish));
        }
        let save = wish.to;
        let info = session.type_info(&last.name).await?;
        let find = |name: &str| info.fields.iter().flatten().find(|f| f.name == name);
        if let (Some(path), Some(export)) = (&save, find("export")) {
            let allow = export.args.iter().any(|a| a.name == "allowParentDirPath");
            let path = quote(&path.to_string_lossy());
            let selection = format!("export(path:{path}{})", if allow { ",allowParentDirPath:true" } else { "" });
            return Ok(Ending::Export { selection });
        }
        let sync = find("sync").is_some_and(|f| f.args.is_empty());
        let selection = if sync { "id:sync" } else { "id" };
        Ok(Ending::Object { selection: selection.into(), type_name: info.name })
    }

    fn selection(&self) -> &str {
        match self {
            Ending::Leaf { .. } => "",
            Ending::Changes(_) => "id:sync",
            Ending::Object { selection, .. } | Ending::Export { selection } => selection,
        }
    }

    fn print(&self, value: Value, as_json: bool) -> Result<()> {
        match self {
            Ending::Leaf { save } => {
                let text = if as_json { output::json(&value) } else { output::plain(&value) };
                if let Some(path) = save {
                    output::save(&text, path)?;
                }
                output::result(&text)
            }
            Ending::Export { .. } => {
                output::note(&format!("Saved to \"{}\".", value.as_str().unwrap_or_default()));
                Ok(())
            }
            Ending::Changes(_) => named(changes::TYPE, &value),
            Ending::Object { type_name, .. } => named(type_name, &value),
        }
    }
}

/// Prints the name of an object, or those of several.
fn named(type_name: &str, value: &Value) -> Result<()> {
    let name = |id: &Value| {
        let digest = rondel_digest::Digest::of_bytes(id.as_str().unwrap_or_default().as_bytes());
        format!("{type_name}@blake3:{digest}")
    };
    match value {
        Value::Array(ids) => output::write(&ids.iter().map(|id| format!("- {}\n", name(id))).collect::<String>()),
        id => output::result(&name(id)),
    }
}

async fn evaluate(session: &Session, mut chain: Chain, ending: &Ending) -> Result<Value> {
    session.resolve(&mut chain.calls).await?;
    let mut query = ending.selection().to_owned();
    for call in chain.calls.iter().rev() {
        query = if query.is_empty() { call.text() } else { format!("{}{{{query}}}", call.text()) };
    }
    let data = session.send(&json!({"query": format!("{{{query}}}")})).await?;
    let depth = chain.calls.len() + usize::from(!ending.selection().is_empty());
    Ok(descend(data, depth))
}

/// The value `depth` selections down; lists on the way are mapped over and joined.
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
        let (own, rest) = split(words.map(String::from).into());
        assert!(own.json && own.output == Some("out".into()));
        assert!(own.interactive && own.interactive_command.as_deref() == Some("a b"));
        assert_eq!(rest, ["hello", "--name", "x"]);
    }
}
