//! `rondel config`: shows the configuration of a module.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rondel_fault::{Fault, Result};
use serde_json::{Value, json};

use super::functions::{module_flag, module_of};
use crate::chain::Session;
use crate::flags::quote;
use crate::missing_dependencies::{DependencyEntry, missing};
use crate::output;
use crate::settings::Settings;

/// What is asked of a module on this machine, and of one in a repository.
const LOCAL: &str = "localContextDirectoryPath";
const FIELDS: &str = "configExists kind moduleName engineVersion sdk{source} sourceRootSubpath sourceSubpath \
                      htmlURL version commit dependencies{moduleName asString}";

pub(super) fn command() -> Command {
    Command::new("config")
        .about("Show the configuration of a module")
        .arg(module_flag())
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print it as JSON"))
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let ask =
        |fields: &str| json!({"query": format!("{{moduleSource(refString: {}){{{fields}}}}}", quote(&reference))});
    let mut found = session.send(&ask(FIELDS)).await?["moduleSource"].take();
    if found["configExists"] != true {
        return Err(Fault::user("module must be fully initialized").with_hint("make one with `rondel init`"));
    }
    if found["kind"] == "LOCAL_SOURCE" {
        let context = session.send(&ask(LOCAL)).await?["moduleSource"][LOCAL].take();
        found[LOCAL] = context;
    }
    session.finish();
    let root = Path::new(found[LOCAL].as_str().unwrap_or_default());
    let root = root.join(found["sourceRootSubpath"].as_str().unwrap_or_default());
    let missing = if found[LOCAL].is_string() { missing(&root, &found["dependencies"]) } else { Vec::new() };
    let rows = rows(&found, &missing);
    if matches.get_flag("json") {
        let keys = rows.iter().map(|(label, text)| (camel(label), Value::from(text.as_str())));
        output::write(&output::json(&Value::Object(keys.collect())))?;
    } else {
        let width = rows.iter().map(|(label, _)| label.len() + 1).max().unwrap_or(0);
        let lines = rows.iter().map(|(label, text)| format!("{:width$}  {text}\n", format!("{label}:")));
        output::write(&lines.collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines to show, those without a value left out.
fn rows(found: &Value, missing: &[DependencyEntry]) -> Vec<(&'static str, String)> {
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    let each = found["dependencies"].as_array().into_iter().flatten();
    let dependencies: Vec<String> = each
        .map(|it| {
            format!(
                "{} ({})",
                it["moduleName"].as_str().unwrap_or_default(),
                it["asString"].as_str().unwrap_or_default()
            )
        })
        .chain(missing.iter().map(|entry| format!("{} ({}, not found)", entry.called(), entry.source())))
        .collect();
    let rows = [
        ("Name", text("moduleName")),
        ("SDK", found["sdk"]["source"].as_str().unwrap_or_default().to_owned()),
        ("Engine Version", text("engineVersion")),
        ("Context Directory", text(LOCAL)),
        ("Source Root Directory", text("sourceRootSubpath")),
        ("Source Directory", text("sourceSubpath")),
        ("URL", text("htmlURL")),
        ("Version", text("version")),
        ("Commit", text("commit")),
        ("Dependencies", dependencies.join(", ")),
    ];
    rows.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// A label as a key of JSON: `Engine Version` is `engineVersion`.
fn camel(label: &str) -> String {
    let (first, rest) =
        label.split_once(' ').map_or((label, String::new()), |(first, rest)| (first, rest.replace(' ', "")));
    format!("{}{rest}", first.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(camel("Source Root Directory"), "sourceRootDirectory");
        assert_eq!((camel("SDK"), camel("Name")), ("sdk".into(), "name".into()));
    }
}
