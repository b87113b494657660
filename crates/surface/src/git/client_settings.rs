//! What a build in a container may use of the client's own git: its rewritten addresses, and its
//! SSH agent.

use rondel_fault::Result;
use rondel_model::{AbsPath, SecretRef, SocketRef};
use rondel_ports::secrets::Plaintext;
use rondel_session::Client;
use rondel_session::secrets::ProvidedSecret;

use crate::host_socket;

/// Prints the names and the values of the settings that rewrite addresses, each ended by a zero
/// byte.
const REWRITES: &str = r"git config --null --get-regexp '^url\..*\.insteadof$' 2>/dev/null || true";

/// Settings of the client's own git.
#[derive(Default)]
pub struct ClientGit {
    /// The settings `url.BASE.insteadOf`: the name, in which the base may hold a token, and the
    /// value.
    pub rewrites: Vec<(SecretRef, String)>,
    /// The socket of its SSH agent.
    pub agent: Option<SocketRef>,
}

/// The settings of the client's own git. A client without a machine of its own has none.
///
/// # Errors
/// When the client's machine cannot be asked.
pub async fn client_settings(me: &Client) -> Result<ClientGit> {
    let Some(link) = &me.link else { return Ok(ClientGit::default()) };
    let listed = link.command(REWRITES).await?;
    let rewrites = rewrites(&listed).into_iter().map(|(name, value)| (kept(me, name), value)).collect();
    let path = link.variable("SSH_AUTH_SOCK").await?.filter(|path| !path.is_empty());
    let agent = path.map(|path| host_socket::socket_at(me, &AbsPath::new(&path), path.clone().into()));
    Ok(ClientGit { rewrites, agent })
}

/// Names and values in the output of `git config --null --get-regexp`: a name, a line break, a
/// value.
fn rewrites(listed: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(listed);
    let settings = text.split('\0').filter_map(|setting| setting.split_once('\n'));
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Keeps `plaintext` as a secret of the session.
pub(crate) fn kept(me: &Client, plaintext: String) -> SecretRef {
    let key = me.services.mac(plaintext.as_bytes());
    let secret = SecretRef { key, name: "".into(), uri: "".into(), from_nested_client: false };
    me.session.secrets.put(&secret, ProvidedSecret::lasting(Plaintext::new(plaintext.into_bytes())));
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_any_characters() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let listed = b"url.ssh://git@host/.insteadof\nhttps://host/\0url.https://u:p@x/.insteadof\nhttps://x y/\0";
        assert_eq!(
            rewrites(listed),
            [
                pair("url.ssh://git@host/.insteadof", "https://host/"),
                pair("url.https://u:p@x/.insteadof", "https://x y/")
            ]
        );
        assert_eq!(rewrites(b""), []);
    }
}
