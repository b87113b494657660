//! Providers of secrets beyond variables, files and commands, as the client asks them on its own
//! machine.
//!
//! *Invariants.* One file per provider. Nothing is kept: who asks again is answered anew, and
//! remembers what it wants to. Variables come from [`Machine`], never from the process. No message
//! holds plaintext, a token or a key.

mod address;
mod aws;
mod op;
mod sign;
mod vault;

use std::ffi::OsString;

use rondel_fault::{Fault, Result};
use rondel_web::{Limits, ProxyEnvironment};
use serde_json::Value;

use address::Address;

/// The schemes of addresses that are read here.
pub const SCHEMES: [&str; 4] = ["op", "vault", "aws+sm", "aws+ps"];

/// The most bytes of an answer of a provider: a secret of the largest size, escaped.
const MAX_ANSWER: u64 = 4 << 20;

/// What a provider may use of the client's machine.
pub struct Machine<'a> {
    /// The value of an environment variable.
    pub variable: &'a (dyn Fn(&str) -> Option<OsString> + Send + Sync),
}

impl Machine<'_> {
    /// A variable that is set to some text.
    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name)?.into_string().ok().filter(|text| !text.is_empty())
    }

    /// A file below the home directory.
    async fn home_file(&self, path: &str) -> Option<String> {
        let home = std::path::PathBuf::from(self.text("HOME")?);
        tokio::fs::read_to_string(home.join(path)).await.ok()
    }

    fn http(&self, certificates: Option<String>) -> Result<reqwest::Client> {
        let mut proxy_env = ProxyEnvironment::from_variables(self.variable);
        if let Some(file) = certificates {
            proxy_env.certificate_file = Some(file.into());
        }
        rondel_web::client(&proxy_env, Limits::default(), reqwest::redirect::Policy::none())
    }
}

/// The plaintext of the secret at `uri`, whose scheme is one of [`SCHEMES`].
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

/// The answer of `whom` as JSON, whatever its status.
async fn json(response: reqwest::Response, whom: &str) -> Result<Value> {
    let bytes = rondel_web::body(response, MAX_ANSWER, whom).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    // What the answer says is in no message: it may be plaintext.
    serde_json::from_slice(&bytes).map_err(|_| Fault::environment(format!("the answer of {whom} is no JSON")))
}
