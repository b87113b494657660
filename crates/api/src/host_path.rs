//! Paths of a client, as paths of this machine.

use std::path::PathBuf;

use rondel_fault::{Fault, Result};
use rondel_model::{AbsPath, Value};
use rondel_query::Outcome;
use rondel_session::{Args, Client};

/// A path of a client.
#[derive(Debug)]
pub(crate) struct HostPath {
    /// As the client sees it.
    pub(crate) shown: AbsPath,
    /// The path for the port of host files, which keeps the paths of a nested client below its
    /// root.
    pub(crate) real: PathBuf,
}

/// Resolves `path` of `client`: `~` is its home, a relative path starts at its working directory.
///
/// # Errors
/// When there is no home, or the client did not select the call itself.
pub(crate) async fn resolve(client: &Client, path: &str) -> Result<HostPath> {
    client.check_own("use files of the machine")?;
    let home = match path == "~" || path.starts_with("~/") {
        true => Some(home(client).await?),
        false => None,
    };
    let workdir = AbsPath::new(&client.workdir.to_string_lossy());
    let shown = match home {
        Some(home) => AbsPath::new(&home).join(path[1..].trim_start_matches('/')),
        None => workdir.join(path),
    };
    Ok(HostPath { real: client.host_root.join(shown.relative()), shown })
}

/// The result of an export to `to`: the absolute path, or true in views whose field is a boolean.
pub(crate) fn outcome(args: &Args, to: &HostPath) -> Outcome {
    match &**args.field().ty.base() {
        "Boolean" => Value::Bool(true).into(),
        _ => Value::string(to.shown.as_str()).into(),
    }
}

async fn home(client: &Client) -> Result<String> {
    let home = match &client.link {
        Some(link) => link.variable("HOME").await?.filter(|home| !home.is_empty()),
        None => None,
    };
    home.ok_or_else(|| Fault::user("cannot expand `~`: the client has no `HOME`"))
}
