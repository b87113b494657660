//! `rondel query`: sends a GraphQL document from a file or standard input.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rondel_client::Attached;
use rondel_fault::{Attempt as _, Fault, Result};
use serde_json::{Map, Value, json};

use crate::chain::Session;
use crate::error_report::relative;
use crate::response::Document;
use crate::settings::Settings;

/// The variable with the version of the client library. Tests of the official libraries set it.
pub(super) const CLIENT_VERSION: &str = "_EXPERIMENTAL_DAGGER_VERSION";

pub(crate) fn command() -> Command {
    Command::new("query")
        .about("Send a GraphQL query and print the data as JSON")
        .arg(Arg::new("operation").value_name("OPERATION").help("The operation to run if the document has several"))
        .arg(
            Arg::new("doc")
                .long("doc")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Read the document from a file"),
        )
        .arg(
            Arg::new("var")
                .long("var")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("Set a variable to a string"),
        )
        .arg(Arg::new("var-json").long("var-json").value_name("JSON").help("Set all variables from a JSON object"))
        .arg(api_version_flag())
        .arg(super::functions::module_flag())
}

pub(crate) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let document = match matches.get_one::<PathBuf>("doc") {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Fault::user(format!("cannot read `{}`", path.display())).caused_by(e))?,
        None => crate::interrupt::on_thread(|| std::io::read_to_string(std::io::stdin()))
            .await?
            .attempt(|| "read the document from standard input".into())?,
    };
    let version = api_version(matches)?;
    let module = settings.module(matches);
    let has_module = module.is_some();
    let asked = matches.contains_id("api-version").then(|| version.clone());
    let session = Session::open_entrypoint(settings, module, version).await?;
    check_view(asked.as_deref(), session.attached())?;
    let mut body = json!({"query": document, "variables": variables(matches)?});
    if let Some(operation) = matches.get_one::<String>("operation") {
        body["operationName"] = operation.as_str().into();
    }
    let file = match matches.get_one::<PathBuf>("doc") {
        Some(path) => {
            let workdir = crate::settings::workdir()?;
            relative(&workdir.join(path), &workdir).display().to_string()
        }
        None => "standard input".to_owned(),
    };
    let answered = session.send_document(&body, &Document { file: &file, text: &document }).await;
    let data = answered.map_err(|fault| if has_module { session.with_near_modules(fault) } else { fault })?;
    session.finish();
    crate::output::write(&crate::output::json(&data))?;
    Ok(ExitCode::SUCCESS)
}

/// `--api-version`.
pub(super) fn api_version_flag() -> Arg {
    Arg::new("api-version").long("api-version").value_name("VERSION").help("The API version to serve")
}

/// The version of `--api-version`, else of the environment. Empty if neither is set.
pub(super) fn api_version(matches: &ArgMatches) -> Result<String> {
    match matches.get_one::<String>("api-version") {
        Some(asked) => {
            rondel_version::asked_for(asked).map(|view| view.to_string()).map_err(|e| Fault::user(e.to_string()))
        }
        None => client_version(std::env::var(CLIENT_VERSION).unwrap_or_default()),
    }
}

/// Checks that the client is served the version of `--api-version`. In a container, a process that
/// acts as a module is served the version of that module.
pub(super) fn check_view(asked: Option<&str>, attached: &Attached) -> Result<()> {
    let served = &attached.welcome().view;
    match asked {
        Some(asked) if !served.is_empty() && served != asked => Err(Fault::user(format!(
            "cannot serve the API version {asked}: this process acts as a module, which is served {served}"
        ))),
        _ => Ok(()),
    }
}

/// Returns the version of a client library, or an error if that version is not served.
pub(super) fn client_version(text: String) -> Result<String> {
    rondel_version::of_client(&text).map(|_| text).map_err(|e| Fault::user(e.to_string()))
}

fn variables(matches: &ArgMatches) -> Result<Map<String, Value>> {
    let mut all: Map<String, Value> = match matches.get_one::<String>("var-json") {
        Some(text) => {
            serde_json::from_str(text).map_err(|e| Fault::user("`--var-json` is no JSON object").caused_by(e))?
        }
        None => Map::new(),
    };
    for pair in matches.get_many::<String>("var").into_iter().flatten() {
        let (name, value) = pair.split_once('=').ok_or_else(|| Fault::user(format!("`--var {pair}` has no `=`")))?;
        all.insert(name.to_owned(), value.into());
    }
    Ok(all)
}
