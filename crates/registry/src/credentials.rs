//! Credentials from the user's container client configuration: `config.json` of Docker, `auth.json`
//! of Podman and kin.
//!
//! The first file that knows the registry wins; inside a file the most specific key does. What
//! cannot be read is a remark, not an error: most images need no credentials.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use rondel_ports::images::Credentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use crate::config::RegistryEnvironment;

/// Credentials of a registry. `Debug` does not show them.
#[derive(Clone)]
pub(crate) enum Login {
    /// A user name and password.
    Password(Credentials),
    /// A token that the registry's token server exchanges for access tokens.
    Identity(String),
    /// An access token, to be sent as it is.
    Access(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// What a search for credentials found.
#[derive(Debug, Default)]
pub(crate) struct FoundCredentials {
    /// The credentials, if any.
    pub(crate) login: Option<Login>,
    /// Problems on the way: an unreadable file, a helper that failed.
    pub(crate) remarks: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: HashMap<String, AuthEntry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

const HELPER_TIME: Duration = Duration::from_secs(30);
const MAX_FILE: u64 = 4 << 20;

/// Looks for credentials of `registry`, preferring those that are for `repository`.
pub(crate) async fn find(environment: &RegistryEnvironment, registry: &str, repository: &str) -> FoundCredentials {
    let mut found = FoundCredentials::default();
    for path in files(environment) {
        let file = match read(&path) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(reason) => {
                found.remarks.push(format!("`{}` was left out: {reason}", path.display()));
                continue;
            }
        };
        found.login = in_file(environment, &file, registry, repository, &mut found.remarks).await;
        if found.login.is_some() {
            break;
        }
    }
    found
}

fn files(environment: &RegistryEnvironment) -> Vec<PathBuf> {
    let home = environment.home.as_deref();
    let docker = environment.docker_config.clone().or_else(|| home.map(|h| h.join(".docker")));
    let config = environment.config_home.clone().or_else(|| home.map(|h| h.join(".config")));
    let all = [
        docker.map(|d| d.join("config.json")),
        environment.registry_auth_file.clone(),
        environment.runtime_dir.as_ref().map(|d| d.join("containers/auth.json")),
        config.map(|d| d.join("containers/auth.json")),
    ];
    all.into_iter().flatten().collect()
}

fn read(path: &Path) -> Result<Option<AuthFile>, String> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
        Ok(data) if data.len() > MAX_FILE => return Err("it is too large".into()),
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    // The error of the parser may quote the text, and with it a password: only the place is told.
    serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("it is no valid JSON at line {}", e.line()))
}

async fn in_file(
    environment: &RegistryEnvironment,
    file: &AuthFile,
    registry: &str,
    repository: &str,
    remarks: &mut Vec<String>,
) -> Option<Login> {
    let keys = keys(registry, repository);
    for key in &keys {
        let helper = file.cred_helpers.iter().find(|(k, _)| normal(k) == *key);
        if let Some((server, helper)) = helper
            && let Some(login) = ask(environment, helper, server, remarks).await
        {
            return Some(login);
        }
        let mut entries: Vec<_> = file.auths.iter().filter(|(k, _)| normal(k) == *key).collect();
        entries.sort_by_key(|(k, _)| k.as_str());
        for (name, entry) in entries {
            match login(entry) {
                Ok(Some(login)) => return Some(login),
                Ok(None) => {}
                Err(reason) => remarks.push(format!("the entry `{name}` was left out: {reason}")),
            }
        }
    }
    let store = file.creds_store.as_deref().filter(|s| !s.is_empty())?;
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry };
    ask(environment, store, server, remarks).await
}

/// The keys under which a registry may be listed, most specific first, in normal form.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let hosts: &[&str] = match registry {
        "docker.io" => &["docker.io", "index.docker.io", "registry-1.docker.io"],
        other => &[other],
    };
    let mut paths = vec![repository];
    while let Some((shorter, _)) = paths.last().and_then(|p| p.rsplit_once('/')) {
        paths.push(shorter);
    }
    let with_path = paths.iter().flat_map(|path| hosts.iter().map(move |host| format!("{host}/{path}")));
    with_path.chain(hosts.iter().map(|&host| host.to_owned())).collect()
}

/// A key without scheme, API version and final slash.
fn normal(key: &str) -> String {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let rest = rest.trim_end_matches('/');
    let rest = rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest);
    rest.to_owned()
}

fn login(entry: &AuthEntry) -> Result<Option<Login>, &'static str> {
    let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    if let Some(token) = given(&entry.registrytoken) {
        return Ok(Some(Login::Access(token)));
    }
    if let Some(token) = given(&entry.identitytoken) {
        return Ok(Some(Login::Identity(token)));
    }
    if let Some(auth) = given(&entry.auth) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim()).map_err(|_| "it is not base64")?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not text")?;
        let (username, password) = text.split_once(':').ok_or("it has no `:` between name and password")?;
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(named(username.to_owned(), password)));
    }
    match (given(&entry.username), given(&entry.password)) {
        (Some(username), Some(password)) => Ok(Some(named(username, password))),
        _ => Ok(None),
    }
}

fn named(username: String, password: String) -> Login {
    if username == "<token>" { Login::Identity(password) } else { Login::Password(Credentials { username, password }) }
}

async fn ask(
    environment: &RegistryEnvironment,
    helper: &str,
    server: &str,
    remarks: &mut Vec<String>,
) -> Option<Login> {
    match run(environment, helper, server).await {
        Ok(login) => login,
        Err(reason) => {
            remarks.push(format!("the credential helper `{helper}` gave nothing for `{server}`: {reason}"));
            None
        }
    }
}

