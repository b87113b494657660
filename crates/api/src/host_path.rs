//! Paths as a client means them, on this machine.

use std::path::{Path, PathBuf};

use rondel_fault::{Attempt, Fault, Result};
use rondel_model::{AbsPath, Value};
use rondel_query::{Args, Outcome};
use rondel_session::Client;

/// A path of a client.
#[derive(Debug)]
pub(crate) struct HostPath {
    /// As the client sees it.
    pub(crate) shown: AbsPath,
    /// Where that is on this machine.
    pub(crate) real: PathBuf,
}

/// `path` as `client` means it: `~` is its home, a relative path starts at its working directory. What a process in a
/// container names never leaves its root, whatever links it has made there.
///
/// # Errors
/// When there is no home, or links go round in circles.
pub(crate) async fn resolve(client: &Client, path: &str) -> Result<HostPath> {
    let home = match path == "~" || path.starts_with("~/") {
        true => Some(home(client).await?),
        false => None,
    };
    let workdir = AbsPath::new(&client.workdir.to_string_lossy());
    let shown = match home {
        Some(home) => AbsPath::new(&home).join(path[1..].trim_start_matches('/')),
        None => workdir.join(path),
    };
    if client.host_root == Path::new("/") {
        return Ok(HostPath { real: PathBuf::from(shown.as_str()), shown });
    }
    let (root, inside) = (client.host_root.clone(), shown.clone());
    let real = tokio::task::spawn_blocking(move || follow(&root, &inside)).await;
    Ok(HostPath { real: real.attempt(|| format!("resolve `{path}`"))??, shown })
}

/// The result of an export to `to`: the absolute path; in views whose field gives a boolean, true.
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

/// Follows the links of `path` as a process whose root is `root` would. What does not exist is taken as it is written.
fn follow(root: &Path, path: &AbsPath) -> Result<PathBuf> {
    let mut pending: Vec<String> = path.relative().split('/').rev().map(ToOwned::to_owned).collect();
    let mut done = AbsPath::root();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        let next = done.join(&part);
        let Ok(target) = std::fs::read_link(root.join(next.relative())) else {
            done = next;
            continue;
        };
        links += 1;
        if links > 40 {
            return Err(Fault::user(format!("{path}: too many levels of symbolic links")));
        }
        let target = target.to_string_lossy().into_owned();
        if target.starts_with('/') {
            done = AbsPath::root();
        }
        pending.extend(target.split('/').rev().map(ToOwned::to_owned));
    }
    Ok(root.join(done.relative()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        symlink("/a", root.join("abs")).expect("a link");
        symlink("../../../../a/b", root.join("a/up")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        let check = |path: &str, want: &str| {
            let got = follow(root, &AbsPath::new(path)).expect("resolves");
            assert_eq!(got, root.join(want), "{path}");
        };
        check("/a/b", "a/b");
        check("/abs/b/new", "a/b/new");
        check("/a/up/f", "a/b/f");
        check("/none/x", "none/x");
        assert!(follow(root, &AbsPath::new("/loop")).is_err());
    }
}
