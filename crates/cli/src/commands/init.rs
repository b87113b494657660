//! `rondel init`: makes a module.

use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rondel_fault::{Fault, Result};

use crate::chain::Session;
use crate::flags::quote;
use crate::module_edit::{LocalModule, ModuleEdits, default_source, list, relative_to, sdk_reference, version_step};
use crate::settings::{Settings, workdir};
use crate::{license, output};

pub(super) fn command() -> Command {
    Command::new("init")
        .about("Make a module: its configuration, and with an SDK a starter that runs")
        .arg(Arg::new("path").value_name("PATH").default_value(".").help("The folder of the module"))
        .arg(sdk_flag())
        .arg(Arg::new("name").long("name").value_name("NAME").help("The name; default: that of the folder"))
        .arg(source_flag())
        .arg(
            Arg::new("include")
                .long("include")
                .value_name("PATTERN")
                .action(ArgAction::Append)
                .help("Further files of the module, relative to its folder; `!` excludes"),
        )
        .arg(license_flag())
        .arg(self_calls_flag())
}

/// `--sdk`.
pub(super) fn sdk_flag() -> Arg {
    Arg::new("sdk")
        .long("sdk")
        .value_name("SDK")
        .help("The SDK: `go`, `python`, or a module that is an SDK, by its path or git reference")
}

/// `--source`.
pub(super) fn source_flag() -> Arg {
    Arg::new("source")
        .long("source")
        .value_name("DIR")
        .help("The folder of the code; default: the module's folder, or `.dagger` in it if it has other files")
}

/// `--license`.
pub(super) fn license_flag() -> Arg {
    Arg::new("license")
        .long("license")
        .value_name("ID")
        .help("The SPDX identifier of the licence; default with an SDK: Apache-2.0, unless there is one; \"\" for none")
}

/// `--with-self-calls`.
pub(super) fn self_calls_flag() -> Arg {
    Arg::new("with-self-calls")
        .long("with-self-calls")
        .action(ArgAction::SetTrue)
        .help("Let the code of the module call the module's own functions")
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let get = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let includes: Vec<&String> = matches.get_many("include").into_iter().flatten().collect();
    let self_calls = matches.get_flag("with-self-calls");
    let sdk = get("sdk").filter(|sdk| !sdk.is_empty());
    if self_calls && sdk.is_none() {
        return Err(Fault::user("cannot enable self-calls feature without specifying --sdk"));
    }
    let path = relative_to(&workdir()?, get("path").unwrap_or("."))?;
    let session = Session::open_core(settings).await?;
    let path = dotted(&path);
    let edits = ModuleEdits::begin(settings, &path).await?;
    let found = LocalModule::find(&session, &path, true).await;
    // Users match on this text.
    let module = found.map_err(|e| e.context("failed to check if module exists"))?;
    if module.exists() {
        session.finish();
        let named = ["sdk", "name", "source", "license"].iter().any(|name| get(name).is_some());
        // The command that made it may have been this one.
        if !edits.has_completed && (named || !includes.is_empty() || self_calls) {
            return Err(Fault::user("module already exists").with_hint(format!(
                "it is in `{}`; `rondel develop` changes its SDK and its source",
                module.root.display()
            )));
        }
        output::write(&format!("Module {} exists in {}\n", module.text("moduleName"), module.root.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = module.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = get("name").filter(|name| !name.is_empty()).unwrap_or(&folder);
    let mut steps = vec![format!("withName(name: {})", quote(name))];
    steps.extend(sdk_steps(&module.root, sdk, get("source"))?);
    if !includes.is_empty() {
        steps.push(format!("withIncludes(patterns: {})", list(includes)));
    }
    if self_calls {
        steps.push("withExperimentalFeatures(features: [SELF_CALLS])".into());
    }
    steps.extend(version_step("latest"));
    let license = match (sdk, get("license")) {
        (None, None) => None,
        (_, named) => license::text_for(named, &module.root, &module.context)?,
    };
    let files: Vec<(&str, &str)> = license.map(|text| (license::FILE, text)).into_iter().collect();
    let done = module.apply(&session, &edits, &steps, &files, false).await;
    session.finish();
    done?;
    output::write(&format!("Initialized module {name} in {}\n", module.root.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// `path` as a reference that can only be a path.
fn dotted(path: &str) -> String {
    if path.starts_with(['.', '/']) { path.to_owned() } else { format!("./{path}") }
}

/// The steps that set an SDK, and the folder of the code of the module in `root`.
pub(super) fn sdk_steps(root: &Path, sdk: Option<&str>, source: Option<&str>) -> Result<Vec<String>> {
    let source = match (source, sdk) {
        (Some(source), _) => Some(relative_to(root, source)?),
        (None, Some(_)) => Some(default_source(root).to_owned()),
        (None, None) => None,
    };
    let mut steps = Vec::new();
    if let Some(sdk) = sdk {
        steps.push(format!("withSDK(source: {})", quote(&sdk_reference(root, sdk)?)));
    }
    // The folder of the configuration is the default and is not written.
    if let Some(source) = source.filter(|source| source != ".") {
        steps.push(format!("withSourceSubpath(path: {})", quote(&source)));
    }
    Ok(steps)
}
