//! `rondel functions`: lists the functions of a module.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rondel_fault::{Fault, Result};
use rondel_link::ServedModule;
use serde_json::{Value, json};

use crate::chain::{Parsed, Session, callable, parse_chain};
use crate::introspection::{FieldInfo, kebab};
use crate::json_output::{json_flag, print_json};
use crate::settings::Settings;
use crate::usage_error::{self, Noun};

/// The flag that names the module.
pub(crate) fn module_flag() -> Arg {
    module_flag_without_variable().env("RONDEL_MODULE").hide_env_values(true)
}

/// The flag that names the module, before the name of the command.
pub(crate) fn module_flag_without_variable() -> Arg {
    Arg::new("mod")
        .short('m')
        .long("mod")
        .value_name("MODULE")
        .help("The module: a directory or a git reference; default: the module of the working directory")
}

/// The named module. Default: the one of the working directory.
pub(crate) fn module_of(settings: &Settings, matches: &ArgMatches) -> String {
    settings.module(matches).unwrap_or_else(|| ".".to_owned())
}

/// The flag that asks how the module came to be loaded.
pub(crate) fn explain_flag() -> Arg {
    Arg::new("explain")
        .long("explain")
        .action(ArgAction::SetTrue)
        .help("Explain how the module was loaded: versions, contract, what ran, what was cached, which inputs differ")
}

/// Prints the dependencies that could not be loaded and, if `explain`, how the module was loaded.
/// Both go to standard error, because they are not results.
pub(crate) fn report(module: &ServedModule, explain: bool) {
    for broken in &module.broken {
        crate::output::note(broken);
    }
    if explain {
        let width = module.explanation.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, text) in &module.explanation {
            crate::output::note(&format!("{label:width$}  {text}"));
        }
    }
}

pub(crate) fn command() -> Command {
    Command::new("functions")
        .about("List the functions of a module")
        .arg(module_flag())
        .arg(explain_flag())
        .arg(json_flag())
        .arg(Arg::new("path").value_name("FUNCTION").num_args(0..).help("Functions to follow before listing"))
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let json = matches.get_flag("json");
    let settings = &settings.for_listing(json);
    let session = Session::open(settings, settings.module(matches), String::new(), false).await?;
    let (first, _) = constructor(&session, settings.explain(matches)).await?;
    let words: Vec<String> = matches.get_many::<String>("path").into_iter().flatten().map(|w| kebab(w)).collect();
    let path = words.last().cloned();
    let parsed = parse_chain(&session, &session.title("functions"), first, words, true).await?;
    session.finish();
    let chain = match parsed {
        Parsed::Chain(chain) => chain,
        Parsed::Help(error) => return Ok(usage_error::exit(&error, Noun::Function, json)),
        Parsed::Wrong(fault) => return Ok(usage_error::report(&fault, json)),
    };
    let Some(last) = &chain.last else {
        let kind = chain.calls.last().map(|c| c.field.ty.base_name().to_owned()).unwrap_or_default();
        let path = path.unwrap_or_default();
        return Err(Fault::user(format!(
            "function \"{path}\" returns type \"{kind}\" with no further functions available"
        )));
    };
    let functions = callable(Some(last));
    if json {
        return print_json(&functions.iter().map(|function| described(function)).collect::<Vec<_>>());
    }
    if functions.is_empty() {
        crate::output::note("No functions found.");
        return Ok(ExitCode::SUCCESS);
    }
    crate::output::write(&table(&functions))?;
    let skipped = last.fields.as_ref().map_or(0, |all| all.iter().filter(|f| f.name != "id").count()) - functions.len();
    if skipped > 0 {
        crate::output::note(&format!("Skipped {skipped} function(s) with unsupported types"));
    }
    Ok(ExitCode::SUCCESS)
}

/// A function as `functions --json` prints it. Names are those of the command line, types those of
/// GraphQL.
fn described(function: &FieldInfo) -> Value {
    let arguments = function.args.iter().map(|arg| {
        json!({
            "name": kebab(&arg.name),
            "description": arg.description.as_deref().unwrap_or_default(),
            "type": arg.ty.text(),
            "required": arg.is_required(),
            "default": arg.default_value,
        })
    });
    json!({
        "name": kebab(&function.name),
        "description": function.description.as_deref().unwrap_or_default(),
        "type": function.ty.text(),
        "arguments": arguments.collect::<Vec<_>>(),
    })
}

/// The field that constructs the main object of the served module, and the name of the module.
pub(crate) async fn constructor(session: &Session, explain: bool) -> Result<(FieldInfo, String)> {
    let module = session.module().await?.ok_or_else(|| Fault::user("there is no module here"))?;
    report(&module, explain);
    let Some(name) = module.constructor else {
        return Err(Fault::user(format!("module `{}` has no functions", module.name)));
    };
    let query = session.type_info("Query").await?;
    let found = query.fields.into_iter().flatten().find(|f| f.name == name);
    let mut field = found.ok_or_else(|| Fault::bug(format!("the API lacks the constructor `{name}`")))?;
    if field.description.as_deref().unwrap_or_default().is_empty() {
        field.description = Some(module.description);
    }
    Ok((field, module.name))
}

fn table(functions: &[&FieldInfo]) -> String {
    let names: Vec<String> = functions.iter().map(|f| kebab(&f.name)).collect();
    let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(4);
    let mut text = format!("{:width$}   Description\n", "Name");
    for (name, function) in names.iter().zip(functions) {
        let about = function.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        text.push_str(&format!("{name:width$}   {}\n", if about.is_empty() { "-" } else { about }));
    }
    text
}
