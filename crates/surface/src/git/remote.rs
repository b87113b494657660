//! Git repositories of a client: addresses, credentials, refs.

use std::sync::Arc;

use rondel_fault::{Fault, Kind, Result};
use rondel_model::git::{GitAccess, GitRef, GitRemote, GitRepository, GitSource};
use rondel_model::git_address::{Scheme, scheme};
use rondel_model::{AbsPath, SocketRef};
use rondel_ports::git::{Reference, References};
use rondel_session::{Caller, Client, ClientLink, GitRemoteRefs, client};

use crate::git::client_settings::kept;
use crate::git::netrc;
use crate::host_socket;

/// The remote repository at the address `asked` of the caller. An address without a scheme is tried
/// with HTTPS, then with SSH.
///
/// # Errors
/// When it is no address of a repository, or SSH is asked for and there is no agent.
pub async fn remote(caller: &Arc<Caller>, asked: GitRemote) -> Result<GitRemote> {
    let Some(scheme) = scheme(&asked.url)? else { return guessed(caller, asked).await };
    let GitRemote { url, access, service, egress } = asked;
    let me = client(caller);
    let (https, ssh) = (matches!(scheme, Scheme::Http | Scheme::Https), scheme == Scheme::Ssh);
    let access = GitAccess {
        token: access.token.filter(|_| https),
        header: access.header.filter(|_| https),
        agent: if ssh { Some(agent(me, access.agent).await?) } else { None },
        ..access
    };
    Ok(GitRemote { url, access, service, egress })
}

async fn guessed(caller: &Arc<Caller>, asked: GitRemote) -> Result<GitRemote> {
    for scheme in ["https", "ssh"] {
        let url = format!("{scheme}://{}", asked.url).into();
        let found = async {
            let remote = Box::pin(remote(caller, GitRemote { url, ..asked.clone() })).await?;
            known(caller, &remote).await.map(|known| GitRemote { access: known.access.clone(), ..remote })
        };
        match found.await {
            Err(fault) if fault.kind() == Kind::Denied => {}
            other => return other,
        }
    }
    // Users match on this text; see behaviour GIT-024.
    let url = &asked.url;
    Err(Fault::denied("failed to determine Git URL protocol").with_hint(format!(
        "neither `https://{url}` nor `ssh://{url}` lets this client in; write the scheme to see why"
    )))
}

/// The socket of the agent in the arguments, or of the client's own agent.
async fn agent(me: &Client, given: Option<SocketRef>) -> Result<SocketRef> {
    let path = match (&given, &me.link) {
        (None, Some(link)) => link.variable("SSH_AUTH_SOCK").await?.filter(|path| !path.is_empty()),
        _ => None,
    };
    let own = path.map(|path| host_socket::socket_at(me, &AbsPath::new(&path), path.clone().into()));
    // Users match on this text; see behaviour GIT-017 and XS-004.
    given.or(own).ok_or_else(|| {
        Fault::denied("SSH URLs are not supported without an SSH socket")
            .with_hint("pass `sshAuthSocket`, or start an agent with `ssh-agent` and `ssh-add`")
    })
}

/// The refs of `remote` for the caller, listed once per session. Without given credentials, the
/// server is tried without any, then with those of the client's own `git`, then with those of its
/// `~/.netrc`.
///
/// # Errors
/// When there is no repository, the server refuses (`Denied`), or it cannot be reached.
pub async fn known(caller: &Arc<Caller>, remote: &GitRemote) -> Result<Arc<GitRemoteRefs>> {
    let me = client(caller);
    // IDENTITY: credentials belong to one client, and an address may lead elsewhere under another
    // egress scope.
    let key = rondel_digest::of("git/known/v2", &(remote, remote.egress, &*me.id));
    let (again, remote) = (caller.clone(), remote.clone());
    let ask = move || async move {
        let me = client(&again);
        let denied = match references(me, &remote).await {
            Err(fault) if fault.kind() == Kind::Denied => fault,
            other => return Ok(Arc::new(GitRemoteRefs { references: other?, access: remote.access })),
        };
        let web = matches!(scheme(&remote.url)?, Some(Scheme::Http | Scheme::Https));
        let found = match &me.link {
            Some(link) if web && remote.access.is_anonymous() => match credential(&**link, &remote.url).await? {
                None => from_netrc(&**link, &remote.url).await,
                found => found,
            },
            _ => None,
        };
        let Some((username, password)) = found else { return Err(denied) };
        let token = kept(me, password);
        let access = GitAccess { username: username.into(), token: Some(token), ..remote.access.clone() };
        let references = references(me, &GitRemote { access: access.clone(), ..remote }).await?;
        Ok(Arc::new(GitRemoteRefs { references, access }))
    };
    me.session.git_remotes.refs(key, ask).await
}

