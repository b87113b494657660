//! 1Password, through its command `op`, which also supports service accounts.

use std::io::ErrorKind;
use std::process::Stdio;

use rondel_fault::{Fault, Result};
use tokio::process::Command;

/// The most characters of the command's standard error in a message.
const MAX_SAID: usize = 500;

/// Reads the secret at `uri` with `op`.
pub(crate) async fn read(uri: &str) -> Result<Vec<u8>> {
    let mut command = Command::new("op");
    command.args(["read", "-n", uri]).stdin(Stdio::null()).kill_on_drop(true);
    let attempted = format!("unable to lookup {uri:?}");
    match command.output().await {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => {
            let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_SAID).collect();
            let said = if said.is_empty() { output.status.to_string() } else { said };
            Err(Fault::user(format!("{attempted}: {said}")))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(Fault::user(format!("{attempted}: there is no program `op` on the `PATH` of the client"))
                .with_hint("install the command line tool of 1Password and sign in, or set OP_SERVICE_ACCOUNT_TOKEN"))
        }
        Err(e) => Err(Fault::environment(attempted).caused_by(e)),
    }
}
