//! `rondel up`: runs services of a module on this machine until Ctrl-C.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rondel_fault::{Fault, Result};
use serde_json::{Value, json};

use super::functions::module_flag;
use crate::chain::Session;
use crate::json_output::{json_flag, print_json};
use crate::near_modules;
use crate::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("up")
        .about("Run services of a module, reachable on this machine, until Ctrl-C")
        .arg(module_flag())
        .arg(
            Arg::new("list")
                .short('l')
                .long("list")
                .action(ArgAction::SetTrue)
                .help("List the services without starting them"),
        )
        .arg(json_flag().requires("list").help("With `--list`: print JSON; an error is JSON, too"))
        .arg(Arg::new("name").value_name("NAME").num_args(0..).help("Names or patterns of services; default: all"))
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let settings = &match matches.get_flag("list") {
        true => settings.for_listing(matches.get_flag("json")),
        false => settings.clone(),
    };
    let reference = settings.module(matches).unwrap_or_else(|| ".".into());
    let names: Vec<&String> = matches.get_many("name").into_iter().flatten().collect();
    let session = Session::open(settings, None, String::new(), true).await?;
    let ask = |selection: &str| {
        let services = format!("services(include: $include) {{ {selection} }}");
        let module = format!("moduleSource(refString: $reference) {{ asModule {{ {services} }} }}");
        let include = if names.is_empty() { Value::Null } else { json!(names) };
        json!({
            "query": format!("query($reference: String!, $include: [String!]) {{ {module} }}"),
            "variables": {"reference": reference, "include": include},
        })
    };
    let found = session.send(&ask("list { name description }")).await;
    let found = found.map_err(|fault| near_modules::add(fault, &reference))?;
    let found = found.pointer("/moduleSource/asModule/services/list").and_then(Value::as_array).cloned();
    let found = found.unwrap_or_default();
    if found.is_empty() {
        session.finish();
        return Err(match names.as_slice() {
            [] => Fault::user("the module has no services")
                .with_hint("a function that gives a service is marked for it: `@up` in Python, `+up` in Go"),
            names => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                Fault::user(format!("the module has no service called {}", names.join(" or ")))
                    .with_hint("`rondel up --list` lists them")
            }
        });
    }
    if matches.get_flag("list") {
        session.finish();
        if matches.get_flag("json") {
            return print_json(&found);
        }
        crate::output::write(&table(&found))?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = crate::interrupt::until_interrupted(session.send(&ask("run { id }"))).await;
    session.finish();
    ended.map(|_| ExitCode::SUCCESS)
}

fn table(found: &[Value]) -> String {
    let text = |service: &Value, key: &str| service[key].as_str().unwrap_or_default().to_owned();
    let width = found.iter().map(|service| text(service, "name").chars().count()).max().unwrap_or(0).max(4);
    let mut table = format!("{:width$}   Description\n", "Name");
    for service in found {
        let about = text(service, "description");
        let about = about.lines().next().filter(|line| !line.is_empty()).unwrap_or("-");
        table.push_str(&format!("{:width$}   {about}\n", text(service, "name")));
    }
    table
}
