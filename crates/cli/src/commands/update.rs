//! `rondel update`: resolves the git dependencies of a module again.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rondel_fault::Result;

use super::develop::compat_flag;
use super::functions::{module_flag, module_of};
use crate::chain::Session;
use crate::module_edit::{LocalModule, ModuleEdits, list, version_step};
use crate::settings::Settings;

pub(super) fn command() -> Command {
    Command::new("update")
        .about("Update the git dependencies of a module to the newest commits of their versions")
        .arg(module_flag())
        .arg(
            Arg::new("ref").value_name("MODULE").num_args(0..).help(
                "Dependencies by name or git reference, each with `@VERSION` to change its version; default: all",
            ),
        )
        .arg(compat_flag())
}

pub(super) async fn run(settings: &Settings, matches: &ArgMatches) -> Result<ExitCode> {
    let session = Session::open_core(settings).await?;
    let reference = module_of(settings, matches);
    let edits = ModuleEdits::begin(settings, &reference).await?;
    let module = LocalModule::configured(&session, &reference).await?;
    let named = matches.get_many::<String>("ref").into_iter().flatten();
    let mut steps = vec![format!("withUpdateDependencies(dependencies: {})", list(named))];
    steps.extend(version_step(matches.get_one("compat").map_or("latest", String::as_str)));
    let done = module.apply(&session, &edits, &steps, &[], false).await;
    session.finish();
    done.map(|()| ExitCode::SUCCESS)
}