async fn references(me: &Client, remote: &GitRemote) -> Result<References> {
    me.services.ops.git_references(&me.op_cx, &GitSource::Remote(remote.clone().into())).await
}

/// The user name and password for `url` from the credential helpers of the client's own `git`.
async fn credential(link: &dyn ClientLink, url: &str) -> Result<Option<(String, String)>> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(None) };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
    let user = user.split(':').next().unwrap_or_default();
    let mut lines = vec![format!("protocol={scheme}"), format!("host={host}"), format!("path={path}")];
    if !user.is_empty() {
        lines.push(format!("username={user}"));
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("'{}'", line.replace('\'', r"'\''"))).collect();
    let command = format!(
        "printf '%s\\n' {} '' | GIT_TERMINAL_PROMPT=0 SSH_ASKPASS= git -c core.askPass= credential fill 2>/dev/null",
        lines.join(" ")
    );
    let Ok(output) = link.command(&command).await else { return Ok(None) };
    let text = String::from_utf8_lossy(&output).into_owned();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Ok(value("password").map(|password| (value("username").unwrap_or_default().to_owned(), password.to_owned())))
}

/// The credentials for the server of `url` in the client's `~/.netrc`. Credential helpers come
/// first, because they are more selective.
async fn from_netrc(link: &dyn ClientLink, url: &str) -> Option<(String, String)> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let text = link.command("cat \"$HOME/.netrc\" 2>/dev/null").await.ok()?;
    netrc::find(&String::from_utf8_lossy(&text), host)
}

/// The refs of `repository` for the caller, and the repository with the credentials that were
/// accepted.
///
/// # Errors
/// As for [`known`]; for a directory, when it has no repository.
pub async fn refs_of(caller: &Arc<Caller>, repository: &GitRepository) -> Result<(GitRepository, References)> {
    let me = client(caller);
    match &repository.source {
        GitSource::Local(_) => {
            let references = me.services.ops.git_references(&me.op_cx, &repository.source).await?;
            Ok((repository.clone(), references))
        }
        GitSource::Remote(remote) => {
            let known = known(caller, remote).await?;
            let remote = GitRemote { access: known.access.clone(), ..(**remote).clone() };
            let source = GitSource::Remote(remote.into());
            Ok((GitRepository { source, ..repository.clone() }, known.references.clone()))
        }
    }
}

/// The ref of `repository` with the name `name`: `HEAD`, a full or short name, or a commit.
///
/// # Errors
/// When there is none, and as for [`refs_of`].
pub async fn find(caller: &Arc<Caller>, repository: &GitRepository, name: &str) -> Result<GitRef> {
    let (repository, references) = refs_of(caller, repository).await?;
    let given = repository.head.clone().filter(|_| name == "HEAD");
    let found = match given {
        Some((name, commit)) => Some(Reference { name: name.to_string(), commit: commit.to_string() }),
        None => references.find(name),
    };
    // Users match on the first words; see behaviour GIT-004.
    let found = found.ok_or_else(|| Fault::user(format!("repository does not contain ref \"{name}\"")))?;
    let name = if found.name.is_empty() { &found.commit } else { &found.name };
    Ok(GitRef { repository, name: (&**name).into(), commit: found.commit.into() })
}
