//! `rondel client`: the generated clients of a module.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::Result;
use serde_json::json;

use super::functions::{module_flag, module_of};
use crate::chain::Session;
use crate::flags::quote;
use crate::json_output::{json_flag, print_json};
use crate::module_edit::{LocalModule, ModuleEdits, relative_to, sdk_reference};
use crate::output;
use crate::settings::Settings;

pub(super) fn command() -> Command {
    let path = || Arg::new("path").value_name("DIR");
    Command::new("client")
        .about("Generate clients of a module, and list and remove them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("install")
                .about("Generate a client, and keep it up to date with `rondel develop`")
                .arg(module_flag())
                .arg(
                    Arg::new("generator")
                        .value_name("GENERATOR")
                        .required(true)
                        .help("The SDK that generates it: a path or a git reference"),
                )
                .arg(path().default_value("dagger").help("The directory of the generated files")),
        )
        .subcommand(Command::new("list").about("List the clients of a module").arg(module_flag()).arg(json_flag()))
        .subcommand(
            Command::new("uninstall")
                .about("Remove a client from the configuration of a module")
                .arg(module_flag())
                .arg(path().required(true).help("The directory of its files, which stay")),
        )
        .subcommand(Command::new("update").about("Generate the clients of a module again").arg(module_flag()))
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(ExitCode::FAILURE) };
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let done = match name {
        "list" => list(&session, &reference, matches.get_flag("json")).await,
        _ => change(settings, &session, &reference, name, matches).await,
    };
    session.finish();
    done.map(|()| ExitCode::SUCCESS)
}

async fn list(session: &Session, reference: &str, is_json: bool) -> Result<()> {
    let module = LocalModule::configured(session, reference).await?;
    let clients = module.fields["configClients"].as_array().cloned().unwrap_or_default();
    if is_json {
        return print_json(&json!(clients)).map(|_| ());
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<_> = clients.iter().map(|it| (text(&it["directory"]), text(&it["generator"]))).collect();
    let width = rows.iter().map(|(directory, _)| directory.chars().count()).max().unwrap_or(0);
    let lines = rows.iter().map(|(directory, generator)| format!("{directory:width$}  {generator}\n"));
    output::write(&lines.collect::<String>())
}

/// Changes the clients in the configuration, and generates all of them.
async fn change(
    settings: &Settings,
    session: &Session,
    reference: &str,
    action: &str,
    matches: &ArgMatches,
) -> Result<()> {
    let edits = ModuleEdits::begin(settings, reference).await?;
    let module = LocalModule::configured(session, reference).await?;
    // The paths of a configuration are relative to the module.
    let given = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let (steps, said) = match action {
        "install" => {
            let generator = sdk_reference(&module.root, given("generator"))?;
            let directory = relative_to(&module.root, given("path"))?;
            let step = format!("withClient(generator: {}, outputDir: {})", quote(&generator), quote(&directory));
            (vec![step], Some(format!("Generated client at {}\n", given("path"))))
        }
        "uninstall" => {
            let directory = relative_to(&module.root, given("path"))?;
            let step = format!("withoutClient(path: {})", quote(&directory));
            let said = format!("Uninstalled client at {}; its files stay: remove them by hand\n", given("path"));
            (vec![step], Some(said))
        }
        _ => (Vec::new(), None),
    };
    module.apply(session, &edits, &steps, &[], true).await?;
    said.map_or(Ok(()), |said| output::write(&said))
}
