//! Finds the engine's state directory and the user's configuration file.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rondel_fault::{Attempt as _, Fault, Result};

/// The variable that names the state directory.
pub const STATE_DIR_VARIABLE: &str = "RONDEL_STATE_DIR";
/// The variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "RONDEL_CONFIG";
/// The longest path a unix socket can have.
const SOCKET_PATH_LIMIT: usize = 107;

/// The state directory of one engine.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory `given`, else that of [`STATE_DIR_VARIABLE`], else `rondel` in the user's
    /// state directory.
    ///
    /// # Errors
    /// When there is no home directory for it, or the path is too long for a socket.
    pub fn find(given: Option<&Path>, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let default = || {
            let xdg = set("XDG_STATE_HOME").filter(|p| p.is_absolute());
            xdg.or_else(|| set("HOME").map(|home| home.join(".local/state"))).map(|p| p.join("rondel"))
        };
        let path = given.map(Path::to_owned).or_else(|| set(STATE_DIR_VARIABLE)).or_else(default);
        let path = path.ok_or_else(|| {
            Fault::user("cannot tell where to keep state: `HOME` is not set")
                .with_hint(format!("pass `--state-dir`, or set `{STATE_DIR_VARIABLE}`"))
        })?;
        let path = std::path::absolute(&path).unwrap_or(path);
        let dir = Self(path);
        if dir.socket().as_os_str().len() > SOCKET_PATH_LIMIT {
            return Err(Fault::user(format!(
                "the state directory `{}` has too long a path for a socket",
                dir.0.display()
            ))
            .with_hint(format!("choose one whose path has fewer than {} bytes", SOCKET_PATH_LIMIT - 12)));
        }
        Ok(dir)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the directory if it does not exist. It holds files of containers and results, so
    /// other users get no access.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn make(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.attempt(|| format!("make the state directory `{}`", self.0.display()))
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.join(rondel_link::SOCKET)
    }

    /// Whether an engine holds the directory. A starting and an ending engine do too.
    pub fn is_held(&self) -> bool {
        use rustix::fs::{FlockOperation, flock};
        let Ok(lock) = std::fs::File::open(self.0.join("lock")) else { return false };
        flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
    }

    /// The process of the engine that holds the directory, as that engine recorded it.
    pub fn holder(&self) -> Option<i32> {
        std::fs::read_to_string(self.0.join("lock")).ok()?.trim().parse().ok()
    }

    /// The engine's log.
    pub fn log(&self) -> PathBuf {
        self.0.join(rondel_link::LOG)
    }
}

/// The configuration file that [`CONFIG_VARIABLE`] names.
pub fn named_config(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable(CONFIG_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// The configuration file of the user, which need not exist: `rondel/config.toml` in the user's
/// configuration directory.
pub fn default_config(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let xdg = set("XDG_CONFIG_HOME").filter(|p| p.is_absolute());
    xdg.or_else(|| set("HOME").map(|home| home.join(".config"))).map(|p| p.join("rondel/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins() {
        let check = |given: Option<&str>, vars: &[(&str, &str)], want: Option<&str>| {
            let get = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            let found = StateDir::find(given.map(Path::new), get).ok();
            assert_eq!(found.as_ref().map(|d| d.path()), want.map(Path::new));
        };
        check(Some("/a"), &[("RONDEL_STATE_DIR", "/b")], Some("/a"));
        check(None, &[("RONDEL_STATE_DIR", "/b"), ("HOME", "/h")], Some("/b"));
        check(None, &[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], Some("/x/rondel"));
        check(None, &[("XDG_STATE_HOME", "rel"), ("HOME", "/h")], Some("/h/.local/state/rondel"));
        check(None, &[], None);
        check(Some(&format!("/{}", "x".repeat(120))), &[], None);
    }
}