async fn run(environment: &RegistryEnvironment, helper: &str, server: &str) -> Result<Option<Login>, String> {
    if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err("this is no name of a helper".into());
    }
    let name = format!("docker-credential-{helper}");
    let program = environment.path.iter().map(|folder| folder.join(&name)).find(|p| p.is_file());
    let program = program.ok_or_else(|| format!("there is no program `{name}` in PATH"))?;
    let mut child = tokio::process::Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without reading closes its end; what it says decides.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let output = match tokio::time::timeout(HELPER_TIME, child.wait_with_output()).await {
        Ok(output) => output.map_err(|e| e.to_string())?,
        Err(_) => {
            return Err(format!("it did not answer within {} s", HELPER_TIME.as_secs()));
        }
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let unknown = said.contains("credentials not found") || said.contains("no credentials");
        return if unknown { Ok(None) } else { Err(format!("it ended with {}", output.status)) };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| "its answer is not understood".to_owned())?;
    Ok(Some(named(answer.username, answer.secret)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::write_program;

    fn told(found: &FoundCredentials) -> String {
        match &found.login {
            None => "-".into(),
            Some(Login::Password(c)) => format!("{}:{}", c.username, c.password),
            Some(Login::Identity(token)) => format!("identity {token}"),
            Some(Login::Access(token)) => format!("access {token}"),
        }
    }

    /// Writes `files` (path under the home, content) and looks for `image`.
    async fn check(files: &[(&str, &str)], image: &str, want: &str) {
        let home = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let environment = RegistryEnvironment {
            home: Some(home.path().into()),
            runtime_dir: Some(home.path().join("run")),
            path: vec![home.path().join("bin")],
            ..RegistryEnvironment::default()
        };
        write_program(
            &home.path().join("bin/docker-credential-toy"),
            "#!/bin/sh\nread -r server\ncase $server in\nhelped.example) echo '{\"Username\":\"h\",\"Secret\":\"s\"}';;\n\
             https://index.docker.io/v1/) echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}';;\n\
             broken.example) exit 3;;\n*) echo 'credentials not found in native keychain'; exit 1;;\nesac\n",
        );
        let image: rondel_model::image::ImageRef = image.parse().unwrap();
        let found = find(&environment, &image.registry, &image.repository).await;
        assert_eq!(told(&found), want, "{image} {:?}", found.remarks);
    }

    const U_P: &str = "dTpw";
    const A_B: &str = "YTpi";

    #[tokio::test]
    async fn credentials_are_found() {
        let docker = ".docker/config.json";
        let plain = format!(r#"{{"auths":{{"r.example":{{"auth":"{U_P}"}}}}}}"#);
        check(&[], "r.example/x", "-").await;
        check(&[(docker, &plain)], "r.example/x", "u:p").await;
        check(&[(docker, &plain)], "r.example:5000/x", "-").await;
        check(&[("run/containers/auth.json", &plain)], "r.example/x", "u:p").await;
        check(&[(".config/containers/auth.json", &plain)], "r.example/x", "u:p").await;
        let other = format!(r#"{{"auths":{{"r.example":{{"auth":"{A_B}"}}}}}}"#);
        check(&[("run/containers/auth.json", &plain), (docker, &other)], "r.example/x", "a:b").await;
        check(&[(docker, "{"), ("run/containers/auth.json", &plain)], "r.example/x", "u:p").await;

        let hub = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{U_P}"}}}}}}"#);
        check(&[(docker, &hub)], "alpine", "u:p").await;
        let paths = format!(r#"{{"auths":{{"r.example/team":{{"auth":"{U_P}"}},"r.example":{{"auth":"{A_B}"}}}}}}"#);
        check(&[(docker, &paths)], "r.example/team/x", "u:p").await;
        check(&[(docker, &paths)], "r.example/team2/x", "a:b").await;

        check(&[(docker, r#"{"auths":{"r.example":{"identitytoken":"i"}}}"#)], "r.example/x", "identity i").await;
        check(&[(docker, r#"{"auths":{"r.example":{"registrytoken":"i"}}}"#)], "r.example/x", "access i").await;
        check(&[(docker, r#"{"auths":{"r.example":{"username":"n","password":"w"}}}"#)], "r.example/x", "n:w").await;
        check(&[(docker, r#"{"auths":{"r.example":{"auth":"%%"}}}"#)], "r.example/x", "-").await;
        check(&[(docker, r#"{"auths":{"r.example":{}}}"#)], "r.example/x", "-").await;
    }

    #[tokio::test]
    async fn helpers_are_asked() {
        let docker = ".docker/config.json";
        let helpers = r#"{"credHelpers":{"helped.example":"toy","broken.example":"toy","bad.example":"../x"}}"#;
        check(&[(docker, helpers)], "helped.example/x", "h:s").await;
        check(&[(docker, helpers)], "broken.example/x", "-").await;
        check(&[(docker, helpers)], "bad.example/x", "-").await;
        let store = r#"{"credsStore":"toy","auths":{"helped.example":{}}}"#;
        check(&[(docker, store)], "helped.example/x", "h:s").await;
        check(&[(docker, store)], "alpine", "identity t").await;
        check(&[(docker, store)], "other.example/x", "-").await;
        check(&[(docker, r#"{"credsStore":"missing"}"#)], "other.example/x", "-").await;
    }

    #[test]
    fn nothing_is_shown() {
        let login = Login::Password(Credentials { username: "u".into(), password: "hunter2".into() });
        assert_eq!(format!("{login:?}"), "Login(…)");
    }
}
