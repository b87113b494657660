//! `rondel uninstall`: removes a dependency from a module.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::Result;

use super::develop::compat_flag;
use super::functions::{module_flag, module_of};
use crate::chain::Session;
use crate::module_edit::{LocalModule, ModuleEdits, list, version_step};
use crate::output;
use crate::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("uninstall")
        .about("Remove a dependency from a module")
        .arg(module_flag())
        .arg(
            Arg::new("ref").value_name("MODULE").required(true).help("The dependency: its name, path or git reference"),
        )
        .arg(compat_flag())
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let edits = ModuleEdits::begin(settings, &reference).await?;
    let module = LocalModule::configured(&session, &reference).await?;
    let named: Option<&String> = matches.get_one("ref");
    let mut steps = vec![format!("withoutDependencies(dependencies: {})", list(named))];
    steps.extend(version_step(matches.get_one("compat").map_or("latest", String::as_str)));
    let done = module.apply(&session, &edits, &steps, &[], false).await;
    session.finish();
    done?;
    output::write(&format!("Uninstalled module dependency \"{}\"\n", named.map_or("", String::as_str)))?;
    Ok(ExitCode::SUCCESS)
}
