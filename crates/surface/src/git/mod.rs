//! Git repositories: credentials of a client, refs, versions.

mod netrc;
mod remote;
mod version;

pub use remote::{find, known, refs_of, remote};
pub use version::latest;
