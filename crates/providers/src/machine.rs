//! What providers use of the client's machine: variables, files and HTTP.

use std::ffi::OsString;

use rondel_fault::{Fault, Result};
use rondel_web::{Limits, ProxyEnvironment};
use serde_json::Value;

/// The most bytes of an answer of a provider: a secret of the largest size, escaped.
const MAX_ANSWER: u64 = 4 << 20;

/// What a provider may use of the client's machine.
pub struct Machine<'a> {
    /// The value of an environment variable.
    pub variable: &'a (dyn Fn(&str) -> Option<OsString> + Send + Sync),
}

impl Machine<'_> {
    /// A variable that is set to some text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name)?.into_string().ok().filter(|text| !text.is_empty())
    }

    /// A file below the home directory.
    pub(crate) async fn home_file(&self, path: &str) -> Option<String> {
        let home = std::path::PathBuf::from(self.text("HOME")?);
        tokio::fs::read_to_string(home.join(path)).await.ok()
    }

    pub(crate) fn http(&self, certificates: Option<String>) -> Result<reqwest::Client> {
        let mut proxy_env = ProxyEnvironment::from_variables(self.variable);
        if let Some(file) = certificates {
            proxy_env.certificate_file = Some(file.into());
        }
        rondel_web::client(&proxy_env, Limits::default(), reqwest::redirect::Policy::none())
    }
}

/// The answer of `whom` as JSON, whatever its status.
pub(crate) async fn json(response: reqwest::Response, whom: &str) -> Result<Value> {
    let bytes = rondel_web::body(response, MAX_ANSWER, whom).await?;
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    // What the answer says is in no message: it may be plaintext.
    serde_json::from_slice(&bytes).map_err(|_| Fault::environment(format!("the answer of {whom} is no JSON")))
}
