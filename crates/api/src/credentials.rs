//! Registry credentials of a container.

use rondel_fault::{Fault, Result};
use rondel_model::container::RegistryAuth;
use rondel_model::image::ImageRef;
use rondel_model::{Container, Table};
use rondel_ops::OpContext;
use rondel_ports::images::Credentials;

/// The credentials of `container` for `reference`, or `None`. The longest matching address wins.
///
/// # Errors
/// When the secret is not known in this session.
pub(crate) async fn of(cx: &OpContext, container: &Container, reference: &ImageRef) -> Result<Option<Credentials>> {
    among(cx, &container.registry_auth, reference).await
}

/// The credentials in `known` for `reference`, or `None`. The longest matching address wins.
///
/// # Errors
/// When the secret is not known in this session.
pub(crate) async fn among(
    cx: &OpContext,
    known: &Table<RegistryAuth>,
    reference: &ImageRef,
) -> Result<Option<Credentials>> {
    let Some(auth) = best(known, &reference.name()) else { return Ok(None) };
    let plaintext = cx.secrets.plaintext(&auth.secret).await?;
    let password = String::from_utf8(plaintext.bytes().to_vec())
        .map_err(|_| Fault::user(format!("the registry password for `{}` is no text", auth.address)))?;
    Ok(Some(Credentials { username: auth.username.clone(), password }))
}

/// A registry address as image names begin: without scheme, version path or trailing slash.
pub(crate) fn normal(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest);
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

fn best<'a>(known: &'a Table<RegistryAuth>, name: &str) -> Option<&'a RegistryAuth> {
    let fits = |auth: &&RegistryAuth| {
        let rest = name.strip_prefix(&auth.address);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    known.values().filter(fits).max_by_key(|auth| auth.address.len())
}

#[cfg(test)]
mod tests {
    use rondel_digest::Digest;
    use rondel_model::SecretRef;

    use super::*;

    #[test]
    fn the_longest_address_counts() {
        let auth = |address: &str| RegistryAuth {
            address: normal(address),
            username: address.to_owned(),
            secret: SecretRef {
                key: Digest::of_bytes(b"x"),
                name: "s".into(),
                uri: "".into(),
                from_nested_client: false,
            },
        };
        let known = ["https://index.docker.io/v1/", "r.example:5000", "r.example:5000/team/"];
        let known = known.into_iter().map(|address| (address, auth(address))).collect();
        let check = |name: &str, want: Option<&str>| {
            assert_eq!(best(&known, name).map(|auth| auth.address.as_str()), want, "{name}");
        };
        check("docker.io/library/alpine", Some("docker.io"));
        check("r.example:5000/x", Some("r.example:5000"));
        check("r.example:5000/team/x", Some("r.example:5000/team"));
        check("r.example:5000/teams/x", Some("r.example:5000"));
        check("r.example/x", None);
    }
}
