//! The environment variables of a process.

use std::sync::Arc;

use rondel_fault::{Fault, Result};
use rondel_model::ExecOp;
use rondel_ports::secrets::Plaintext;

use crate::options::{BUNDLE_TARGET, BUNDLE_VARIABLES, DEFAULT_PATH, Options};

/// The environment of the process. Variables that the user set win. What the engine adds is part of
/// no cache key. `bundle`: the host's CA bundle is mounted.
pub(crate) fn environment(
    exec: &ExecOp,
    secrets: &[Arc<Plaintext>],
    api_env: &[(String, String)],
    options: &Options,
    bundle: bool,
) -> Result<Vec<(String, String)>> {
    let mut env = Environment(exec.env.clone());
    for (name, value) in &exec.volatile_env {
        env.set(name, value);
    }
    for ((name, _), plaintext) in exec.secret_env.iter().zip(secrets) {
        let text = std::str::from_utf8(plaintext.bytes())
            .map_err(|_| Fault::user(format!("the secret for the variable `{name}` is no UTF-8 text")))?;
        env.set(name, text);
    }
    env.set_unless_set("PATH", DEFAULT_PATH);
    for (name, value) in &options.proxies {
        env.set_unless_set(name, value);
    }
    if bundle {
        for name in BUNDLE_VARIABLES {
            env.set_unless_set(name, BUNDLE_TARGET);
        }
    }
    for (name, value) in api_env {
        env.set(name, value);
    }
    Ok(env.0)
}

/// The value of a variable.
pub(crate) fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    fn set_unless_set(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(other, _)| other == name) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }
}
