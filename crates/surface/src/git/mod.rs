//! Git repositories: credentials of a client, refs, versions.

mod client_settings;
mod netrc;
mod remote;
mod version;

pub use client_settings::{ClientGit, client_settings};
pub use remote::{find, known, refs_of, remote};
pub use version::latest;
