//! The version of this program, and what it was built from. `build.rs` finds it out.

use serde::Serialize;

/// The version, such as `v0.1.0`.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// The commit. `None` in a development build, and where there was no repository.
pub(crate) const COMMIT: Option<&str> = option_env!("RONDEL_BUILD_COMMIT");

/// The version with everything that a report of a bug needs.
#[derive(Serialize)]
pub(crate) struct BuildInfo {
    version: &'static str,
    commit: Option<&'static str>,
    /// Whether files of the repository differed from the commit.
    modified: bool,
    profile: &'static str,
    target: &'static str,
    api_version: String,
}

impl BuildInfo {
    /// That of this program.
    pub(crate) fn new() -> Self {
        Self {
            version: VERSION,
            commit: COMMIT,
            modified: option_env!("RONDEL_BUILD_MODIFIED").is_some(),
            profile: env!("RONDEL_BUILD_PROFILE"),
            target: env!("RONDEL_BUILD_TARGET"),
            api_version: rondel_version::ENGINE.to_string(),
        }
    }
}

impl std::fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, commit, modified, profile, target, api_version } = self;
        let commit = commit.unwrap_or("unknown");
        let modified = if *modified { ", modified" } else { "" };
        write!(f, "{version} (commit {commit}{modified}; {profile} build for {target}; API {api_version})")
    }
}
