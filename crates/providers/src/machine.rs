//! The client's machine, as far as providers use it: variables, files of the home directory, and an
//! HTTP client.

use std::ffi::OsString;

use rondel_fault::{Fault, Result};
use rondel_web::{Limits, ProxyEnvironment};
use serde_json::Value;

/// The largest answer of a provider in bytes: a secret of the largest size, escaped.
const MAX_ANSWER: u64 = 4 << 20;

/// What a provider may use of the client's machine.
pub struct Machine<'a> {
    /// The value of an environment variable.
    pub variable: &'a (dyn Fn(&str) -> Option<OsString> + Send + Sync),
}

impl Machine<'_> {
    /// The value of a variable, or `None` if it is unset, empty or not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name)?.into_string().ok().filter(|text| !text.is_empty())
    }

    /// The content of a file below the home directory, or `None` if it cannot be read.
    pub(crate) async fn home_file(&self, path: &str) -> Option<String> {
        let home = std::path::PathBuf::from(self.text("HOME")?);
        tokio::fs::read_to_string(home.join(path)).await.ok()
    }

    /// An HTTP client with the proxies and certificates of the machine. `certificates` is a file
    /// that replaces the machine's certificates.
    pub(crate) fn http(&self, certificates: Option<String>) -> Result<reqwest::Client> {
        let mut proxy_env = ProxyEnvironment::from_variables(self.variable);
        if let Some(file) = certificates {
            proxy_env.certificate_file = Some(file.into());
        }
        rondel_web::client(&proxy_env, Limits::default(), reqwest::redirect::Policy::none())
    }
}

/// The answer of the server `whom` as JSON, whatever its status. `Null` if it is empty.
pub(crate) async fn json(response: reqwest::Response, whom: &str) -> Result<Value> {
    let bytes = rondel_web::body(response, MAX_ANSWER, whom).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    // The answer may be plaintext of a secret, so no message quotes it.
    serde_json::from_slice(&bytes).map_err(|_| Fault::environment(format!("the answer of {whom} is no JSON")))
}
