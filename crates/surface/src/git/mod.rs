//! Git repositories: addresses, credentials of a client, refs, versions.

mod address;
mod netrc;
mod remote;
mod version;

pub use address::{Address, Scheme, is_git, scheme};
pub use remote::{find, known, refs_of, remote};
pub use version::latest;
