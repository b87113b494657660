//! `rondel install`: adds a dependency to a module.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::{Fault, Result};
use serde_json::json;

use super::develop::compat_flag;
use super::functions::{module_flag, module_of};
use crate::chain::Session;
use crate::flags::quote;
use crate::module_edit::{LocalModule, ModuleEdits, version_step};
use crate::output;
use crate::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("install")
        .visible_alias("use")
        .about("Add a dependency to a module")
        .arg(module_flag())
        .arg(Arg::new("ref").value_name("MODULE").required(true).help("The dependency: a path or a git reference"))
        .arg(
            Arg::new("name")
                .short('n')
                .long("name")
                .value_name("NAME")
                .help("The name to call it by; default: its own"),
        )
        .arg(compat_flag())
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let get = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let edits = ModuleEdits::begin(settings, &reference).await?;
    let module = LocalModule::configured(&session, &reference).await?;
    let added = get("ref");
    let source = format!("moduleSource(refString: {}, disableFindUp: true)", quote(added));
    let name = match get("name") {
        "" => String::new(),
        name => format!("withName(name: {})", quote(name)),
    };
    let fields = "{ id moduleName }";
    let named = if name.is_empty() { fields.to_owned() } else { format!("{{ {name} {fields} }}") };
    let exists = session.send(&json!({"query": format!("{{ {source} {{ configExists }} }}")})).await?;
    if exists["moduleSource"]["configExists"] != true {
        return Err(Fault::user(format!("`{added}` is not a module: it has no `dagger.json`"))
            .with_hint("name the folder of the module; `rondel init` makes one"));
    }
    let found = session.send(&json!({"query": format!("{{ {source} {named} }}")})).await?;
    let found = if name.is_empty() { &found["moduleSource"] } else { &found["moduleSource"]["withName"] };
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    let mut steps = vec![format!("withDependencies(dependencies: [{}])", quote(text("id")))];
    steps.extend(version_step(get("compat")));
    let done = module.apply(&session, &edits, &steps, &[], false).await;
    session.finish();
    done?;
    output::write(&format!("Installed module dependency \"{}\"\n", text("moduleName")))?;
    Ok(ExitCode::SUCCESS)
}
