//! Secret providers beyond variables, files and commands: 1Password, Vault and AWS. The client
//! reads them on its own machine.
//!
//! *Invariants.* One file per provider. Nothing is cached: each request asks the provider again.
//! Variables come from [`Machine`], never from the process. No message holds plaintext, a token or
//! a key.

mod address;
mod aws;
mod machine;
mod op;
mod sign;
mod vault;

use rondel_fault::{Fault, Result};

use address::Address;

pub use machine::Machine;

/// The URI schemes of these providers.
pub const SCHEMES: [&str; 4] = ["op", "vault", "aws+sm", "aws+ps"];

/// Reads the plaintext of the secret at `uri`, whose scheme is one of [`SCHEMES`].
///
/// # Errors
/// When the provider is not set up, cannot be reached, or has no such secret.
pub async fn read(uri: &str, machine: &Machine<'_>) -> Result<Vec<u8>> {
    let address = Address::parse(uri);
    match address.scheme {
        "op" => op::read(uri).await,
        "vault" => vault::read(&address, machine).await,
        "aws+sm" => aws::secret(&address, machine).await,
        "aws+ps" => aws::parameter(&address, machine).await,
        // Clients match on this text; see behaviour SEC-006.
        other => Err(Fault::user(format!("unsupported secret provider: \"{other}\""))),
    }
}
