//! `rondel develop`: generates the code of a local module again, and sets the API version in its
//! configuration, by default to the version of the engine. Can also add an SDK to a module that has
//! none, and do the same for local dependencies.

use std::collections::HashSet;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rondel_fault::{Fault, Result};
use serde_json::Value;

use super::functions::{module_flag, module_of};
use super::init::{license_flag, sdk_flag, sdk_steps, self_calls_flag, source_flag};
use crate::chain::Session;
use crate::license;
use crate::module_edit::{LocalModule, ModuleEdits, relative_to, sdk_reference, version_step};
use crate::path_text::normal;
use crate::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("develop")
        .about("Generate the files of a module again, and move it to this version of the API")
        .arg(module_flag())
        .arg(sdk_flag())
        .arg(source_flag())
        .arg(
            Arg::new("recursive")
                .short('r')
                .long("recursive")
                .action(ArgAction::SetTrue)
                .help("Do the same for all its local dependencies"),
        )
        .arg(compat_flag().num_args(0..=1).require_equals(true).default_missing_value("skip"))
        .arg(license_flag())
        .arg(self_calls_flag())
        .arg(
            Arg::new("without-self-calls")
                .long("without-self-calls")
                .action(ArgAction::SetTrue)
                .help("Take back `--with-self-calls`"),
        )
}

/// `--compat`.
pub(super) fn compat_flag() -> Arg {
    Arg::new("compat")
        .long("compat")
        .value_name("VERSION")
        .default_value("latest")
        .help("The API version to move the module to; `skip` keeps the one that it has")
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let get = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let (with, without) = (matches.get_flag("with-self-calls"), matches.get_flag("without-self-calls"));
    if with && without {
        return Err(Fault::user("cannot use --with-self-calls and --without-self-calls at the same time"));
    }
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let edits = ModuleEdits::begin(settings, &reference).await?;
    let module = LocalModule::configured(&session, &reference).await?;
    let mut steps = check_and_set(&module, get("sdk").filter(|sdk| !sdk.is_empty()), get("source"))?;
    let feature = |on: &str| format!("{on}ExperimentalFeatures(features: [SELF_CALLS])");
    steps.extend(with.then(|| feature("with")));
    steps.extend(without.then(|| feature("without")));
    let version = version_step(get("compat").unwrap_or("latest"));
    steps.extend(version.clone());
    let license = match get("sdk") {
        Some(_) => license::text_for(get("license"), &module.root, &module.context)?,
        None => None,
    };
    let files: Vec<(&str, &str)> = license.map(|text| (license::FILE, text)).into_iter().collect();
    module.apply(&session, &edits, &steps, &files, true).await?;
    if matches.get_flag("recursive") {
        recursively(&session, &edits, &module, &version.into_iter().collect::<Vec<_>>()).await?;
    }
    session.finish();
    Ok(ExitCode::SUCCESS)
}

/// The steps that set the SDK and the folder of the code, if neither is set to something else.
fn check_and_set(module: &LocalModule, sdk: Option<&str>, source: Option<&str>) -> Result<Vec<String>> {
    let has_clients = module.fields["configClients"].as_array().is_some_and(|clients| !clients.is_empty());
    let known_sdk = module.sdk();
    // Users match on these texts.
    if let Some(sdk) = sdk.filter(|_| !known_sdk.is_empty()) {
        if sdk_reference(&module.root, sdk)? != known_sdk {
            return Err(Fault::user(format!("cannot update module SDK that has already been set to \"{known_sdk}\"")));
        }
        // Setting the same SDK again changes nothing, and its source stays.
        return check_and_set(module, None, source);
    }
    if let Some(source) = source.filter(|_| !known_sdk.is_empty()) {
        let known = normal(&module.context.join(module.text("sourceSubpath")));
        if relative_to(&known, source)? != "." {
            let known = known.strip_prefix(&module.root).unwrap_or(&known).display().to_string();
            let known = if known.is_empty() { "." } else { &known };
            return Err(Fault::user(format!(
                "cannot update module source path that has already been set to \"{known}\""
            )));
        }
        return Ok(Vec::new());
    }
    if sdk.is_none() && source.is_none() && known_sdk.is_empty() && !has_clients {
        return Err(Fault::user(
            "dagger develop on a module without an SDK or clients requires either --sdk or --source",
        )
        .with_hint("there is nothing to generate: `rondel develop --sdk python` adds code to the module"));
    }
    sdk_steps(&module.root, sdk, source)
}

/// Applies `steps` to the local dependencies of `module`, and to theirs.
async fn recursively(session: &Session, edits: &ModuleEdits, module: &LocalModule, steps: &[String]) -> Result<()> {
    let local = |fields: &Value| -> Vec<String> {
        let all = fields["dependencies"].as_array().cloned().unwrap_or_default();
        let local = all.into_iter().filter(|dependency| dependency["kind"] == "LOCAL_SOURCE");
        local.filter_map(|dependency| dependency["asString"].as_str().map(str::to_owned)).collect()
    };
    let mut pending = local(&module.fields);
    let mut done = HashSet::new();
    while let Some(reference) = pending.pop() {
        if !done.insert(reference.clone()) {
            continue;
        }
        let dependency = LocalModule::configured(session, &reference).await?;
        pending.extend(local(&dependency.fields));
        dependency.apply(session, edits, steps, &[], true).await?;
    }
    Ok(())
}
